"""The training loss: eq. 13-15, 27 and 28, and a ranking term for ladders of one distortion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import Prediction
from lifeiqa.models.network.moe import Routing, mask_logits

BALANCE_WEIGHT = 0.01  # lambda_1 of eq. 28
ROUTER_Z_WEIGHT = 0.001  # lambda_2 of eq. 28


def load_balancing_loss(routing: Routing, probabilities: str = "full") -> Tensor:
    """Eq. 13-14: E times the sum over experts of (share of tokens kept) times (mean probability). Scalar.

    K when the load is even; larger when it is not.

    Args:
        routing: logits and weights, (B, N, E).
        probabilities: "full": softmax of all logits; "masked": of those kept, as in the released implementation.
    """
    kept = (routing.weights > 0).to(routing.logits.dtype)
    if probabilities == "masked":
        p = torch.softmax(mask_logits(routing.logits, int(kept[0, 0].sum())), dim=-1)
    else:
        p = torch.softmax(routing.logits, dim=-1)
    tokens = (0, 1)
    return routing.logits.shape[-1] * (kept.mean(dim=tokens) * p.mean(dim=tokens)).sum()


def router_z_loss(routing: Routing) -> Tensor:
    """Eq. 15: mean squared log-sum-exp of the router's logits. Scalar."""
    return torch.logsumexp(routing.logits, dim=-1).square().mean()


def ranking_loss(scores: Tensor, targets: Tensor, margin: float = 0.5, first: float = 1.0) -> Tensor:
    """Hinge on the order of neighbours on the same ladder. Scalar.

    Not in the paper: with L1 alone, mild distortions are under-rated. Neighbours that are far enough apart keep all
    others apart; over all pairs, those that are easy to order would make little of those that are not.

    Args:
        scores, targets: (G, L), a ladder a row, in any order, all on one scale.
        margin: share of the true difference by which the scores of neighbours must differ.
        first: weight of the pair at the top of each ladder, the others have 1.
    """
    order = targets.argsort(dim=1, descending=True, stable=True)
    gap, scored = (-x.gather(1, order).diff(dim=1) for x in (targets, scores))
    pair = (gap > 0).to(gap.dtype)
    pair[:, :1] *= first
    return (functional.relu(margin * gap - scored) * pair).sum() / pair.sum().clamp(min=1)


def fidelity_loss(scores: Tensor, targets: Tensor, sources: Tensor, spread: float = 0.08) -> Tensor:
    """One minus the fidelity of who is the better of two pictures, over pairs rated in the same set. Scalar, 0 to 1.

    Not in the paper: Zhang et al., "Uncertainty-Aware Blind Image Quality Assessment in the Laboratory and Wild"
    (UNIQUE), IEEE TIP 2021, with Thurstone's model and one spread for all. Labels are compared within sets alone, so
    that sets need not share a scale.

    Args:
        scores: (B,) of the network.
        targets: (B,) on 0-1.
        sources: (B,) int64, the set of each; pictures below 0 are in no pair.
        spread: standard deviation of a label, and of a score.
    """
    first, second = torch.triu_indices(len(scores), len(scores), offset=1, device=scores.device)
    kept = (sources[first] == sources[second]) & (sources[first] >= 0)
    first, second = first[kept], second[kept]
    if not len(first):
        return scores.sum() * 0.0
    better, meant = (_probability((x[first] - x[second]) / spread) for x in (scores, targets))
    fidelity = (better * meant).sqrt() + ((1 - better) * (1 - meant)).sqrt()
    return (1 - fidelity).mean()


def _probability(difference: Tensor) -> Tensor:
    """That the first is judged better, each judgement with variance 1; away from 0 and 1, where roots are steep."""
    return (0.5 * (1 + torch.erf(difference / 2))).clamp(1e-4, 1 - 1e-4)


def classification_loss(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of distortion and level, weighted. Scalar.

    Not in the paper: the network underfits distortions that hardly show, or show like another, from scores alone.

    Args:
        logits: (B, C).
        classes: (B,) int64.
        weights: (B,) from 0.
    """
    each = functional.cross_entropy(logits, classes, reduction="none")
    return (each * weights).sum() / weights.sum().clamp(min=1)


class Losses(NamedTuple):
    """The parts of eq. 28, each a scalar, unweighted. Balance and z are 0 where there are no experts."""

    main: Tensor
    balance: Tensor
    router_z: Tensor

    @property
    def total(self) -> Tensor:
        """Eq. 28: main + 0.01 load balance + 0.001 router z."""
        return self.main + BALANCE_WEIGHT * self.balance + ROUTER_Z_WEIGHT * self.router_z


def paper_losses(
    prediction: Prediction, targets: Tensor, config: LifeIQAConfig, weights: Tensor | None = None
) -> Losses:
    """The paper's losses of predictions against targets.

    Args:
        prediction: B scores.
        targets: (B,) on the same scale.
        weights: (B,) of the targets in the main loss, from 0; by default 1.
    """
    main = functional.l1_loss if config.main_loss == "l1" else functional.smooth_l1_loss
    each = main(prediction.score, targets, reduction="none")
    share = torch.ones_like(each) if weights is None else weights
    loss = (each * share).sum() / share.sum().clamp(min=1)
    if prediction.routing is None:
        return Losses(loss, torch.zeros_like(loss), torch.zeros_like(loss))
    balance = load_balancing_loss(prediction.routing, config.balance)
    return Losses(loss, balance, router_z_loss(prediction.routing))
