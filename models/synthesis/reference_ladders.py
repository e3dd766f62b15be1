"""Ladders made on the fly of good photographs, for their order: references of many kinds, distortions of all sorts.

The photograph may first become a picture of another kind: grey, infrared, dim, foggy, of other tones, or it gives way
to a page of text. That is no distortion; what is done to it then is. How far levels are apart is a guess that asks for
little: the ranking loss wants a part of it, and people's labels decide the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lifeiqa.models.synthesis.camera_distortions import CAMERA_DISTORTIONS
from lifeiqa.models.synthesis.distortions import COLOR_TYPES, DISTORTIONS, LEVELS, Picture, without_color
from lifeiqa.models.synthesis.ladders import LADDERS
from lifeiqa.models.synthesis.on_the_fly import augment
from lifeiqa.models.synthesis.reference_kinds import dim, foggy, infrared, page

# How much worse levels 0 to 5 are, in shares of the scale: of what always costs, and of what may pass when it is mild.
_PLAIN = (0.0, 0.06, 0.14, 0.26, 0.42, 0.6)
_LENIENT = (0.0, 0.015, 0.05, 0.11, 0.2, 0.34)
# type -> how often, how much worse. Without hue and saturation: a picture without colour is no distortion.
_TYPES = {
    "gaussian_blur": (3.0, _PLAIN),
    "lens_blur": (2.0, _PLAIN),
    "motion_blur": (2.0, _PLAIN),
    "down_up": (2.0, _PLAIN),
    "jpeg": (3.0, _PLAIN),
    "jpeg2000": (2.0, _PLAIN),
    "video_coding": (2.0, _PLAIN),
    "white_noise": (2.0, _PLAIN),
    "color_noise": (1.0, _PLAIN),
    "sensor_noise": (3.0, _PLAIN),
    "impulse_noise": (1.0, _PLAIN),
    "multiplicative_noise": (1.0, _PLAIN),
    "denoise": (1.0, _PLAIN),
    "pixelate": (1.0, _PLAIN),
    "jitter": (1.0, _PLAIN),
    "quantization": (1.0, _LENIENT),
    "darken": (3.0, _LENIENT),
    "underexposure": (2.0, _PLAIN),
    "brighten": (1.0, _LENIENT),
    "mean_shift": (1.0, _LENIENT),
    "contrast_loss": (3.0, _LENIENT),
    "sharpen": (0.5, _LENIENT),
    "patch_displacement": (0.5, _LENIENT),
    "color_block": (0.5, _PLAIN),
    "color_shift": (1.0, _LENIENT),
    "color_diffusion": (0.5, _LENIENT),
    "lab_saturation": (0.5, _LENIENT),
}
_APPLY = {**DISTORTIONS, **CAMERA_DISTORTIONS, "down_up": LADDERS["down_up"]}
_UNCOLORED = frozenset(_TYPES) - COLOR_TYPES
_SHARP = frozenset(("gaussian_blur", "lens_blur", "motion_blur", "down_up", "jpeg", "jpeg2000", "video_coding"))
_NOISY = frozenset(("white_noise", "sensor_noise", "multiplicative_noise"))
# kind -> share of the ladders, the types that suit it
_KINDS = {
    "photograph": (0.39, frozenset(_TYPES)),
    "other tones": (0.15, frozenset(_TYPES)),
    "grey": (0.18, _UNCOLORED),
    "infrared": (0.1, _UNCOLORED),
    "dim": (0.05, _SHARP | _NOISY),
    "foggy": (0.03, _UNCOLORED),
    "page": (0.1, _SHARP | _NOISY | {"contrast_loss", "underexposure", "pixelate", "jitter"}),
}
_MIN_DIFFERENCE = 0.25  # mean difference, of 255, below which two levels look the same: none of them is the worse
PAGE_SCORE = 0.72  # label of a page as it was drawn: that of a good photograph
PAGE_FALL = 1.6  # times what a photograph loses: letters that are blurred or blocky cannot be read
INFRARED_COST = 0.08  # of what the photograph is rated


class MadeLadder(NamedTuple):
    """L pictures of one content.

    Attributes:
        crops: each (S, S, 3) uint8 RGB.
        scores: on 0-1; their order and about their distances are meant, not their height.
        weights: of the scores as they are; above 0 for an undistorted picture that people would rate as it says.
    """

    crops: list[Picture]
    scores: list[float]
    weights: list[float]


def make_ladder(window: Picture, score: float, count: int, rng: np.random.Generator) -> MadeLadder:
    """Distorts a window of a good photograph, or what is made of it first, at `count` different strengths.

    Args:
        window: (S, S, 3) uint8 RGB, S at least 64.
        score: of the photograph, on 0-1.
        count: pictures of the ladder, 2 to 6.
        rng: everything random comes from here.
    """
    kind = _drawn({name: share for name, (share, _) in _KINDS.items()}, rng)
    top, score, weight = _reference(window, score, kind, rng)
    name = _drawn({name: often for name, (often, _) in _TYPES.items() if name in _KINDS[kind][1]}, rng)
    apply, strengths = _APPLY[name]
    levels = np.sort(rng.permutation(len(LEVELS) + 1)[:count]).astype(float)
    levels = np.where(levels > 0, np.minimum(levels + rng.uniform(-0.4, 0.4, count), len(LEVELS)), 0.0)
    seed = int(rng.integers(1 << 31))  # one for all levels: they share direction and sign
    crops, scores, weights = list[Picture](), list[float](), list[float]()
    for level in levels:
        crop = apply(top, _strength(level, strengths), np.random.default_rng(seed)) if level else top
        fall = float(np.interp(level, (0, *LEVELS), _TYPES[name][1]))
        if kind == "page" and name in _SHARP:
            fall = min(PAGE_FALL * fall, PAGE_SCORE)
        alike = crops and np.abs(crop.astype(np.int16) - crops[-1]).mean() < _MIN_DIFFERENCE
        scores.append(scores[-1] if alike else score - fall)
        weights.append(0.0 if level else weight)
        crops.append(np.ascontiguousarray(crop))
    return MadeLadder(crops, scores, weights)


def _drawn(shares: dict[str, float], rng: np.random.Generator) -> str:
    names = sorted(shares)
    weights = np.array([shares[name] for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _reference(window: Picture, score: float, kind: str, rng: np.random.Generator) -> tuple[Picture, float, float]:
    """The undistorted picture, its score, and the weight of that."""
    if kind == "photograph":
        return window, score, 1.0
    if kind == "grey":
        return without_color(window), score, 1.0
    if kind == "infrared":
        return infrared(window, rng), score - INFRARED_COST, 0.5
    if kind == "page":
        return page(len(window), rng), PAGE_SCORE, 0.5
    make = {"other tones": augment, "dim": dim, "foggy": foggy}[kind]
    return make(window, rng), score, 0.0


def _strength(level: float, strengths: tuple[float, ...]) -> float:
    """Between those of whole levels; below level 1 as the first two go on, but no less than half of the first."""
    first, second = strengths[:2]
    if level < 1:
        return max(first - (1 - level) * (second - first), first / 2)
    return float(np.interp(level, LEVELS, strengths))
