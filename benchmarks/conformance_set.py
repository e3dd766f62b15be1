"""Makes the golden set of `lifeiqa-conformance`: crops of all kinds and qualities, and PyTorch's scores of them.

python benchmarks/conformance_set.py --write                    anew, for the shipped checkpoint, into the package
python benchmarks/conformance_set.py --ckpt best.pt -o DIR      for a checkpoint of your own
python benchmarks/conformance_set.py                            compares the packaged set with PyTorch
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import typer
from behaviour_pictures import contents, noisy
from common import SHIPPED
from PIL import Image

import lifeiqa
from lifeiqa.calibration.limits import LIMITS
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.synthesis.camera_distortions import underexposure
from lifeiqa.models.synthesis.distortions import Picture, motion_blur, without_color
from lifeiqa.models.synthesis.ladders import LADDERS, held_out_pictures
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.conformance.golden import VIEWS, GoldenCrop, GoldenPicture, GoldenSet, Tolerance, views
from lifeiqa.runtime.conformance.storage import PACKAGED, read_set, sha256_of, write_set
from lifeiqa.runtime.console import new_app, progress_bar, run_app
from lifeiqa.runtime.errors import ParityError, UsageError
from lifeiqa.runtime.images import decode_image
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

app = new_app()
PICTURES = ("camera", "chelsea", "coffee", "rocket")  # CC0, or in the public domain
LADDER_KINDS = ("blur", "jpeg", "jpeg2000", "down_up", "darken", "contrast")
NOISE = (6, 12, 25, 45)  # standard deviations, of 255
COUNT = 24
NEAR = 0.15  # of the distance between two wanted scores: crops that near to one are as good as each other
_BATCH = 16

Scores = npt.NDArray[np.float64]


class Candidate(NamedTuple):
    """A crop that a set may take: (S, S, 3) uint8 RGB; level 0 is sharp, and of one kind a higher one is worse."""

    name: str
    kind: str
    origin: str
    level: int
    pixels: UInt8Array


def candidates(side: int) -> Iterator[Candidate]:
    """Crops of photographs with what happens to pictures, of drawn pages, and of nothing; always the same."""
    spec = PreprocessSpec(crop_size=side, resize="none", resize_to=())
    for name, picture in held_out_pictures():
        if name in PICTURES:
            yield from _copies(name, crops_of(picture, spec, 1)[0])
    for content in contents():
        if content.kind == "page" and content.name in ("article", "program", "table"):
            crop = crops_of(content.pixels, spec, 1)[0]
            yield Candidate(f"{content.name}", "page", content.name, 0, crop)
            yield Candidate(f"{content.name}, blur 3", "page", content.name, 1, _rung(crop, "blur", 2))
        elif content.kind == "flat":
            yield Candidate(content.name, "flat", content.name, 0, crops_of(content.pixels, spec, 1)[0])


def _copies(origin: str, crop: UInt8Array) -> Iterator[Candidate]:
    yield Candidate(origin, "sharp", origin, 0, crop)
    for kind in LADDER_KINDS:
        for rung in range(len(LADDERS[kind][1])):
            name = f"{origin}, {kind.replace('_', ' and ')} {rung + 1}"
            yield Candidate(name, kind, origin, rung + 1, _rung(crop, kind, rung))
    grey = without_color(crop)  # noise in colour takes more than twice the space
    for level, sigma in enumerate(NOISE, 1):
        noise = noisy(grey, sigma, np.random.default_rng(0))
        yield Candidate(f"{origin}, noise {level}", "noise", origin, level, noise)
    for level, length in enumerate((4, 9, 18), 1):
        moved = motion_blur(crop, length, np.random.default_rng(0))
        yield Candidate(f"{origin}, motion {level}", "motion", origin, level, moved)
    rng = np.random.default_rng(0)
    night = noisy(underexposure(grey, 0.2, rng), 5, rng)
    yield Candidate(f"{origin}, night", "night", origin, 1, night)


def _rung(crop: UInt8Array, kind: str, rung: int) -> Picture:
    apply, strengths = LADDERS[kind]
    return apply(crop, strengths[rung], np.random.default_rng(0))


def chosen(pool: Sequence[Candidate], means: Scores, count: int) -> list[int]:
    """Places in `pool` of crops of every kind, whose scores lie evenly from the lowest to the highest."""
    wanted = np.linspace(means.min(), means.max(), count)
    near = NEAR * (wanted[1] - wanted[0])
    free, taken, kinds = list(range(count)), list[int](), Counter[str]()

    def take(place: int, target: int) -> None:
        free.remove(target)
        taken.append(place)
        kinds[pool[place].kind] += 1

    for kind in dict.fromkeys(c.kind for c in pool):
        own = [k for k, c in enumerate(pool) if c.kind == kind]
        if free:
            take(*min(((k, t) for k in own for t in free), key=lambda pair: abs(means[pair[0]] - wanted[pair[1]])))
    for target in list(free):
        distances = np.abs(means - wanted[target])
        rest = [k for k in range(len(pool)) if k not in taken]
        take(min(rest, key=lambda k: (distances[k] > near, kinds[pool[k].kind], distances[k])), target)
    return sorted(taken)


def make_set(
    checkpoint: Checkpoint, name: str, count: int = COUNT, pool: Sequence[Candidate] | None = None
) -> GoldenSet:
    """A golden set of a checkpoint that was read from a file.

    Args:
        checkpoint: gives the scores.
        name: of the model, for people.
        count: crops to take.
        pool: to take them from; None for all `candidates`.

    Raises:
        UsageError: it gives all crops the same score.
    """
    scorer, spec, scale = TorchScorer.of(checkpoint), checkpoint.preprocess, checkpoint.scale.artifact_scale()
    pool = list(candidates(spec.crop_size)) if pool is None else pool
    every = _scores(scorer, np.stack([c.pixels for c in pool]))
    means = every.mean(axis=1)
    if not np.ptp(means) > 0:
        raise UsageError(f"{name} gives all crops the same score, or none: nothing could be proved with them.")
    places = chosen(pool, means, count)
    taken = [pool[k] for k in places]
    limits = {key: Tolerance(limit.worst, limit.srocc, _per(key)) for key, limit in LIMITS.items()}
    margin = 2 * max(limit.worst for limit in LIMITS.values()) * scale.span
    sign = 1 if scale.higher_is_better else -1
    pairs = [
        (taken[i].name, taken[j].name)[::sign]
        for i in range(len(taken))
        for j in range(len(taken))
        if _degrades(taken[i], taken[j]) and sign * (means[places[i]] - means[places[j]]) > margin
    ]
    return GoldenSet(
        model=name,
        checkpoint_sha256=checkpoint.sha256,
        version=lifeiqa.__version__,
        preprocess=spec,
        scale=scale,
        crops=tuple(
            GoldenCrop(c.name, c.kind, sha256_of(c.pixels), tuple(round(float(s), 5) for s in every[k]))
            for k, c in zip(places, taken, strict=True)
        ),
        pairs=tuple((high, low) for high, low in pairs),
        pictures=tuple(_picture(file, exact, data, scorer) for file, exact, data in _encoded()),
        tolerances=limits,
        pixels=np.stack([c.pixels for c in taken]),
    )


def _per(key: str) -> Literal["crop", "picture"]:
    """What a limit's worst difference is of; see `Limit`."""
    return "crop" if key.startswith("fp32/") else "picture"


