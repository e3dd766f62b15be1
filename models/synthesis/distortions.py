"""The 25 distortion types of KADID-10k at five levels each, as functions of a picture and a seed.

Types and, where they order quality monotonically, strengths follow KADID-10k (Lin, Hosu, Saupe, "KADID-10k: A
Large-scale Artificially Distorted IQA Database", QoMEX 2019). Two of its types have strengths that change sign
between levels (mean shift, contrast); here their magnitude grows with the level, so that a level always means
"worse than the level before".
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lifeiqa.runtime.opencv import cv2, to_rgb

Picture: TypeAlias = npt.NDArray[np.uint8]  # (H, W, 3) RGB
_Unit: TypeAlias = npt.NDArray[np.float32]  # (H, W, 3) RGB in 0..1
_Rng: TypeAlias = np.random.Generator

LEVELS = (1, 2, 3, 4, 5)
# Types that show, wholly or mostly, in colour: a grey copy of the picture would not deserve the same label.
COLOR_TYPES = frozenset(
    (
        "color_block",
        "color_diffusion",
        "color_quantization",
        "color_shift",
        "hsv_saturation",
        "lab_saturation",
    )
)
# Types that add to every channel what has nothing to do with the others: on a grey picture they show in colour.
NOISE_TYPES = frozenset(("white_noise", "color_noise", "impulse_noise", "multiplicative_noise"))
# Levels of types that a photograph may have without anybody having distorted it.
AMBIGUOUS = frozenset(
    (("darken", 1), ("darken", 2), ("darken", 3), ("mean_shift", 1), ("mean_shift", 2), ("sharpen", 1), ("sharpen", 2))
)


def without_color(picture: Picture) -> Picture:
    """Its luma (ITU-R BT.601) in all three channels."""
    return to_rgb(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def _to_unit(picture: Picture) -> _Unit:
    return picture.astype(np.float32) / 255.0


def _to_picture(unit: npt.NDArray[Any]) -> Picture:
    return np.clip(np.rint(unit * 255.0), 0, 255).astype(np.uint8)


def _to_lab(unit: _Unit) -> _Unit:
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), np.float32)


def _from_lab(lab: npt.NDArray[Any]) -> _Unit:
    return np.asarray(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB), np.float32)


def _codec(picture: Picture, extension: str, parameters: list[int]) -> Picture:
    """Encodes and decodes with one of OpenCV's codecs."""
    _, data = cv2.imencode(extension, picture[:, :, ::-1], parameters)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return to_rgb(decoded)


def gaussian_blur(p: Picture, sigma: float, rng: _Rng) -> Picture:
    """`sigma` in pixels."""
    return cv2.GaussianBlur(p, (0, 0), sigma).astype(np.uint8)


def lens_blur(p: Picture, radius: float, rng: _Rng) -> Picture:
    """A disc of `radius` pixels, as a lens out of focus draws it."""
    side = 2 * int(np.ceil(radius)) + 1
    y, x = np.mgrid[:side, :side] - side // 2
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return cv2.filter2D(p, -1, disc / disc.sum()).astype(np.uint8)


def motion_blur(p: Picture, length: float, rng: _Rng) -> Picture:
    """A line of `length` pixels either way, in a random direction."""
    side = 2 * int(np.ceil(length)) + 1
    kernel = np.zeros((side, side), np.float32)
    angle = rng.uniform(0, np.pi)
    for t in np.linspace(-length, length, 8 * side):
        x, y = side // 2 + t * np.cos(angle), side // 2 + t * np.sin(angle)
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            if 0 <= x0 + dx < side and 0 <= y0 + dy < side:
                kernel[y0 + dy, x0 + dx] += (1 - abs(x - x0 - dx)) * (1 - abs(y - y0 - dy))
    return cv2.filter2D(p, -1, kernel / kernel.sum()).astype(np.uint8)


def color_diffusion(p: Picture, sigma: float, rng: _Rng) -> Picture:
    """Blurs the chroma channels only."""
    lab = _to_lab(_to_unit(p))
    lab[:, :, 1:] = cv2.GaussianBlur(lab[:, :, 1:], (0, 0), 1.5 * sigma)
    return _to_picture(_from_lab(lab))


def color_shift(p: Picture, pixels: float, rng: _Rng) -> Picture:
    """Moves the green channel against the others, most where there are edges."""
    unit = _to_unit(p)
    angle = rng.uniform(0, 2 * np.pi)
    move = np.array([[1, 0, pixels * np.cos(angle)], [0, 1, pixels * np.sin(angle)]], np.float32)
    size = (p.shape[1], p.shape[0])
    unit[:, :, 1] = cv2.warpAffine(unit[:, :, 1], move, size, borderMode=cv2.BORDER_REFLECT_101)
    return _to_picture(unit)


