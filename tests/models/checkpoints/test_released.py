"""The authors' file format, against a network written here from its published description alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.network.config import SWIN_BASE, LifeIQAConfig
from lifeiqa.models.network.life_iqa import count_parameters
from lifeiqa.runtime.errors import CheckpointError

EXPERTS = 4


class Gcn(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.randn(outputs) * 0.1)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(384, 6, batch_first=True)
        self.GCN = nn.ModuleDict({"gcn1": Gcn(384, 192), "gcn2": Gcn(192, 96), "gcn3": Gcn(96, 384)})
        self.norm2 = nn.LayerNorm(384)

    def forward(self, x: Tensor, memory: Tensor, a: Tensor) -> Tensor:
        g = x
        for i, layer in enumerate(self.GCN.values()):
            g = a @ (g @ layer.weight) + layer.bias
            g = torch.relu(g) if i < 2 else g
        x = x + g
        return x + self.multihead_attn(self.norm2(x), memory, memory, need_weights=False)[0]


class Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(384, 1536), nn.ReLU(), nn.Dropout(0.0), nn.Linear(1536, 384))


class Described(nn.Module):
    """Names and order of operations as described; nothing shared with the code under test."""

    def __init__(self) -> None:
        super().__init__()
        self.bunch_embedding = nn.Parameter(torch.randn(1, 6, 384))
        self.gamma = nn.Parameter(torch.tensor(0.3))
        self.pretrain_model = timm.create_model(SWIN_BASE, pretrained=False)
        del self.pretrain_model.norm, self.pretrain_model.head
        swin = self.pretrain_model
        self.backbone_stages = nn.ModuleList([nn.Sequential(swin.patch_embed, swin.layers[0]), *swin.layers[1:]])
        self.proj_layer3 = nn.Linear(512, 384)
        self.proj_layer4 = nn.Conv2d(1024, 384, 1)
        self.bunch_decoder = nn.ModuleDict({"layers": nn.ModuleList(Layer() for _ in range(4))})
        self.norm3 = nn.LayerNorm(384)
        router = nn.ModuleDict({"linear": nn.Linear(384, EXPERTS)})
        self.MOE = nn.ModuleDict({"router": router, "experts": nn.ModuleList(Expert() for _ in range(EXPERTS))})
        self.fc = nn.Linear(384, 1)

    def forward(self, image: Tensor) -> Tensor:
        stages = []
        x = image
        for stage in self.backbone_stages:
            x = stage(x)
            stages.append(x.permute(0, 3, 1, 2))
        context = self.proj_layer4(stages[3]).mean(dim=(2, 3))
        x = context[:, None] + self.bunch_embedding
        memory = self.proj_layer3(nn.functional.adaptive_avg_pool2d(stages[2], 7).flatten(2).transpose(1, 2))
        a = (torch.ones(6, 6) + torch.eye(6)) / 7
        for layer in self.bunch_decoder["layers"]:
            x = layer(x, memory, a)
        x = self.norm3(x)
        logits = self.MOE["router"]["linear"](x)
        kept = torch.topk(logits, 2, dim=-1).indices
        weights = torch.softmax(torch.full_like(logits, -torch.inf).scatter(-1, kept, logits.gather(-1, kept)), dim=-1)
        moe = sum(weights[..., e, None] * expert.net(x) for e, expert in enumerate(self.MOE["experts"]))
        return self.fc(x + self.gamma * moe).squeeze(-1).mean(dim=1)


@pytest.fixture(scope="module")
def described() -> Described:
    torch.manual_seed(0)
    return Described().eval()


@pytest.fixture(scope="module")
def write(described: Described, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("released")

    def save(prefix: str = "", drop: str = "", add: str = "") -> Path:
        model = {prefix + k: v for k, v in described.state_dict().items() if k != drop}
        if add:
            model[add] = torch.zeros(1)
        config = CfgNode({"MODEL": {"TYPE": "x", "LIST": [1, 2]}, "TRAIN": CfgNode({"LR": 1e-4})})
        path = folder / "released.pth"
        rest = {"optimizer": {"state": {}}, "lr_scheduler": {}, "max_plcc": np.float64(0.9), "scaler": {}, "epoch": 3}
        torch.save({"model": model, **rest, "config": config}, path)
        return path

    return save


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_checkpoint_gives_the_scores_of_the_described_network(
    described: Described, write: Callable[..., Path], prefix: str
) -> None:
    assert len(described.state_dict()) == 726
    checkpoint = load_checkpoint(write(prefix))
    assert checkpoint.config == LifeIQAConfig.released(SWIN_BASE, EXPERTS)
    assert checkpoint.scale.own
    model = checkpoint.build()
    assert count_parameters(model) / 1e6 == pytest.approx(94.95, abs=0.005)
    image = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(model(image).score, described(image), rtol=1e-4, atol=1e-5)


def test_released_checkpoint_that_lacks_or_adds_a_tensor_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match=r"1 missing \(the first: head\.bias\)"):
        load_checkpoint(write(drop="fc.bias"))
    with pytest.raises(CheckpointError, match=r"unknown \(the first: surplus\.weight\)"):
        load_checkpoint(write(add="surplus.weight"))


def test_dictionary_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"conv.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="another network"):
        load_checkpoint(tmp_path / "other.pth")
