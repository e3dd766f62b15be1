"""Scoring many files from Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lifeiqa.runtime.arrow import require_arrow
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.limits import DECODE_TIMEOUT_S, MAX_PIXELS, usable_cores
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.scoring.decoders import DecodeSettings
from lifeiqa.runtime.scoring.engine import Engine
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.remote import is_uri

_COLUMNS = ("score", "grade", "std", "crops", "error", "note")


def score_files(
    paths: Iterable[str | os.PathLike[str]],
    *,
    model: str | Path | None = None,
    device: str = "auto",
    backend: str = "auto",
    crops: int | None = None,
    threads: int = 0,
    jobs: int = 0,
    max_pixels: int = MAX_PIXELS,
    decode_timeout_s: float = DECODE_TIMEOUT_S,
) -> Iterator[Record]:
    """Scores picture files on all cores: one record for each path, in their order, as soon as it is there.

    What cannot be scored has a record with its `error`. Memory does not grow with the number of paths.

    Args:
        paths: of files, or URIs of them; no folders, patterns or lists, and of videos none.
        model, device, backend, crops, threads: see `Scorer`.
        jobs: files decoded at the same time, each in a process of its own; 0: as many as there are cores for.
        max_pixels: a picture of more is an error.
        decode_timeout_s: a file that takes longer is an error.

    Raises:
        UsageError, ManifestError, MissingError: see `Scorer`; when the first record is asked for.
    """
    with Scorer(model, device, crops, threads, backend, concurrent=True) as scorer:
        settings = DecodeSettings(scorer.manifest.preprocess, crops, max_pixels, decode_timeout_s)
        with Engine(scorer, settings, jobs or max(1, usable_cores() // max(1, threads))) as engine:
            names = (os.fspath(path) for path in paths)
            for records in engine.score(Entry.of_uri(n) if is_uri(n) else Entry.of(n) for n in names):
                yield from records


def score_frame(frame: Any, column: str = "path", **options: Any) -> Any:
    """A table with the scores of the files that one of its columns names.

    Args:
        frame: a pandas DataFrame or a pyarrow Table.
        column: of paths.
        options: see `score_files`.

    Returns:
        a table of the same kind with further columns: score, grade, std, crops, error, note. Those that were there
        under these names are replaced.

    Raises:
        UsageError: it is no such table, or has no such column; and as `score_files` does.
    """
    if not hasattr(frame, "column_names") and not hasattr(frame, "columns"):
        raise UsageError(f"score_frame takes a pandas DataFrame or a pyarrow Table, not {type(frame).__name__}.")
    is_arrow = hasattr(frame, "column_names")
    names = list(frame.column_names if is_arrow else frame.columns)
    if column not in names:
        raise UsageError(f"There is no column {column!r}; the table has {', '.join(map(str, names))}.")
    if is_arrow:
        paths = frame.column(column).to_pylist()
    else:  # whose columns say in four ways that a value is missing
        paths = frame[column].astype(object).where(frame[column].notna(), None).tolist()
    present = [path for path in paths if path is not None]
    for path in present:
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"Column {column!r} holds paths; {path!r} is none.")
    records = score_files(present, **options)
    missing = dict.fromkeys(_COLUMNS) | {"error": "no path"}
    rows = [missing if path is None else asdict(next(records)) for path in paths]
    found = {name: [row[name] for row in rows] for name in _COLUMNS}
    if not is_arrow:
        return frame.assign(**found)
    kinds = {"score": "float64", "std": "float64", "crops": "int64"}
    for name, values in found.items():
        array = _arrow_array(values, kinds.get(name, "string"))
        at = names.index(name) if name in names else -1
        frame = frame.append_column(name, array) if at < 0 else frame.set_column(at, name, array)
    return frame


def _arrow_array(values: list[Any], kind: str) -> Any:
    pyarrow = require_arrow("A table of pyarrow")
    return pyarrow.array(values, getattr(pyarrow, kind)())
