"""Life-IQA checkpoints: our own format, and the door to the authors' released one."""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.runtime.errors import CheckpointError, LifeIQAError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec

FORMAT = "lifeiqa-checkpoint-2"
_FORMAT_1 = "lifeiqa-checkpoint-1"  # before the ablations: the queries' and the memory's stages were always 4 and 3
_RENAMED = {"stage4_projection": "query_projection", "stage3_projection": "memory_projection"}


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights and all that is needed to use them.

    Attributes:
        config: architecture.
        preprocess: how its crops are made.
        scale: of its raw output; `own` where nobody said.
        state: tensors under the names of `LifeIQA`, float32.
        training: data, labels, command: whatever the maker wants a user to know. Plain values only.
        sha256: of the file it was read from, "" before it was written.
    """

    config: LifeIQAConfig
    preprocess: PreprocessSpec
    scale: ScoreScale
    state: dict[str, Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def build(self) -> LifeIQA:
        """The network with these weights, in evaluation mode."""
        model = LifeIQA(self.config)
        model.load_state_dict(self.state)
        return model.eval()


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
        if isinstance(content, Mapping) and content.get("format") in (FORMAT, _FORMAT_1):
            return replace(_from_own(content), sha256=sha256)
        if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
            from lifeiqa.models.checkpoints.released import from_released

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


def _from_own(content: Mapping[str, Any]) -> Checkpoint:
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


def validated_state(state: Mapping[str, Tensor], config: LifeIQAConfig) -> dict[str, Tensor]:
    """Checks tensors against a configuration and widens them to its types.

    Raises:
        CheckpointError: a tensor is missing, unknown, not a tensor, of another shape, or not finite; each kind is
            counted and the first of it named.
    """
    with torch.device("meta"):
        expected = LifeIQA(config).state_dict()
    problems = []
    if not isinstance(state, Mapping):
        raise CheckpointError("the checkpoint holds no tensors.")
    wrong = [n for n in expected if n in state and not _is_like(state[n], expected[n])]
    for names, what in (
        ([n for n in expected if n not in state], "missing"),
        ([n for n in state if n not in expected], "unknown"),
        (wrong, "of another shape or kind"),
    ):
        if names:
            problems.append(f"{len(names)} {what} (the first: {names[0]})")
    if problems:
        raise CheckpointError(
            f"its tensors do not fit the architecture it names: {'; '.join(problems)}. Was it saved with another "
            "backbone or number of experts?"
        )
    if endless := [n for n in expected if not torch.isfinite(state[n]).all()]:
        raise CheckpointError(
            f"{len(endless)} of its tensors hold values that are no numbers (the first: {endless[0]}): the training "
            "diverged. Take an earlier checkpoint, or train with a lower rate."
        )
    return {name: state[name].to(tensor.dtype) for name, tensor in expected.items()}


def _is_like(found: object, expected: Tensor) -> bool:
    """Whether it is a plain tensor of the expected shape: dense, with values, real numbers of the same sort."""
    return (
        type(found) in (Tensor, torch.nn.Parameter)
        and isinstance(found, Tensor)
        and found.layout == torch.strided
        and found.device.type == "cpu"
        and not found.is_quantized
        and not found.is_complex()
        and found.is_floating_point() == expected.is_floating_point()
        and found.shape == expected.shape
    )
