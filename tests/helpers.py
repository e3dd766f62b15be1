"""Tiny seeded models, and exported ones that something is wrong with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import torch

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec

TINY = LifeIQAConfig(backbone="test_efficientnet", dim=48, decoder_layers=1, expert_hidden=32)


def make_checkpoint(config: LifeIQAConfig = TINY, **changes: object) -> Checkpoint:
    torch.manual_seed(0)
    values = {
        "config": config,
        "preprocess": PreprocessSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        "scale": ScoreScale(0.0, 1.0),
        "state": LifeIQA(config).state_dict(),
        "training": {"labels": "none"},
    }
    return Checkpoint(**{**values, **changes})


def altered(source: Path, target: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(source)
    change(model)
    onnx.save(model, target)
    return target
