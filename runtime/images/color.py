"""Brings colours that are not sRGB to sRGB: ICC profiles, the gamma and primaries of a PNG, the codes of a video."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageCms

from lifeiqa.runtime.arrays import UInt8Array

FloatArray = npt.NDArray[np.float64]
Primaries = tuple[float, float, float, float, float, float, float, float]  # x, y of red, green, blue and white

_D65 = (0.3127, 0.3290)
SRGB_PRIMARIES: Primaries = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
ADOBE_RGB_PRIMARIES: Primaries = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65)
ADOBE_RGB_GAMMA = 563 / 256
# ITU-T H.273, table 2: those that differ from BT.709, which is sRGB's.
_PRIMARIES_BY_CODE: dict[int, Primaries] = {
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
}
_REFERENCE_WHITE = 203.0  # cd/m2, of a picture with high dynamic range (ITU-R BT.2408)
_PROFILE_TOLERANCE = 2  # levels of 255: a profile whose colours differ by no more is sRGB


class Encoding(NamedTuple):
    """How samples become light.

    Attributes:
        linear: from samples in 0-1 to light, 1 at white.
        primaries: chromaticities of the three colours and of white.
        note: what is lost on the way to sRGB, or None.
    """

    linear: Callable[[FloatArray], FloatArray]
    primaries: Primaries = SRGB_PRIMARIES
    note: str | None = None


def power(exponent: float, primaries: Primaries = SRGB_PRIMARIES) -> Encoding:
    """Light is the sample to the power of `exponent`."""
    return Encoding(lambda v: v**exponent, primaries)


def png_encoding(gamma: float | None, primaries: Primaries | None) -> Encoding | None:
    """What gAMA and cHRM say (PNG, 11.3.2): None where that is sRGB within rounding.

    Args:
        gamma: of the file: samples are light to the power of it. None where it does not say.
        primaries: the same.
    """
    own = primaries is not None and _solvable(primaries) and np.abs(np.subtract(primaries, SRGB_PRIMARIES)).max() > 0.01
    curved = gamma is not None and 0.1 <= gamma <= 10 and abs(gamma - 1 / 2.2) > 0.02
    if not own and not curved:
        return None
    space = primaries if own and primaries is not None else SRGB_PRIMARIES
    return power(1 / gamma, space) if curved and gamma is not None else Encoding(_from_srgb, space)


def coded_encoding(primaries: int, transfer: int) -> Encoding | None:
    """What code points of ITU-T H.273 say, as AVIF, HEIF and PNG's cICP have them; None where that is sRGB."""
    space = _PRIMARIES_BY_CODE.get(primaries)
    curve, note = _CURVES_BY_CODE.get(transfer, (None, None))
    if space is None and curve is None:
        return None
    return Encoding(curve or _from_srgb, space or SRGB_PRIMARIES, note)


def to_srgb(samples: UInt8Array | npt.NDArray[np.uint16], encoding: Encoding) -> UInt8Array:
    """Converts (H, W, C) samples, 8 or 16 bits, C of 1 or 3, to sRGB with 8. Colours beyond it are clipped."""
    most = np.iinfo(samples.dtype).max
    table = encoding.linear(np.arange(most + 1) / most).clip(0, 1).astype(np.float32)
    light = table[samples]
    if samples.shape[2] == 3 and encoding.primaries != SRGB_PRIMARIES:
        matrix = np.linalg.inv(_to_xyz(SRGB_PRIMARIES)) @ _to_xyz(encoding.primaries)
        light = light @ matrix.T.astype(np.float32)
    steps = 65535
    encoded = (_to_srgb(np.arange(steps + 1) / steps) * 255).round().astype(np.uint8)
    return np.asarray(encoded[(light.clip(0, 1) * steps + 0.5).astype(np.uint16)], np.uint8)


def with_profile(image: PIL.Image.Image, profile: bytes) -> tuple[PIL.Image.Image | None, str | None]:
    """Converts an image of mode L, RGB, CMYK or LAB to sRGB by its ICC profile.

    Returns:
        an image of mode RGB, or None where the profile is sRGB or cannot be used; and a note on the second.
    """
    for mode in dict.fromkeys((image.mode, "RGB") if image.mode == "L" else (image.mode,)):
        try:
            transform = _transform(profile, mode)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            continue
        if transform is None:
            return None, None
        return ImageCms.applyTransform(image.convert(mode), transform), None
    return None, "colour profile cannot be used"


def from_lab(image: PIL.Image.Image) -> PIL.Image.Image:
    """An image of mode LAB in sRGB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB")) or image.convert("RGB")


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """To RGB; None where it changes next to nothing. Raises what ImageCms does for a profile of another mode."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode not in ("L", "RGB"):
        return transform
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 18, 3)
    sample = PIL.Image.fromarray(levels[:, None] if mode == "L" else colors)
    changed = ImageCms.applyTransform(sample, transform)
    if changed is None:
        return transform
    difference = np.asarray(sample.convert("RGB"), np.int16) - np.asarray(changed, np.int16)
    return None if np.abs(difference).max() <= _PROFILE_TOLERANCE else transform


def _from_srgb(v: FloatArray) -> FloatArray:
    """IEC 61966-2-1."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _to_srgb(light: FloatArray) -> FloatArray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _from_pq(v: FloatArray) -> FloatArray:
    """SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = v ** (1 / m2)
    return 10000 / _REFERENCE_WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def _from_hlg(v: FloatArray) -> FloatArray:
    """ITU-R BT.2100, with its reference white, 75 % of the signal, at 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    white = (np.exp((0.75 - c) / a) + b) / 12
    return np.asarray((scene / white) ** 1.2)


_HDR_NOTE = "high dynamic range clipped at white"
_CURVES_BY_CODE: dict[int, tuple[Callable[[FloatArray], FloatArray], str | None]] = {
    4: (lambda v: v**2.2, None),
    5: (lambda v: v**2.8, None),
    8: (lambda v: v, None),
    16: (_from_pq, _HDR_NOTE),
    18: (_from_hlg, _HDR_NOTE),
}


def _solvable(primaries: Primaries) -> bool:
    x, y = np.asarray(primaries)[::2], np.asarray(primaries)[1::2]
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return bool(np.isfinite(primaries).all() and (y > 0.01).all() and abs(area) > 0.01)


def _to_xyz(primaries: Primaries) -> FloatArray:
    """The matrix from light of three colours to XYZ relative to white, adapted to D65 (von Kries in Bradford's)."""
    xy = np.asarray(primaries, np.float64).reshape(4, 2)
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(axis=1)) / xy[:, 1]])
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d65 = np.array([_D65[0] / _D65[1], 1.0, (1 - sum(_D65)) / _D65[1]])
    adapt = np.linalg.solve(bradford, np.diag((bradford @ d65) / (bradford @ xyz[:, 3])) @ bradford)
    return np.asarray(adapt @ matrix)
