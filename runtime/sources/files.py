"""Files, folders, globs and lists: what a user names on the command line, one picture after another."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.sources.images import IMAGE_SUFFIXES, read_image
from lifeiqa.runtime.sources.sample import Sample
from lifeiqa.runtime.sources.videos import VIDEO_SUFFIXES, video_samples


def samples(inputs: Iterable[str], stdin: TextIO, every: int = 1) -> Iterator[Sample]:
    """Yields the samples of files, folders, globs, videos, and of `-`: a list of those, a line each, on `stdin`.

    Never raises for bad input: what cannot be read is yielded with its error, and the next one follows.

    Args:
        inputs: as the user typed them.
        stdin: where `-` reads from; lines are taken as they come.
        every: of a video, only every n-th frame.
    """
    for name in inputs:
        if name == "-":
            lines = (line.rstrip("\r\n") for line in stdin)
            yield from samples((line for line in lines if line and line != "-"), stdin, every)
        else:
            yield from _expand(name, every)


def _expand(name: str, every: int) -> Iterator[Sample]:
    try:
        is_folder, exists = os.path.isdir(name), os.path.lexists(name)  # noqa: PTH112 - accept any text
    except ValueError:  # a NUL in the name
        is_folder = exists = False
    if is_folder:
        known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
        found = sorted(p for p in Path(name).rglob("*") if p.suffix.lower() in known and p.is_file())
        if not found:
            yield Sample(name, error="a folder without pictures or videos; name one that has some")
        for path in found:
            yield from _file(str(path), every)
    elif not exists and glob.has_magic(name):
        found_names = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - accept any pattern
        if not found_names:
            yield Sample(name, error="no file matches this pattern")
        for match in found_names:
            yield from _expand(match, every)
    else:
        yield from _file(name, every)


def _file(name: str, every: int) -> Iterator[Sample]:
    if Path(name).suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(name):  # noqa: PTH113 - accept any text
        yield from video_samples(name, every)
        return
    try:
        image = read_image(name)
    except ImageError as error:
        yield Sample(name, error=str(error))
    else:
        yield Sample(name, image.pixels, note=image.note)
