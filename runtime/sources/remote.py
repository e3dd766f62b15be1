"""Pictures in object stores and other file systems that a URI names, such as `s3://bucket/photos`.

pyarrow opens s3, gs, abfs, hdfs and file; other schemes, such as https, need the package that fsspec has for them.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from lifeiqa.runtime.arrow import require_arrow
from lifeiqa.runtime.errors import ImageError, MissingError
from lifeiqa.runtime.images import IMAGE_SUFFIXES
from lifeiqa.runtime.images.formats import HEAD_BYTES, identify
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.folders import is_hidden
from lifeiqa.runtime.sources.names import as_bytes, printable
from lifeiqa.runtime.sources.videos import VIDEO_SUFFIXES

_ARROW_SCHEMES = frozenset(("abfs", "abfss", "file", "gcs", "gs", "hdfs", "s3", "viewfs"))
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/]*)/?")


def is_uri(name: str) -> bool:
    """Whether a name is a URI. Whoever has a folder called `s3:` writes it as `./s3:`."""
    return _URI.match(name) is not None


def remote_entries(uri: str, hidden: bool, passed_over: Counter[str]) -> Iterator[Entry]:
    """What a URI stands for: one picture, or all of a folder and of those below it, in the order of their names.

    A name that ends as a picture's does is one, and is not looked at before it is read: each look at an object store
    takes as long as a small picture. The content of other names decides, as in local folders. Videos are not read.

    Args:
        uri: of a file or a folder.
        hidden: whether to look at hidden files and folders.
        passed_over: counts, by kind, what is not yielded.
    """
    if _suffix(uri) in IMAGE_SUFFIXES:
        yield Entry.of_uri(uri)
        return
    try:
        store, path = _located(uri)
        with _told():
            found = store.get_file_info(path)
        kind = found.type.name
        if kind == "Directory":
            yield from _folder(store, uri.rstrip("/"), path, hidden, passed_over)
            return
        video = kind == "File" and (_suffix(uri) in VIDEO_SUFFIXES or _family(store, path) == "video")
    except ImageError as error:
        yield Entry(printable(uri), error=str(error))
        return
    if video:
        yield Entry(printable(uri), error="a video, of which only local files are read; copy it to this machine")
    else:
        yield _entry(uri, found) if kind == "File" else Entry(printable(uri), error="no such file or folder")


def read_remote(uri: str) -> bytes:
    """The whole content of a file. Raises `ImageError`."""
    store, path = _located(uri)
    with _told(), store.open_input_stream(path) as stream:
        data: bytes = stream.read()
    return data


def _folder(store: Any, uri: str, path: str, hidden: bool, passed_over: Counter[str]) -> Iterator[Entry]:
    """Depth first, with what is in one folder in memory at a time."""
    select = require_arrow("A URI", "pyarrow.fs").FileSelector
    with _told():
        found = sorted(store.get_file_info(select(path)), key=lambda info: as_bytes(info.base_name))
    for info in found:
        name = f"{uri}/{info.base_name}"
        if not hidden and is_hidden(info.base_name):
            passed_over["hidden"] += 1
        elif info.type.name == "Directory":
            try:
                yield from _folder(store, name, info.path, hidden, passed_over)
            except ImageError as error:
                yield Entry(printable(name), error=f"this folder cannot be read: {error}")
        elif _suffix(name) in IMAGE_SUFFIXES:
            yield _entry(name, info)
        elif _suffix(name) in VIDEO_SUFFIXES:
            passed_over["video"] += 1
        else:
            try:
                kind = _family(store, info.path)
            except ImageError as error:
                yield Entry(printable(name), error=str(error))
                continue
            if kind == "picture":
                yield _entry(name, info)
            else:
                passed_over[kind] += 1


def _entry(uri: str, info: Any) -> Entry:
    return Entry.of_uri(uri, state=f"{info.size} {info.mtime_ns}")


def _family(store: Any, path: str) -> str:
    """What a file's first bytes say: "picture", "video", or the name of another kind."""
    with _told(), store.open_input_stream(path) as stream:
        form = identify(stream.read(HEAD_BYTES), _suffix(path))
    if form is None:
        return "no picture"
    return form.family if form.family in ("picture", "video") else form.name


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a URI is no Path


def _located(uri: str) -> tuple[Any, str]:
    """The file system of a URI as pyarrow sees it, and the path in it. Nothing is special in the names of objects."""
    match = _URI.match(uri)
    assert match is not None
    scheme, host, rest = match[1].lower(), match[2], uri[match.end() :]
    if scheme not in _ARROW_SCHEMES:
        return _from_fsspec(scheme, uri)
    store, base = _from_arrow(scheme, host)
    return store, f"{base.rstrip('/')}/{unquote(rest) if scheme == 'file' else rest}".rstrip("/") or "/"


@functools.lru_cache(maxsize=64)
def _from_arrow(scheme: str, host: str) -> tuple[Any, str]:
    with _told():
        opened: tuple[Any, str] = require_arrow("A URI", "pyarrow.fs").FileSystem.from_uri(f"{scheme}://{host}/")
    return opened


def _from_fsspec(scheme: str, uri: str) -> tuple[Any, str]:
    arrow = require_arrow("A URI", "pyarrow.fs")
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        raise ImageError(f"{scheme}:// needs fsspec. Install it: pip install fsspec") from None
    with _told():
        store, path = fsspec.url_to_fs(uri)
        return arrow.PyFileSystem(arrow.FSSpecHandler(store)), path


@contextmanager
def _told() -> Iterator[None]:
    """What a file system raises, which may be anything, as an `ImageError` of one line."""
    try:
        yield
    except (ImageError, MissingError, MemoryError):
        raise
    except FileNotFoundError:
        raise ImageError("no such file") from None
    except Exception as error:
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ImageError(f"cannot be read: {text}") from error
