"""Where the time of one picture goes: reading, decoding, crops, the packaged model, the result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime.images import decode_image
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.sinks.jsonl import to_jsonl
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sources.sample import Sample

WIDTH, HEIGHT, JPEG_QUALITY = 1920, 1080, 90
PICTURE = f"{WIDTH}x{HEIGHT} JPEG"
STAGES = ("read_s", "decode_s", "preprocess_s", "infer_s", "collect_s")


def write_picture(path: Path) -> None:
    """Writes the JPEG that is measured: a held-out photograph, enlarged."""
    _, pixels = next(held_out_pictures())
    large = cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    encoded = cv2.imencode(".jpg", large[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    path.write_bytes(encoded.tobytes())


def measure_stages(folder: Path, rounds: int, device: str, threads: int) -> dict[str, Any]:
    """Medians in seconds of each of `STAGES`, of one picture with the packaged model and its own number of crops.

    The file is read from the system's cache. The first round is dropped.

    Args:
        folder: for the picture.
        rounds, device, threads: as for all contenders.

    Raises:
        MissingError: the packaged model does not run on this device here.
    """
    path = folder / "picture.jpg"
    write_picture(path)
    rows = []
    with Scorer(device=device, threads=threads) as scorer:
        for _ in range(rounds + 1):
            moments = [time.perf_counter()]
            data = path.read_bytes()
            moments.append(time.perf_counter())
            image = decode_image(data, suffix=path.suffix)
            moments.append(time.perf_counter())
            crops = crops_of(image.pixels, scorer.manifest.preprocess)
            moments.append(time.perf_counter())
            scores = scorer.backend.infer(crops)
            moments.append(time.perf_counter())
            record = Record.of(Sample(path.name, image.pixels, image.note), scorer.score_of(scores))
            to_jsonl(record)
            moments.append(time.perf_counter())
            rows.append(np.diff(moments))
    medians = np.median(rows[1:], axis=0)
    return {"picture": PICTURE, **dict(zip(STAGES, map(float, medians), strict=True))}
