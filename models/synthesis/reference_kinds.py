"""Undistorted pictures of other kinds than colour photographs: infrared, dim, foggy, pages and screens of text."""

from __future__ import annotations

import string
from typing import NamedTuple

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
    """A window (side, side, 3) of a printed page or of a screen: lines of words, a table, or a few words alone."""
    on_screen = rng.random() < 0.4
    papers, inks = (_DARK, _LIGHT) if on_screen and rng.random() < 0.6 else (_LIGHT, _DARK)
    picture = np.full((side, side, 3), papers[rng.integers(len(papers))], np.uint8)
    ink = inks[rng.integers(len(inks))]
    font, size = _FONTS[rng.integers(len(_FONTS))], rng.uniform(0.35, 0.8)
    size *= 1.8 if font == cv2.FONT_HERSHEY_PLAIN else 1.0
    draw = _DRAW[int(rng.choice(len(_DRAW), p=_SHARES))]
    draw(picture, _Type(font, size, ink, on_screen), rng)
    return picture


class _Type(NamedTuple):
    """How words look."""

    font: int
    size: float
    ink: tuple[int, int, int]
    on_screen: bool

    def line(self, scale: float, rng: np.random.Generator) -> int:
        """Pixels from one line to the next."""
        return max(8, int(rng.uniform(26, 38) * scale / (1.8 if self.font == cv2.FONT_HERSHEY_PLAIN else 1.0)))


def _text(picture: Picture, words: _Type, rng: np.random.Generator) -> None:
    """Lines, headings, rules and panels."""
    side = len(picture)
    left, y = int(rng.integers(-40, 24)), int(rng.integers(0, 20))
    while y < side + 20:
        scale, weight = (1.5 * words.size, 2) if rng.random() < 0.1 else (words.size, 1)
        line = words.line(scale, rng)
        y += line
        what = rng.random()
        if what < 0.06:
            cv2.line(picture, (left, y - line // 2), (side, y - line // 2), words.ink, 1)
        elif what < 0.12:
            panel = tuple(int(value) for value in rng.integers(60, 230, 3))
            cv2.rectangle(picture, (max(left, 4), y - line), (int(side * rng.uniform(0.4, 0.9)), y + line), panel, -1)
            y += line
        elif what < 0.92:
            colored = words.on_screen and rng.random() < 0.3
            color = tuple(int(value) for value in rng.integers(0, 256, 3)) if colored else words.ink
            indent = 16 * int(rng.integers(4)) if words.on_screen else 0
            cv2.putText(picture, _words(rng), (left + indent, y), words.font, scale, color, weight, cv2.LINE_AA)


def _table(picture: Picture, words: _Type, rng: np.random.Generator) -> None:
    """Cells of a word or two, most tables with a rule under each row."""
    side, row = len(picture), words.line(words.size * rng.uniform(1.0, 1.6), rng)
    columns = np.cumsum(rng.integers(50, 130, 8)) + int(rng.integers(-120, 0))
    rules, uprights = rng.random() < 0.7, rng.random() < 0.25
    thick = 1 if rng.random() < 0.8 else 2
    for y in range(int(rng.integers(0, row)), side + row, row):
        for x in columns:
            if rng.random() < 0.85:
                text = _words(rng, 2)
                cv2.putText(picture, text, (int(x), y), words.font, words.size, words.ink, 1, cv2.LINE_AA)
        if rules:
            cv2.line(picture, (int(columns[0]), y + row // 3), (side, y + row // 3), words.ink, thick)
    for x in columns if uprights else ():
        cv2.line(picture, (int(x) - 6, 0), (int(x) - 6, side), words.ink, thick)


def _few_words(picture: Picture, words: _Type, rng: np.random.Generator) -> None:
    """A page that is nearly empty, as forms and slides are."""
    side, large = len(picture), words.size * rng.uniform(1.0, 2.5)
    for _ in range(int(rng.integers(2, 7))):
        place = (int(rng.uniform(-0.2, 0.7) * side), int(rng.uniform(0.05, 1.0) * side))
        weight = 2 if rng.random() < 0.3 else 1
        cv2.putText(picture, _words(rng, 3), place, words.font, large, words.ink, weight, cv2.LINE_AA)
    if rng.random() < 0.5:
        y = int(rng.integers(side))
        cv2.line(picture, (0, y), (side, y), words.ink, 1)


_DRAW = (_text, _table, _few_words)
_SHARES = (0.5, 0.3, 0.2)


def _words(rng: np.random.Generator, most: int = 11) -> str:
    lengths = rng.integers(1, 10, int(rng.integers(min(2, most - 1), most + 1)))
    return " ".join("".join(rng.choice(_LETTERS, length)) for length in lengths)
