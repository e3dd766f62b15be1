"""The results file: what may be replaced by it, its journal while it is made, and the file itself at the end."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lifeiqa
from lifeiqa.runtime.arrow import require_arrow
from lifeiqa.runtime.errors import UsageError, reason_of
from lifeiqa.runtime.files import require_writable
from lifeiqa.runtime.images.formats import HEAD_BYTES, identify
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.scoring.journal import Journal, file_state
from lifeiqa.runtime.sinks import FORMATS_BY_SUFFIX, Writer, results_writer
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sources.entries import Entry


def journal_path(output: Path) -> Path:
    """Of the journal of a results file: beside it, so that both are on one disk."""
    return output.with_name(output.name + ".journal")


def check_output(output: Path, inputs: Sequence[str], model: Path, form: str, resume: bool, overwrite: bool) -> str:
    """Decides the format, and that nothing is lost. Called before the model is loaded.

    Args:
        output: the results file.
        inputs: as the user named them; () for a camera, whose run is never gone on with.
        model: the model's file.
        form: the format that the user asked for, "" for none.
        resume, overwrite: whether an existing file may be gone on with, or be replaced.

    Returns:
        the name of the format.

    Raises:
        UsageError: the file is there and may not be replaced, or its suffix says no format.
        WriteError: its folder cannot be written.
    """
    form = form or FORMATS_BY_SUFFIX.get(output.suffix.lower(), "")
    if not form:
        known = ", ".join(sorted(FORMATS_BY_SUFFIX))
        raise UsageError(f"{output} has a suffix that says no format of results ({known}); use one, or --format.")
    require_writable(output.parent)
    if not output.is_file():
        if output.is_dir():
            raise UsageError(f"{output} is a folder; name a file in it.")
        if journal_path(output).exists() and not resume and not overwrite:
            further = "--resume to go on with it, or " if inputs else ""
            raise UsageError(
                f"{journal_path(output)} is of a run that was stopped. Add {further}--overwrite to begin anew."
            )
        return form
    if any(_same(output, Path(name)) for name in (str(model), *inputs)):
        raise UsageError(f"{output} is an input of this run, and is never replaced; name another --output.")
    with output.open("rb") as file:
        found = identify(file.read(HEAD_BYTES), output.suffix)
    if found is not None or output.suffix.lower() in (".onnx", ".engine", ".pt"):
        what = found.name if found else "model"
        raise UsageError(f"{output} is no file of results ({what}), and is never replaced; name another --output.")
    if not resume and not overwrite:
        further = ", or --resume to go on with its run" if inputs else ""
        raise UsageError(f"{output} exists. Add --overwrite to replace it{further}.")
    if resume and not journal_path(output).exists():
        raise UsageError(
            f"{output} is finished, and kept no journal to go on from: a run with --resume keeps one. Score anew with "
            "--overwrite."
        )
    return form


class Results(ABC):
    """Takes records as they come.

    Attributes:
        done: how many records there are.
        failures: how many of them have no score, by reason.
    """

    def __init__(self, listeners: Sequence[Callable[[Record], None]] = ()) -> None:
        """Hands every record also to `listeners`."""
        self.done, self.failures, self._listeners = 0, Counter[str](), listeners

    def pending(self, scan: Iterable[Entry]) -> Iterator[Entry]:
        """The entries of a scan that are still to be scored, each to be handed to `take` in this order."""
        yield from scan

    @abstractmethod
    def take(self, records: Iterable[Record]) -> Iterator[Record]:
        """Writes the records of the next entry, and yields each. Raises `WriteError`."""

    def close(self) -> None:  # noqa: B027 - some have nothing to close
        """Closes what is open; nothing is lost without it."""

    @abstractmethod
    def finish(self, low: float, high: float, whole: bool) -> None:
        """Puts everything in place. Afterwards `done` and `failures` are of all that is there.

        Args:
            low, high: the model's score range.
            whole: whether nothing is left to score.

        Raises:
            WriteError: the disk is full, for example. What was taken is not lost.
        """

    def _count(self, record: Record) -> None:
        self.done += 1
        for listener in self._listeners:
            listener(record)
        if record.error is not None:
            self.failures[reason_of(record.error)] += 1


class Stream(Results):
    """Writes each record at once, to standard output or a pipe."""

    def __init__(self, write: Writer, listeners: Sequence[Callable[[Record], None]] = ()) -> None:
        super().__init__(listeners)
        self._write = write

    def take(self, records: Iterable[Record]) -> Iterator[Record]:
        """See `Results`."""
        for record in records:
            self._write(record)
            self._count(record)
            yield record

    def finish(self, low: float, high: float, whole: bool) -> None:
        """See `Results`: nothing is left to do."""


class JournaledFile(Results):
    """A file that is made of its journal by `finish`."""

    def __init__(
        self,
        output: Path,
        form: str,
        settings: Mapping[str, Any],
        resume: bool,
        checksum: bool,
        listeners: Sequence[Callable[[Record], None]] = (),
    ) -> None:
        """Opens the journal. Raises `UsageError` where that is another run's, `WriteError` where it cannot be."""
        super().__init__(listeners)
        self._output, self._form, self._resume, self._checksum = output, form, resume, checksum
        if form == "parquet":
            require_arrow("Parquet")
        self.journal = Journal(journal_path(output), settings)
        if resume and self.journal.path.exists():
            self.journal.resume()
        else:
            self.journal.begin()
        self._waiting: deque[tuple[int, str]] = deque()

    def pending(self, scan: Iterable[Entry]) -> Iterator[Entry]:
        """See `Results`: those that have no records yet, or had another content."""
        for entry in scan:
            state = file_state(entry, self._checksum)
            if self.journal.has(entry.source, state):
                continue
            self._waiting.append((self.journal.reserve(), state))
            yield entry

    def take(self, records: Iterable[Record]) -> Iterator[Record]:
        """See `Results`. What does not come from `pending`, such as a camera's frame, has no state to go on from."""
        place, state = self._waiting.popleft() if self._waiting else (self.journal.reserve(), "")
        for record in self.journal.add(records, state, place):
            self.done += 1
            yield record

    def close(self) -> None:
        """See `Results`."""
        self.journal.close()

    def finish(self, low: float, high: float, whole: bool) -> None:
        """See `Results`. The journal stays where a later run may go on from it."""
        self.done, self.failures = 0, Counter()
        with results_writer(self._form, self._output, low, high) as write:
            for record in self.journal.records():
                write(record)
                self._count(record)
        self.close()
        if whole and not self._resume:
            self.journal.path.unlink(missing_ok=True)


def check_report(path: Path, output: Path | None) -> None:
    """Raises `UsageError` where a report would replace something else, `WriteError` where it cannot be written.

    Args:
        path: of the report.
        output: file of results of the same run; None for none.
    """
    require_writable(path.parent)
    if output is not None and path.resolve() in (output.resolve(), journal_path(output).resolve()):
        raise UsageError(f"{path} is the run's file of results; name another --report.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it.")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES).lstrip().lower()
        if head and not head.startswith(b"<!doctype html"):
            raise UsageError(f"{path} is no HTML page, and is never replaced; name another --report.")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there
        return False


def settings_of(scorer: Scorer, model: Path, **options: Any) -> dict[str, Any]:
    """What the scores depend on."""
    return {
        "lifeiqa": lifeiqa.__version__,
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        "engine": f"{scorer.backend.engine} on {scorer.backend.device}",
        **options,
    }
