"""The frames of a video file, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lifeiqa.runtime.opencv import cv2, to_rgb
from lifeiqa.runtime.sources.sample import Sample

VIDEO_SUFFIXES = frozenset((".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"))


def video_samples(path: str, name: str, every: int = 1) -> Iterator[Sample]:
    """Yields every n-th frame; what cannot be decoded, and a video that ends early, as samples with an error.

    Args:
        path: the file, as the operating system takes it.
        name: the source of the samples.
        every: n.
    """
    with _captured(path) as capture:
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


@contextmanager
def _captured(path: str) -> Iterator[cv2.VideoCapture]:
    try:
        plain = path.encode() == os.fsencode(path)
    except UnicodeEncodeError:
        plain = False
    with ExitStack() as stack:
        capture = cv2.VideoCapture()
        stack.callback(capture.release)
        with suppress(OSError):
            # OpenCV takes names in UTF-8 alone, and crashes on others.
            address = path if plain else f"/dev/fd/{stack.enter_context(Path(path).open('rb')).fileno()}"
            capture.open(address)
        yield capture