def color_quantization(p: Picture, colors: float, rng: _Rng) -> Picture:
    """Reduces the picture to a palette found by k-means."""
    flat = p.reshape(-1, 3).astype(np.float32)
    sample = flat[rng.choice(len(flat), size=min(4096, len(flat)), replace=False)]
    criteria = (cv2.TERM_CRITERIA_MAX_ITER, 6, 0.0)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    empty = np.empty((0,), np.int32)
    _, _, palette = cv2.kmeans(sample, int(colors), empty, criteria, 1, cv2.KMEANS_PP_CENTERS)
    half_norm = 0.5 * np.sum(palette * palette, axis=1)
    nearest: npt.NDArray[np.float32] = palette[np.argmax(flat @ palette.T - half_norm, axis=1)]
    return nearest.reshape(p.shape).astype(np.uint8)


def hsv_saturation(p: Picture, factor: float, rng: _Rng) -> Picture:
    """Scales saturation; a negative factor also turns the hue by half a circle."""
    hsv = np.asarray(cv2.cvtColor(_to_unit(p), cv2.COLOR_RGB2HSV), np.float32)
    hsv[:, :, 1] = np.clip(hsv[:, :, 1] * abs(factor), 0, 1)
    if factor < 0:
        hsv[:, :, 0] = (hsv[:, :, 0] + 180.0) % 360.0
    return _to_picture(np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)))


def lab_saturation(p: Picture, factor: float, rng: _Rng) -> Picture:
    """Scales chroma in CIE Lab."""
    lab = _to_lab(_to_unit(p))
    lab[:, :, 1:] *= factor
    return _to_picture(_from_lab(lab))


def jpeg2000(p: Picture, ratio: float, rng: _Rng) -> Picture:
    """`ratio` is the compression ratio against 24 bits a pixel."""
    return _codec(p, ".jp2", [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, max(1, round(1000 / ratio))])


def jpeg(p: Picture, quality: float, rng: _Rng) -> Picture:
    """`quality` as libjpeg counts it, 1 to 100."""
    return _codec(p, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, int(quality)])


def white_noise(p: Picture, variance: float, rng: _Rng) -> Picture:
    """Gaussian, `variance` of values in 0..1."""
    return _to_picture(_to_unit(p) + np.sqrt(variance) * rng.standard_normal(p.shape, np.float32))


def color_noise(p: Picture, variance: float, rng: _Rng) -> Picture:
    """White noise added in YCbCr, stronger in the chroma channels."""
    ycc = np.asarray(cv2.cvtColor(_to_unit(p), cv2.COLOR_RGB2YCrCb), np.float32)
    noise = rng.standard_normal(p.shape, np.float32) * np.sqrt(variance)
    ycc += noise * np.array([1.0, 2.0, 2.0], np.float32)
    return _to_picture(np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)))


def impulse_noise(p: Picture, density: float, rng: _Rng) -> Picture:
    """Sets a share `density` of the samples to black or white."""
    out = p.copy()
    hit = rng.random(p.shape, np.float32) < density
    out[hit] = rng.integers(0, 2, int(hit.sum()), np.uint8) * np.uint8(255)
    return out


def multiplicative_noise(p: Picture, variance: float, rng: _Rng) -> Picture:
    """Gaussian noise in proportion to the value."""
    unit = _to_unit(p)
    return _to_picture(unit * (1 + np.sqrt(variance) * rng.standard_normal(p.shape, np.float32)))


def denoise(p: Picture, variance: float, rng: _Rng) -> Picture:
    """Noise, then a bilateral filter as strong as the noise: what phone cameras leave behind."""
    noisy = white_noise(p, variance, rng)
    spread = 255.0 * 3.0 * float(np.sqrt(variance))
    return cv2.bilateralFilter(noisy, 7, spread, 2.5).astype(np.uint8)


def _tone_curve(p: Picture, amount: float) -> Picture:
    """Bends the lightness curve: positive brightens, negative darkens, 0 changes nothing."""
    lab = _to_lab(_to_unit(p))
    lab[:, :, 0] = 100.0 * (lab[:, :, 0] / 100.0) ** np.exp(-amount)
    return _to_picture(_from_lab(lab))


def brighten(p: Picture, amount: float, rng: _Rng) -> Picture:
    """See `_tone_curve`."""
    return _tone_curve(p, amount)


def darken(p: Picture, amount: float, rng: _Rng) -> Picture:
    """See `_tone_curve`."""
    return _tone_curve(p, -amount)


def mean_shift(p: Picture, amount: float, rng: _Rng) -> Picture:
    """Adds a constant, upwards or downwards by a coin toss."""
    return _to_picture(_to_unit(p) + amount * (1 if rng.random() < 0.5 else -1))


def jitter(p: Picture, pixels: float, rng: _Rng) -> Picture:
    """Moves every pixel by a small random vector, several times over."""
    h, w = p.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = p
    for _ in range(3):
        dx, dy = (pixels * rng.standard_normal((2, h, w), np.float32)).astype(np.float32)
        out = cv2.remap(out, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8)
    return out


