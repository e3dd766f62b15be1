"""What ships: it fits together, it is small enough, and it tells good pictures from bad ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.synthesis.ladders import evaluate_ladders, held_out_pictures, ladder
from lifeiqa.runtime import Scorer
from lifeiqa.runtime.scorer import default_model

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt"


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(device="cpu")


def test_model_inside_the_package_was_exported_from_the_shipped_checkpoint(scorer: Scorer) -> None:
    checkpoint = load_checkpoint(SHIPPED)
    assert scorer.manifest.checkpoint_sha256 == checkpoint.sha256
    assert scorer.manifest.preprocess == checkpoint.preprocess
    learned_from = scorer.manifest.training["data"]
    assert (learned_from["set"], learned_from["test_pictures"]) == ("BIQ2021", 2000)
    assert scorer.manifest.training["report"]["test"]["srocc"] >= 0.79
    assert scorer.manifest.training["report"]["test"]["plcc"] >= 0.82
    assert json.loads(scorer.manifest.to_json())["name"] == "lifeiqa-lite0"


def test_sizes_stay_within_what_is_allowed() -> None:
    shipped = [*ROOT.glob("models/zoo/*/*.pt"), *ROOT.glob("runtime/zoo/*.onnx")]
    assert default_model().stat().st_size < 13e6
    assert sum(path.stat().st_size for path in shipped) < 60e6


def test_worse_pictures_get_lower_scores(scorer: Scorer) -> None:
    result = evaluate_ladders(lambda picture: scorer.score(picture).raw)
    assert result.pairs == 175
    assert result.in_order >= 0.98
    assert result.mildest_in_order >= 0.95


def test_every_heavily_degraded_copy_is_below_its_original(scorer: Scorer) -> None:
    for name, picture in held_out_pictures():
        pristine = scorer.score(picture).score
        for kind in ("blur", "noise", "jpeg"):
            assert scorer.score(ladder(picture, kind)[4]).score < pristine - 5, (name, kind)


def test_scores_use_the_scale(scorer: Scorer) -> None:
    scores = [scorer.score(picture).score for _, picture in held_out_pictures()]
    assert all(20 < score <= 100 for score in scores)
    assert scorer.score(np.zeros((300, 300, 3), np.uint8)).score < min(scores)
