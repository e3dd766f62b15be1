"""Reads a checkpoint file of any format it knows, executing nothing that the file says."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.own_format import FORMATS, from_own
from lifeiqa.models.checkpoints.released import from_released
from lifeiqa.runtime.errors import CheckpointError, LifeIQAError


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads our own format or the authors' released one, executing nothing that the file says.

    Raises:
        CheckpointError: the file is missing, no checkpoint, unsafe, or its tensors do not fit its configuration.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}: {error.strerror or error}.") from error
    content = _load_safely(data, path)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        if isinstance(content, Mapping) and content.get("format") in FORMATS:
            return replace(from_own(content), sha256=sha256)
        if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
            return replace(from_released(content["model"]), sha256=sha256)
    except LifeIQAError as error:
        raise CheckpointError(f"{path}: {error}") from error
    raise CheckpointError(
        f"{path} is not a Life-IQA checkpoint. Expected a file from lifeiqa-train, or one that the authors' training "
        "code saved (a dictionary with the key 'model')."
    )


def _load_safely(data: bytes, path: Path) -> Any:
    """`torch.load(weights_only=True)` that also accepts the few inert types of released checkpoints."""
    # Their configuration is a yacs CfgNode, a dictionary; their best PLCC may be a NumPy number.
    number = np.float64(0).__reduce__()[0]
    inert: list[Any] = [
        (OrderedDict, "yacs.config.CfgNode"),
        *((number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        np.dtype,
        np.dtypes.Float64DType,
        np.dtypes.Float32DType,
    ]
    try:
        with torch.serialization.safe_globals(inert):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its many readers do
        pickled = data.startswith((b"PK", b"\x80"))  # a zip archive, or what PyTorch wrote before 1.6
        if pickled and any(
            sign in str(error) for sign in ("Unsupported global", "Unsupported operand", "weights_only")
        ):
            raise CheckpointError(
                f"{path} carries Python objects that would run code when loaded; it was not loaded. Save the model's "
                "state_dict() alone, or get the file from a source you trust."
            ) from error
        raise CheckpointError(
            f"{path} is not a checkpoint that PyTorch can read: cut short, or another kind of file."
        ) from error
