"""The feature extractor: any timm network, cut after its last stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from lifeiqa.runtime.errors import CheckpointError, MissingError, UsageError


class Backbone(nn.Module):
    """Yields stages of a timm model; what comes after the last of them (norm, head) is dropped.

    Attributes:
        stages: numbers, ascending, of 1 to 4: those at strides 4, 8, 16 and 32.
        channels: of each.
    """

    def __init__(self, name: str, pretrained: bool = False, stages: tuple[int, ...] = (3, 4)) -> None:
        """Builds the network, with ImageNet weights from timm's hub if `pretrained`.

        Raises:
            UsageError: timm has no such model, or its stages are at other strides.
            MissingError: the weights could not be had.
        """
        super().__init__()
        if ":" in name or not timm.is_model(name.split(".")[0]):  # "hf-hub:..." would download, even in a checkpoint
            raise UsageError(f"timm knows no model called {name}.")
        try:
            self.net = timm.create_model(
                name,
                pretrained=pretrained,
                features_only=True,
                feature_cls="getter",
                out_indices=tuple(stage - 5 for stage in stages),  # from the end: some networks have a stage 0
            )
        except (RuntimeError, AttributeError, AssertionError) as error:
            if pretrained:
                raise MissingError(f"timm could not load pretrained weights for {name}: {error}") from error
            raise UsageError(f"{name} is no backbone that timm can cut into stages: {error}") from error
        except OSError as error:  # no network, or the hub refuses
            raise MissingError(
                f"The pretrained weights of {name} could not be fetched ({error}); connect to a network, "
                "or name a file with --backbone-weights"
            ) from error
        info: Any = self.net.feature_info
        reductions = tuple(info.reduction())
        expected = tuple(2 ** (stage + 1) for stage in stages)
        if reductions != expected:
            raise UsageError(f"Stages {stages} of {name} are at strides {reductions}; Life-IQA needs {expected}.")
        self.stages = stages
        self.channels: tuple[int, ...] = tuple(info.channels())

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> for each stage s (B, C, H / 2^(s+1), W / 2^(s+1))."""
        return list(self.net(image))

    def inner_state(self) -> dict[str, Tensor]:
        """The backbone's tensors under timm's own names."""
        return {name.removeprefix("model."): tensor for name, tensor in self.net.state_dict().items()}

    def load_inner_state(self, state: Mapping[str, Tensor]) -> None:
        """Loads tensors that `inner_state` gave, all of them."""
        self.net.load_state_dict({f"model.{name}": tensor for name, tensor in state.items()})


def backbone_normalization(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and std per channel, of values in 0..1, that timm says the backbone was trained with."""
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # no such weights of a model that there is
        raise UsageError(f"timm has no {name}: {error}") from error
    if config is None:
        raise UsageError(f"timm knows no model called {name}.")
    return cast("tuple[float, float, float]", config.mean), cast("tuple[float, float, float]", config.std)


def load_backbone_weights(backbone: Backbone, path: Path) -> None:
    """Loads weights of the same architecture from a file, by name or else by order.

    The file is a state dict, such as one of ImageNet weights, or a Life-IQA checkpoint. Ports of one architecture often
    differ in names only; then the tensors fall in place in order. A tensor of another shape is never loaded; what comes
    after the last stage is left out.

    Raises:
        CheckpointError: the file is no state dict, or does not fit.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is not a state dict that can be loaded safely.") from error
    if isinstance(state, Mapping) and isinstance(inner := state.get("state"), Mapping):  # a Life-IQA checkpoint
        prefix = "backbone.net.model."
        state = {name.removeprefix(prefix): tensor for name, tensor in inner.items() if name.startswith(prefix)}
    own = backbone.inner_state()
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path} holds no state dict.")
    if own.keys() <= state.keys():
        found = {name: state[name] for name in own}
    else:
        found = dict(zip(own, state.values(), strict=False))
    wrong = [name for name in own if name not in found or found[name].shape != own[name].shape]
    if wrong:
        raise CheckpointError(
            f"{path} does not fit this backbone: {len(wrong)} tensors differ, the first is {wrong[0]}."
        )
    backbone.load_inner_state(found)
