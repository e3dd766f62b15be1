"""The accuracy guard: keeps nodes in higher precision until reduced precision ranks pictures as FP32 does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from scipy.stats import spearmanr

from lifeiqa.calibration.agreement import Agreement, compare_pictures
from lifeiqa.calibration.graph import Scores, run_scores, scores_of, session_of
from lifeiqa.calibration.limits import MIN_RANKED, Limit
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.ranking import CostRanking, Measure, Sensitivity
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ParityError

PROBE_CROPS = 24  # crops that costly nodes are found on; every group of nodes costs a session and these
MIN_PROBE_CROPS = 8  # of a large network
PROBE_WEIGHTS = 800e6  # of all these crops together, times the network's weights
HARD_SHARE = 0.25  # of the pictures, those furthest off: a candidate that fails these is not measured on the others
MIN_GAIN = 0.8  # of a worst difference, that keeping nodes must bring it below to be worth their time
MAX_NODE_SHARE = 0.5  # of the limit, for one node: what these cost may cancel out, but only on the guard's own pictures

Build: TypeAlias = Callable[[frozenset[str]], onnx.ModelProto]
Progress: TypeAlias = Callable[[int, int, str], None]


@dataclass(frozen=True)
class GuardResult:
    """The best graph that the guard found, and whether it may pass.

    Attributes:
        model: the graph.
        plain: that with nothing kept.
        kept: nodes in higher precision, the costliest first; then those that are so because their neighbours are.
        agreement: with the FP32 graph, on the guard's pictures.
        label_drop: SROCC with the labels in FP32 minus that in reduced precision; None without labels, or where they
            are fewer than `MIN_RANKED` or all alike.
        violations: how it breaks the limit, in words; empty where it may pass.
        nodes: how many there were to choose from.
        table: the costliest nodes, as far as they were looked for; empty where plain reduced precision held at once.
        ranking: that found these, for another search; None where it held at once.
    """

    model: onnx.ModelProto
    plain: onnx.ModelProto
    kept: tuple[str, ...]
    agreement: Agreement
    label_drop: float | None
    violations: tuple[str, ...]
    nodes: int
    table: tuple[Sensitivity, ...] = ()
    ranking: CostRanking | None = None


class Guard:
    """Measures candidates against one FP32 graph on one set of pictures."""

    def __init__(
        self, reference: onnx.ModelProto, pictures: PictureSet, span: float, scores: Scores | None = None
    ) -> None:
        """Scores the pictures with the FP32 graph, if that was not done already.

        Args:
            reference: the FP32 graph.
            pictures: to measure on.
            span: of the scores, worst to best.
            scores: of the pictures, by the FP32 graph.

        Raises:
            ParityError: the FP32 graph gives no numbers.
        """
        self.pictures, self.span = pictures, span
        self.weights = sum(int(np.prod(tensor.dims)) for tensor in reference.graph.initializer)
        self.labels = pictures.labels
        self.reference = scores_of(reference, pictures.crops) if scores is None else scores
        if not np.isfinite(np.concatenate(self.reference)).all():
            raise ParityError("The FP32 model itself gives no numbers for some of these pictures.")
        if self.labels is not None and (len(self.labels) < MIN_RANKED or np.ptp(self.labels) == 0):
            self.labels = None  # too few to rank, or all alike

    def measure(self, model: onnx.ModelProto, limit: Limit) -> tuple[Agreement, float | None, tuple[str, ...]]:
        """Agreement, loss of SROCC with the labels, and what breaks the limit."""
        return self._judge(scores_of(model, self.pictures.crops), limit)

    def _judge(self, scores: Scores, limit: Limit) -> tuple[Agreement, float | None, tuple[str, ...]]:
        agreement = compare_pictures(self.reference, scores, self.span)
        found = agreement.violations(limit)
        drop = None
        if self.labels is not None:
            before, after = (_srocc(side, self.labels) for side in (self.reference, scores))
            drop = before - after
            if not drop <= 1 - limit.srocc:
                found.append(f"SROCC with the labels falls from {before:.4f} to {after:.4f}")
        return agreement, drop, tuple(found)

    def search(
        self,
        build: Build,
        nodes: Sequence[str],
        limit: Limit,
        fixed: Collection[str] = (),
        earlier: GuardResult | None = None,
        progress: Progress = lambda done, total, text: None,
    ) -> GuardResult:
        """Builds with nothing kept; where that misses the limit, with as few nodes kept as the limit needs.

        But with all kept that by themselves cost a crop `MAX_NODE_SHARE` of the limit. Where half of the nodes kept do
        not reach it, the result is the graph nearest to it, and plain reduced precision where keeping nodes hardly
        helps.

        Args:
            build: makes the reduced graph, but for the nodes named.
            nodes: all that reduced precision touches, in the graph's order.
            limit: what has to hold on the pictures.
            fixed: those of them that are never kept, whatever they cost.
            earlier: what was found in a flavour of the same precision: what nodes cost differs little between flavours,
                and how many to keep often does. None to find all of it here.
            progress: called with steps done, steps in all (0 when not known) and what is done.
        """
        model = build(frozenset())
        scores = scores_of(model, self.pictures.crops)
        plain = GuardResult(model, model, (), *self._judge(scores, limit), len(nodes))
        if not plain.violations:
            return plain
        free = [name for name in nodes if name not in fixed]
        ranking = None if earlier is None else earlier.ranking
        if ranking is None:
            probes = self._probes(scores, max(MIN_PROBE_CROPS, min(PROBE_CROPS, int(PROBE_WEIGHTS / self.weights))))
            ranking = CostRanking(self._cost_of(build, nodes, probes, progress), free)
        most = len(free) // 2
        costly = len(ranking.from_cost(MAX_NODE_SHARE * limit.worst * self.span)[:most])
        hardest = self._hardest(scores)
        best, nearest = None, (plain.agreement.worst, plain.model, plain.kept)
        lower, step, upper = costly, costly, most
        if not costly:  # no node stands out, but what they cost together says how many have to be kept
            foretold = max(1, min(most, ranking.to_reach(_share(plain.agreement, limit))))
            lower, step = foretold - _slack(foretold), max(foretold, len(earlier.kept) if earlier is not None else 0)
        # More until it holds, as many as were kept earlier or as the costs foretell; then it halves the gap to the last
        # that did not.
        while lower <= upper and (best is None or upper - lower + 1 > _slack(len(best.kept))):
            count = min(step, upper) if best is None else (lower + upper) // 2
            kept = tuple(row.node for row in ranking.first(count))
            progress(0, 0, f"keeping {count} of {len(nodes)} nodes")
            model = build(frozenset(kept))
            verdict = self._judge_hardest_first(model, hardest, limit)
            if not verdict[2]:
                best, upper = GuardResult(model, plain.model, kept, *verdict, len(nodes)), count - 1
                continue
            if verdict[0].worst < nearest[0] or np.isnan(nearest[0]):
                nearest = verdict[0].worst, model, kept
            lower = count + 1
            foretold = ranking.to_reach(_share(verdict[0], limit), count)
            step = max(lower + _slack(count), min(math.ceil(1.5 * count), foretold))
        if best is None:
            best = plain
            if not nearest[0] >= MIN_GAIN * plain.agreement.worst:
                best = GuardResult(nearest[1], plain.model, nearest[2], *self.measure(nearest[1], limit), len(nodes))
        return replace(best, table=ranking.first(max(len(ranking.found), len(best.kept))), ranking=ranking)

    def _probes(self, scores: Scores, count: int) -> UInt8Array:
        """Crops to find costly nodes on, (P, S, S, 3): half of them those that `scores` are furthest off for, since
        what breaks a limit may be rare; the others from all pictures, since it may be something else when those nodes
        are kept."""
        off = np.abs(np.concatenate(scores) - np.concatenate(self.reference))
        furthest = np.argsort(-np.nan_to_num(off, nan=np.inf), kind="stable")[: count // 2]
        spread = np.linspace(0, len(off) - 1, len(furthest)).astype(int)
        probes: UInt8Array = np.concatenate(self.pictures.crops)[np.concatenate([furthest, spread])]
        return probes

    def _cost_of(self, build: Build, nodes: Sequence[str], probes: UInt8Array, progress: Progress) -> Measure:
        """How far scores of (P, S, S, 3) crops move where some nodes alone are reduced. A NaN counts as infinite."""
        every = frozenset(nodes)
        base = np.concatenate(scores_of(build(every), [probes]))

        def cost(reduced: frozenset[str]) -> float:
            progress(0, 0, "what nodes cost")
            scores = np.concatenate(scores_of(build(every - reduced), [probes]))
            rms = float(np.sqrt(np.mean((scores - base).astype(np.float64) ** 2)))
            return rms if np.isfinite(rms) else float("inf")

        return cost

    def _hardest(self, scores: Scores) -> list[int]:
        """The pictures that `scores` are furthest off for; a NaN is furthest."""
        off = np.nan_to_num(_apart(self.reference, scores), nan=np.inf)
        return [int(k) for k in np.argsort(-off, kind="stable")[: max(2, math.ceil(HARD_SHARE * len(off)))]]

    def _judge_hardest_first(
        self, model: onnx.ModelProto, hardest: Sequence[int], limit: Limit
    ) -> tuple[Agreement, float | None, tuple[str, ...]]:
        """As `measure`; of those pictures alone, and without a ranking, where one of them is too far off already."""
        session = session_of(model)
        scores = dict(zip(hardest, self._run(session, hardest), strict=True))
        off = _apart([self.reference[k] for k in hardest], list(scores.values())) / self.span
        if not off.max() <= limit.worst:
            unranked = Agreement(float(off.max()), float(off.mean()), math.nan, math.nan, len(off))
            return unranked, None, tuple(unranked.violations(limit))
        others = [k for k in range(len(self.reference)) if k not in scores]
        if others:
            scores.update(zip(others, self._run(session, others), strict=True))
        return self._judge([scores[k] for k in range(len(self.reference))], limit)

    def _run(self, session: Any, places: Sequence[int]) -> Scores:
        return run_scores(session, [self.pictures.crops[k] for k in places])


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


def _slack(count: int) -> int:
    """How many nodes more or fewer nobody looks for where so many are kept: a look takes as long as 20 measurements."""
    return count // 7


def _share(agreement: Agreement, limit: Limit) -> float:
    """To what share of what it is the error has to come down, by what breaks the limit."""
    shares = [limit.worst / agreement.worst] if agreement.worst > limit.worst else []
    if agreement.srocc < limit.srocc:
        shares.append(math.sqrt((1 - limit.srocc) / (1 - agreement.srocc)))  # a rank correlation loses with the square
    return min(shares, default=0.5)  # neither: SROCC with labels, or no numbers


def _apart(scores: Scores, others: Scores) -> npt.NDArray[np.float64]:
    """How far the scores of each of P pictures are apart: (P,)."""
    pairs = zip(scores, others, strict=True)
    return np.array([abs(one.mean(dtype=np.float64) - other.mean(dtype=np.float64)) for one, other in pairs])


def _srocc(scores: list[npt.NDArray[Any]], labels: npt.NDArray[np.float64]) -> float:
    return float(spearmanr([cut.mean(dtype=np.float64) for cut in scores], labels).statistic)
