"""Turns what a user names on the command line into pictures to score, one after another."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import cv2

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.sources.images import IMAGE_SUFFIXES, UInt8Array, read_image, to_rgb

VIDEO_SUFFIXES = frozenset((".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"))


@dataclass(frozen=True)
class Sample:
    """One picture to score, or the reason why there is none.

    Attributes:
        source: file name, or a camera's address without its password.
        pixels: (H, W, 3) uint8 RGB, None where `error` is set.
        error: what went wrong and what to do about it.
        note: what had to be changed to get 8-bit RGB.
        frame: number in its stream, from 0; None for pictures.
        time_s: position in a video, or seconds since a camera was opened.
        age_s: for cameras, seconds since the frame arrived.
        dropped: for cameras, frames that came and went since the last sample, beyond those that nobody asked for.
    """

    source: str
    pixels: UInt8Array | None = None
    error: str | None = None
    note: str | None = None
    frame: int | None = None
    time_s: float | None = None
    age_s: float | None = None
    dropped: int | None = None


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
        yield from _video(name, every)
        return
    try:
        image = read_image(name)
    except ImageError as error:
        yield Sample(name, error=str(error))
    else:
        yield Sample(name, image.pixels, note=image.note)


def _video(name: str, every: int) -> Iterator[Sample]:
    capture = cv2.VideoCapture(name)
    try:
        if not capture.isOpened():
            yield Sample(name, error="not a video that OpenCV can decode; convert it, for example to H.264 in MP4")
            return
        expected, frame = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0
        while True:
            if not capture.grab():
                break
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if frame % every == 0:
                ok, bgr = capture.retrieve()
                if ok:
                    yield Sample(name, to_rgb(bgr), frame=frame, time_s=time_s)
                else:
                    yield Sample(name, error="the frame cannot be decoded", frame=frame, time_s=time_s)
            frame += 1
        # Containers estimate their frame count; a fiftieth less is no loss.
        if frame == 0 or frame < expected * 0.98 - 1:
            yield Sample(
                name, error=f"the video ends after {frame} of {expected} frames; copy it again from its source"
            )
    finally:
        capture.release()
