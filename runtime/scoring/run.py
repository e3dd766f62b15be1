"""A run of `lifeiqa-run`: from its inputs, or a camera, to records and an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lifeiqa.runtime.command_line import is_quiet
from lifeiqa.runtime.console import fail, progress_bar, say, stderr
from lifeiqa.runtime.errors import LifeIQAError, WriteError
from lifeiqa.runtime.limits import DECODE_TIMEOUT_S, MAX_PIXELS, usable_cores
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.scoring.decoders import DecodeSettings
from lifeiqa.runtime.scoring.engine import Engine, score_sample
from lifeiqa.runtime.scoring.results import JournaledFile, Results, Stream, check_output, check_report, settings_of
from lifeiqa.runtime.scoring.selection import Selection, Wanted
from lifeiqa.runtime.sinks import Record, standard_output, text_writer
from lifeiqa.runtime.sources.camera import Camera
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.files import samples_of
from lifeiqa.runtime.sources.lists import is_list
from lifeiqa.runtime.sources.names import printable
from lifeiqa.runtime.sources.scan import Scan

if TYPE_CHECKING:
    from lifeiqa.runtime.scoring.cluster import Cluster


@dataclass(frozen=True)
class RunRequest:
    """What to score, how, and where the records go.

    Attributes:
        inputs: as the user named them; () for a camera.
        camera: see `Camera`; None for inputs.
        model: an exported file.
        device, backend, crops, threads: see `Scorer`.
        form: of the records, "" where the output's suffix says it.
        output: a file; None for standard output.
        resume, overwrite, checksum: see `check_output` and `JournaledFile`.
        every: of a video or camera, only every n-th frame.
        limit: stop after so many records.
        hidden, videos: see `Scan`.
        max_pixels, decode_timeout_s: see `DecodeSettings`.
        jobs: files decoded at the same time; 0: as many as there are cores for.
        cluster: address of a Ray cluster, see `Cluster`; "" for this machine without one.
        retry_s: how long to wait for a lost camera.
        wanted: records that standard output shows, in place of all; None for all.
        report: an HTML page to write.
    """

    inputs: tuple[str, ...]
    model: Path
    camera: str | None = None
    device: str = "auto"
    backend: str = "auto"
    crops: int | None = None
    threads: int = 0
    form: str = ""
    output: Path | None = None
    resume: bool = False
    overwrite: bool = False
    checksum: bool = False
    every: int = 1
    limit: int | None = None
    hidden: bool = False
    videos: bool = False
    max_pixels: int = MAX_PIXELS
    decode_timeout_s: float = DECODE_TIMEOUT_S
    jobs: int = 0
    cluster: str = ""
    retry_s: float = 30.0
    wanted: Wanted | None = None
    report: Path | None = None


def run(request: RunRequest, stdin: io.BufferedReader | None) -> int:
    """Scores everything, and returns the exit code.

    Raises:
        LifeIQAError: nothing could be begun; see `Scorer`, `Scan`, `check_output`, `Camera`.
    """
    output = request.output
    form, to_file = request.form, output is not None and (not output.exists() or output.is_file())
    if output is not None and (to_file or output.is_dir()):
        form = check_output(output, request.inputs, request.model, form, request.resume, request.overwrite)
    if request.report is not None:
        check_report(request.report, request.output)
    many = request.camera is None and _are_many(request.inputs)
    with contextlib.ExitStack() as stack:
        camera = None
        if request.camera is not None:
            camera = stack.enter_context(contextlib.closing(Camera(request.camera, request.retry_s, say)))
        scan = Scan(request.inputs, stdin, request.hidden, request.videos)
        device = "auto" if request.cluster else request.device  # the workers have it, this machine need not
        scorer = stack.enter_context(
            Scorer(request.model, device, request.crops, request.threads, request.backend, concurrent=many)
        )
        say(f"{scorer.manifest.name} ({scorer.manifest.precision}) on {scorer.backend.device}, {scorer.backend.engine}")
        listeners = list[Callable[[Record], None]]()
        selection = _selection(request, scorer)
        if selection is not None:
            listeners.append(selection.offer)
        report = None
        if request.report is not None:
            from lifeiqa.runtime.report import ReportBuilder  # here, for a single picture is scored sooner without

            names = ", ".join(map(printable, request.inputs)) or "camera"
            report = ReportBuilder(
                scorer.manifest.scale, names, f"{scorer.manifest.name} ({scorer.manifest.precision})"
            )
            listeners.append(report.add)
        results = _results(stack, request, scorer, form if to_file else None, listeners)
        stack.callback(results.close)
        stream: Iterator[Iterable[Record]]
        if camera is not None:
            stream = ([score_sample(scorer, sample)] for sample in camera.samples(every=request.every))
        elif request.cluster:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))  # Ray's messages; records have their way
            cluster = stack.enter_context(contextlib.closing(_cluster(scorer, request)))
            stream = cluster.score(results.pending(scan))
        elif many:
            stream = stack.enter_context(_engine(scorer, request)).score(results.pending(scan))
        else:
            stream = _one_by_one(scorer, request, results.pending(scan))
        stack.callback(getattr(stream, "close", lambda: None))  # ends the processes of the engine
        bar = stack.enter_context(_progress(request, shown=to_file))
        code = _take_all(request, stream, results, scorer, scan, bar)
        if selection is not None:
            selection.finish()
        if report is not None and request.report is not None:
            with progress_bar("report") as draw:
                progress = lambda done, total: draw(done, total, "")  # noqa: E731
                report.write(request.report, scorer, scan.passed_over, request.max_pixels, progress)
        return code


def _take_all(
    request: RunRequest,
    stream: Iterator[Iterable[Record]],
    results: Results,
    scorer: Scorer,
    scan: Scan,
    bar: Callable[[int, int, str], None],
) -> int:
    """Hands on all records; returns the exit code. What was scored before an interruption is kept."""
    code, whole = 0, False
    try:
        for record in (record for records in stream for record in results.take(records)):
            bar(results.done, sum(results.failures.values()), record.source)
            if results.done == request.limit:
                break
        else:
            whole = True
    except KeyboardInterrupt:
        if request.camera is None:
            say(f"interrupted after {results.done} records")
            code = 130
        else:
            whole = True  # it has no other end
    except WriteError:  # nothing more can be written, and nothing is lost
        raise
    except LifeIQAError as error:
        fail(str(error))
        code = error.exit_code
    results.finish(scorer.manifest.scale.low, scorer.manifest.scale.high, whole or request.limit is not None)
    failed = sum(results.failures.values())
    if failed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in results.failures.most_common())
        say(f"{failed} of {results.done} could not be scored: {reasons}")
    if scan.passed_over:
        say("passed over: " + ", ".join(f"{count} {kind}" for kind, count in scan.passed_over.most_common()))
    return code or (1 if failed else 0)


def _selection(request: RunRequest, scorer: Scorer) -> Selection | None:
    """What standard output shows in place of all records, None where it shows those."""
    if request.wanted is None:
        return None
    return Selection(request.wanted, standard_output(), request.form or "jsonl", scorer.manifest.scale)


def _results(
    stack: contextlib.ExitStack,
    request: RunRequest,
    scorer: Scorer,
    form: str | None,
    listeners: list[Callable[[Record], None]],
) -> Results:
    """Where all records go; `form` is of a file, None for what is written at once."""
    if request.output is not None and form is not None:
        options = {"crops": request.crops, "every": request.every, "max_pixels": request.max_pixels}
        settings = settings_of(scorer, request.model, **options)
        file = JournaledFile(request.output, form, settings, request.resume, request.checksum, listeners)
        if file.journal.found:
            say(f"{file.journal.found} files were scored before")
        return file
    if request.output is None and request.wanted is not None:
        return Stream(lambda record: None, listeners)
    stream = standard_output() if request.output is None else stack.enter_context(_pipe(request.output))
    scale = scorer.manifest.scale
    return Stream(stack.enter_context(text_writer(request.form or "jsonl", stream, scale.low, scale.high)), listeners)


def _pipe(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise WriteError(f"Cannot write {path}: {error.strerror or error}.") from error


def _are_many(inputs: tuple[str, ...]) -> bool:
    """Whether it is worth while to start other processes; a single file is scored sooner without."""
    return len(inputs) != 1 or not os.path.isfile(inputs[0]) or is_list(inputs[0])  # noqa: PTH113 - accept any text


def _decode_settings(scorer: Scorer, request: RunRequest) -> DecodeSettings:
    spec = scorer.manifest.preprocess
    return DecodeSettings(spec, request.crops, request.max_pixels, request.decode_timeout_s)


def _engine(scorer: Scorer, request: RunRequest) -> Engine:
    jobs = request.jobs or max(1, usable_cores() // max(1, request.threads))
    return Engine(scorer, _decode_settings(scorer, request), jobs, request.every)


def _cluster(scorer: Scorer, request: RunRequest) -> Cluster:
    from lifeiqa.runtime.scoring.cluster import Cluster, ClusterJob

    job = ClusterJob(
        request.model.name,
        request.device,
        request.backend,
        request.crops,
        request.threads,
        _decode_settings(scorer, request),
        request.jobs,
        request.every,
    )
    cluster = Cluster(request.cluster, request.model, job)
    say(cluster.description)
    return cluster


def _one_by_one(scorer: Scorer, request: RunRequest, entries: Iterator[Entry]) -> Iterator[Iterable[Record]]:
    """In this process."""
    for entry in entries:
        found = samples_of(entry, request.every, request.max_pixels)
        yield (score_sample(scorer, sample) for sample in found)


@contextlib.contextmanager
def _progress(request: RunRequest, shown: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Yields `update(done, failed, source)`. The total is counted beside the run, but not of standard input."""
    if not shown or is_quiet() or not stderr.is_terminal:
        yield lambda done, failed, source: None
        return
    began, total = time.monotonic(), [0]

    def count() -> None:
        found = sum(1 for _ in Scan(request.inputs, None, request.hidden, request.videos))
        total[0] = found

    if request.camera is None and "-" not in request.inputs:
        threading.Thread(target=count, name="count", daemon=True).start()
    with progress_bar("scored") as draw:

        def update(done: int, failed: int, source: str) -> None:
            rate = done / max(time.monotonic() - began, 1e-3)
            text = f"{rate:.1f}/s  " + (f"{failed} failed  " if failed else "") + source
            draw(done, total[0], text)

        yield update
