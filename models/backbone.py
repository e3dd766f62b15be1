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
    """Yields the last two stages of a timm model; what comes after them (norm, head) is dropped.

    Attributes:
        channels: of stage 3 and of stage 4.
    """

    def __init__(self, name: str, pretrained: bool = False) -> None:
        """Builds the network, with ImageNet weights from timm's hub if `pretrained`.

        Raises:
            UsageError: timm has no such model, or it has no stages at strides 16 and 32.
            MissingError: the weights could not be had.
        """
        super().__init__()
        if ":" in name or not timm.is_model(name.split(".")[0]):  # "hf-hub:..." would download, even in a checkpoint
            raise UsageError(f"timm knows no model called {name}.")
        try:
            self.net = timm.create_model(
                name, pretrained=pretrained, features_only=True, feature_cls="getter", out_indices=(-2, -1)
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
        if reductions != (16, 32):
            raise UsageError(f"{name} ends at strides {reductions}; Life-IQA needs 16 and 32.")
        self.channels: tuple[int, int] = tuple(info.channels())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> stage 3 (B, C3, H/16, W/16), stage 4 (B, C4, H/32, W/32)."""
        stage3, stage4 = self.net(image)
        return stage3, stage4

    def inner_state(self) -> dict[str, Tensor]:
        """The backbone's tensors under timm's own names."""
        return {name.removeprefix("model."): tensor for name, tensor in self.net.state_dict().items()}

    def load_inner_state(self, state: Mapping[str, Tensor]) -> None:
        """Loads tensors that `inner_state` gave, all of them."""
        self.net.load_state_dict({f"model.{name}": tensor for name, tensor in state.items()})


def backbone_normalization(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and std per channel, of values in 0..1, that timm says the backbone was trained with."""
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise UsageError(f"timm knows no model called {name}.")
    return cast("tuple[float, float, float]", config.mean), cast("tuple[float, float, float]", config.std)


def load_backbone_weights(backbone: Backbone, path: Path) -> None:
    """Loads ImageNet weights of the same architecture from a file, by name or else by order.

    Ports of one architecture often differ in names only; then the tensors fall in place in order. A tensor of
    another shape is never loaded; what comes after the last stage is left out.

    Raises:
        CheckpointError: the file is no state dict, or does not fit.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is not a state dict that can be loaded safely.") from error
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
