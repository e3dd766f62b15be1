"""Every network that the paper compares, as a change to one configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.runtime.errors import UsageError

FFN_HIDDEN = 2048  # section III-C: the FFN of a standard decoder, 384 to 2048 to 384, 1.58 M parameters


def _stages(query: int, memory: int) -> Callable[[LifeIQAConfig], LifeIQAConfig]:
    return lambda config: replace(config, query_stage=query, memory_stage=memory)


VARIANTS: dict[str, Callable[[LifeIQAConfig], LifeIQAConfig]] = {
    "life-iqa": lambda config: config,
    "gcn-to-attention": lambda config: replace(config, interaction="attention"),
    "moe-to-ffn": lambda config: replace(config, tail="none", ffn=FFN_HIDDEN),
    "plain-decoder": lambda config: replace(config, interaction="attention", tail="none", ffn=FFN_HIDDEN),
    "stage2-stage1": _stages(2, 1),
    "stage3-stage1": _stages(3, 1),
    "stage3-stage2": _stages(3, 2),
    "stage4-stage1": _stages(4, 1),
    "stage4-stage2": _stages(4, 2),
    "without-stage3": _stages(4, 0),
    "without-moe": lambda config: replace(config, tail="none"),
    "without-gcn": lambda config: replace(config, interaction="none"),
}


def variant(name: str, config: LifeIQAConfig) -> LifeIQAConfig:
    """The configuration of a named variant. Raises `UsageError` for a name that is none."""
    if not isinstance(name, str) or name not in VARIANTS:
        raise UsageError(f"There is no variant {name}. Known: {', '.join(VARIANTS)}.")
    return VARIANTS[name](config)
