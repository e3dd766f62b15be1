"""Measures what people expect of a picture quality score. The checks and limits: `behaviour_limits.CHECKS`."""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from behaviour_limits import CHECKS, KINDS, Check
from behaviour_pictures import Content, noisy

from lifeiqa.models.synthesis.camera_distortions import CAMERA_DISTORTIONS
from lifeiqa.models.synthesis.distortions import DISTORTIONS, Picture, gaussian_blur, jpeg, without_color
from lifeiqa.models.synthesis.ladders import LADDERS as COMMON
from lifeiqa.models.synthesis.ladders import Ladder, in_order, rungs
from lifeiqa.runtime.errors import MissingError, UsageError

Score: TypeAlias = Callable[[Picture], float]
# From a picture to what is scored: several pictures by the name of their distortion, or of nothing.
Series: TypeAlias = Callable[[Picture], Iterator[tuple[str, list[Picture]]]]


def _noise(p: Picture, variance: float, rng: np.random.Generator) -> Picture:
    return noisy(p, 255 * math.sqrt(variance), rng)


def h264(p: Picture, factors: Sequence[int]) -> list[Picture]:
    """A still picture (H, W, 3) with even sides, encoded by libx264 at constant rate factors, and decoded again.

    Raises:
        MissingError: ffmpeg could not do it.
    """
    height, width = p.shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    x264 = ["-c:v", "libx264", "-threads", "1", "-pix_fmt", "yuv420p", "-f", "h264"]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{factor}.h264" for factor in factors]
        outputs = [[*x264, "-crf", str(factor), str(file)] for factor, file in zip(factors, files, strict=True)]
        _ffmpeg([*raw, "-s", f"{width}x{height}", "-i", "pipe:", *itertools.chain(*outputs)], p.tobytes())
        coded = b"".join(file.read_bytes() for file in files)
    decoded = _ffmpeg(["-f", "h264", "-i", "pipe:", *raw, "pipe:"], coded)
    if len(decoded) != len(factors) * p.size:
        raise MissingError(f"ffmpeg gave back {len(decoded)} bytes, not {len(factors)} pictures of {p.size}.")
    return list(np.frombuffer(decoded, np.uint8).reshape(-1, *p.shape))


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    done = subprocess.run(["ffmpeg", "-loglevel", "error", *arguments], input=data, capture_output=True, check=False)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise MissingError(f"ffmpeg failed: {message[-1]}")
    return done.stdout


def why_no_h264() -> str:
    """What is missing for H.264; empty where nothing is."""
    if shutil.which("ffmpeg") is None:
        return "no ffmpeg on the PATH"
    return "" if b" libx264 " in _ffmpeg(["-encoders"], b"") else "this ffmpeg has no libx264"


LADDERS: dict[str, Ladder] = {
    "blur": COMMON["blur"],
    "defocus": DISTORTIONS["lens_blur"],
    "motion": DISTORTIONS["motion_blur"],
    "noise": (_noise, COMMON["noise"][1]),
    "jpeg": COMMON["jpeg"],
    "dark": CAMERA_DISTORTIONS["underexposure"],
}
H264 = "h264"
RATE_FACTORS = (24, 29, 34, 39, 44)  # from x264's own default, 23, to ruined


def _ladders(p: Picture) -> Iterator[tuple[str, list[Picture]]]:
    for name, ladder in LADDERS.items():
        yield name, rungs(p, ladder)


def _h264_ladder(p: Picture) -> Iterator[tuple[str, list[Picture]]]:
    yield H264, [p, *h264(p, RATE_FACTORS)]


def _alone(p: Picture) -> Iterator[tuple[str, list[Picture]]]:
    yield "", [p]


def _change(after: Callable[[Picture], Picture], before: Callable[[Picture], Picture] = lambda p: p) -> Series:
    def pair(p: Picture) -> Iterator[tuple[str, list[Picture]]]:
        first = before(p)
        yield "", [first, after(first)]

    return pair


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _dark(p: Picture) -> Picture:
    return np.asarray(np.rint(0.12 * p), np.uint8)