def patch_displacement(p: Picture, count: float, rng: _Rng) -> Picture:
    """Copies small patches a short way off (KADID-10k's non-eccentricity patch)."""
    out, side, reach = p.copy(), 16, 16
    h, w = p.shape[:2]
    for _ in range(int(count)):
        y, x = int(rng.integers(0, h - side)), int(rng.integers(0, w - side))
        ty = int(np.clip(y + rng.integers(-reach, reach + 1), 0, h - side))
        tx = int(np.clip(x + rng.integers(-reach, reach + 1), 0, w - side))
        out[ty : ty + side, tx : tx + side] = p[y : y + side, x : x + side]
    return out


def pixelate(p: Picture, block: float, rng: _Rng) -> Picture:
    """Squares of `block` pixels."""
    h, w = p.shape[:2]
    small = cv2.resize(p, (max(1, round(w / block)), max(1, round(h / block))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def quantization(p: Picture, steps: float, rng: _Rng) -> Picture:
    """Rounds every channel to a few equally spaced values."""
    return _to_picture(np.rint(_to_unit(p) * (steps - 1)) / (steps - 1))


def color_block(p: Picture, count: float, rng: _Rng) -> Picture:
    """Covers the picture with squares of random colour."""
    out, side = p.copy(), 32
    h, w = p.shape[:2]
    for _ in range(int(count)):
        y, x = int(rng.integers(0, h - side)), int(rng.integers(0, w - side))
        out[y : y + side, x : x + side] = rng.integers(0, 256, 3, np.uint8)
    return out


def sharpen(p: Picture, amount: float, rng: _Rng) -> Picture:
    """Unsharp masking beyond what looks natural."""
    unit = _to_unit(p)
    return _to_picture(unit + amount * (unit - cv2.GaussianBlur(unit, (0, 0), 1.5)))


def contrast_loss(p: Picture, amount: float, rng: _Rng) -> Picture:
    """Pulls every value towards the middle by the given share."""
    unit = _to_unit(p)
    return _to_picture(0.5 + (unit - 0.5) * (1 - amount))


_Apply: TypeAlias = Callable[[Picture, float, _Rng], Picture]

# name -> (function, strength at levels 1 to 5), in KADID-10k's order
DISTORTIONS: dict[str, tuple[_Apply, tuple[float, float, float, float, float]]] = {
    "gaussian_blur": (gaussian_blur, (0.6, 1.0, 1.7, 2.8, 5.0)),
    "lens_blur": (lens_blur, (1, 2, 4, 6, 8)),
    "motion_blur": (motion_blur, (1, 2, 4, 6, 10)),
    "color_diffusion": (color_diffusion, (1, 3, 6, 8, 12)),
    "color_shift": (color_shift, (1, 3, 6, 8, 12)),
    "color_quantization": (color_quantization, (64, 48, 32, 16, 8)),
    "hsv_saturation": (hsv_saturation, (0.6, 0.35, 0.15, 0.0, -0.4)),
    "lab_saturation": (lab_saturation, (1.5, 2, 3, 6, 9)),
    "jpeg2000": (jpeg2000, (16, 32, 45, 120, 170)),
    "jpeg": (jpeg, (43, 36, 24, 7, 4)),
    "white_noise": (white_noise, (0.001, 0.002, 0.004, 0.01, 0.03)),
    "color_noise": (color_noise, (0.001, 0.002, 0.004, 0.008, 0.02)),
    "impulse_noise": (impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.04)),
    "multiplicative_noise": (multiplicative_noise, (0.003, 0.008, 0.02, 0.05, 0.12)),
    "denoise": (denoise, (0.001, 0.002, 0.004, 0.01, 0.03)),
    "brighten": (brighten, (0.1, 0.2, 0.4, 0.7, 1.1)),
    "darken": (darken, (0.1, 0.2, 0.4, 0.7, 1.1)),
    "mean_shift": (mean_shift, (0.04, 0.08, 0.12, 0.18, 0.28)),
    "jitter": (jitter, (0.2, 0.4, 0.7, 1.1, 1.8)),
    "patch_displacement": (patch_displacement, (20, 40, 60, 80, 120)),
    "pixelate": (pixelate, (1.5, 2.3, 3.4, 5, 8)),
    "quantization": (quantization, (20, 14, 10, 7, 5)),
    "color_block": (color_block, (2, 4, 6, 8, 10)),
    "sharpen": (sharpen, (1, 2, 3, 6, 12)),
    "contrast_loss": (contrast_loss, (0.12, 0.25, 0.4, 0.58, 0.78)),
}


def distort(picture: Picture, name: str, level: int, seed: int) -> Picture:
    """Applies one distortion type at one level; the same arguments always give the same picture.

    Args:
        picture: (H, W, 3) uint8 RGB, at least 64 pixels on either side.
        name: a key of `DISTORTIONS`.
        level: 1 (mildest) to 5 (strongest). Levels of one seed share their random direction, angle and sign.
        seed: anything that tells pictures apart, such as the index of the reference.
    """
    apply, strengths = DISTORTIONS[name]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return np.ascontiguousarray(apply(picture, strengths[level - 1], rng))
