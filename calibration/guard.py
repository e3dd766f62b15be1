"""The accuracy guard: keeps nodes in higher precision until reduced precision ranks pictures as FP32 does."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from scipy.stats import spearmanr

from lifeiqa.calibration.agreement import Agreement, compare_pictures
from lifeiqa.calibration.graph import scores_of, session_of
from lifeiqa.calibration.limits import MIN_RANKED, Limit
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ParityError

PROBE_CROPS = 24  # crops of the sensitivity pass; every node costs a session and these
MIN_GAIN = 0.8  # of a worst difference, that keeping nodes must bring it below to be worth their time
MAX_NODE_SHARE = 0.5  # of the limit, for one node: what these cost may cancel out, but only on the guard's own pictures

Build: TypeAlias = Callable[[frozenset[str]], onnx.ModelProto]
Progress: TypeAlias = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sensitivity:
    """What one node alone costs in reduced precision: root mean square change of a crop's score, in score units.

    Against a graph with every weighted node kept, which in FP16 is not quite that in FP32."""

    node: str
    rms: float


@dataclass(frozen=True)
class GuardResult:
    """The best graph that the guard found, and whether it may pass.

    Attributes:
        model: the graph.
        kept: nodes in higher precision, the costliest first.
        agreement: with the FP32 graph, on the guard's pictures.
        label_drop: SROCC with the labels in FP32 minus that in reduced precision; None without labels, or where they
            are fewer than `MIN_RANKED` or all alike.
        violations: how it breaks the limit, in words; empty where it may pass.
        table: of the sensitivity pass, the costliest first; empty where plain reduced precision held at once.
    """

    model: onnx.ModelProto
    kept: tuple[str, ...]
    agreement: Agreement
    label_drop: float | None
    violations: tuple[str, ...]
    table: tuple[Sensitivity, ...]


class Guard:
    """Measures candidates against one FP32 graph on one set of pictures."""

    def __init__(self, reference: onnx.ModelProto, pictures: PictureSet, limit: Limit, span: float) -> None:
        """Scores the pictures with the FP32 graph.

        Args:
            reference: the FP32 graph.
            pictures: to measure on.
            limit: what has to hold on these pictures.
            span: of the scores, worst to best.

        Raises:
            ParityError: the FP32 graph gives no numbers.
        """
        self.pictures, self.span, self.limit = pictures, span, limit
        self.labels = pictures.labels
        self.reference = scores_of(reference, pictures.crops)
        if not np.isfinite(np.concatenate(self.reference)).all():
            raise ParityError("The FP32 model itself gives no numbers for some of these pictures.")
        if self.labels is not None and (len(self.labels) < MIN_RANKED or np.ptp(self.labels) == 0):
            self.labels = None  # too few to rank, or all alike

    def measure(self, model: onnx.ModelProto) -> tuple[Agreement, float | None, tuple[str, ...]]:
        """Agreement, loss of SROCC with the labels, and what breaks the limit."""
        return self._measure_scores(scores_of(model, self.pictures.crops))

    def _measure_scores(self, scores: list[npt.NDArray[np.float32]]) -> tuple[Agreement, float | None, tuple[str, ...]]:
        agreement = compare_pictures(self.reference, scores, self.span)
        found = agreement.violations(self.limit)
        drop = None
        if self.labels is not None:
            before, after = (_srocc(side, self.labels) for side in (self.reference, scores))
            drop = before - after
            if not drop <= 1 - self.limit.srocc:
                found.append(f"SROCC with the labels falls from {before:.4f} to {after:.4f}")
        return agreement, drop, tuple(found)

    def search(
        self,
        build: Build,
        nodes: Sequence[str],
        fixed: Collection[str] = (),
        progress: Progress = lambda done, total, text: None,
    ) -> GuardResult:
        """Builds with nothing kept; where that misses the limit, with as few nodes kept as the limit needs.

        But with all kept that by themselves cost a crop `MAX_NODE_SHARE` of the limit. Where half of the nodes kept do
        not reach it, the result is the graph nearest to it, and plain reduced precision where keeping nodes hardly
        helps.

        Args:
            build: makes the reduced graph, but for the nodes named.
            nodes: all that reduced precision touches.
            fixed: those of them that are never kept, whatever they cost.
            progress: called with steps done, steps in all and what is done.
        """
        model = build(frozenset())
        scores = scores_of(model, self.pictures.crops)
        plain = GuardResult(model, (), *self._measure_scores(scores), ())
        if not plain.violations:
            return plain
        table = self._sensitivities(build, nodes, self._probes(scores), progress)
        free = [row for row in table if row.node not in fixed]
        ranked = [row.node for row in free]
        costly = sum(row.rms >= MAX_NODE_SHARE * self.limit.worst * self.span for row in free)
        plain = replace(plain, table=table)
        best: GuardResult | None = None
        nearest = plain
        lower = step = max(1, min(costly, len(ranked) // 2))
        upper = len(ranked) // 2
        while lower <= upper:  # doubles until one holds, then halves the gap to the last that did not
            count = min(step, upper) if best is None else (lower + upper) // 2
            progress(len(nodes), len(nodes), f"keeping {count} of {len(nodes)} nodes")
            kept = tuple(ranked[:count])
            model = build(frozenset(kept))
            result = GuardResult(model, kept, *self.measure(model), table)
            if not result.violations:
                best, upper = result, count - 1
                continue
            lower, step = count + 1, count * 2
            if not result.agreement.worst >= nearest.agreement.worst:  # also where that is not a number
                nearest = result
        if best is not None:
            return best
        return plain if nearest.agreement.worst >= MIN_GAIN * plain.agreement.worst else nearest

    def _probes(self, scores: list[npt.NDArray[np.float32]]) -> UInt8Array:
        """Crops to find costly nodes on, (P, S, S, 3): half of them those that `scores` are furthest off for, since
        what breaks a limit may be rare; the others from all pictures, since it may be something else when those nodes
        are kept."""
        off = np.abs(np.concatenate(scores) - np.concatenate(self.reference))
        furthest = np.argsort(-np.nan_to_num(off, nan=np.inf), kind="stable")[: PROBE_CROPS // 2]
        spread = np.linspace(0, len(off) - 1, len(furthest)).astype(int)
        probes: UInt8Array = np.concatenate(self.pictures.crops)[np.concatenate([furthest, spread])]
        return probes

    def _sensitivities(
        self, build: Build, nodes: Sequence[str], probes: UInt8Array, progress: Progress
    ) -> tuple[Sensitivity, ...]:
        """Reduces one node at a time and looks at the scores of (P, S, S, 3) crops. A NaN counts as infinite."""
        every, rows = frozenset(nodes), []
        base = np.concatenate(scores_of(build(every), [probes]))
        for done, node in enumerate(nodes):
            progress(done, len(nodes), "what each node costs")
            scores = np.concatenate(scores_of(build(every - {node}), [probes]))
            rms = float(np.sqrt(np.mean((scores - base).astype(np.float64) ** 2)))
            rows.append(Sensitivity(node, rms if np.isfinite(rms) else float("inf")))
        return tuple(sorted(rows, key=lambda row: -row.rms))


def with_drop(limit: Limit, max_srocc_drop: float) -> Limit:
    """The limit with the user's own loss of SROCC."""
    return replace(limit, srocc=1 - max_srocc_drop)


def relative_time(model: onnx.ModelProto, other: onnx.ModelProto, crops: UInt8Array, rounds: int = 11) -> float:
    """Median time of one graph over that of another on this CPU, measured in turns."""
    sessions = [session_of(graph) for graph in (model, other)]
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for session, times in zip(sessions, seconds, strict=True):
            began = time.perf_counter()
            session.run(["score"], {"image": crops})
            times.append(time.perf_counter() - began)
    return float(np.median(seconds[0]) / np.median(seconds[1]))


def _srocc(scores: list[npt.NDArray[Any]], labels: npt.NDArray[np.float64]) -> float:
    return float(spearmanr([cut.mean(dtype=np.float64) for cut in scores], labels).statistic)
