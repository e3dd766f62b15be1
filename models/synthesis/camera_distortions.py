"""What cameras and encoders do to a picture beside KADID-10k's types: video coding, too little light, sensor noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lifeiqa.models.synthesis.distortions import Picture
from lifeiqa.runtime.opencv import cv2

_BLOCK = 8
_DEAD_ZONE = 1 / 3  # of a step that is rounded down, as encoders do to save bits
_Plane = npt.NDArray[np.float32]


def _dct() -> _Plane:
    """The orthonormal DCT-II matrix (8, 8)."""
    k = np.arange(_BLOCK)
    matrix = np.sqrt(2 / _BLOCK) * np.cos((2 * k[None] + 1) * k[:, None] * np.pi / (2 * _BLOCK))
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


_DCT = _dct()


def video_coding(p: Picture, step: float, rng: np.random.Generator) -> Picture:
    """As H.264 at a low rate: half the chroma, transform coefficients in multiples of `step`, smoothed block edges."""
    height, width = p.shape[:2]
    padded = cv2.copyMakeBorder(p, 0, -height % 16, 0, -width % 16, cv2.BORDER_REPLICATE)
    planes = np.asarray(cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb), np.float32)
    coded = np.empty_like(planes)
    coded[:, :, 0] = _coded(planes[:, :, 0], step)
    for channel in (1, 2):
        small = cv2.resize(planes[:, :, channel], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        size = (planes.shape[1], planes.shape[0])
        coded[:, :, channel] = cv2.resize(_coded(np.asarray(small), step), size, interpolation=cv2.INTER_LINEAR)
    rgb = cv2.cvtColor(np.clip(np.rint(coded), 0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB)
    return np.ascontiguousarray(rgb[:height, :width], np.uint8)


def _coded(plane: npt.NDArray[Any], step: float) -> _Plane:
    rows, columns = plane.shape[0] // _BLOCK, plane.shape[1] // _BLOCK
    blocks = plane.astype(np.float32).reshape(rows, _BLOCK, columns, _BLOCK).transpose(0, 2, 1, 3)
    values = (_DCT @ blocks @ _DCT.T) / step
    kept = np.sign(values) * np.floor(np.abs(values) + 1 - 2 * _DEAD_ZONE)
    kept[..., 0, 0] = np.rint(values[..., 0, 0] * 2) / 2  # means are predicted, and so coded better than the rest
    decoded = np.asarray(_DCT.T @ (kept * step) @ _DCT, np.float32).transpose(0, 2, 1, 3).reshape(plane.shape)
    return _smoothed(_smoothed(decoded, step).T, step).T


def _smoothed(plane: _Plane, step: float) -> _Plane:
    """Draws the two sides of each vertical block edge together, where they differ by less than the coding explains."""
    out = plane.copy()
    edges = np.arange(_BLOCK, plane.shape[1], _BLOCK)
    jump = out[:, edges] - out[:, edges - 1]
    jump = np.where(np.abs(jump) < 0.6 * step, jump, 0)
    for distance, share in ((1, 0.35), (2, 0.15)):
        out[:, edges - distance] += share * jump
        out[:, edges + distance - 1] -= share * jump
    return out


def underexposure(p: Picture, light: float, rng: np.random.Generator) -> Picture:
    """`light` is the share of every value that is left."""
    return np.asarray(np.clip(np.rint(p * light), 0, 255), np.uint8)


def sensor_noise(p: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    """Standard deviation `sigma` of 255, alike in all channels or not, and as fine as pixels or a little coarser."""
    channels = 1 if rng.random() < 0.4 else 3
    noise = rng.standard_normal((*p.shape[:2], channels), np.float32)
    if rng.random() < 0.3:
        coarse = cv2.GaussianBlur(noise, (0, 0), 0.7).reshape(noise.shape)
        noise = (coarse / coarse.std()).astype(np.float32)
    return np.clip(np.rint(p + sigma * noise), 0, 255).astype(np.uint8)


# name -> (function, strength at levels 1 to 5), as in `distortions.DISTORTIONS`
CAMERA_DISTORTIONS = {
    "video_coding": (video_coding, (20.0, 36.0, 60.0, 95.0, 150.0)),
    "underexposure": (underexposure, (0.8, 0.6, 0.4, 0.22, 0.1)),
    "sensor_noise": (sensor_noise, (2.0, 4.0, 8.0, 14.0, 25.0)),
}
