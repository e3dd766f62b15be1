"""The built-in picture, and what is stored beside the packaged model."""

import hashlib

import cv2
import numpy as np

from lifeiqa.runtime import Scorer
from lifeiqa.runtime.doctor.picture import built_in_picture, doubled
from lifeiqa.runtime.doctor.report import State
from lifeiqa.runtime.doctor.self_test import check_model, compared, read_expected
from lifeiqa.runtime.preprocess import resized
from lifeiqa.runtime.zoo import default_model


def test_picture_is_the_same_everywhere() -> None:
    picture = built_in_picture()
    assert (picture.shape, picture.dtype) == ((512, 640, 3), np.uint8)
    assert (
        hashlib.sha256(picture.tobytes()).hexdigest()
        == "b654cc4b75800fc7710c48bbe6ca42b15b1bff89a3f94ea8dd2aa090e8e23233"
    )


def test_doubled_picture_is_read_through_opencv_and_comes_back_to_the_bit() -> None:
    picture = built_in_picture()
    with Scorer(device="cpu") as scorer:
        spec = scorer.manifest.preprocess
    assert resized(picture, spec) is picture, "the engines' own checks need no OpenCV"
    assert np.array_equal(resized(doubled(picture), spec), picture)


def test_stored_sha256_and_score_fit_the_packaged_model() -> None:
    assert [check.state for check in check_model()] == [State.ok]
    expected = read_expected(default_model())
    assert 20 <= expected.score <= 80
    for backend, threads in (("onnxruntime", 0), ("onnxruntime", 1), ("openvino", 0)):
        with Scorer(device="cpu", backend=backend, threads=threads) as scorer:
            score = scorer.score(doubled(built_in_picture())).score
        assert abs(score - expected.score) < expected.tolerance / 2, (backend, threads)


def test_score_is_judged_by_its_distance() -> None:
    expected = read_expected(default_model())
    inside = compared("x", expected.score + 0.9 * expected.tolerance, expected)
    outside = compared("x", expected.score - 1.1 * expected.tolerance, expected)
    assert (inside.state, outside.state) == (State.ok, State.broken)
    assert compared("x", float("nan"), expected).state is State.broken


def test_tolerance_tells_a_blurred_picture_from_a_sharp_one() -> None:
    expected = read_expected(default_model())
    with Scorer(device="cpu") as scorer:
        blurred = scorer.score(cv2.GaussianBlur(built_in_picture(), (0, 0), 1.0).astype(np.uint8)).score
    assert abs(blurred - expected.score) > 3 * expected.tolerance
