"""The frames of a video file, one after another."""

from __future__ import annotations

from collections.abc import Iterator

from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.sources.images import to_rgb
from lifeiqa.runtime.sources.sample import Sample

VIDEO_SUFFIXES = frozenset((".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"))


def video_samples(name: str, every: int = 1) -> Iterator[Sample]:
    """Yields every n-th frame; what cannot be decoded, and a video that ends early, as samples with an error."""
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
