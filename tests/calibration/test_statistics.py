from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lifeiqa.calibration.graph import initializers, large_nodes, residual_adds, scores_of, session_of, weighted_nodes
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.statistics import Method, Statistics, measure_statistics
from lifeiqa.runtime.errors import ParityError


def with_output(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return observed


def test_every_weighted_node_has_a_range_and_a_mean_of_each_channel(
    lite0: onnx.ModelProto, statistics: Statistics
) -> None:
    nodes = weighted_nodes(lite0)
    kinds = [node.op_type for node in nodes]
    assert kinds.count("Conv") == 48  # the backbone's
    assert kinds.count("MatMul") + kinds.count("Gemm") >= 4 * (3 + 2) + 1 + 1  # graphs, attention, queries, experts
    for node in nodes:
        low, high = statistics.ranges[node.input[0]]
        assert low < high
    adds = [node for node, _ in residual_adds(lite0).values()]
    assert [node.op_type for node in adds].count("Add") == 9  # of sixteen blocks, those that keep size and channels
    assert all(name in statistics.ranges for node in adds if node.op_type == "Add" for name in node.input)
    for node in nodes:
        assert np.isfinite(statistics.means[node.input[0]]).all()
    assert len(statistics.means) == len({node.input[0] for node in nodes})


def test_experts_are_the_large_nodes_and_layers_have_names_for_people(lite0: onnx.ModelProto) -> None:
    names = [node.name for node in weighted_nodes(lite0)]
    assert large_nodes(lite0) == {"tail.first"}
    assert {"backbone.net.model.conv_stem", "layers.2.attention.query", "layers.3.graph.weights.0"} <= set(names)
    assert [name for name in names if name.startswith("node_")] == []


def test_means_and_ranges_are_those_of_the_tensors(
    lite0: onnx.ModelProto, pictures: PictureSet, statistics: Statistics
) -> None:
    node = [node for node in weighted_nodes(lite0) if node.op_type == "Conv"][5]
    tensor = node.input[0]
    crops = np.concatenate(pictures.crops)
    values = session_of(with_output(lite0, tensor)).run([tensor], {"image": crops})[0]
    np.testing.assert_allclose(statistics.means[tensor], values.mean(axis=(0, 2, 3)), atol=1e-4)
    low, high = statistics.ranges[tensor]
    step = float(np.ptp(values)) / 500  # a few bins of the histogram that the percentiles come from
    assert values.min() - 1e-3 <= low <= np.percentile(values, 0.1) + step
    assert np.percentile(values, 99.9) - step <= high <= values.max() + 1e-3


def test_covariances_are_those_of_what_kernels_read(
    lite0: onnx.ModelProto, pictures: PictureSet, statistics: Statistics
) -> None:
    convolutions = {node.name: node for node in weighted_nodes(lite0) if node.op_type == "Conv"}
    assert all(f"backbone.net.model.{name}" in statistics.covariances for name in ("conv_stem", "blocks.1.0.conv_pwl"))
    assert not any("conv_dw" in name for name in statistics.covariances)
    for name in ("backbone.net.model.conv_stem", "backbone.net.model.blocks.1.0.conv_pw"):
        tensor, extent = convolutions[name].input[0], 3 if "stem" in name else 1
        values = session_of(with_output(lite0, tensor)).run([tensor], {"image": np.concatenate(pictures.crops)})[0]
        if extent == 3:
            values = np.pad(values, ((0, 0), (0, 0), (0, 1), (0, 1)))  # as TensorFlow pads where it halves
        windows = np.lib.stride_tricks.sliding_window_view(values, (extent, extent), axis=(2, 3))
        windows = windows[:, :, ::2, ::2] if extent == 3 else windows[:, :, ::3, ::3]
        inputs = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, values.shape[1] * extent**2).astype(np.float64)
        expected = np.cov(inputs, rowvar=False)
        assert np.abs(statistics.covariances[name] - expected).max() <= 0.2 * np.abs(expected).max()  # of a sample


@pytest.mark.parametrize("method", list(Method))
def test_every_method_gives_ranges_within_what_was_seen(
    method: Method, lite0: onnx.ModelProto, pictures: PictureSet
) -> None:
    few = replace(pictures, crops=pictures.crops[:4])
    widest = measure_statistics(lite0, few, Method.minmax)[0].ranges
    steps: list[tuple[int, int]] = []
    found = measure_statistics(lite0, few, method, lambda done, total: steps.append((done, total)))[0].ranges
    assert found.keys() == widest.keys()
    for name, (low, high) in found.items():
        slack = 1e-2 * (widest[name][1] - widest[name][0])
        assert widest[name][0] - slack <= low <= high <= widest[name][1] + slack, name
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_activation_that_is_no_number_is_named(lite0: onnx.ModelProto, pictures: PictureSet) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(lite0)
    node = weighted_nodes(broken)[3]
    tensor = initializers(broken)[node.input[1]]
    values = numpy_helper.to_array(tensor).copy()
    values[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ParityError, match="is not a number on these pictures"):
        measure_statistics(broken, replace(pictures, crops=pictures.crops[:4]), Method.percentile)


def test_percentiles_of_every_nth_value_are_those_of_all(
    lite0: onnx.ModelProto, pictures: PictureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(pictures, crops=pictures.crops[:8])
    found = measure_statistics(lite0, few, Method.percentile)[0].ranges
    monkeypatch.setattr("lifeiqa.calibration.statistics.SAMPLE", 10**9)
    every = measure_statistics(lite0, few, Method.percentile)[0].ranges
    assert found != every  # some activations are larger than a sample
    for name, (low, high) in every.items():
        assert np.allclose(found[name], (low, high), atol=0.05 * (high - low)), name


def test_scores_of_the_graph_come_along(lite0: onnx.ModelProto, pictures: PictureSet) -> None:
    few = replace(pictures, crops=(pictures.crops[0], pictures.crops[1][:1], pictures.crops[2]))
    scores = measure_statistics(lite0, few, Method.percentile)[1]
    for found, expected in zip(scores, scores_of(lite0, few.crops), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)
