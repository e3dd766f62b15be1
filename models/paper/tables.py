"""The paper's tables and the numbers behind its figures: what each trains and measures, and what the paper prints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from lifeiqa.models.datasets.benchmarks import READERS

ALL_SETS = tuple(info.name for info, _ in READERS)
SWINS = tuple(f"swin_{size}_patch4_window7_224.ms_in22k_ft_in1k" for size in ("tiny", "small", "base"))
# Figure 2 names families, not sizes; of PVT, timm has the second version only.
PROBED = (
    "resnet50.a1_in1k",
    "efficientnet_b0.ra_in1k",
    "mobilenetv3_large_100.ra_in1k",
    "swin_tiny_patch4_window7_224.ms_in1k",
    "maxvit_tiny_tf_224.in1k",
    "pvt_v2_b2.in1k",
)


@dataclass(frozen=True)
class Row:
    """One network of a table.

    Attributes:
        label: as in `paper_results.json`.
        variant: see `lifeiqa.models.network.variants`.
        train_share: of the training part (Table III).
    """

    label: str
    variant: str = "life-iqa"
    train_share: float = 1.0


@dataclass(frozen=True)
class Table:
    """What is trained on what and measured on what.

    Attributes:
        title: one line.
        sets: trained on, each by itself, and measured on its own test part.
        rows: networks; () for figures that compare backbones.
        cross: sets measured whole instead, with what was trained on the only one of `sets` (Table II).
        backbones: networks of Figures 2 and 6.
        by_type: one row for each distortion type (Figure 8).
    """

    title: str
    sets: tuple[str, ...]
    rows: tuple[Row, ...] = (Row("Life-IQA"),)
    cross: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    by_type: bool = False

    @property
    def takes_others(self) -> bool:
        """Whether it can be run on sets for which the paper has no figures."""
        return not self.cross and not self.by_type


_STAGES = tuple(Row(f"Stage {a}, stage {b}", f"stage{a}-stage{b}") for a, b in ((2, 1), (3, 1), (3, 2), (4, 1), (4, 2)))
TABLES: dict[str, Table] = {
    "table1": Table("Table I: the benchmark sets", ALL_SETS),
    "table2": Table(
        "Table II: trained on KonIQ-10k, measured on others", ("koniq10k",), cross=("csiq", "tid2013", "live")
    ),
    "table3": Table(
        "Table III: part of the training data",
        ("koniq10k", "livec", "live"),
        tuple(Row(f"Life-IQA, {share} %", train_share=share / 100) for share in (20, 40, 60)),
    ),
    "table4": Table(
        "Table IV: decoder variants",
        ("csiq", "kadid10k"),
        (
            Row("GCN to MHA", "gcn-to-attention"),
            Row("MoE to FFN", "moe-to-ffn"),
            Row("Swin + decoder", "plain-decoder"),
            Row("Life-IQA"),
        ),
    ),
    "table5": Table(
        "Table V (and 6 of the supplement): stage pairs", ("csiq", "kadid10k"), (*_STAGES, Row("Life-IQA"))
    ),
    "table6": Table(
        "Table VI: ablation",
        ("csiq", "kadid10k"),
        (
            Row("Without stage 3", "without-stage3"),
            Row("Without MoE", "without-moe"),
            Row("Without GCN", "without-gcn"),
            Row("Life-IQA"),
        ),
    ),
    "figure2": Table("Figure 2: GAP and a linear layer on one stage", ("livec",), (), backbones=PROBED),
    "figure6": Table("Figure 6: sizes of the backbone", ALL_SETS, (), backbones=SWINS),
    "figure8": Table("Figure 8: by distortion type", ("tid2013",), by_type=True),
}


def paper_results() -> dict[str, Any]:
    """What the paper prints, by table and row: `parameters_m` and `results`, [SROCC, PLCC] by set."""
    text = resources.files("lifeiqa.models.paper").joinpath("paper_results.json").read_text(encoding="utf-8")
    results: dict[str, Any] = json.loads(text)
    return results
