"""What a training step makes smaller: the paper's loss, and what a recipe adds to it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import Features, LifeIQA, Prediction
from lifeiqa.models.training.batches import Draw
from lifeiqa.models.training.losses import Losses, kind_loss, paper_losses, ranking_loss
from lifeiqa.models.training.recipes import Recipe


class Answer(NamedTuple):
    """What a pupil says of B crops.

    Attributes:
        prediction: scores, routing and decoded queries.
        kinds: (B, kinds) logits of distortion and level; None where nobody asks for them.
    """

    prediction: Prediction
    kinds: Tensor | None


class Pupil(nn.Module):
    """The network with what it needs in training alone: a head that names distortion and level."""

    def __init__(self, network: LifeIQA, kinds: int) -> None:
        super().__init__()
        self.network = network
        self.kinds = nn.Linear(network.config.dim, kinds) if kinds else None

    def head_parameters(self) -> list[nn.Parameter]:
        """All but the backbone's."""
        return [p for name, p in self.named_parameters() if not name.startswith("network.backbone.")]

    def forward(self, crops: Tensor) -> Answer:
        """Answers about normalised crops (B, 3, S, S)."""
        return self.answer(self.network.look(crops))

    def answer(self, features: Features) -> Answer:
        """Answers about features of B crops."""
        prediction = self.network.judge(features)
        return Answer(prediction, None if self.kinds is None else self.kinds(prediction.tokens.mean(dim=1)))


class Objective(NamedTuple):
    """The loss of one step and its parts.

    Attributes:
        loss: what is minimised, a scalar.
        paper: the paper's parts of it.
        ranking, kind: those of the recipe, unweighted; None where it has none.
    """

    loss: Tensor
    paper: Losses
    ranking: Tensor | None
    kind: Tensor | None


def objective(answer: Answer, draws: Draw, config: LifeIQAConfig, recipe: Recipe) -> Objective:
    """Compares the answer about G * L crops with what is known of them.

    Args:
        answer: on the device of `draws`.
        draws: scores, weights and kinds (G, L) of G draws.
        config, recipe: of the run.
    """
    weights = draws.weights.flatten()
    paper = paper_losses(answer.prediction, draws.scores.flatten(), config, weights)
    loss, ranking, kind = paper.total, None, None
    if recipe.rank_weight:
        scores = answer.prediction.score.view_as(draws.scores)
        ranking = ranking_loss(scores, draws.scores, first=recipe.pristine_rank)
        loss = loss + recipe.rank_weight * ranking
    if answer.kinds is not None:
        kind = kind_loss(answer.kinds, draws.kinds.flatten(), weights)
        loss = loss + recipe.kind_weight * kind
    return Objective(loss, paper, ranking, kind)
