"""The built-in picture of the self-test, the same in every version of every library: integers, no file, no chance."""

from __future__ import annotations

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array

WIDTH, HEIGHT = 640, 512  # the shorter side is the one that the packaged model reads: nothing is resized


def built_in_picture() -> UInt8Array:
    """(512, 640, 3) uint8 RGB: slopes of colour, discs and bars with sharp edges, stripes, and grain."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green, blue = 60 + x // 5, 190 - y // 4, 110 + (x + y) // 16
    planes = np.stack([red, green, blue], axis=2)
    for row in range(4):
        for column in range(5):
            where = (x - 64 - 128 * column) ** 2 + (y - 64 - 128 * row) ** 2 < (24 + 6 * row + 4 * column) ** 2
            planes[where] = (40 + 50 * column, 220 - 45 * row, 30 + 37 * ((3 * row + column) % 6))
    planes[((x + 2 * y) % 160 < 12) & (y > 128)] = (235, 225, 205)
    planes[(x * x // 640 + y) % 23 < 3] -= 28
    grain = ((x * 7919 + y * 104729 + x * y * 31) ^ (x * 13 + y * 7)) % 17
    planes += grain[:, :, np.newaxis] - 8
    return planes.clip(0, 255).astype(np.uint8)


def doubled(pixels: UInt8Array) -> UInt8Array:
    """(2H, 2W, 3): each pixel four times. Halved again by area, it is the same to the bit, however an OpenCV rounds."""
    return pixels.repeat(2, axis=0).repeat(2, axis=1)
