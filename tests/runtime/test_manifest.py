import json

import pytest

from lifeiqa.runtime import Manifest, PreprocessSpec, ScoreScale
from lifeiqa.runtime.errors import ManifestError
from lifeiqa.runtime.manifest import METADATA_KEY

MANIFEST = Manifest("m", "1", "ab" * 32, "fp32", "fp32", PreprocessSpec(), ScoreScale(), {"dim": 4}, {"labels": "x"})


def metadata(**changes: object) -> dict[str, str]:
    return {METADATA_KEY: json.dumps({**json.loads(MANIFEST.to_json()), **changes})}


def test_manifest_survives_the_file() -> None:
    assert Manifest.from_metadata(metadata(), "m.onnx") == MANIFEST


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "carries no lifeiqa manifest.*lifeiqa-export --ckpt"),
        ({METADATA_KEY: "{"}, "malformed"),
        ({METADATA_KEY: "[]"}, "malformed"),
        ({METADATA_KEY: "{}"}, "malformed"),
        (metadata(format=99), "another format"),
        (metadata(extra=1), "missing or unknown"),
        (metadata(scale={"low": 1, "high": 0, "own": False, "higher_is_better": True}), "low < high"),
        (metadata(scale={"least": 1}), "score range needs the fields"),
        (metadata(preprocess=None), "Preprocessing"),
    ],
)
def test_other_metadata_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        Manifest.from_metadata(values, "m.onnx")


@pytest.mark.parametrize(
    ("scale", "worst", "best"),
    [
        (ScoreScale(0, 1), 0.0, 1.0),
        (ScoreScale(1, 5), 1.0, 5.0),
        (ScoreScale(0, 100, higher_is_better=False), 100.0, 0.0),
    ],
)
def test_checkpoint_scales_are_brought_to_0_100_higher_better(scale: ScoreScale, worst: float, best: float) -> None:
    gain, shift = scale.to_artifact()
    assert worst * gain + shift == pytest.approx(0)
    assert best * gain + shift == pytest.approx(100)
    assert scale.artifact_scale() == ScoreScale()


@pytest.mark.parametrize(
    ("score", "grade"),
    [
        (-3.0, "bad"),
        (0.0, "bad"),
        (12.49, "bad"),
        (12.5, "poor"),
        (25.0, "poor"),
        (37.49, "poor"),
        (37.5, "fair"),
        (50.0, "fair"),
        (62.49, "fair"),
        (62.5, "good"),
        (75.0, "good"),
        (87.49, "good"),
        (87.5, "excellent"),
        (100.0, "excellent"),
        (112.0, "excellent"),
    ],
)
def test_grade_is_the_nearest_of_five(score: float, grade: str) -> None:
    assert ScoreScale().grade(score) == grade


def test_grades_follow_the_ends_and_the_direction_of_a_scale() -> None:
    opinion, difference = ScoreScale(1, 5), ScoreScale(0, 100, higher_is_better=False)
    assert [opinion.grade(mean) for mean in range(1, 6)] == ["bad", "poor", "fair", "good", "excellent"]
    assert [difference.grade(mean) for mean in (0, 20, 50, 80, 100)] == ["excellent", "good", "fair", "poor", "bad"]


def test_unknown_scale_has_no_grades() -> None:
    assert ScoreScale(0, 1, own=True).grade(0.5) is None


def test_unknown_scale_is_kept() -> None:
    scale = ScoreScale(0, 1, own=True)
    assert scale.to_artifact() == (1.0, 0.0)
    assert scale.artifact_scale() == scale
