"""What people expect of a picture quality score: every check of `benchmarks/behaviour.py`, with its limits.

The only place where they stand. Scores are raw, from 0 to 100, higher better. To change a limit, change its number;
to drop a check for a kind of picture, take the kind out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Pictures that each check is made on; nothing was trained on any of them.
KINDS = {
    "colour": "photographs",
    "grey": "the same photographs without colour, and one that never had any",
    "infrared": "the same photographs as a night camera with its own lamp sees them",
    "page": "a photographed page and handwriting, and pages drawn with a TrueType font",
    "flat": "one value everywhere: grey, black, white",
    "covered": "a lens behind a hand: dark, without any edge, with grain",
    "noise": "noise alone, Gaussian around grey or uniform",
}


@dataclass(frozen=True)
class Check:
    """One thing that is expected.

    Attributes:
        name: as the table shows it.
        expected: what is expected, and of which change, in a sentence.
        unit: "share" of pairs, over all pictures; "score" of a picture; "change" of its score in points.
        bound: how a limit is meant. The picture nearest to breaking it counts: the lowest for "at least", the highest
            for "at most", the farthest from 0 for "within".
        limits: by kind of picture; a kind without one is not checked.
    """

    name: str
    expected: str
    unit: Literal["share", "score", "change"]
    bound: Literal["at least", "at most", "within"]
    limits: dict[str, float]


CHECKS = (
    Check(
        "levels in order",
        "Of two neighbouring levels of blur, defocus, motion, noise, JPEG or darkness, the worse has the lower score.",
        "share",
        "at least",
        {"colour": 0.96, "grey": 0.96, "infrared": 0.9, "page": 0.9},
    ),
    Check(
        "H.264 in order",
        "The same for a still picture that libx264 encoded at rising CRF; on a page, little shows. Needs ffmpeg.",
        "share",
        "at least",
        {"colour": 0.9, "grey": 0.9, "infrared": 0.9, "page": 0.8},
    ),
    Check(
        "undistorted",
        "A sharp, clean picture has a good score.",
        "score",
        "at least",
        {"colour": 55, "grey": 50, "infrared": 40, "page": 50},
    ),
    Check(
        "blurred",
        "Clear blur, Gaussian with a sigma of 2.5 pixels, costs.",
        "change",
        "at most",
        {"colour": -10, "grey": -10, "infrared": -10, "page": -10},
    ),
    Check(
        "without colour",
        "A photograph without its colour is about as good.",
        "change",
        "at least",
        {"colour": -10},
    ),
    Check(
        "dark, noise of 2",
        "With 12 % of the light, noise with a sigma of 2 of 255 makes nothing better.",
        "change",
        "at most",
        {"colour": 1, "grey": 1},
    ),
    Check(
        "dark, noise of 5",
        "With 12 % of the light, noise with a sigma of 5 of 255 costs.",
        "change",
        "at most",
        {"colour": -3, "grey": -3},
    ),
    Check(
        "noise of 8",
        "In infrared light, noise with a sigma of 8 of 255 costs.",
        "change",
        "at most",
        {"infrared": -3},
    ),
    Check(
        "mirrored",
        "Left and right do not matter.",
        "change",
        "within",
        {"colour": 5, "grey": 5, "infrared": 5, "page": 5},
    ),
    Check(
        "JPEG 95",
        "A good JPEG copy, of quality 95, is about as good.",
        "change",
        "within",
        {"colour": 5, "grey": 5, "infrared": 5, "page": 5},
    ),
    Check(
        "black bars",
        "Bars of an eighth of the height above and below are no distortion.",
        "change",
        "within",
        {"colour": 10, "grey": 10, "infrared": 10, "page": 10},
    ),
    Check(
        "brighter by 20",
        "A picture that is brighter by 20 of 255 is about as good.",
        "change",
        "within",
        {"colour": 10, "grey": 10, "infrared": 10, "page": 10},
    ),
    Check(
        "shows nothing",
        "A picture that shows nothing has a bad score.",
        "score",
        "at most",
        {"flat": 30, "covered": 30, "noise": 30},
    ),
)
