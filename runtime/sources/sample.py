"""One picture on its way to a score."""

from __future__ import annotations

from dataclasses import dataclass

from lifeiqa.runtime.arrays import UInt8Array


@dataclass(frozen=True)
class Sample:
    """One picture to score, or the reason why there is none.

    Attributes:
        source: file name, see `names.printable`, or a camera's address without its password.
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
