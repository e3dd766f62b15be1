"""A picture of pictures: each with the score and the grade that the packaged model gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lifeiqa.runtime import Scorer
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.opencv import cv2

TILE = (232, 174)  # width, height
CAPTION = 40
COLUMNS = 4
WHITE = (255, 255, 255)


def write_contact_sheet(folder: Path, path: Path) -> None:
    """Draws the pictures of a folder, in the order of their names, into one JPEG. None is enlarged or cut."""
    tiles = []
    with Scorer(device="cpu") as scorer:
        for picture in sorted(folder.iterdir()):
            pixels = read_image(picture).pixels
            score = scorer.score(pixels)
            tiles.append(_tile(pixels, (picture.stem, f"{score.score:.0f}, {score.grade}")))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    _, data = cv2.imencode(".jpg", np.vstack(rows)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    path.write_bytes(data.tobytes())


def _tile(pixels: np.ndarray, lines: tuple[str, str]) -> np.ndarray:
    height, width = pixels.shape[:2]
    factor = min(1.0, TILE[0] / width, TILE[1] / height)
    small = cv2.resize(pixels, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    right, below = TILE[0] - small.shape[1], TILE[1] - small.shape[0]
    borders = (below // 2, below - below // 2 + CAPTION, right // 2 + 4, right - right // 2 + 4)
    tile = cv2.copyMakeBorder(small, *borders, cv2.BORDER_CONSTANT, value=WHITE)
    for number, line in enumerate(lines):
        where = (8, TILE[1] + 16 + 18 * number)
        cv2.putText(tile, line, where, cv2.FONT_HERSHEY_SIMPLEX, 0.48, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(tile)
