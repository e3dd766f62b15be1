"""Lists of file names: text, CSV and Parquet."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from lifeiqa.runtime.arrow import require_arrow
from lifeiqa.runtime.errors import ImageError, UsageError
from lifeiqa.runtime.images.formats import HEAD_BYTES, Format, identify
from lifeiqa.runtime.sources.entries import head_of, reason
from lifeiqa.runtime.sources.names import from_bytes, printable

LIST_SUFFIXES = frozenset((".txt", ".csv", ".parquet"))
COLUMNS = ("path", "file", "filename", "image", "name", "source")  # that hold file names; the first that is there does
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHUNK_BYTES = 1 << 16
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\v\f\r")


def is_list(path: str) -> bool:
    """Whether an existing file is read as a list: by its suffix, unless its content is a picture's."""
    if os.path.splitext(path)[1].lower() not in LIST_SUFFIXES or not os.path.isfile(path):  # noqa: PTH113,PTH122
        return False
    try:
        return not_text(head_of(path)) is None
    except OSError:
        return True  # whoever reads it says why that fails


def not_text(head: bytes) -> Format | None:
    """The format of what begins like this, None where it may be a list of names."""
    head = head[:HEAD_BYTES]
    found = identify(head)
    if found and found.family in ("raw", "video") and not _CONTROL & set(head):
        return None  # such as a folder's name that begins like a signature
    return found


def chunks_of(stream: io.BufferedReader) -> Iterator[bytes]:
    """The bytes of a stream as they come."""
    return iter(lambda: stream.read1(_CHUNK_BYTES), b"")


def beginning(chunks: Iterator[bytes]) -> bytes:
    """What tells a picture from a list: the first `HEAD_BYTES` bytes or more, or fewer once they are a whole name."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES or _is_name(head):
            break
    return head


def _is_name(head: bytes) -> bool:
    """Whether it holds a whole name, which is then scored at once, however long the next one takes to come."""
    name = re.match(rb"(?!RIFF)([^\0-\x1f]+)\r?[\n\0]", head)  # what follows RIFF is a length, and may have a NUL
    with contextlib.suppress(UnicodeDecodeError):
        return name is not None and bool(name[1].decode())
    return False


def names_in(path: str) -> Iterator[str]:
    """Yields the names in a list file, as the operating system takes them.

    Raises:
        OSError: the file cannot be opened.
        ImageError: its content is not what its suffix says.
        UsageError: no column of the table holds file names.
        MissingError: a Parquet file, and pyarrow is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_names(path)
    elif suffix == ".csv" and (column := _csv_column(path)) is not None:
        yield from _csv_names(path, *column)
    else:
        with Path(path).open("rb") as file:
            yield from text_names(chunks_of(file))


def text_names(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yields the names in a text that comes in chunks, each as soon as its end has come.

    NULs separate the names if there is one by the time that the first line feed has come, line feeds if not, with or
    without carriage returns. Names are bytes, whatever the locale; but UTF-16 is decoded, told by its byte order mark.
    """
    separator = rest = b""
    for chunk in _without_mark(chunks):
        rest += chunk
        separator = separator or next((s for s in (b"\0", b"\n") if s in rest), b"")
        if separator:
            *names, rest = rest.split(separator)
            yield from _decoded(names, separator)
    yield from _decoded([rest], separator)


def _decoded(names: Sequence[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        if whole := name if separator == b"\0" else name.removesuffix(b"\r"):
            yield from_bytes(whole)


def _without_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes without a byte order mark, UTF-16 turned into UTF-8."""
    first = next(chunks, b"")
    while any(mark.startswith(first) and mark != first for mark in (codecs.BOM_UTF8, *_UTF16)):
        more = next(chunks, b"")
        if not more:
            break
        first += more
    if first.startswith(_UTF16):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield from (decoder.decode(chunk).encode("utf-8", "replace") for chunk in chain([first], chunks))
    else:
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from chunks


def _column(names: Sequence[str]) -> int | None:
    """Which of a table's columns holds file names."""
    lower = [name.strip().lower() for name in names]
    return next((lower.index(name) for name in COLUMNS if name in lower), None)


def _no_column(path: str, names: Sequence[str]) -> UsageError:
    return UsageError(
        f"{printable(path)} has the columns {printable(', '.join(names[:20]))}; name the one that holds the files "
        f"{', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}."
    )


def _open_csv(path: str) -> io.TextIOWrapper:
    wide = head_of(path).startswith(_UTF16)
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    return Path(path).open(encoding=encoding, errors=errors, newline="")


def _csv_column(path: str) -> tuple[str, int] | None:
    """The delimiter of a CSV file and its column of names; None for a bare list, of one column without a head."""
    with _open_csv(path) as file:
        line = file.readline(_CHUNK_BYTES)
    delimiter = max(",;\t", key=line.count)
    try:
        head = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # NULs, before Python 3.11
        return None
    column = _column(head)
    if column is None and len(head) > 1:
        raise _no_column(path, head)
    return None if column is None else (delimiter, column)


def _csv_names(path: str, delimiter: str, column: int) -> Iterator[str]:
    with _open_csv(path) as file:
        rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        try:
            next(rows)
            for row in rows:
                if len(row) > column and row[column]:
                    yield from_bytes(row[column].encode("utf-8", "surrogateescape"))
        except csv.Error as error:
            raise ImageError(f"not a CSV file from line {rows.line_num} on: {error}") from error


def _parquet_names(path: str) -> Iterator[str]:
    pyarrow, parquet = (require_arrow("A list in Parquet", name) for name in ("pyarrow", "pyarrow.parquet"))
    with Path(path).open("rb") as file:
        try:
            table = parquet.ParquetFile(file)
            columns = table.schema_arrow.names
            column = _column(columns)
            if column is None:
                raise _no_column(path, columns)
            for batch in table.iter_batches(columns=[columns[column]]):
                for value in batch.column(0).to_pylist():
                    if value is not None and not isinstance(value, str | bytes):
                        raise UsageError(
                            f"Column {columns[column]} of {printable(path)} holds {batch.schema[0].type}, not names."
                        )
                    if value:
                        yield from_bytes(value.encode() if isinstance(value, str) else value)
        except (pyarrow.ArrowException, OSError) as error:
            text = reason(error) if isinstance(error, OSError) else str(error).partition("\n")[0]
            raise ImageError(f"not a Parquet file that can be read: {text}") from error
