from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from lifeiqa.calibration.cache import CacheKey, read_cache, write_cache
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.statistics import Method, Statistics
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec

STATISTICS = Statistics(
    {"a": (-1.25, 3.5)},
    {"a": np.array([0.1, 0.2], np.float32)},
    {"stem": np.array([[1.5, 0.1], [0.1, 2.0]], np.float32)},
)
PICTURES = PictureSet("street", (), None, "ab" * 32)
SPEC = PreprocessSpec()


@pytest.fixture
def key(tiny_onnx: Path) -> CacheKey:
    return CacheKey.of(onnx.load(tiny_onnx), SPEC, Method.percentile, PICTURES)


@pytest.fixture
def cache(tmp_path: Path, key: CacheKey) -> Path:
    path = tmp_path / "ranges.json"
    write_cache(path, key, STATISTICS, {"pictures": "street"})
    return path


def test_what_was_written_is_read(cache: Path, key: CacheKey) -> None:
    found, provenance = read_cache(cache, key)
    assert found.ranges == STATISTICS.ranges
    np.testing.assert_array_equal(found.means["a"], STATISTICS.means["a"])
    np.testing.assert_array_equal(found.covariances["stem"], STATISTICS.covariances["stem"])
    assert provenance == {"pictures": "street"}


def test_cache_is_of_use_where_the_pictures_are_not(cache: Path, key: CacheKey) -> None:
    assert read_cache(cache, replace(key, pictures=None))[0].ranges == STATISTICS.ranges


def test_metadata_do_not_change_the_key_and_weights_do(tiny_onnx: Path, key: CacheKey) -> None:
    model = onnx.load(tiny_onnx)
    onnx.helper.set_model_props(model, {"note": "other"})
    assert CacheKey.of(model, SPEC, Method.percentile, PICTURES) == key
    tensor = next(t for t in model.graph.initializer if len(t.raw_data) > 8)
    tensor.raw_data = tensor.raw_data[:-1] + bytes([tensor.raw_data[-1] ^ 1])
    assert CacheKey.of(model, SPEC, Method.percentile, PICTURES).graph != key.graph


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"graph": "0"}, "the network, its weights"),
        ({"preprocess": "0"}, "how pictures become crops"),
        ({"method": "entropy"}, "--calib-method"),
        ({"pictures": "0"}, "the calibration pictures"),
    ],
)
def test_cache_of_something_else_is_refused_and_says_of_what(
    change: dict[str, str], what: str, cache: Path, key: CacheKey
) -> None:
    with pytest.raises(UsageError, match=what):
        read_cache(cache, replace(key, **change))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2}', "null"])
def test_file_that_is_no_cache_is_refused(text: str, cache: Path, key: CacheKey) -> None:
    cache.write_text(text)
    with pytest.raises(UsageError, match="cache"):
        read_cache(cache, key)
    cache.unlink()
    with pytest.raises(UsageError, match="Cannot read"):
        read_cache(cache, key)
