"""The files of a folder and of all folders below it, told apart by their content."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from lifeiqa.runtime.images import IMAGE_SUFFIXES
from lifeiqa.runtime.images.formats import identify
from lifeiqa.runtime.sources.entries import Entry, head_of, reason
from lifeiqa.runtime.sources.names import as_bytes
from lifeiqa.runtime.sources.videos import VIDEO_SUFFIXES

_CACHES = frozenset(("@eadir", "__macosx", "thumbs.db"))  # of thumbnails and resource forks, beside those with a dot
_APPLE_DOUBLE = b"\x00\x05\x16\x07"


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name, without its path, is left out unless asked for."""
    return name.startswith(".") or name.lower() in _CACHES


def listed(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, in the order of the bytes of the names. Raises `OSError`."""
    with os.scandir(folder or ".") as found:
        return sorted(found, key=lambda item: as_bytes(item.name))


def folder_id(path: str) -> tuple[int, int]:
    """The same for a folder and for every link to it. Raises `OSError`."""
    status = os.stat(path or ".")  # noqa: PTH116 - accept any text
    return status.st_dev, status.st_ino


def walk(top: str, hidden: bool, videos: bool, passed_over: Counter[str]) -> Iterator[Entry]:
    """Yields what is to be scored of a folder, depth first, each folder once however many links lead to it.

    Args:
        top: the folder.
        hidden: whether to look at hidden files and folders.
        videos: whether to yield videos.
        passed_over: counts, by kind, what is not yielded.
    """
    seen: set[tuple[int, int]] = set()
    levels: list[Iterator[os.DirEntry[str]]] = []

    def enter(folder: str) -> Iterator[Entry]:
        try:
            known = folder_id(folder)
            if known in seen:
                passed_over["repeated folder"] += 1
                return
            seen.add(known)
            levels.append(iter(listed(folder)))
        except OSError as error:
            yield Entry.of(folder, f"this folder cannot be read: {reason(error)}")

    yield from enter(top)
    while levels:
        item = next(levels[-1], None)
        if item is None:
            levels.pop()
        elif not hidden and is_hidden(item.name):
            passed_over["hidden"] += 1
        elif is_folder(item):
            yield from enter(item.path)
        else:
            found = _look_at(item, videos)
            if isinstance(found, Entry):
                yield found
            else:
                passed_over[found] += 1


def is_folder(item: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one."""
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def _look_at(item: os.DirEntry[str], videos: bool) -> Entry | str:
    """The entry of a file, or the kind that it is passed over as."""
    suffix = os.path.splitext(item.name)[1].lower()  # noqa: PTH122 - a Path for each of a million files takes longer
    try:
        if not item.is_file():
            if not item.is_symlink() or os.path.exists(item.path):  # noqa: PTH110
                return "pipe or device"  # never opened, it could wait for ever
            if suffix in IMAGE_SUFFIXES:
                return Entry.of(item.path, "a link to a file that is not there")
            return "broken link"
        head = head_of(item.path)
    except OSError as error:
        return Entry.of(item.path, f"cannot be read: {reason(error)}")
    form = identify(head, suffix)
    if form is None and head.startswith(_APPLE_DOUBLE):
        return "AppleDouble"
    # What has lost its first bytes goes by its suffix, for the reader to say so; .ts is also TypeScript's.
    is_video = form.family == "video" if form else suffix in VIDEO_SUFFIXES and suffix != ".ts"
    if is_video:
        return Entry.of(item.path, video=True) if videos else "video"
    if form.family == "picture" if form else suffix in IMAGE_SUFFIXES:
        return Entry.of(item.path)
    return form.name if form else "no picture"