def _degrades(better: Candidate, worse: Candidate) -> bool:
    same = better.origin == worse.origin and better.level < worse.level
    return same and (better.level == 0 or better.kind == worse.kind)


def _scores(scorer: TorchScorer, crops: UInt8Array) -> Scores:
    """(N, VIEWS) scores of the views of (N, S, S, 3) crops."""
    every = views(crops)
    found = list[Scores]()
    with progress_bar("crops in PyTorch") as update:
        for first in range(0, len(every), _BATCH):
            found.append(scorer.score_crops(every[first : first + _BATCH])[0].numpy().astype(np.float64))
            update(first, len(every), "")
    return np.concatenate(found).reshape(-1, VIEWS)


def _encoded() -> Iterator[tuple[str, bool, bytes]]:
    """A JPEG file that lies on its side and is larger than models read; a PNG file that is lower than a crop."""
    photographs = dict(held_out_pictures())
    large = cv2.resize(photographs["coffee"], (900, 600), interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.fromarray(np.rot90(large)).save(data, "JPEG", quality=75, exif=exif)
    yield "turned.jpg", False, data.getvalue()
    data = io.BytesIO()
    Image.fromarray(photographs["chelsea"][60:220, 110:350]).save(data, "PNG", optimize=True)
    yield "low.png", True, data.getvalue()


def _picture(file: str, exact: bool, data: bytes, scorer: TorchScorer) -> GoldenPicture:
    pixels = decode_image(data).pixels
    return GoldenPicture(file, sha256_of(pixels), exact, round(scorer.score(pixels), 5), data)


def compare_with(golden: GoldenSet, checkpoint: Checkpoint) -> float:
    """Largest difference of any view's stored score from PyTorch's, in score units."""
    stored = np.array([crop.scores for crop in golden.crops])
    return float(np.abs(_scores(TorchScorer.of(checkpoint), golden.pixels) - stored).max())


@app.command()
def conformance_set(
    ckpt: Annotated[Path, typer.Option(help="The checkpoint that gives the scores.")] = SHIPPED,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write a set to.", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Store the set in the package.")] = False,
) -> None:
    """Make a golden set, or compare the packaged one with PyTorch."""
    if write and (output or ckpt != SHIPPED):
        raise UsageError("--write stores the set of the shipped checkpoint in the package; write others with -o DIR.")
    checkpoint = load_checkpoint(ckpt)
    folder = PACKAGED if write else output
    if folder is None:
        golden = read_set()
        if golden.checkpoint_sha256 != checkpoint.sha256:
            raise ParityError(f"The packaged set is not of {ckpt.name}. Make it anew with --write, or another with -o.")
        worst, limit = compare_with(golden, checkpoint), golden.tolerances["fp32/fp32"].worst * golden.scale.span
        print(f"{len(golden.crops)} crops, largest difference from PyTorch {worst:.2g}, limit {limit:g}")
        if not worst <= limit:
            raise ParityError("The stored scores are not those of PyTorch here; see --write.")
        return
    golden = make_set(checkpoint, ckpt.stem)
    size = write_set(golden, folder)
    low, high = (f(sum(c.scores) / VIEWS for c in golden.crops) for f in (min, max))
    kinds = ", ".join(f"{kind} {n}" for kind, n in Counter(c.kind for c in golden.crops).items())
    print(f"{folder}: {len(golden.crops)} crops, scores {low:.1f} to {high:.1f}, {len(golden.pairs)} pairs")
    print(f"kinds: {kinds}")
    print(f"{size / 1e3:.0f} KB, checkpoint {golden.checkpoint_sha256[:12]}")


if __name__ == "__main__":
    run_app(app)
