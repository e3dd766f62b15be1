"""The checkpoint file that lifeiqa writes: what is in it, and how it is read back."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lifeiqa.models.checkpoints.checkpoint import Checkpoint, validated_state
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.runtime.errors import CheckpointError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec

FORMAT = "lifeiqa-checkpoint-2"
_FORMAT_1 = "lifeiqa-checkpoint-1"  # before the ablations: the queries' and the memory's stages were always 4 and 3
FORMATS = (FORMAT, _FORMAT_1)
_RENAMED = {"stage4_projection": "query_projection", "stage3_projection": "memory_projection"}


def save_checkpoint(checkpoint: Checkpoint, path: Path, half: bool = False) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        checkpoint: what to write.
        path: where to.
        half: store matrices and kernels in half precision, which halves the file. Vectors (norms, biases) stay
            whole. The rounded weights then are the reference.

    Raises:
        WriteError: the file cannot be written.
    """
    state = {
        name: tensor.half() if half and tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in checkpoint.state.items()
    }
    content = {
        "format": FORMAT,
        "config": checkpoint.config.to_dict(),
        "preprocess": checkpoint.preprocess.to_dict(),
        "scale": asdict(checkpoint.scale),
        "training": checkpoint.training,
        "state": state,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def from_own(content: Mapping[str, Any]) -> Checkpoint:
    """What a file of one of `FORMATS` holds. Raises `CheckpointError` when it is malformed or does not fit."""
    try:
        values, state, training = content["config"], content["state"], content["training"]
        if content["format"] == _FORMAT_1 and isinstance(values, Mapping) and isinstance(state, Mapping):
            values = {**LifeIQAConfig().to_dict(), **values}
            state = {_renamed(name): tensor for name, tensor in state.items()}
        config = LifeIQAConfig.from_dict(values)
        preprocess = PreprocessSpec.from_dict(content["preprocess"])
        scale = ScoreScale.from_dict(content["scale"])
        json.dumps(training, allow_nan=False)  # it goes into every artifact
        if not isinstance(training, dict):
            raise CheckpointError("what it says about its training is no dictionary.")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint is incomplete or malformed: {error}.") from error
    return Checkpoint(config, preprocess, scale, validated_state(state, config), training)


def _renamed(name: Any) -> Any:
    part, dot, rest = str(name).partition(".")
    return f"{_RENAMED[part]}{dot}{rest}" if part in _RENAMED else name
