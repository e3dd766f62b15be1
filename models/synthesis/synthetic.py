"""Makes a labelled training set out of undistorted photographs.

Photographs -> 512x384 references (several scales and windows of each) -> ladders of distorted copies -> pseudo-MOS.
Photographs to train on can give further references, with fewer copies of each, and leave the others as they are.
The result is a folder with the pictures as PNG and `labels.csv`: path, score, reference (the photograph), split,
pristine (the undistorted picture), distortion, level.
Everything follows from the photographs and one seed. An interrupted run goes on where it stopped.
"""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lifeiqa.models.datasets.base import reading
from lifeiqa.models.datasets.csv_files import read_table
from lifeiqa.models.synthesis.distortions import DISTORTIONS, LEVELS, Picture, distort
from lifeiqa.models.synthesis.pseudo_mos import METRICS, full_reference_metrics, fuse
from lifeiqa.runtime.errors import DatasetError
from lifeiqa.runtime.files import atomic_text, atomic_write
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import spread_positions

COLUMNS = ("path", "score", "reference", "split", "pristine", "distortion", "level")
REFERENCE_SIZE = (512, 384)  # width, height; KADID-10k's
CANDIDATE_WINDOWS = 6
FURTHER_CANDIDATES = 3
FURTHER_SCALE = 1440  # shorter side, at most


@dataclass(frozen=True)
class SyntheticPlan:
    """What a synthetic set is made of, apart from the photographs.

    Attributes:
        scales: shorter sides, in pixels, to which each photograph is reduced; larger than the photograph: skipped.
        windows: references cut from each photograph at each scale.
        types: distortion types drawn for each training reference; test references get all of them.
        further: further references, at random scales and windows, of a large photograph to train on; a small one
            gives as many as cover it about twice, and 4 at least.
        further_types: distortion types drawn for each of these.
        seed: the only source of randomness.
    """

    scales: tuple[int, ...] = (480, 768, 1080)
    windows: int = 2
    types: int = 12
    further: int = 0
    further_types: int = 4
    seed: int = 0


def read_photograph_list(path: Path) -> list[tuple[str, str]]:
    """Reads a CSV with the columns path and split (train or test).

    Raises:
        DatasetError: the file is missing, a column is, or a split is neither train nor test.
    """
    rows = read_table(path, ("path", "split"))
    for row in rows:
        if row["split"] not in ("train", "test"):
            raise DatasetError(f"{path}: split of {row['path']} is {row['split']!r}; expected train or test.")
    return [(row["path"], row["split"]) for row in rows]


def references_of(photograph: Picture, plan: SyntheticPlan) -> list[Picture]:
    """Cuts (384, 512, 3) references: at each scale the windows with the most detail among evenly spread ones."""
    width, height = REFERENCE_SIZE
    references: list[Picture] = []
    for scale in plan.scales:
        rows, columns = photograph.shape[:2]
        factor = max(scale / min(rows, columns), height / rows, width / columns)
        if factor > 1:
            continue
        small = _reduced(photograph, factor)
        corners = spread_positions(CANDIDATE_WINDOWS, small.shape[0], small.shape[1], height, width)
        references += _most_detailed(small, corners)[: plan.windows]
    return references


def further_references(photograph: Picture, plan: SyntheticPlan, seed: int) -> list[Picture]:
    """Cuts (384, 512, 3) references at random scales: each the window with the most detail among a few random ones."""
    width, height = REFERENCE_SIZE
    rows, columns = photograph.shape[:2]
    least, most = max(height / rows, width / columns), min(1.0, FURTHER_SCALE / min(rows, columns))
    if least > most:
        return []
    rng = np.random.default_rng([plan.seed, seed])
    cover = round(2 * most**2 * rows * columns / (width * height))
    references: list[Picture] = []
    for _ in range(min(plan.further, max(4, cover))):
        factor = least * (most / least) ** rng.random()
        small = _reduced(photograph, factor)
        free = (small.shape[0] - height + 1, small.shape[1] - width + 1)
        corners = [(int(v * free[0]), int(u * free[1])) for v, u in rng.random((FURTHER_CANDIDATES, 2))]
        references.append(_most_detailed(small, corners)[0])
    return references


