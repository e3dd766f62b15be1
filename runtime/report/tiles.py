"""Small pictures of the worst and the best, each beside its quality map, as HTML."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import resized
from lifeiqa.runtime.report.markup import file_name, grade_mark, safe
from lifeiqa.runtime.report.quality_map import colored, place_of, quality_map, spread
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sources.files import read_source

LONGEST = 320
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Span:
    """Which scores have the ends of the map's colours: those of the worst and of the best."""

    worst: float
    best: float


def tile(record: Record, scorer: Scorer, span: Span, max_pixels: int, digits: int) -> str:
    """Draws one scored picture; a plain tile that says why, where its file cannot be read any more."""
    name = safe(record.source.replace("\\", "/").rsplit("/", 1)[-1])
    try:
        pixels = read_source(record.source, max_pixels).pixels
        images, reach = _images(pixels, scorer, span, name, digits)
    except ImageError as error:
        images, reach = f'<p class="gone">Cannot be shown: {safe(str(error))}</p>', ""
    note = f'<p class="note">{safe(record.note)}</p>' if record.note else ""
    score = "" if record.score is None else f"{record.score:.{digits}f}"
    return (
        f'<li class="tile"><div class="pair">{images}</div>'
        f'<p class="line"><b class="score">{score}</b>{grade_mark(record.grade)}{reach}</p>'
        f"{file_name(record.source)}{note}</li>"
    )


def _images(pixels: UInt8Array, scorer: Scorer, span: Span, name: str, digits: int) -> tuple[str, str]:
    """The two `<img>`, and the lowest and highest score of the map."""
    spec = scorer.manifest.preprocess
    after = resized(pixels, spec)
    grid = quality_map(after, scorer)
    height, width = pixels.shape[:2]
    factor = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = pixels if factor == 1 else np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    scores = spread(grid, (after.shape[0], after.shape[1]), spec, (size[1], size[0]))
    overlay = colored(small, (scores - span.worst) / (span.best - span.worst))
    worst, best = (grid.argmin(), grid.argmax()) if span.best > span.worst else (grid.argmax(), grid.argmin())
    words = "Quality map: "
    for number, (word, cell) in enumerate((("worst", int(worst)), ("best", int(best)))):
        row, column = divmod(cell, grid.shape[1])
        place = place_of(row, column, (grid.shape[0], grid.shape[1]))
        words += f"{', ' if number else ''}{word} {grid[row, column]:.{max(0, digits - 1)}f} at the {place}"
    if grid.size == 1:
        words = f"Quality map: {grid[0, 0]:.{digits}f} everywhere, the picture is one crop"
    low, high = (f"{value:.{max(0, digits - 1)}f}" for value in (grid.min(), grid.max()))
    reach = low if low == high else f"{low} to {high}"
    return (
        _img(small, "picture", name) + _img(overlay, "map", words),
        f'<span class="reach" title="Lowest and highest score of the parts of the picture">map {reach}</span>',
    )


def _img(pixels: UInt8Array, kind: str, alt: str) -> str:
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    if not done:
        raise ImageError("its small copy cannot be encoded")
    height, width = pixels.shape[:2]
    source = base64.b64encode(data.tobytes()).decode("ascii")
    return f'<img class="{kind}" src="data:image/jpeg;base64,{source}" width="{width}" height="{height}" alt="{alt}">'
