import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from lifeiqa.calibration.rounding import GRID, fit_kernels, round_kernels, round_rows, round_weights
from lifeiqa.calibration.statistics import Statistics


@given(st.integers(0, 10_000), st.sampled_from([(4, 1, 3, 3), (3, 5, 3, 3), (2, 2, 5, 5), (6, 8, 1, 1)]))
def test_kernels_lie_on_their_grid_and_keep_their_sums(seed: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=shape).astype(np.float32)
    weight -= weight.mean(axis=(2, 3), keepdims=True) * rng.integers(0, 2)  # derivatives, or not
    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / GRID
    if scale.min() == 0:
        return
    rounded = round_kernels(weight)
    steps = rounded / scale
    np.testing.assert_allclose(steps, np.round(steps), atol=2e-3)
    assert np.abs(steps).max() <= GRID + 1e-3
    assert np.abs(rounded - weight).max() <= (1.0 + 1e-3) * scale.max()
    if shape[2] > 1:
        sums = (rounded.sum(axis=(2, 3)) - weight.sum(axis=(2, 3))) / scale[:, :, 0, 0]
        assert np.abs(sums).max() <= 0.5 + 1e-2


def test_derivative_does_not_see_brightness_after_rounding() -> None:
    kernel = np.array([[[[-4.86, -0.7, 5.44], [-7.97, 0.33, 7.57], [0.06, 0.06, 0.07]]]], np.float32)
    assert abs(kernel.sum()) < 1e-5
    plain = np.round(kernel / (7.97 / GRID)) * (7.97 / GRID)
    assert abs(plain.sum()) > 0.05
    assert abs(round_kernels(kernel).sum()) < 1e-5


def test_largest_weight_stays_so_that_a_quantiser_finds_the_same_scale() -> None:
    weight = np.random.default_rng(1).normal(size=(8, 3, 3, 3)).astype(np.float32)
    largest = np.abs(weight).max(axis=(1, 2, 3))
    np.testing.assert_allclose(np.abs(round_kernels(weight)).max(axis=(1, 2, 3)), largest, rtol=1e-6)
    np.testing.assert_array_equal(round_kernels(round_kernels(weight)), round_kernels(weight))


def output_error(weight: np.ndarray, rounded: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Mean square of what rounding changes in each channel's output: (O,)."""
    errors = (weight - rounded).reshape(len(weight), -1).astype(np.float64)
    return np.einsum("ok,kl,ol->o", errors, covariance.astype(np.float64), errors)


@pytest.mark.parametrize("shape", [(16, 3, 3, 3), (24, 32, 1, 1), (6, 160, 1, 1)])
def test_fitted_kernels_change_less_of_what_they_are_for(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    inputs = int(np.prod(shape[1:]))
    weight = rng.normal(size=shape).astype(np.float32)
    mixed = rng.normal(size=(4, inputs)).T @ rng.normal(size=(4, 2000)) + 0.1 * rng.normal(size=(inputs, 2000))
    covariance = np.cov(mixed).astype(np.float32)  # neighbours are alike, as in pictures
    before = round_kernels(weight)
    after = fit_kernels(weight, before, covariance)
    errors = output_error(weight, after, covariance)
    assert (errors <= output_error(weight, before, covariance) * (1 + 1e-6)).all()
    assert errors.sum() < 0.3 * output_error(weight, before, covariance).sum()
    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / GRID
    np.testing.assert_allclose(after / scale, np.round(after / scale), atol=2e-3)
    np.testing.assert_allclose(np.abs(after).max(axis=(1, 2, 3)), np.abs(weight).max(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(round_kernels(after), after)  # on the grid that a quantiser finds


def test_fitted_kernel_has_no_better_neighbour() -> None:
    rng = np.random.default_rng(4)
    weight = rng.normal(size=(1, 1, 2, 2)).astype(np.float32)
    mixed = rng.normal(size=(4, 1)) @ rng.normal(size=(1, 500)) + 0.2 * rng.normal(size=(4, 500))
    covariance = np.cov(mixed).astype(np.float32)
    fitted = fit_kernels(weight, round_kernels(weight), covariance)
    scale, largest = np.abs(weight).max() / GRID, int(np.abs(weight).argmax())
    damped = covariance + 1e-4 * np.trace(covariance) / 4 * np.eye(4)
    best = output_error(weight, fitted, damped)[0]
    for moves in np.ndindex(3, 3, 3, 3):
        move = np.array(moves) - 1
        if move[largest] == 0 and np.count_nonzero(move) in (1, 2):
            other = (fitted.reshape(-1) + move * scale).astype(np.float32).reshape(weight.shape)
            assert output_error(weight, other, damped)[0] >= best * (1 - 1e-3)


@pytest.mark.parametrize("rounded", [round_rows, round_kernels])
def test_channels_of_zeros_stay_zero(rounded: object) -> None:
    weight = np.zeros((2, 2, 3, 3), np.float32)
    weight[1] = 1.5
    found = rounded(weight)  # type: ignore[operator]
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, weight)


@pytest.mark.parametrize(("outputs", "inputs"), [(64, 64), (64, 48)])
@pytest.mark.parametrize("transposed", [False, True])
def test_bias_takes_back_what_rounding_does_to_the_mean(outputs: int, inputs: int, transposed: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(outputs, inputs) if transposed else (inputs, outputs)).astype(np.float32)
    mean = rng.normal(3, 1, size=inputs).astype(np.float32)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="g", transB=int(transposed))
    value = helper.make_tensor_value_info
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros(outputs, np.float32), "b")]
    graph = helper.make_graph([node], "g", [value("x", 1, [None, inputs])], [value("y", 1, [None, outputs])], constants)
    rounded = round_weights(helper.make_model(graph), Statistics({"x": (-1.0, 10.0)}, {"x": mean}), ["g"])
    on_grid, bias = (numpy_helper.to_array(tensor) for tensor in rounded.graph.initializer)
    change = mean @ ((on_grid - weight).T if transposed else on_grid - weight)
    assert np.abs(change).max() > 0.1
    np.testing.assert_allclose(bias, -change, atol=1e-4)
