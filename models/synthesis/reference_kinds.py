"""Undistorted pictures of other kinds than colour photographs: infrared, dim, foggy, pages and screens of text."""

from __future__ import annotations

import string

import numpy as np

from lifeiqa.models.synthesis.camera_distortions import underexposure
from lifeiqa.models.synthesis.distortions import Picture
from lifeiqa.runtime.opencv import cv2

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)
_LETTERS = np.array(list(string.ascii_lowercase * 3 + string.ascii_uppercase + string.digits))
_LIGHT = ((255, 255, 255), (250, 248, 240), (236, 240, 244), (244, 236, 218))
_DARK = ((18, 18, 20), (30, 30, 46), (0, 43, 54), (12, 12, 12))


def infrared(p: Picture, rng: np.random.Generator) -> Picture:
    """As a night camera with its own lamp sees: one channel, bright in the middle, dark towards the edges."""
    weights = rng.dirichlet((4.0, 2.0, 2.0))
    grey = p.astype(np.float32) @ weights.astype(np.float32)
    height, width = grey.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cy, cx = rng.uniform(0.3, 0.7, 2) * (height, width)
    far = np.hypot(y - cy, x - cx) / np.hypot(height, width)
    light = rng.uniform(0.55, 1.0) * np.exp(-rng.uniform(0.5, 4.0) * far**2)
    return np.repeat(np.clip(np.rint(grey * light), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def dim(p: Picture, rng: np.random.Generator) -> Picture:
    """With a tenth to two fifths of the light."""
    return underexposure(p, rng.uniform(0.1, 0.4), rng)


def foggy(p: Picture, rng: np.random.Generator) -> Picture:
    """Behind fog whose density changes smoothly."""
    height, width = p.shape[:2]
    corners = rng.uniform(0.2, 0.8, (2, 2)).astype(np.float32)
    density = np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)[:, :, None]
    fog = rng.uniform(150, 235) + rng.uniform(-6, 6, 3)
    return np.clip(np.rint((1 - density) * p + density * fog), 0, 255).astype(np.uint8)


def page(side: int, rng: np.random.Generator) -> Picture:
    """A window (side, side, 3) of a printed page or of a screen with text: lines of words, headings, rules, a panel."""
    on_screen = rng.random() < 0.4
    papers, inks = (_DARK, _LIGHT) if on_screen and rng.random() < 0.6 else (_LIGHT, _DARK)
    picture = np.full((side, side, 3), papers[rng.integers(len(papers))], np.uint8)
    ink = inks[rng.integers(len(inks))]
    font, size = _FONTS[rng.integers(len(_FONTS))], rng.uniform(0.35, 0.8)
    size *= 1.8 if font == cv2.FONT_HERSHEY_PLAIN else 1.0
    left, y = int(rng.integers(-40, 24)), int(rng.integers(0, 20))
    while y < side + 20:
        heading = rng.random() < 0.1
        scale, weight = (1.5 * size, 2) if heading else (size, 1)
        line = int(rng.uniform(26, 38) * scale / (1.8 if font == cv2.FONT_HERSHEY_PLAIN else 1.0))
        y += max(line, 8)
        what = rng.random()
        if what < 0.06:
            cv2.line(picture, (left, y - line // 2), (side, y - line // 2), ink, 1)
        elif what < 0.12:
            panel = tuple(int(value) for value in rng.integers(60, 230, 3))
            cv2.rectangle(picture, (max(left, 4), y - line), (int(side * rng.uniform(0.4, 0.9)), y + line), panel, -1)
            y += line
        elif what < 0.92:
            color = tuple(int(value) for value in rng.integers(0, 256, 3)) if on_screen and rng.random() < 0.3 else ink
            indent = 16 * int(rng.integers(4)) if on_screen else 0
            cv2.putText(picture, _words(rng), (left + indent, y), font, scale, color, weight, cv2.LINE_AA)
    return picture


def _words(rng: np.random.Generator) -> str:
    lengths = rng.integers(1, 10, int(rng.integers(2, 12)))
    return " ".join("".join(rng.choice(_LETTERS, length)) for length in lengths)
