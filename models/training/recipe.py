"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

from lifeiqa.models.synthesis.distortions import LEVELS
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec

MIN_CROP_SIZE, MAX_CROP_SIZE = 64, 1024


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; see `lifeiqa.models.training.recipe_files` for the files they come from.

    Attributes:
        epochs: passes over the training pictures, or ladders; 0 to stop after `head_epochs`, the backbone as it was.
        batch: crops of one step, over all processes.
        crops: random crops drawn from each picture in an epoch.
        crop_size: side of the crops that the network learns from, and that its artifacts will read.
        levels: 1, and every crop is drawn by itself; more, and a step has batch / levels ladders (pictures of one
            content and distortion) with this many levels of each, at the same random window.
        train_share: of the training part, how much is used (Table III).
        flip: mirror half of the crops.
        rotate: turn crops by a random multiple of 90 degrees, so that few contents are learnt by heart more slowly.
        grey: share of draws whose crops lose their colour, so that grey pictures are ordered as coloured ones are;
            never those of distortions that show in colour, and noise keeps its own. Only the ranking loss sees them: a
            picture that was always grey cannot be told from one that lost its colour, which is a distortion with a
            score of its own.
        on_the_fly: share of draws that are ladders made on the fly of an augmented photograph, for their order alone;
            see `lifeiqa.models.synthesis.on_the_fly`, and for mixed runs `lifeiqa.models.synthesis.reference_ladders`.
        rated: of a mixed run: share of a step's groups that hold pictures rated by people, each by itself; the others
            are ladders. 0 for a run on one set of either kind. In a mixed run grey crops of rated pictures keep their
            score; ladders of sets teach their order alone. See `lifeiqa.models.training.mixed`.
        anchors: of a mixed run: share of the rated pictures that give way to one that shows nothing, with score 0.
        held_out: share of the training part's contents that is kept for choosing among runs: it is not trained on, and
            what the run measures, instead of the test part, which stays unseen until the end.
        pretrained: False starts the backbone from random weights instead of ImageNet's.
        optimizer: Adam, or AdamW with `weight_decay`.
        lr: peak learning rate.
        backbone_lr: factor on it for the backbone.
        weight_decay: of AdamW.
        schedule: "step": times `decay` every `decay_epochs`; "cosine": to zero at the end.
        warmup_epochs: the rate rises from zero in a straight line over these.
        pristine_weight: of undistorted pictures in the losses of scores and distortion classes. They are a sixth of
            what is seen of whole ladders: with a weight of 1 distortions that hardly show are all rated near them.
        ambiguous_weight: likewise, of copies that may pass for photographs of their own; see `AMBIGUOUS`.
        rank_weight: of the ranking loss, which the paper does not have; needs `levels` above 1.
        pristine_rank_weight: how much more than others the pair of the best two levels of a draw counts there.
        pair_weight: of the fidelity loss over pairs of pictures rated in the same set; see `fidelity_loss`.
        classification_weight: of the loss that asks for distortion and level, which the paper does not have: scores
            alone teach little of distortions that are hard to see.
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
        quantized_epochs: how many of the last epochs round weights and activations to INT8 in the forward pass, so that
            the weights bear it when they are exported; see `lifeiqa.models.training.fake_quantization`.
        ema: decay, at each step, of the running mean of the weights that becomes the result; 0 for the last weights.
        half_weights: store matrices of the checkpoint in half precision: half the file.
        select: which epoch becomes the checkpoint: the "last", or the "best" by PLCC on what the run measures: the test
            part, which then is no longer unseen, or the part that `held_out` keeps.
    """

    epochs: int = 30
    batch: int = 64
    crops: int = 1
    crop_size: int = PreprocessSpec.crop_size
    levels: int = 1
    train_share: float = 1.0
    flip: bool = True
    rotate: bool = False
    grey: float = 0.0
    on_the_fly: float = 0.0
    rated: float = 0.0
    anchors: float = 0.0
    held_out: float = 0.0
    pretrained: bool = True
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
    pristine_rank_weight: float = 1.0
    pair_weight: float = 0.0
    classification_weight: float = 0.0
    standardize: bool = False
    head_crops: int = 36_000
    head_epochs: int = 0
    frozen_stages: int = 0
    frozen_norm: bool = False
    clip: float = 0.0
    start_share: float = 0.0
    quantized_epochs: float = 0.0
    ema: float = 0.0
    half_weights: bool = False
    select: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        self._check_types()
        least = (self.batch, self.crops, self.levels, self.decay_epochs, self.head_crops)
        if min(least) < 1 or self.lr == 0:
            raise UsageError("Recipe: batch, crops, levels, decay_epochs, head_crops and lr must be above 0.")
        if not MIN_CROP_SIZE <= self.crop_size <= MAX_CROP_SIZE:
            raise UsageError(
                f"Recipe: crop_size is {self.crop_size}; expected {MIN_CROP_SIZE} to {MAX_CROP_SIZE} pixels."
            )
        if not self.epochs and not self.head_epochs:
            raise UsageError("Recipe: neither epochs nor head_epochs: nothing would be learnt.")
        self._check_mixture()
        if (self.grey or self.on_the_fly) and not self.rank_weight:
            raise UsageError(
                "Recipe: grey crops and ladders made on the fly teach their order alone: give the ranking loss a "
                "weight (rank_weight), or use grey=0 and on_the_fly=0."
            )
        if max(self.grey, self.on_the_fly, self.anchors) > 1:
            raise UsageError("Recipe: grey, on_the_fly and anchors are shares, 0 to 1.")
        if max(self.held_out, self.ema) >= 1:
            raise UsageError("Recipe: held_out and ema must be below 1.")
        if self.on_the_fly and not 2 <= self.levels <= 1 + len(LEVELS):
            raise UsageError(f"Recipe: ladders made on the fly have 2 to {1 + len(LEVELS)} levels, not {self.levels}.")
        if self.start_share >= 1 or (self.start_share and self.select == "best"):
            raise UsageError('Recipe: start_share must be below 1, and 0 where select is "best".')
        if self.batch % self.levels:
            raise UsageError(f"Recipe: a batch of {self.batch} crops cannot hold ladders of {self.levels} levels.")

    def _check_mixture(self) -> None:
        """A mixed run has both parts in each step. Raises `UsageError`."""
        if not self.rated:
            if self.anchors:
                raise UsageError("Recipe: anchors are for mixed runs; give rated a share.")
            return
        if not 0 < self.rated_groups < self.groups:
            raise UsageError(
                f"Recipe: rated={self.rated:g} of {self.groups} groups a step leaves no rated picture or no ladder; "
                "change rated, batch or levels."
            )
        if self.levels < 2 or not self.rank_weight or self.classification_weight:
            raise UsageError(
                "Recipe: a mixed run needs ladders (levels from 2) and rank_weight, and classification_weight=0."
            )

    def _check_types(self) -> None:
        """Every field is of its type, numbers are finite and not negative. Raises `UsageError`."""
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            if get_origin(hint) is Literal:
                expected = f"one of {', '.join(get_args(hint))}"
                fits = value in get_args(hint)
            elif hint is bool:
                expected, fits = "true or false", isinstance(value, bool)
            else:
                expected = "a whole number from 0" if hint is int else "a number from 0"
                fits = type(value) in ((int,) if hint is int else (int, float)) and 0 <= value < 1e9
            if not fits:
                raise UsageError(f"Recipe: {field.name} is {value!r}; expected {expected}.")

    @property
    def groups(self) -> int:
        """Pictures or ladders of one step."""
        return self.batch // self.levels

    @property
    def rated_groups(self) -> int:
        """Of them, those of rated pictures, in a mixed run."""
        return round(self.rated * self.groups)

    def rate(self, epoch: float) -> float:
        """Factor on the learning rate at a point of the run, in epochs from its start."""
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        if self.schedule == "step":
            return float(self.decay ** int(epoch // self.decay_epochs))
        return 0.5 * (1 + math.cos(math.pi * (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)))
