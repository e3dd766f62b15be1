"""What a training step makes smaller: the paper's loss, and what a recipe adds to it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import Features, LifeIQA, Prediction
from lifeiqa.models.training.batches import CropGroup
from lifeiqa.models.training.losses import Losses, classification_loss, fidelity_loss, paper_losses, ranking_loss
from lifeiqa.models.training.recipe import Recipe


class TrainingOutput(NamedTuple):
    """What is predicted of B crops.

    Attributes:
        prediction: scores, routing and decoded queries.
        class_logits: (B, C) of distortion and level; None where nobody asks for them.
    """

    prediction: Prediction
    class_logits: Tensor | None


class TrainingModule(nn.Module):
    """The network with what it needs in training alone: a head that classifies distortion and level."""

    def __init__(self, network: LifeIQA, classes: int) -> None:
        super().__init__()
        self.network = network
        self.classifier = nn.Linear(network.config.dim, classes) if classes else None

    def head_parameters(self) -> list[nn.Parameter]:
        """All but the backbone's."""
        return [p for name, p in self.named_parameters() if not name.startswith("network.backbone.")]

    def forward(self, crops: Tensor) -> TrainingOutput:
        """Normalised crops (B, 3, S, S)."""
        return self.forward_head(self.network.forward_features(crops))

    def forward_head(self, features: Features) -> TrainingOutput:
        """Features of B crops."""
        prediction = self.network.forward_head(features)
        logits = None if self.classifier is None else self.classifier(prediction.tokens.mean(dim=1))
        return TrainingOutput(prediction, logits)


class Objective(NamedTuple):
    """The loss of one step and its parts.

    Attributes:
        loss: what is minimised, a scalar.
        paper: the paper's parts of it.
        ranking, pairs, classification: those of the recipe, unweighted; None where it has none.
    """

    loss: Tensor
    paper: Losses
    ranking: Tensor | None
    pairs: Tensor | None
    classification: Tensor | None


def objective(output: TrainingOutput, draws: CropGroup, config: LifeIQAConfig, recipe: Recipe) -> Objective:
    """Compares the output for G * L crops with what is known of them.

    Args:
        output: on the device of `draws`.
        draws: of G draws, their fields of shape (L,) as (G, L).
        config, recipe: of the run.
    """
    weights = draws.weights.flatten()
    paper = paper_losses(output.prediction, draws.scores.flatten(), config, weights)
    loss, ranking, pairs, classification = paper.total, None, None, None
    if recipe.rank_weight:
        rows = draws.ladder
        scores = output.prediction.score.view_as(draws.scores)
        ranking = ranking_loss(scores[rows], draws.scores[rows], first=recipe.pristine_rank_weight)
        loss = loss + recipe.rank_weight * ranking
    if recipe.pair_weight:
        pairs = fidelity_loss(output.prediction.score, draws.scores.flatten(), draws.sources.flatten())
        loss = loss + recipe.pair_weight * pairs
    if output.class_logits is not None:
        classification = classification_loss(output.class_logits, draws.classes.flatten(), weights)
        loss = loss + recipe.classification_weight * classification
    return Objective(loss, paper, ranking, pairs, classification)
