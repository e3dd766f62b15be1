"""Holds an opened model against a golden set, check by check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends import Backend
from lifeiqa.runtime.conformance.golden import VIEWS, GoldenPicture, GoldenSet, Tolerance, views
from lifeiqa.runtime.conformance.storage import sha256_of
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import decode_image
from lifeiqa.runtime.preprocess import crops_of

BATCH = 8
_ROUNDING = 1e-9  # of a correlation

Scores = npt.NDArray[np.float64]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Check:
    """One row of the proof.

    Attributes:
        name: what is looked at.
        passed: None where it is measured and not judged.
        measured, limit: as text, for people.
        values: the same for programs, in types that JSON has.
    """

    name: str
    passed: bool | None
    measured: str
    limit: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Proof:
    """What all checks came to.

    Attributes:
        checks: in the order in which they are shown.
        expected, one, several: mean over the views of each crop, (N,): stored, scored one by one, and in batches of
            `BATCH`; the last two are empty where nothing could be scored.
    """

    checks: tuple[Check, ...]
    expected: Scores
    one: Scores
    several: Scores

    @property
    def judged(self) -> tuple[Check, ...]:
        """Those that pass or fail."""
        return tuple(check for check in self.checks if check.passed is not None)

    @property
    def failed(self) -> tuple[Check, ...]:
        """Those that fail."""
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def passed(self) -> bool:
        """Whether the model conforms."""
        return not self.failed


def prove(backend: Backend, golden: GoldenSet, tolerance: Tolerance, progress: Progress = lambda *_: None) -> Proof:
    """Runs every check.

    Args:
        backend: the opened model, of the set's checkpoint.
        golden: the set.
        tolerance: the set's own for this model, see `GoldenSet.tolerance_for`.
        progress: called with passes done, all passes, and what the next one is.

    Raises:
        ManifestError: the model fails while it runs.
    """
    expected = np.array([crop.scores for crop in golden.crops], np.float64)
    manifest = _manifest(backend, golden)
    if not manifest.passed:  # its scores would mean something else
        empty = np.zeros(0)
        return Proof((manifest,), expected.mean(axis=1), empty, empty)
    crops = views(golden.pixels)
    backend.infer(crops[:BATCH])  # warms up
    progress(0, 3, "one by one")
    one, one_ms = _scored(backend, crops, 1)
    progress(1, 3, f"batches of {BATCH}")
    several, several_ms = _scored(backend, crops, BATCH)
    progress(2, 3, "once more")
    again, _ = _scored(backend, crops, BATCH)
    span = golden.scale.span
    passes = {"one by one": one, f"in batches of {BATCH}": several}
    checks = [manifest, _numbers([one, several, again])]
    checks += [
        _difference(
            f"crops {how}, largest difference", _per(scores - expected, tolerance), tolerance, span, _unit(tolerance)
        )
        for how, scores in passes.items()
    ]
    checks += [
        _difference("mean of all crops, difference", several.mean() - expected.mean(), tolerance, span, "difference"),
        _ranking(golden, tolerance, expected.mean(axis=1), several.mean(axis=1)),
        _pairs(golden, several.mean(axis=1)),
        _difference(
            "one by one against batches, largest difference",
            one - several,
            tolerance,
            span,
            "largest difference of any crop",
        ),
        _repeated(several, again),
        *(_reading(backend, golden, picture, tolerance) for picture in golden.pictures),
        _speed("speed, one crop", one_ms),
        _speed(f"speed, batch of {BATCH}", several_ms),
    ]
    return Proof(tuple(checks), expected.mean(axis=1), one.mean(axis=1), several.mean(axis=1))


def spearman(a: Scores, b: Scores) -> float:
    """Rank correlation of two vectors, ties sharing their mean rank; NaN where one is constant or has a NaN."""
    if not np.isfinite([a, b]).all() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Scores) -> Scores:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places], np.float64)


def _manifest(backend: Backend, golden: GoldenSet) -> Check:
    found = backend.manifest
    wrong = [
        name
        for name, here, stored in (
            ("preprocessing", found.preprocess, golden.preprocess),
            ("score range", found.scale, golden.scale),
        )
        if here != stored
    ]
    text = f"another {' and '.join(wrong)}" if wrong else "equal"
    return Check("preprocessing and score range", not wrong, text, "as stored", {"differs": wrong})


def _scored(backend: Backend, crops: UInt8Array, batch: int) -> tuple[Scores, float]:
    """Scores (N, VIEWS), and the median of milliseconds a crop."""
    scores, times = list[Scores](), list[float]()
    for part in _batches(crops, batch):
        began = time.perf_counter()
        scores.append(backend.infer(part).astype(np.float64))
        times.append(1000 * (time.perf_counter() - began) / len(part))
    return np.concatenate(scores).reshape(-1, VIEWS), float(np.median(times))


def _batches(crops: UInt8Array, batch: int) -> Iterator[UInt8Array]:
    for first in range(0, len(crops), batch):
        yield crops[first : first + batch]


def _per(differences: Scores, tolerance: Tolerance) -> Scores:
    return differences if tolerance.per == "crop" else np.asarray(differences.mean(axis=1))


def _unit(tolerance: Tolerance) -> str:
    return "largest difference of any " + ("view" if tolerance.per == "crop" else "crop, over its views")


def _difference(name: str, found: Scores | np.float64, tolerance: Tolerance, span: float, what: str) -> Check:
    worst, limit = float(np.abs(found).max()), tolerance.worst * span
    values = {"measured": worst, "limit": limit, "what": what}
    return Check(name, bool(worst <= limit), f"{worst:.4g}", f"at most {limit:g}", values)


def _numbers(passes: list[Scores]) -> Check:
    every = np.concatenate(passes)
    bad = int((~np.isfinite(every)).sum())
    return Check("scores are numbers", not bad, f"{bad} of {every.size} are not", "0", {"measured": bad, "limit": 0})


def _ranking(golden: GoldenSet, tolerance: Tolerance, expected: Scores, found: Scores) -> Check:
    """Judged where crops lie further apart than scores may move: otherwise an allowed difference changes places."""
    value = spearman(expected, found)
    values = {"measured": value, "limit": tolerance.srocc}
    if golden.spread < tolerance.worst * golden.scale.span:
        return Check("ranking of the crops (SROCC)", None, f"{value:.6f}", "not judged: crops lie too close", values)
    return Check(
        "ranking of the crops (SROCC)",
        value >= tolerance.srocc - _ROUNDING,
        f"{value:.6f}",
        f"at least {tolerance.srocc:g}",
        values,
    )


def _pairs(golden: GoldenSet, found: Scores) -> Check:
    score = dict(zip((crop.name for crop in golden.crops), found, strict=True))
    swapped = [f"{high} / {low}" for high, low in golden.pairs if not score[high] > score[low]]
    text = f"{len(swapped)} of {len(golden.pairs)} change places"
    return Check(
        "pairs of a better and a worse crop", not swapped, text, "0", {"measured": len(swapped), "swapped": swapped}
    )


def _repeated(first: Scores, second: Scores) -> Check:
    differing = int((first.view(np.uint64) != second.view(np.uint64)).sum())
    text = f"{differing} of {first.size} scores differ"
    return Check("the same when repeated", not differing, text, "0", {"measured": differing, "limit": 0})


def _reading(backend: Backend, golden: GoldenSet, picture: GoldenPicture, tolerance: Tolerance) -> Check:
    name, limit = f"picture file {picture.file}, difference", tolerance.worst * golden.scale.span
    try:
        pixels = decode_image(picture.data).pixels
    except ImageError as error:
        return Check(name, False, f"cannot be read: {error}", "read", {"limit": limit})
    same = sha256_of(pixels) == picture.pixels_sha256
    score = float(backend.infer(crops_of(pixels, golden.preprocess)).astype(np.float64).mean())
    off = abs(score - picture.score)
    passed = off <= limit and (same or not picture.exact)
    pixels_text = "same pixels" if same else "other pixels"
    wanted = f"at most {limit:g}, same pixels" if picture.exact else f"at most {limit:g}"
    values = {"measured": off, "limit": limit, "same_pixels": same, "score": score, "expected": picture.score}
    return Check(name, passed, f"{off:.4g}, {pixels_text}", wanted, values)


def _speed(name: str, ms: float) -> Check:
    return Check(name, None, f"{ms:.1f} ms a crop", "not judged", {"measured": ms, "unit": "ms a crop, median"})
