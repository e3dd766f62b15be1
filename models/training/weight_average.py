"""The running mean of a network's weights over the steps of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_WARMUP_STEPS = 10  # steps after which the mean has settled enough to be slow


class WeightAverage:
    """Exponential moving average of all floating-point tensors; integers, which count batches, are the last ones.

    The mean follows quickly at first: the decay is (1 + step) / (10 + step) until that reaches the one asked for.

    Attributes:
        state: the mean by tensor name, on the network's device, and "step", how many were taken; {} for a decay of 0,
            which averages nothing.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {}
        if decay:
            self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
            self.state["step"] = torch.tensor(0)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes in the weights after a step."""
        if not self.state:
            return
        step = int(self.state["step"])
        share = 1 - min(self.decay, (1 + step) / (_WARMUP_STEPS + step))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, share)
            else:
                self.state[name].copy_(tensor)
        self.state["step"] += 1

    def copy_to(self, network: nn.Module) -> None:
        """Gives the network the mean for its weights."""
        if self.state:
            network.load_state_dict({name: tensor for name, tensor in self.state.items() if name != "step"})

    @contextmanager
    def in_place_of(self, network: nn.Module) -> Iterator[None]:
        """The network has the mean for its weights as long as the context lasts."""
        own = {name: tensor.clone() for name, tensor in network.state_dict().items()} if self.state else {}
        self.copy_to(network)
        try:
            yield
        finally:
            if own:
                network.load_state_dict(own)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a `state` of before."""
        for name, tensor in state.items():
            self.state[name].copy_(tensor)
