"""`lifeiqa-run`: scores pictures, videos and cameras."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from lifeiqa.runtime.console import fail, new_app, progress_bar, run_app, say
from lifeiqa.runtime.errors import ImageError, LifeIQAError, UsageError
from lifeiqa.runtime.files import atomic_text
from lifeiqa.runtime.preprocess import MAX_CROPS

if TYPE_CHECKING:
    from lifeiqa.runtime.scorer import Scorer
    from lifeiqa.runtime.sinks import Record
    from lifeiqa.runtime.sources.sample import Sample

app = new_app()


class Format(str, Enum):
    """How results are written."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


class Device(str, Enum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class BackendName(str, Enum):
    """What runs the model."""

    auto = "auto"
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    tensorrt = "tensorrt"


@app.command()
def run(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders, globs or videos; - reads a list of them from standard input."),
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
        BackendName, typer.Option(help="Inference engine; auto goes by the kind of file.")
    ] = BackendName.auto,
    crops: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_CROPS, help="Crops a picture; without it, the model's own.", show_default=False),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Without it: table on a terminal, jsonl elsewhere.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write instead of standard output.", show_default=False),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Of a video or camera, score only every n-th frame.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many records.", show_default=False)] = None,
    retry: Annotated[float, typer.Option(min=0, help="Seconds to wait for a lost camera.")] = 30.0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to the engine.")] = 0,
) -> None:
    """Score the quality of pictures, videos or a camera: 0-100, higher is better.

    Exit codes: 0 done, 1 some inputs failed, 2 usage, 3 something is missing on this machine, 5 camera lost.
    """
    if (camera is None) == (not inputs):
        raise UsageError("Name pictures or a camera, one of the two: lifeiqa-run photo.jpg, or lifeiqa-run --camera 0")
    from lifeiqa.runtime.scorer import Scorer
    from lifeiqa.runtime.sinks import writer_for
    from lifeiqa.runtime.sources.camera import Camera
    from lifeiqa.runtime.sources.files import samples

    _quiet_opencv()
    for name in ("SIGTERM", "SIGHUP"):  # end in order, as Ctrl-C does; Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    chosen = form.value if form else _form_for(output)
    with contextlib.ExitStack() as stack:
        if camera is not None:
            source = Camera(camera, retry, say)
            stack.callback(source.close)
            stream = source.samples(every=every)
        else:
            stream = samples(inputs or [], sys.stdin or io.StringIO(), every)
        scorer = stack.enter_context(Scorer(model, device.value, crops, threads, backend.value))
        say(f"{scorer.manifest.name} ({scorer.manifest.precision}) on {scorer.backend.device}, {scorer.backend.engine}")
        file = stack.enter_context(_results_file(output)) if output else _standard_output()
        write = writer_for(chosen, file, scorer.manifest.scale.low, scorer.manifest.scale.high)
        bar = stack.enter_context(progress_bar("scored")) if output else None
        code = _score_all(stream, scorer, write, bar, limit, live=camera is not None)
    raise typer.Exit(code)


def _score_all(
    stream: Iterator[Sample],
    scorer: Scorer,
    write: Callable[[Record], None],
    bar: Callable[[int, int, str], None] | None,
    limit: int | None,
    live: bool,
) -> int:
    """Writes a record for each sample; returns the exit code. What was scored before an interruption is kept."""
    done = failed = 0
    try:
        for sample in stream:
            record = _score(scorer, sample)
            write(record)
            done, failed = done + 1, failed + (record.error is not None)
            if bar:
                bar(done, 0, record.source)
            if done == limit:
                break
    except KeyboardInterrupt:
        if not live:
            say(f"interrupted after {done} records")
            return 130
    except LifeIQAError as error:
        fail(str(error))
        return error.exit_code
    if failed:
        say(f"{failed} of {done} could not be scored")
    return 1 if failed else 0


@contextlib.contextmanager
def _results_file(path: Path) -> Iterator[IO[str]]:
    """Like `atomic_text`, but what was scored is kept even when a bug ends the run."""
    failure = None
    with atomic_text(path) as file:
        try:
            yield file
        except OSError:
            raise
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure


def _standard_output() -> IO[str]:
    if sys.stdout is None:
        raise UsageError("Standard output is closed; name a file with --output.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return sys.stdout


def _score(scorer: Scorer, sample: Sample) -> Record:
    from lifeiqa.runtime.sinks import Record

    if sample.pixels is None:
        return Record.of(sample, None)
    try:
        return Record.of(sample, scorer.score(sample.pixels))
    except ImageError as error:
        return Record.of(sample, None, str(error))
    except MemoryError:
        return Record.of(sample, None, "does not fit into memory; score a smaller copy")


def _form_for(output: Path | None) -> str:
    if output is not None and output.suffix.lower() == ".csv":
        return "csv"
    return "table" if output is None and sys.stdout is not None and sys.stdout.isatty() else "jsonl"


def _quiet_opencv() -> None:
    """Errors reach the user as our own lines, not as the log of a library."""
    from lifeiqa.runtime.opencv import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def main() -> None:
    """Entry point of `lifeiqa-run`."""
    run_app(app)
