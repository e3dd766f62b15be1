"""How a network is trained: the paper's recipe, the released one, and the one for ladders of distortion."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias

from lifeiqa.models.datasets import SetInfo
from lifeiqa.models.synthesis.distortions import LEVELS
from lifeiqa.runtime.errors import UsageError

RecipeName: TypeAlias = Literal["paper", "released", "ladders"]
_LARGE_SET = 10_000  # pictures from which the paper calls a set large-scale


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        epochs: passes over the training pictures, or ladders; 0 to stop after `head_epochs`, the backbone as it was.
        batch: crops of one step, over all processes.
        crops: random crops drawn from each picture in an epoch.
        levels: 1, and every crop is drawn by itself; more, and a step has batch / levels ladders (pictures of one
            content and distortion) with this many levels of each, at the same random window.
        flip: mirror half of the crops.
        turn: turn crops by a random multiple of 90 degrees, so that few contents are learnt by heart more slowly.
        grey: share of draws whose crops lose their colour, so that grey pictures are ordered as coloured ones are;
            never those of distortions that show in colour, and noise keeps its own. Only the ranking loss sees them: a
            picture that was always grey cannot be told from one that lost its colour, which is a distortion with a
            score of its own.
        fresh: share of draws that are ladders made on the spot of an altered photograph, for their order alone; see
            `lifeiqa.models.synthesis.on_the_fly`.
        optimizer: Adam, or AdamW with `weight_decay`.
        lr: peak learning rate.
        backbone_lr: factor on it for the backbone.
        weight_decay: of AdamW.
        schedule: "step": times `decay` every `decay_epochs`; "cosine": to zero at the end.
        warmup_epochs: the rate rises from zero in a straight line over these.
        pristine_weight: of undistorted pictures in the losses of scores and kinds. They are a sixth of what is seen of
            whole ladders: with a weight of 1 distortions that hardly show are all rated near them.
        ambiguous_weight: likewise, of copies that may pass for photographs of their own; see `AMBIGUOUS`.
        rank_weight: of the ranking loss, which the paper does not have; needs `levels` above 1.
        pristine_rank: how much more than others the pair of the best two levels of a draw counts there.
        kind_weight: of the loss that asks for distortion and level, which the paper does not have: scores alone teach
            little of distortions that are hard to see.
        standardize: scale what the decoder reads of a new network's backbone; see `LifeIQA.standardize`.
        head_crops: random crops on whose stored features all but the backbone of a new network learns before the run's
            first step.
        head_epochs: passes over these; 0 for none. An epoch takes a few per cent of the time of one of the run.
        frozen_stages: leading blocks of the backbone, and its stem, that are not trained.
        frozen_norm: keep ImageNet's batch norm statistics: a batch of a few contents is no sample of the world.
        clip: largest norm of the gradient; 0 for any.
        start_share: of a run from a checkpoint: how much of the result are the weights that it started from, the rest
            those that it arrived at (WiSE-FT, Wortsman et al., CVPR 2022). The mean gains what fine-tuning teaches and
            loses less of what was known.
        select: which epoch becomes the checkpoint: the "last", or the "best" by PLCC on the test half (which then is no
            longer unseen).
    """

    epochs: int = 30
    batch: int = 64
    crops: int = 1
    levels: int = 1
    flip: bool = True
    turn: bool = False
    grey: float = 0.0
    fresh: float = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = 2e-4
    backbone_lr: float = 1.0
    weight_decay: float = 0.0
    schedule: Literal["step", "cosine"] = "step"
    decay: float = 0.01
    decay_epochs: int = 10
    warmup_epochs: float = 0.0
    pristine_weight: float = 1.0
    ambiguous_weight: float = 1.0
    rank_weight: float = 0.0
    pristine_rank: float = 1.0
    kind_weight: float = 0.0
    standardize: bool = False
    head_crops: int = 36_000
    head_epochs: int = 0
    frozen_stages: int = 0
    frozen_norm: bool = False
    clip: float = 0.0
    start_share: float = 0.0
    select: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (str, bool)) and not 0 <= value < 1e9:
                raise UsageError(f"Recipe: {field.name} is {value}; expected a number from 0.")
        least = (self.batch, self.crops, self.levels, self.decay_epochs, self.head_crops)
        if min(least) < 1 or self.lr == 0:
            raise UsageError("Recipe: batch, crops, levels, decay_epochs, head_crops and lr must be above 0.")
        if not self.epochs and not self.head_epochs:
            raise UsageError("Recipe: neither epochs nor head_epochs: nothing would be learnt.")
        if (self.grey or self.fresh) and not self.rank_weight:
            raise UsageError(
                "Recipe: grey crops and fresh ladders teach their order alone: give the ranking loss a weight, or use "
                "grey 0 and fresh 0."
            )
        if self.fresh and not 2 <= self.levels <= 1 + len(LEVELS):
            raise UsageError(f"Recipe: fresh ladders have 2 to {1 + len(LEVELS)} levels, not {self.levels}.")
        if self.start_share >= 1 or (self.start_share and self.select == "best"):
            raise UsageError('Recipe: start_share must be below 1, and 0 where select is "best".')
        if self.batch % self.levels:
            raise UsageError(f"Recipe: a batch of {self.batch} crops cannot hold ladders of {self.levels} levels.")

    @property
    def groups(self) -> int:
        """Pictures or ladders of one step."""
        return self.batch // self.levels

    def rate(self, epoch: float) -> float:
        """Factor on the learning rate at a point of the run, in epochs from its start."""
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        if self.schedule == "step":
            return float(self.decay ** int(epoch // self.decay_epochs))
        return 0.5 * (1 + math.cos(math.pi * (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)))


def recipe_for(name: RecipeName, info: SetInfo) -> Recipe:
    """A recipe's settings for a data set.

    "paper" is section IV-A: Adam, 2e-4 on synthetic and 2e-5 on authentic distortions, times 0.01 every 10 epochs as
    printed, 30 epochs, batches of 64, or 128 on large sets. It does not say how many crops of a picture make an epoch:
    one here. "released" is what is known of the authors' implementation, which does not say its decay: 0.1 here.
    "ladders" is for sets of lifeiqa-synth, and for a small backbone.
    """
    if name == "ladders":
        return Recipe(
            epochs=6,
            batch=36,
            levels=6,
            grey=0.1,
            pristine_weight=0.25,
            kind_weight=0.1,
            optimizer="adamw",
            lr=4e-4,
            backbone_lr=0.5,
            weight_decay=0.01,
            schedule="cosine",
            warmup_epochs=0.6,
            rank_weight=1.0,
            standardize=True,
            head_epochs=7,
            frozen_stages=2,
            frozen_norm=True,
            clip=1.0,
        )
    paper = Recipe(
        lr=2e-4 if info.kind == "synthetic" else 2e-5,
        batch=128 if info.pictures >= _LARGE_SET else 64,
    )
    if name == "paper":
        return paper
    return replace(paper, optimizer="adamw", weight_decay=0.01, decay=0.1, warmup_epochs=2, select="best")
