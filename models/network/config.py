"""One frozen object that says which Life-IQA network is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lifeiqa.runtime.errors import CheckpointError, UsageError

SWIN_BASE = "swin_base_patch4_window7_224.ms_in22k_ft_in1k"


@dataclass(frozen=True)
class LifeIQAConfig:
    """The network's architecture. The defaults are the paper's; `released` gives the authors' implementation.

    Attributes:
        backbone: any timm model whose stages 1 to 4 end at strides 4, 8, 16 and 32.
        query_stage: backbone stage that guides the queries (eq. 1).
        memory_stage: earlier stage that the queries read; 0 for none, and then no cross-attention (Table VI).
        queries: number of query tokens, N.
        dim: channels of every token, D.
        decoder_layers: layers of GCN and cross-attention.
        heads: heads of the cross-attention.
        grid: the memory stage is average-pooled to grid x grid tokens, P. The text says P = N = 6; the released
            implementation uses 7.
        interaction: how query tokens exchange what they know before they read: "gcn" (eq. 4-6), "attention"
            (self-attention, Table IV), or "none" (Table VI).
        gcn_widths: "full": D to D in all three layers (eq. 4-6); "bottleneck": D to D/2 to D/4 to D, with bias.
        adjacency: "learned": one matrix for each GCN layer; "constant": D^-1/2 (1 + I) D^-1/2, shared.
        ffn: hidden units of a feed-forward network at the end of each decoder layer; 0 for none, as in Life-IQA.
        tail: "moe": the expert head; "none": none (Table VI, and the decoders of Table IV that have FFNs instead).
        experts: number of experts, E.
        top_k: experts kept for each token, K.
        expert_hidden: hidden units of one expert.
        bypass: "scaled_input": MoE(X) + gamma X (eq. 16); "scaled_moe": X + gamma MoE(X).
        balance: probabilities in the load-balancing loss: "full" softmax (eq. 13), or of the "masked" logits.
        main_loss: "l1" (eq. 27) or "smooth_l1".
    """

    backbone: str = SWIN_BASE
    query_stage: int = 4
    memory_stage: int = 3
    queries: int = 6
    dim: int = 384
    decoder_layers: int = 4
    heads: int = 6
    grid: int = 6
    interaction: Literal["gcn", "attention", "none"] = "gcn"
    gcn_widths: Literal["full", "bottleneck"] = "full"
    adjacency: Literal["learned", "constant"] = "learned"
    ffn: int = 0
    tail: Literal["moe", "none"] = "moe"
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
            least = 0 if field.name in ("memory_stage", "ffn") else 1
            if hint is int and (type(value) is not int or value < least):
                raise CheckpointError(
                    f"Configuration: {field.name} is {value!r}; expected a whole number from {least}."
                )
            if hint is str and not isinstance(value, str):
                raise CheckpointError(f"Configuration: {field.name} is {value!r}; expected text.")
        if not self.memory_stage < self.query_stage <= 4:
            raise CheckpointError(
                f"Configuration: queries from stage {self.query_stage} cannot read stage {self.memory_stage}; expected "
                "an earlier stage (0 for none) of 1 to 4."
            )
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

    @classmethod
    def of_reading(cls, reading: str, backbone: str = SWIN_BASE, experts: int | None = None) -> LifeIQAConfig:
        """The "paper" or the "released" reading, with its own number of experts unless told. Raises `UsageError`."""
        if reading == "paper":
            return cls(backbone=backbone, experts=cls.experts if experts is None else experts)
        if reading == "released":
            return cls.released(backbone, 8 if experts is None else experts)
        raise UsageError(f"The reading is paper or released, not {reading}.")

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