def _reduced(photograph: Picture, factor: float) -> Picture:
    """Scales a photograph, to no less than the size of a reference."""
    rows, columns = photograph.shape[:2]
    size = (max(REFERENCE_SIZE[0], round(columns * factor)), max(REFERENCE_SIZE[1], round(rows * factor)))
    return cv2.resize(photograph, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _most_detailed(picture: Picture, corners: list[tuple[int, int]]) -> list[Picture]:
    """The references with these top-left corners (y, x), the one with the most detail first."""
    width, height = REFERENCE_SIZE
    windows: list[Picture] = [np.ascontiguousarray(picture[y : y + height, x : x + width]) for y, x in corners]
    return sorted(windows, key=_detail, reverse=True)


def _detail(picture: Picture) -> float:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return float(np.log1p(np.abs(cv2.Laplacian(grey, cv2.CV_32F))).mean())


_Job: TypeAlias = tuple[Path, str, int, Picture, SyntheticPlan, tuple[str, ...]]


def _make_reference(job: _Job) -> None:
    """Writes one reference, its distorted copies and, last, their metric values (which marks it as finished)."""
    import torch

    folder, name, index, reference, plan, types = job
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pictures = folder / "pictures"
    metrics = {}
    _write_png(pictures / f"{name}.png", reference)
    for distortion in types:
        ladder = [distort(reference, distortion, level, plan.seed * 100_003 + index) for level in LEVELS]
        for level, picture in zip(LEVELS, ladder, strict=True):
            _write_png(pictures / f"{name}_{distortion}_{level}.png", picture)
        metrics[distortion] = full_reference_metrics(reference, ladder).tolist()
    atomic_write(folder / "metrics" / f"{name}.json", json.dumps(metrics).encode())


def _write_png(path: Path, picture: Picture) -> None:
    _, data = cv2.imencode(".png", picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    atomic_write(path, data.tobytes())


def synthesize(
    photographs: Path,
    listed: Iterable[tuple[str, str]],
    folder: Path,
    plan: SyntheticPlan,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Makes the set and returns the path of its `labels.csv`.

    Args:
        photographs: the folder that the listed paths are relative to.
        listed: (path, split) pairs, see `read_photograph_list`.
        folder: where the set goes; one that holds a set of another plan is refused.
        progress: called with references done and references in all.

    Raises:
        DatasetError: a photograph is missing, or `folder` holds a set made from something else.
    """
    listed = list(listed)
    missing = [path for path, _ in listed if not (photographs / path).is_file()]
    if missing:
        raise DatasetError(f"{len(missing)} listed photographs are not under {photographs}, the first: {missing[0]}.")
    _claim(folder, plan, listed)
    cut: list[tuple[str, str, int, Picture]] = []  # photograph, split, distortion types, reference
    further: list[tuple[str, str, int, Picture]] = []
    for number, (path, split) in enumerate(listed):
        stem = f"{Path(path).stem}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"
        with reading(photographs / path):
            photograph = read_image(photographs / path).pixels
        types = plan.types if split == "train" else len(DISTORTIONS)
        cut += [(stem, split, types, reference) for reference in references_of(photograph, plan)]
        if split == "train":
            more = further_references(photograph, plan, number)
            further += [(stem, split, plan.further_types, reference) for reference in more]
    pending: list[_Job] = []
    entries: list[tuple[str, str, str]] = []  # name, photograph, split
    taken: Counter[str] = Counter()
    for index, (stem, split, count, reference) in enumerate(cut + further):
        chosen = sorted(np.random.default_rng([plan.seed, index]).permutation(len(DISTORTIONS))[:count])
        name = f"{stem}-{taken[stem]}"
        taken[stem] += 1
        entries.append((name, stem, split))
        if not (folder / "metrics" / f"{name}.json").exists():
            pending.append((folder, name, index, reference, plan, tuple(list(DISTORTIONS)[i] for i in chosen)))
    done = len(entries) - len(pending)
    progress(done, len(entries))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        for _ in pool.map(_make_reference, pending):
            done += 1
            progress(done, len(entries))
    return _write_labels(folder, entries)


def _claim(folder: Path, plan: SyntheticPlan, listed: list[tuple[str, str]]) -> None:
    claim = json.dumps({"plan": asdict(plan), "photographs": listed, "metrics": METRICS}, indent=1)
    for sub in ("pictures", "metrics"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if path.exists() and path.read_text() != claim:
        raise DatasetError(f"{folder} holds a set made from another plan or other photographs; name another folder.")
    atomic_write(path, claim.encode())


def _write_labels(folder: Path, entries: list[tuple[str, str, str]]) -> Path:
    rows: list[list[object]] = []
    values: list[list[float]] = []
    for name, content, split in entries:
        pristine = f"pictures/{name}.png"
        for distortion, ladder in json.loads((folder / "metrics" / f"{name}.json").read_text()).items():
            for level in LEVELS:
                rows.append([f"pictures/{name}_{distortion}_{level}.png", content, split, pristine, distortion, level])
            values += ladder
    scores = fuse(np.asarray(values), len(LEVELS))
    labels = folder / "labels.csv"
    with atomic_text(labels) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, content, split in entries:
            pristine = f"pictures/{name}.png"
            writer.writerow([pristine, "100.000", content, split, pristine, "pristine", 0])
        for (path, *rest), score in zip(rows, scores, strict=True):
            writer.writerow([path, f"{score:.3f}", *rest])
    return labels
