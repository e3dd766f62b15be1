"""One frozen object that says which Life-IQA network is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lifeiqa.runtime.errors import CheckpointError

SWIN_BASE = "swin_base_patch4_window7_224.ms_in22k_ft_in1k"


@dataclass(frozen=True)
class LifeIQAConfig:
    """The network's architecture. The defaults are the paper's; `released` gives the authors' implementation.

    Attributes:
        backbone: any timm model that yields features at strides 16 and 32.
        queries: number of query tokens, N.
        dim: channels of every token, D.
        decoder_layers: layers of GCN and cross-attention.
        heads: heads of the cross-attention.
        grid: stage 3 is average-pooled to grid x grid tokens, P. The text says P = N = 6; the released one uses 7.
        gcn_widths: "full": D to D in all three layers (eq. 4-6); "bottleneck": D to D/2 to D/4 to D, with bias.
        adjacency: "learned": one matrix for each GCN layer; "constant": D^-1/2 (1 + I) D^-1/2, shared.
        experts: number of experts, E.
        top_k: experts kept for each token, K.
        expert_hidden: hidden units of one expert.
        bypass: "scaled_input": MoE(X) + gamma X (eq. 16); "scaled_moe": X + gamma MoE(X).
        balance: probabilities in the load-balancing loss: "full" softmax (eq. 13), or of the "masked" logits.
        main_loss: "l1" (eq. 27) or "smooth_l1".
    """

    backbone: str = SWIN_BASE
    queries: int = 6
    dim: int = 384
    decoder_layers: int = 4
    heads: int = 6
    grid: int = 6
    gcn_widths: Literal["full", "bottleneck"] = "full"
    adjacency: Literal["learned", "constant"] = "learned"
    experts: int = 4
    top_k: int = 2
    expert_hidden: int = 1536
    bypass: Literal["scaled_input", "scaled_moe"] = "scaled_input"
    balance: Literal["full", "masked"] = "full"
    main_loss: Literal["l1", "smooth_l1"] = "l1"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            choices = get_args(hint) if get_origin(hint) is Literal else None
            if choices and value not in choices:
                raise CheckpointError(
                    f"Configuration: {field.name} is {value!r}; expected one of {', '.join(choices)}."
                )
            if hint is int and (type(value) is not int or value < 1):
                raise CheckpointError(f"Configuration: {field.name} is {value!r}; expected a whole number above 0.")
            if hint is str and not isinstance(value, str):
                raise CheckpointError(f"Configuration: {field.name} is {value!r}; expected text.")
        if self.top_k > self.experts:
            raise CheckpointError(f"Configuration: top_k {self.top_k} exceeds the {self.experts} experts.")
        if self.dim % self.heads or (self.gcn_widths == "bottleneck" and self.dim % 4):
            raise CheckpointError(
                f"Configuration: dim {self.dim} does not divide into {self.heads} heads and quarters."
            )

    @classmethod
    def released(cls, backbone: str = SWIN_BASE, experts: int = 8) -> LifeIQAConfig:
        """The network as its authors' implementation builds it, which differs from the paper's text."""
        return cls(
            backbone=backbone,
            experts=experts,
            grid=7,
            gcn_widths="bottleneck",
            adjacency="constant",
            bypass="scaled_moe",
            balance="masked",
            main_loss="smooth_l1",
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LifeIQAConfig:
        """Raises `CheckpointError` when a field is missing, unknown or out of range."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or values.keys() != names:
            raise CheckpointError(f"The configuration must have exactly the fields {', '.join(sorted(names))}.")
        return cls(**values)
