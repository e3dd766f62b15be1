from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures import make_ladder_csv, make_miniature
from scipy.stats import kendalltau

from lifeiqa.models.commands.evaluate import main as eval_main
from lifeiqa.models.datasets import open_set
from lifeiqa.models.evaluation.assess import assess, open_model
from lifeiqa.models.evaluation.evaluation import Correlations, correlate, fit_logistic, intervals, logistic, median_of
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import DatasetError, UsageError


def test_correlations_of_known_vectors() -> None:
    labels = np.array([10.0, 20, 30, 40, 50, 60])
    predicted = np.array([1.0, 2, 4, 3, 5, 6])
    found = correlate(predicted, labels)
    assert found.srocc == pytest.approx(1 - 6 * 2 / (6 * 35))
    assert found.krcc == pytest.approx(kendalltau(predicted, labels).statistic)
    assert found.plcc == pytest.approx(np.corrcoef(predicted, labels)[0, 1])


def test_logistic_fit_straightens_what_a_sensor_bends() -> None:
    predicted = np.linspace(-3, 3, 200)
    labels = logistic(predicted, 90.0, 10.0, 0.5, 0.4)
    found = correlate(predicted, labels)
    assert found.plcc < 0.97
    assert found.plcc_fitted == pytest.approx(1, abs=1e-4)
    assert found.rmse == pytest.approx(0, abs=0.1)
    assert fit_logistic(predicted, labels)[:3] == pytest.approx((90, 10, 0.5), abs=0.5)


def test_falling_predictions_keep_their_sign() -> None:
    found = correlate(-np.arange(20.0), np.arange(20.0) * 3)
    assert (found.srocc, found.krcc) == pytest.approx((-1, -1))


def test_constant_predictions_are_not_defined_and_survive_json() -> None:
    found = correlate(np.ones(5), np.arange(5.0))
    assert np.isnan(found.srocc)
    assert found.to_plain()["srocc"] is None
    assert np.isnan(Correlations.from_plain(found.to_plain()).srocc)


def test_median_is_of_each_figure() -> None:
    results = [Correlations(s, p, p, 0.5, 9.0, 10) for s, p in ((0.1, 0.9), (0.2, 0.7), (0.9, 0.8))]
    assert (median_of(results).srocc, median_of(results).plcc) == (0.2, 0.8)


def test_intervals_widen_where_pictures_share_their_content() -> None:
    rng = np.random.default_rng(0)
    content = np.repeat(np.arange(10), 20)
    labels = rng.uniform(0, 100, 200)
    predicted = labels + 40 * rng.standard_normal(10)[content] + rng.standard_normal(200)
    alone = intervals(predicted, labels, [str(k) for k in range(200)])
    shared = intervals(predicted, labels, [str(k) for k in content])
    assert alone["srocc"][1] - alone["srocc"][0] < shared["srocc"][1] - shared["srocc"][0]
    assert shared["srocc"][0] < correlate(predicted, labels).srocc < shared["srocc"][1]


def sharpness(pixels: UInt8Array) -> float:
    return float(np.log1p(np.abs(np.diff(pixels.astype(float), axis=1)).mean()))


def test_split_of_the_set_is_kept_unless_all_is_asked_for(tmp_path: Path) -> None:
    data = open_set("csv", make_ladder_csv(tmp_path))
    half, everything = assess(sharpness, data), assess(sharpness, data, whole=True)
    assert (half.pictures, half.overall.pictures) == ("test", 22)
    assert (everything.pictures, everything.overall.pictures) == ("all", 55)
    assert everything.by_type["blur"].srocc > 0.5
    assert everything.confidence["srocc"][0] < everything.overall.srocc < everything.confidence["srocc"][1]
    for wrong in ({"splits": 2}, {"split": 0}):
        with pytest.raises(UsageError, match="--split and --splits do not go with"):
            assess(sharpness, data, **wrong)


def test_set_with_nothing_to_train_on_is_measured_whole(tmp_path: Path) -> None:
    labels = make_ladder_csv(tmp_path)
    labels.write_text(labels.read_text().replace(",train,", ",test,"))
    data = open_set("csv", labels)
    found = assess(sharpness, data)
    assert found == assess(sharpness, data, whole=True)
    assert (found.pictures, found.overall.pictures) == ("all", 55)


def test_set_with_nothing_to_test_on_is_an_error(tmp_path: Path) -> None:
    labels = make_ladder_csv(tmp_path)
    labels.write_text(labels.read_text().replace(",test,", ",train,"))
    with pytest.raises(DatasetError, match="every picture is for training"):
        assess(sharpness, open_set("csv", labels))


def test_splits_measure_their_test_halves_only(tmp_path: Path) -> None:
    data = open_set("tid2013", make_miniature("tid2013", tmp_path))
    found = assess(sharpness, data, splits=4)
    assert len(found.by_split) == 4
    assert all(split.pictures < len(data.items) for split in found.by_split)
    assert found.overall == median_of(found.by_split)
    assert found == assess(sharpness, data, splits=4)
    alone = assess(sharpness, data, split=2)
    assert (alone.pictures, alone.overall) == ("test of split 2", found.by_split[2])
    with pytest.raises(UsageError, match="give one of them"):
        assess(sharpness, data, splits=4, split=2)


def test_types_over_several_splits_are_medians_of_theirs(tmp_path: Path) -> None:
    data = open_set("tid2013", make_miniature("tid2013", tmp_path, 15))
    found = assess(sharpness, data, splits=3)
    single = [assess(sharpness, data, split=k).by_type for k in range(3)]
    assert found.by_type
    for name, median in found.by_type.items():
        assert median == median_of([types[name] for types in single])


def test_checkpoint_and_its_export_get_the_same_figures(
    command: Callable[..., Any], tiny_pt: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    labels = make_ladder_csv(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)
    with open_model(tiny_pt) as torch_score, open_model(tiny_onnx) as onnx_score:
        assert torch_score(pixels) == pytest.approx(onnx_score(pixels), abs=1e-2)
    tables = [command(eval_main, model, "--data", labels, "--by-type") for model in (tiny_pt, tiny_onnx)]
    assert [t.code for t in tables] == [0, 0], tables
    assert tables[0].out == tables[1].out
    assert "95 % interval" not in tables[0].out  # two contents say nothing about how much contents differ
    report = tmp_path / "report.json"
    done = command(eval_main, tiny_onnx, "--data", labels, "--all", "--ladders", "-o", report)
    assert "95 % interval" in done.out
    assert "of 35 pristine against mildest" in done.out
    assert '"in_order"' in report.read_text()
