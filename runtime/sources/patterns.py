"""Patterns such as `photos/**/*.jpg`, for shells that leave them as they are."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from glob import has_magic

from lifeiqa.runtime.sources.folders import folder_id, is_folder, is_hidden, listed


def matches(pattern: str, hidden: bool) -> Iterator[str]:
    """Yields the files and folders of a pattern, in the order of their names; hidden ones where its part has a dot too.

    `**` stands for any number of folders. A part that exists as it stands, brackets and stars in it, is that file or
    folder. (`glob` of the standard library knows neither that nor links that lead round, and before Python 3.11 nothing
    of hidden files.)
    """
    drive, rest = os.path.splitdrive(pattern)  # a Path would take ./ away
    first, *parts = re.split(f"[{re.escape(os.sep + (os.altsep or ''))}]+", rest)
    start = drive if first else drive + os.sep
    yield from _expand(start, [part for part in (first, *parts) if part], hidden, set())


def _expand(folder: str, parts: list[str], hidden: bool, seen: set[tuple[int, int, int]]) -> Iterator[str]:
    """`seen` holds the folders that a `**` was tried in, with how many parts follow it."""
    if not parts:
        yield folder or os.curdir
        return
    part, rest = parts[0], parts[1:]
    as_it_stands = os.path.join(folder, part)  # noqa: PTH118
    try:
        if os.path.lexists(as_it_stands):
            yield from _expand(as_it_stands, rest, hidden, seen)
        elif part == "**":
            key = (len(rest), *folder_id(folder))
            if key not in seen:
                seen.add(key)
                yield from _expand(folder, rest, hidden, seen)
                for item in listed(folder) if rest else ():  # what ends in ** is the folder, with all that is in it
                    if (hidden or not is_hidden(item.name)) and is_folder(item):
                        yield from _expand(os.path.join(folder, item.name), parts, hidden, seen)  # noqa: PTH118
        elif has_magic(part):
            for item in listed(folder):
                if fnmatch.fnmatch(item.name, part) and (hidden or part.startswith(".") or not is_hidden(item.name)):
                    yield from _expand(os.path.join(folder, item.name), rest, hidden, seen)  # noqa: PTH118
    except (OSError, ValueError):  # what cannot be listed holds no match, as in a shell
        return
