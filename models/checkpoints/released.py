"""Reads the tensors of a checkpoint that the authors' training code saved."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from lifeiqa.models.checkpoints.checkpoint import Checkpoint, validated_state
from lifeiqa.models.network.backbone import backbone_normalization
from lifeiqa.models.network.config import SWIN_BASE, LifeIQAConfig
from lifeiqa.runtime.errors import CheckpointError
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec

# theirs -> ours; {} is a layer, an expert or a stage of the graph
_NAMES = {
    r"bunch_embedding": "query_embedding",
    r"gamma": "gamma",
    r"pretrain_model\.(.+)": r"backbone.net.model.\1",
    r"proj_layer3\.(weight|bias)": r"memory_projection.\1",
    r"proj_layer4\.(weight|bias)": r"query_projection.\1",
    r"bunch_decoder\.layers\.(\d+)\.multihead_attn\.out_proj\.(weight|bias)": r"layers.\1.attention.out.\2",
    r"bunch_decoder\.layers\.(\d+)\.norm2\.(weight|bias)": r"layers.\1.norm.\2",
    r"norm3\.(weight|bias)": r"norm.\1",
    r"MOE\.router\.linear\.(weight|bias)": r"moe.router.\1",
    r"MOE\.experts\.(\d+)\.net\.0\.(weight|bias)": r"moe.experts.\1.0.\2",
    r"MOE\.experts\.(\d+)\.net\.3\.(weight|bias)": r"moe.experts.\1.2.\2",
    r"fc\.(weight|bias)": r"head.\1",
}
_GCN = re.compile(r"bunch_decoder\.layers\.(\d+)\.GCN\.gcn([123])\.(weight|bias)")
_QKV = re.compile(r"bunch_decoder\.layers\.(\d+)\.multihead_attn\.in_proj_(weight|bias)")
_BACKBONE_COPY = "backbone_stages."


def from_released(theirs: Mapping[str, Tensor]) -> Checkpoint:
    """Turns the released `model` dictionary into a checkpoint of the released reading.

    The experts are counted in the tensors; the backbone is Swin-B, the one that was published, and its second copy
    is left out. A `module.` prefix from training on several GPUs is taken off. The scale of its scores is its own:
    nobody wrote down what the labels were divided by.

    Raises:
        CheckpointError: tensors are missing, unknown or of another shape.
    """
    state: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in theirs.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"{name} is no named tensor.")
        name = name.removeprefix("module.")
        if name.startswith(_BACKBONE_COPY):
            continue
        if gcn := _GCN.fullmatch(name):
            kind = "weights" if gcn[3] == "weight" else "biases"
            state[f"layers.{gcn[1]}.graph.{kind}.{int(gcn[2]) - 1}"] = tensor
        elif qkv := _QKV.fullmatch(name):
            if tensor.ndim == 0 or tensor.shape[0] % 3:
                raise CheckpointError(f"{name} is {tuple(tensor.shape)}; expected query, key and value stacked.")
            for part, piece in zip(("query", "key", "value"), torch.chunk(tensor, 3), strict=True):
                state[f"layers.{qkv[1]}.attention.{part}.{qkv[2]}"] = piece
        elif ours := _rename(name):
            state[ours] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(f"{len(unknown)} tensors are unknown (the first: {unknown[0]}); is it another network's?")
    experts = len({n.split(".")[2] for n in state if n.startswith("moe.experts.")})
    if not experts:
        raise CheckpointError("it has no expert tensors; is it another network's checkpoint?")
    config = LifeIQAConfig.released(SWIN_BASE, experts)
    mean, std = backbone_normalization(config.backbone)
    return Checkpoint(
        config=config,
        preprocess=PreprocessSpec(crops=25, resize="none", resize_to=(), mean=mean, std=std),
        scale=ScoreScale(0.0, 1.0, own=True),
        state=validated_state(state, config),
        training={"source": "checkpoint of the authors' implementation"},
    )


def _rename(name: str) -> str | None:
    for pattern, ours in _NAMES.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(ours)
    return None
