"""`lifeiqa-run`: scores pictures, videos and cameras."""

from __future__ import annotations

import io
import math
import os
import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lifeiqa.runtime.command_line import BackendName, Device
from lifeiqa.runtime.console import new_app, run_app
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.limits import DECODE_TIMEOUT_S, MAX_PIXELS
from lifeiqa.runtime.preprocess import MAX_CROPS

_MOST_MEGAPIXELS = 1e9  # more than any memory holds: what inf means

app = new_app()


class Format(str, Enum):
    """How results are written."""

    table = "table"
    jsonl = "jsonl"
    json = "json"
    csv = "csv"
    parquet = "parquet"


@app.command()
def main_command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pictures, folders, globs, videos, URIs, or lists of these (.txt, .csv, .parquet); - reads a list or "
            "a picture from standard input."
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(help="Device number, rtsp:// or other URL, or GStreamer pipeline.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Exported model; without it, the one inside the package.", show_default=False)
    ] = None,
    device: Annotated[Device, typer.Option(help="Only auto ever falls back to another.")] = Device.auto,
    backend: Annotated[
        BackendName, typer.Option(help="Inference engine; auto takes what was measured to be right here.")
    ] = BackendName.auto,
    crops: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_CROPS, help="Crops a picture; without it, the model's own.", show_default=False),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="Without it: by --output's suffix; table on a terminal, else jsonl.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write instead of standard output.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the results in --output, and keep what a later --resume needs.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in --output.")] = False,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Tell a changed file by its SHA-256, not by size and time alone.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML page to write about the run; replaced where it is one.", show_default=False),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Show the N worst alone, in order.", metavar="N")] = 0,
    best: Annotated[int, typer.Option(min=0, help="Show the N best alone, in order.", metavar="N")] = 0,
    below: Annotated[
        float | None,
        typer.Option(help="Show the names alone of what scores less.", metavar="S", show_default=False),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="With these three: names alone, a NUL after each, for xargs -0.")
    ] = False,
    every: Annotated[int, typer.Option(min=1, help="Of a video or camera, score only every n-th frame.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many records.", show_default=False)] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Of folders, also hidden files and thumbnails.")] = False,
    videos: Annotated[bool, typer.Option("--videos", help="Of folders, also the videos.")] = False,
    max_pixels: Annotated[float, typer.Option(min=0, help="Megapixels; a larger picture is an error.")] = MAX_PIXELS
    / 1e6,
    decode_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one file; then it is an error.")] = (
        DECODE_TIMEOUT_S
    ),
    jobs: Annotated[int, typer.Option(min=0, help="Files read at the same time; 0: one for each core.")] = 0,
    cluster: Annotated[
        str,
        typer.Option(
            help="Score on the machines of a Ray cluster: its address, such as ray://host:10001, or auto.",
            show_default=False,
        ),
    ] = "",
    retry: Annotated[float, typer.Option(min=0, help="Seconds to wait for a lost camera.")] = 30.0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the model; 0 chooses.")] = 0,
) -> None:
    """Score the quality of pictures, videos or a camera: 0-100, higher is better.

    Exit codes: 0 done, 1 some inputs failed, 2 usage, 3 something is missing on this machine, 5 camera lost.
    """
    if (camera is None) == (not inputs):
        raise UsageError("Name pictures or a camera, one of the two: lifeiqa-run photo.jpg, or lifeiqa-run --camera 0")
    if math.isnan(max_pixels):
        raise UsageError("--max-pixels must be a number of megapixels, or inf for any.")
    if (resume or overwrite or checksum) and output is None:
        raise UsageError("--resume, --overwrite and --checksum are about a file of results; name one with --output.")
    some = bool(worst or best) or below is not None
    if null and not some:
        raise UsageError("-0 is about names: of --below, --worst or --best.")
    if resume and overwrite:
        raise UsageError("--resume keeps what is there and --overwrite does not; give one of the two.")
    if resume and camera is not None:
        raise UsageError("A camera has no past to resume; name another --output.")
    if cluster and camera is not None:
        raise UsageError("A camera is scored on this machine; leave out --cluster.")
    from lifeiqa.runtime.scoring.run import RunRequest, run
    from lifeiqa.runtime.scoring.selection import Wanted
    from lifeiqa.runtime.zoo import default_model

    _quiet_opencv()
    for name in ("SIGTERM", "SIGHUP"):  # end in order, as Ctrl-C does; Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    request = RunRequest(
        inputs=tuple(inputs or ()),
        camera=camera,
        model=model or default_model(),
        device=device.value,
        backend=backend.value,
        crops=crops,
        threads=threads,
        form=form.value if form else _form_of_standard_output() if output is None else "",
        output=output,
        resume=resume,
        overwrite=overwrite,
        checksum=checksum,
        every=every,
        limit=limit,
        hidden=hidden,
        videos=videos,
        max_pixels=round(min(max_pixels, _MOST_MEGAPIXELS) * 1e6),
        decode_timeout_s=decode_timeout,
        jobs=jobs,
        cluster=cluster,
        retry_s=retry,
        report=report,
        wanted=Wanted(worst, best, below, null) if some else None,
    )
    raise typer.Exit(run(request, _standard_input()))


def _standard_input() -> io.BufferedReader | None:
    """Standard input with a reader of its own; None where there is none.

    A thread may wait in it when the run is interrupted. The interpreter ends by closing `sys.stdin`, and a thread that
    waits in that makes it abort.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return getattr(sys.stdin, "buffer", None)


def _form_of_standard_output() -> str:
    return "table" if sys.stdout is not None and sys.stdout.isatty() else "jsonl"


def _quiet_opencv() -> None:
    """Errors reach the user as our own lines, not as the log of a library."""
    from lifeiqa.runtime.opencv import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def main() -> None:
    """Entry point of `lifeiqa-run`."""
    run_app(app)