def _black_bars(p: Picture) -> Picture:
    bar = np.zeros((len(p) // 8, *p.shape[1:]), np.uint8)
    return np.vstack([bar, p, bar])


# What is scored for each check.
SERIES: dict[str, Series] = {
    "levels in order": _ladders,
    "H.264 in order": _h264_ladder,
    "undistorted": _alone,
    "blurred": _change(lambda p: gaussian_blur(p, 2.5, _rng())),
    "without colour": _change(without_color),
    "dark, noise of 2": _change(lambda p: noisy(p, 2, _rng()), _dark),
    "dark, noise of 5": _change(lambda p: noisy(p, 5, _rng()), _dark),
    "noise of 8": _change(lambda p: noisy(p, 8, _rng())),
    "mirrored": _change(lambda p: np.ascontiguousarray(p[:, ::-1])),
    "JPEG 95": _change(lambda p: jpeg(p, 95, _rng())),
    "black bars": _change(_black_bars),
    "brighter by 20": _change(lambda p: np.clip(p.astype(np.int16) + 20, 0, 255).astype(np.uint8)),
    "shows nothing": _alone,
}


class Found(NamedTuple):
    """What one picture gave.

    Attributes:
        picture: name of the content.
        distortion: of a ladder; empty for other checks.
        scores: raw, of each level or before and after a change.
        value: what the check asks for: share of pairs in order, score, or change in points.
    """

    picture: str
    distortion: str
    scores: list[float]
    value: float


@dataclass(frozen=True)
class Row:
    """One check on one kind of picture.

    Attributes:
        kind: of pictures.
        check: what is expected.
        found: of each picture; empty where the check was left out.
        left_out: why it was; empty where it was not.
    """

    kind: str
    check: Check
    found: tuple[Found, ...]
    left_out: str = ""

    @property
    def limit(self) -> float:
        """Of this check for this kind."""
        return self.check.limits[self.kind]

    @property
    def worst(self) -> Found:
        """What is nearest to the limit, or beyond it the farthest."""
        if self.check.bound == "within":
            return max(self.found, key=lambda one: abs(one.value))
        return (min if self.check.bound == "at least" else max)(self.found, key=lambda one: one.value)

    @property
    def value(self) -> float:
        """What the limit is for: the share of all pairs, or the worst picture's value."""
        if self.check.unit == "share":
            return float(np.mean([one.value for one in self.found]))
        return self.worst.value

    @property
    def verdict(self) -> str:
        """One of "ok", "failed" and "left out"."""
        if self.left_out:
            return "left out"
        if self.check.bound == "at least":
            holds = self.value >= self.limit
        elif self.check.bound == "at most":
            holds = self.value <= self.limit
        else:
            holds = abs(self.value) <= self.limit
        return "ok" if holds else "failed"


def measure(
    score: Score,
    pictures: Iterable[Content],
    checks: Sequence[Check] = CHECKS,
    points: bool = True,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> list[Row]:
    """Makes every check on every kind of picture that it has a limit for.

    Args:
        score: from (H, W, 3) uint8 RGB to a raw score, higher better.
        pictures: what it is made on; see `behaviour_pictures.contents`.
        checks: what is expected.
        points: whether scores are meant to lie in 0-100. Without it, only the order of scores is checked.
        progress: called with pictures done, pictures in all, and what comes next.

    Returns:
        The rows by kind, in the order of `KINDS`; none of a kind without pictures.

    Raises:
        UsageError: the model gives no number.
        MissingError: ffmpeg is here, but failed.
    """
    by_kind = {kind: [content for content in pictures if content.kind == kind] for kind in KINDS}
    planned = [(kind, check) for kind in KINDS if by_kind[kind] for check in checks if kind in check.limits]
    total, done = sum(len(by_kind[kind]) for kind, _ in planned), 0
    score = _remembering(score)
    no_h264 = why_no_h264()
    rows = []
    for kind, check in planned:
        left_out = "" if points or check.unit == "share" else "the model keeps a scale of its own, not 0-100"
        if SERIES[check.name] is _h264_ladder:
            left_out = no_h264
        found = list[Found]()
        for content in by_kind[kind]:
            progress(done, total, f"{kind}: {check.name}")
            done += 1
            if not left_out and (content.sharp or check.name != "undistorted"):
                for distortion, series in SERIES[check.name](content.pixels):
                    scores = [score(picture) for picture in series]
                    found.append(Found(content.name, distortion, scores, _value(check, scores)))
        rows.append(Row(kind, check, tuple(found), left_out))
    return rows


def _value(check: Check, scores: list[float]) -> float:
    if check.unit == "share":
        return float(np.mean(in_order(scores)))
    return scores[-1] - scores[0] if check.unit == "change" else scores[0]


def _remembering(score: Score) -> Score:
    """Scores the same pixels once: an undistorted picture comes again with each ladder and change."""
    known: dict[tuple[tuple[int, ...], bytes], float] = {}

    def remembered(picture: Picture) -> float:
        key = (picture.shape, hashlib.blake2b(picture.tobytes(), digest_size=16).digest())
        if key not in known:
            known[key] = float(score(picture))
            if not math.isfinite(known[key]):
                raise UsageError("The model gives no number for a picture; nothing can be said of its scores.")
        return known[key]

    return remembered


def by_distortion(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """Share of neighbouring levels in order, by kind of picture and distortion."""
    shares: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for one in row.found if row.check.unit == "share" else ():
            shares.setdefault(row.kind, {}).setdefault(one.distortion, []).append(one.value)
    return {kind: {name: float(np.mean(v)) for name, v in found.items()} for kind, found in shares.items()}


def first_of_each_kind(pictures: Iterable[Content], count: int) -> list[Content]:
    """At most `count` of each kind."""
    groups = itertools.groupby(sorted(pictures, key=lambda one: list(KINDS).index(one.kind)), lambda one: one.kind)
    return [content for _, group in groups for content in itertools.islice(group, count)]
