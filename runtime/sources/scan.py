"""Finds what is to be scored: files, folders, patterns, URIs, and lists of them."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from glob import has_magic
from itertools import chain

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images.formats import identify
from lifeiqa.runtime.sources.entries import Entry, head_of, reason
from lifeiqa.runtime.sources.folders import walk
from lifeiqa.runtime.sources.lists import beginning, chunks_of, is_list, names_in, not_text, text_names
from lifeiqa.runtime.sources.names import as_bytes, from_printable, printable
from lifeiqa.runtime.sources.patterns import matches
from lifeiqa.runtime.sources.remote import is_uri, remote_entries
from lifeiqa.runtime.sources.videos import VIDEO_SUFFIXES


class Scan:
    """The entries of some inputs, found as they are asked for, always in the same order. Nothing is decoded.

    What is named, or matches a pattern, is an entry whatever it is. In folders the content decides, and the rest is
    counted.

    Attributes:
        passed_over: of the latest iteration, how many files and folders of each kind were not yielded.
    """

    def __init__(
        self, inputs: Iterable[str], stdin: io.BufferedReader | None = None, hidden: bool = False, videos: bool = False
    ) -> None:
        """Looks at the head of every list, so that a column that is missing is told before hours of work.

        Args:
            inputs: as the user typed them; `-` is a list, or one picture, on `stdin`.
            stdin: read as its bytes come; None where there is none.
            hidden: whether hidden files and folders count, AppleDouble files and thumbnails among them.
            videos: whether to yield the videos of folders; those that are named are.

        Raises:
            UsageError: a list has no column of names.
            MissingError: a list needs a package that is not installed.
        """
        self.passed_over: Counter[str] = Counter()
        self._inputs, self._stdin, self._hidden, self._videos = list(inputs), stdin, hidden, videos
        for name in self._inputs:
            path = _existing(name)
            if name != "-" and path is not None and is_list(path):
                with contextlib.suppress(OSError, ImageError):
                    next(names_in(path), None)

    def __iter__(self) -> Iterator[Entry]:
        self.passed_over.clear()
        for name in self._inputs:
            yield from self._standard_input() if name == "-" else self._named(name)

    def _standard_input(self) -> Iterator[Entry]:
        if self._stdin is None:
            return
        try:
            chunks = chunks_of(self._stdin)
            head = beginning(chunks)
            form = not_text(head)
            if form is None:
                for name in text_names(chain([head], chunks)):
                    yield from self._in_list(name, "")
            elif form.family == "video":
                yield Entry("-", error="a video, which cannot be read from standard input; save it as a file")
            else:
                yield Entry("-", data=head + self._stdin.read())
        except OSError as error:
            yield Entry("-", error=f"standard input cannot be read: {reason(error)}")

    def _named(self, name: str) -> Iterator[Entry]:
        path = _existing(name)
        if path is not None and is_list(path):
            yield from self._list(path)
        else:
            yield from self._path(name, path)

    def _list(self, path: str) -> Iterator[Entry]:
        folder = os.path.dirname(path)  # noqa: PTH120 - accept any text
        try:
            for name in names_in(path):
                yield from self._in_list(name, folder)
        except OSError as error:
            yield Entry.of(path, f"cannot be read: {reason(error)}")
        except ImageError as error:
            yield Entry.of(path, str(error))

    def _in_list(self, name: str, folder: str) -> Iterator[Entry]:
        path = _existing(name)
        if path is None and folder and not is_uri(name):
            beside = os.path.join(folder, name)  # noqa: PTH118
            path = _existing(beside)
            if path is None and has_magic(name) and next(matches(name, self._hidden), None) is None:
                name = beside
        if name == "-" or (path is not None and is_list(path)):
            yield Entry.of(path or name, "a list in a list, which is not followed; name it on the command line")
        else:
            yield from self._path(name, path)

    def _path(self, name: str, path: str | None) -> Iterator[Entry]:
        """What a name stands for, `path` being what exists of that name."""
        if path is not None:
            yield from self._folder(path) if os.path.isdir(path) else [_file(path)]  # noqa: PTH112
        elif is_uri(name):
            found = remote_entries(name, self._hidden, self.passed_over)
            yield from self._with_pictures(Entry.of_uri(name), found)
        elif not has_magic(name):
            yield Entry.of(name)  # whoever reads it says what is wrong
        else:
            matched = False
            for match in matches(name, self._hidden):
                matched = True
                yield from self._folder(match) if os.path.isdir(match) else [_file(match)]  # noqa: PTH112
            if not matched:
                yield Entry(printable(name), error="no file matches this pattern")

    def _folder(self, path: str) -> Iterator[Entry]:
        yield from self._with_pictures(Entry.of(path), walk(path, self._hidden, self._videos, self.passed_over))

    def _with_pictures(self, folder: Entry, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The entries of a folder; where it has none, an error instead."""
        videos, found = self.passed_over["video"], False
        for entry in entries:
            found = True
            yield entry
        if not found:
            videos = self.passed_over["video"] - videos
            way = "copy them to this machine" if folder.uri else "--videos scores them"
            advice = f", but with videos ({videos}); {way}" if videos else "; name one that has some"
            yield replace(folder, error=f"a folder without pictures{advice}")


def _existing(name: str) -> str | None:
    """The path of this name, or of what it is the printable form of; None where neither exists."""
    text = as_bytes(name).decode("utf-8", "surrogateescape")
    return next((path for path in (name, from_printable(text)) if os.path.lexists(path)), None)


def _file(path: str) -> Entry:
    form, regular = None, os.path.isfile(path)  # noqa: PTH113
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
    if regular:
        with contextlib.suppress(OSError):  # whoever reads it says why that fails
            form = identify(head_of(path), suffix)
    return Entry.of(path, video=form.family == "video" if form else regular and suffix in VIDEO_SUFFIXES)
