"""Reads thousands of damaged picture files: none may crash its decoder or take long. Prints a table; exits 4 else.

python benchmarks/fuzz.py --count 10000
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL.Image
import typer
from rich.console import Console
from rich.table import Table

from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime import PreprocessSpec
from lifeiqa.runtime.console import long_progress, new_app, run_app
from lifeiqa.runtime.errors import BehaviourError, ImageError
from lifeiqa.runtime.images import MAX_PIXELS
from lifeiqa.runtime.scoring.decoders import Decoder, DecodeSettings
from lifeiqa.runtime.sources.entries import Entry

LIMIT_S = 5.0  # a file may take
CRASHED = "its decoder crashed"

app = new_app()


def originals() -> dict[str, bytes]:
    """Whole files of many kinds: formats with their options, of pictures of 300x260."""
    files = {}
    for name, pixels in list(held_out_pictures())[:2]:
        picture = PIL.Image.fromarray(pixels).resize((300, 260))
        grey, palette = picture.convert("L"), picture.quantize(64)
        kinds = {
            "jpg": (picture, "JPEG", {}),
            "progressive.jpg": (picture, "JPEG", {"progressive": True}),
            "grey.jpg": (grey, "JPEG", {"quality": 40}),
            "cmyk.jpg": (picture.convert("CMYK"), "JPEG", {}),
            "png": (picture, "PNG", {}),
            "palette.png": (palette, "PNG", {}),
            "webp": (picture, "WEBP", {}),
            "lossless.webp": (picture, "WEBP", {"lossless": True}),
            "lzw.tif": (picture, "TIFF", {"compression": "tiff_lzw"}),
            "deflate.tif": (picture, "TIFF", {"compression": "tiff_adobe_deflate"}),
            "jpeg.tif": (picture, "TIFF", {"compression": "jpeg"}),
            "raw.tif": (picture, "TIFF", {}),
            "avif": (picture, "AVIF", {}),
            "jp2": (picture, "JPEG2000", {}),
            "gif": (palette, "GIF", {}),
            "bmp": (picture, "BMP", {}),
            "ppm": (picture, "PPM", {}),
        }
        for suffix, (image, form, options) in kinds.items():
            data = io.BytesIO()
            image.save(data, form, **options)
            files[f"{name}.{suffix}"] = data.getvalue()
    return files


def mutated(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """One kind of damage: bits flipped, bytes replaced in the head, cut, a hole, a part doubled, another's head."""
    changed = np.frombuffer(data, np.uint8).copy()
    kind = rng.integers(6)
    if kind == 0:
        at = rng.integers(len(changed), size=rng.integers(1, 12))
        changed[at] ^= (1 << rng.integers(8, size=len(at))).astype(np.uint8)
    elif kind == 1:
        at = rng.integers(min(len(changed), 200), size=rng.integers(1, 6))
        changed[at] = rng.integers(256, size=len(at))
    elif kind == 2:
        return data[: rng.integers(1, len(data))]
    elif kind == 3:
        start = rng.integers(len(changed))
        changed[start : start + rng.integers(4, 2000)] = rng.choice([0, 255])
    elif kind == 4:
        start, length = rng.integers(len(data)), int(rng.integers(1, 500))
        return data[: start + length] + data[start:]
    else:
        other, length = others[rng.integers(len(others))], int(rng.integers(4, 64))
        return other[:length] + data[length:]
    return changed.tobytes()


@app.command()
def fuzz(
    count: Annotated[int, typer.Option(min=1, help="Files to make and read.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the damage.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for files that failed.", show_default=False)] = None,
) -> None:
    """Damage picture files in many ways and read each in a decoding process."""
    rng, whole = np.random.default_rng(seed), originals()
    names, contents = list(whole), list(whole.values())
    decoder = Decoder(DecodeSettings(PreprocessSpec(), 1, MAX_PIXELS))
    results: dict[str, Counter[str]] = {}
    slowest: dict[str, float] = {}
    failed = []
    with long_progress("files") as update, tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        for number in range(count):
            name = names[number % len(names)]
            data = mutated(whole[name], contents, rng)
            path.write_bytes(data)
            began, outcome = time.perf_counter(), "scored"
            try:
                decoder.decode(Entry.of(str(path)))
            except ImageError as error:
                outcome = "crashed" if str(error).startswith(CRASHED) else "named"
            seconds = time.perf_counter() - began
            kind = name.partition(".")[2]
            results.setdefault(kind, Counter())[outcome] += 1
            slowest[kind] = max(slowest.get(kind, 0.0), seconds)
            if outcome == "crashed" or seconds > LIMIT_S:
                failed.append(f"{number} {name}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{number}.{kind}").write_bytes(data)
            update(number + 1, count, "")
    decoder.close()
    table = Table("kind", "files", "scored", "named", "crashed", "slowest, s", box=None)
    for kind, found in results.items():
        row = (found.total(), found["scored"], found["named"], found["crashed"], f"{slowest[kind]:.2f}")
        table.add_row(kind, *map(str, row))
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    if failed:
        raise BehaviourError(f"{len(failed)} files crashed their decoder or took over {LIMIT_S:g} s: {failed[:5]}")


if __name__ == "__main__":
    run_app(app)
