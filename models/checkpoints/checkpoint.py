"""A checkpoint in memory: a network's weights and all that is needed to use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.runtime.errors import CheckpointError
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec


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
