"""Reads and writes a golden set: a folder with `set.json`, the crops as one lossless picture, and whole pictures."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.conformance.golden import VIEWS, GoldenCrop, GoldenPicture, GoldenSet, Tolerance
from lifeiqa.runtime.errors import ManifestError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec

FORMAT = 1
PACKAGED = Path(__file__).parent / "golden"
_INDEX, _CROPS = "set.json", "crops.webp"


def sha256_of(data: bytes | UInt8Array) -> str:
    """Of bytes, or of an array's bytes in C order, in hexadecimal."""
    return hashlib.sha256(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).hexdigest()


def read_set(folder: Path = PACKAGED) -> GoldenSet:
    """Reads a golden set and holds every part of it against its sha256.

    Raises:
        ManifestError: it is missing, damaged, or of another format; the message says how to make one.
    """
    again = "Install lifeiqa again." if folder == PACKAGED else "Make it again: python benchmarks/conformance_set.py -h"
    try:
        text = (folder / _INDEX).read_bytes()
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ManifestError(f"The golden set in {folder} has another format than this lifeiqa reads. {again}")
        found = _set_of(values, _unpack((folder / _CROPS).read_bytes(), len(values["crops"])), folder, sha256_of(text))
    except FileNotFoundError as error:
        raise ManifestError(f"There is no golden set in {folder}: no {Path(error.filename).name}. {again}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, Image.DecompressionBombError) as error:
        raise ManifestError(f"The golden set in {folder} cannot be read ({error}). {again}") from error
    damaged = _damaged(found, values)
    if damaged:
        raise ManifestError(f"The golden set in {folder} is damaged: {damaged} differs from its sha256. {again}")
    return found


def write_set(golden: GoldenSet, folder: Path) -> int:
    """Writes a set, its description last. Returns its size in bytes. Raises `WriteError`."""
    files = {_CROPS: _pack(golden.pixels), **{picture.file: picture.data for picture in golden.pictures}}
    values = {
        "format": FORMAT,
        "model": golden.model,
        "checkpoint_sha256": golden.checkpoint_sha256,
        "version": golden.version,
        "preprocess": golden.preprocess.to_dict(),
        "scale": asdict(golden.scale),
        "tolerances": {key: asdict(tolerance) for key, tolerance in golden.tolerances.items()},
        "pairs": golden.pairs,
        "pictures": [
            {k: v for k, v in asdict(picture).items() if k != "data"} | {"sha256": sha256_of(picture.data)}
            for picture in golden.pictures
        ],
        "crops": [asdict(crop) for crop in golden.crops],
    }
    files[_INDEX] = (json.dumps(values, indent=1) + "\n").encode()
    for name, data in files.items():
        atomic_write(folder / name, data)
    return sum(map(len, files.values()))


def _set_of(values: Mapping[str, Any], pixels: UInt8Array, folder: Path, sha256: str) -> GoldenSet:
    pictures = [{k: v for k, v in picture.items() if k != "sha256"} for picture in values["pictures"]]
    if any(Path(picture["file"]).name != picture["file"] for picture in pictures):
        raise ValueError("a picture lies outside the folder")
    crops = tuple(GoldenCrop(**{**crop, "scores": tuple(map(float, crop["scores"]))}) for crop in values["crops"])
    if len(crops) < 2 or not all(len(c.scores) == VIEWS and all(map(math.isfinite, c.scores)) for c in crops):
        raise ValueError("too few crops or scores")
    if pixels.shape[1] != values["preprocess"]["crop_size"]:
        raise ValueError("the crops have another size than the model reads")
    pairs = tuple((str(high), str(low)) for high, low in values["pairs"])
    if not {name for pair in pairs for name in pair} <= {crop.name for crop in crops}:
        raise ValueError("a pair names a crop that is not there")
    return GoldenSet(
        model=str(values["model"]),
        checkpoint_sha256=str(values["checkpoint_sha256"]),
        version=str(values["version"]),
        preprocess=PreprocessSpec.from_dict(values["preprocess"]),
        scale=ScoreScale.from_dict(values["scale"]),
        crops=crops,
        pairs=pairs,
        pictures=tuple(GoldenPicture(**picture, data=(folder / picture["file"]).read_bytes()) for picture in pictures),
        tolerances={key: Tolerance(**tolerance) for key, tolerance in values["tolerances"].items()},
        pixels=pixels,
        sha256=sha256,
    )


def _damaged(golden: GoldenSet, values: Mapping[str, Any]) -> str:
    """What does not have its sha256; "" where all is as it was written."""
    for crop, pixels in zip(golden.crops, golden.pixels, strict=True):
        if sha256_of(pixels) != crop.sha256:
            return f"the crop {crop.name!r}"
    for picture, stored in zip(golden.pictures, values["pictures"], strict=True):
        if sha256_of(picture.data) != stored["sha256"]:
            return picture.file
    return ""


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _pack(pixels: UInt8Array) -> bytes:
    """The crops side by side in rows, as lossless WebP."""
    count, side = pixels.shape[:2]
    columns = _columns(count)
    sheet = np.zeros((math.ceil(count / columns) * side, columns * side, 3), np.uint8)
    for k, crop in enumerate(pixels):
        y, x = k // columns * side, k % columns * side
        sheet[y : y + side, x : x + side] = crop
    data = io.BytesIO()
    Image.fromarray(sheet).save(data, "WEBP", lossless=True, quality=80, method=4, exact=True)
    return data.getvalue()


def _unpack(data: bytes, count: int) -> UInt8Array:
    """(count, S, S, 3) uint8 RGB. Raises `ValueError` or `OSError` where the sheet is another."""
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        sheet = np.asarray(image.convert("RGB"), np.uint8)
    columns = _columns(count)
    side = sheet.shape[1] // columns
    if sheet.shape != (math.ceil(count / columns) * side, columns * side, 3) or not side:
        raise ValueError(f"{_CROPS} does not hold {count} crops")
    grid = sheet.reshape(-1, side, columns, side, 3).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(-1, side, side, 3)[:count])
