from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import make_checkpoint
from onnx import TensorProto, numpy_helper

from lifeiqa.calibration.agreement import compare_pictures
from lifeiqa.calibration.graph import initializers, scores_of, session_of, weighted_nodes, without_islands
from lifeiqa.calibration.guard import MAX_NODE_SHARE, Guard
from lifeiqa.calibration.limits import LIMITS, Limit, guard_limit
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.qdq import FLAVORS, Flavor, quantize
from lifeiqa.calibration.rounding import round_weights
from lifeiqa.calibration.statistics import Statistics
from lifeiqa.export import onnx_file
from lifeiqa.export.half import sensitive_nodes, to_half
from lifeiqa.runtime import ScoreScale


@pytest.fixture(scope="module")
def plain(lite0: onnx.ModelProto, statistics: Statistics) -> dict[Flavor, onnx.ModelProto]:
    names = [node.name for node in weighted_nodes(lite0)]
    return {flavor: quantize(lite0, statistics, names, flavor) for flavor in FLAVORS}


def types_into(model: onnx.ModelProto, op: str, position: int) -> set[int]:
    constants = initializers(model)
    return {constants[n.input[position]].data_type for n in model.graph.node if n.op_type == op}


@pytest.mark.parametrize("flavor", FLAVORS)
def test_file_is_a_third_at_most_and_passes_onnx_checks(
    flavor: Flavor, plain: dict[Flavor, onnx.ModelProto], lite0: onnx.ModelProto
) -> None:
    onnx.checker.check_model(plain[flavor], full_check=True)
    assert plain[flavor].ByteSize() <= 0.33 * lite0.ByteSize()


def test_flavours_are_what_their_engines_take(plain: dict[Flavor, onnx.ModelProto]) -> None:
    assert types_into(plain["cpu"], "QuantizeLinear", 2) == {TensorProto.UINT8}
    assert TensorProto.INT32 in types_into(plain["cpu"], "DequantizeLinear", 2)  # biases
    assert types_into(plain["tensorrt"], "QuantizeLinear", 2) == {TensorProto.INT8}
    assert types_into(plain["tensorrt"], "DequantizeLinear", 2) == {TensorProto.INT8}
    constants = initializers(plain["tensorrt"])
    for node in plain["tensorrt"].graph.node:
        if node.op_type == "QuantizeLinear":
            assert not numpy_helper.to_array(constants[node.input[2]]).any()  # symmetric


def test_experts_and_cross_attention_are_quantised_and_router_and_score_are_not(
    plain: dict[Flavor, onnx.ModelProto], lite0: onnx.ModelProto
) -> None:
    names = [node.name for node in weighted_nodes(lite0)]
    wanted = {name for name in names if "attention" in name or name.startswith("tail.")}
    assert len(wanted) == 4 * 2 + 1
    model = plain["cpu"]
    produced = {name: node.op_type for node in model.graph.node for name in node.output}
    quantised = {
        n.name for n in model.graph.node if produced.get(n.input[1] if len(n.input) > 1 else "") == "DequantizeLinear"
    }
    assert wanted <= quantised
    makers = {name: node for node in model.graph.node for name in node.output}
    (top_k,) = [node for node in model.graph.node if node.op_type == "TopK"]
    router = makers[makers[top_k.input[0]].input[0]]
    assert [produced[node.input[0]] for node in (top_k, router)] == ["Add", "LayerNormalization"]


def test_sums_and_norms_read_what_was_not_rounded(plain: dict[Flavor, onnx.ModelProto]) -> None:
    for model in plain.values():
        produced = {name: node.op_type for node in model.graph.node for name in node.output}
        norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
        assert [produced[node.input[0]] for node in norms] == ["Add"] * 5
        makers = {name: node for node in model.graph.node for name in node.output}
        for node in norms:
            assert "DequantizeLinear" not in {
                produced[name] for name in makers[node.input[0]].input if name in produced
            }


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The graph as ONNX Runtime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


def test_every_convolution_has_an_int8_kernel_and_the_first_reads_the_picture(
    plain: dict[Flavor, onnx.ModelProto], lite0: onnx.ModelProto, tmp_path: Path
) -> None:
    graph = optimised(plain["cpu"], tmp_path).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("QLinearConv") == sum(node.op_type == "Conv" for node in lite0.graph.node)
    assert "Conv" not in kinds and "FusedConv" not in kinds
    assert (graph.node[0].op_type, graph.node[0].input[0]) == ("QLinearConv", "image")
    assert kinds.count("Transpose") <= 3


def test_convolutions_between_others_that_stay_in_floating_point_do_so_too(
    lite0: onnx.ModelProto, statistics: Statistics, tmp_path: Path
) -> None:
    names = [node.name for node in weighted_nodes(lite0)]
    kept = {names[i] for i in (0, 1, 3, 4, 5)}
    chosen = [name for name in names if name not in kept]
    assert set(chosen) - set(without_islands(lite0, chosen)) == {names[2]}
    graph = optimised(quantize(lite0, statistics, chosen, "cpu"), tmp_path).graph
    assert sum(node.op_type == "Conv" for node in graph.node) == 6
    constants = {tensor.name for tensor in graph.initializer}
    widened = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
    assert not widened  # weights that would be widened at every run


def test_picture_loses_nothing_when_it_is_quantised(lite0: onnx.ModelProto, statistics: Statistics) -> None:
    """Of the stem alone, int8 costs what its weights' rounding costs, and the padding of half a grey level.

    But for a channel of tiny weights, which get a larger step so that the int32 bias fits.
    """
    picture = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    stem = weighted_nodes(lite0)[0]
    exact = observed(round_weights(lite0, statistics, [stem.name]), stem.output[0], picture)
    for flavor in FLAVORS:
        found = observed(quantize(lite0, statistics, [stem.name], flavor), stem.output[0], picture)
        channels = np.abs(found - exact)[..., 1:-1, 1:-1].max(axis=(0, 2, 3))
        assert np.sort(channels)[-2] < 1e-3


def observed(model: onnx.ModelProto, name: str, picture: np.ndarray) -> np.ndarray:
    """What a tensor of the graph holds."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return session_of(copy).run([name], {"image": picture})[0]


def test_nodes_that_are_left_out_are_left_alone(lite0: onnx.ModelProto, statistics: Statistics) -> None:
    names = [node.name for node in weighted_nodes(lite0)]
    model = quantize(lite0, statistics, names[3:], "cpu")
    before, after = initializers(lite0), initializers(model)
    for node in weighted_nodes(lite0)[:3]:
        assert after[node.input[1]].raw_data == before[node.input[1]].raw_data


def test_guard_keeps_what_costs_most_until_the_limit_holds(
    lite0: onnx.ModelProto, statistics: Statistics, pictures: PictureSet
) -> None:
    names = [node.name for node in weighted_nodes(lite0)]
    guard, limit = Guard(lite0, pictures, 100.0), guard_limit("int8", LIMITS["int8/int8"])

    def build(kept: frozenset[str]) -> onnx.ModelProto:
        return quantize(lite0, statistics, [name for name in names if name not in kept], "cpu")

    plain_agreement, _, violations = guard.measure(build(frozenset()), limit)
    assert violations
    result = guard.search(build, names, limit)
    assert 1 <= len(result.kept) <= len(names) // 2
    assert result.agreement.worst < plain_agreement.worst
    assert not result.violations and not result.agreement.violations(limit)
    assert [row.rms for row in result.table] == sorted((row.rms for row in result.table), reverse=True)
    assert result.kept == tuple(row.node for row in result.table[: len(result.kept)])
    # one fewer would not do, or would give up what costs too much by itself
    too_much = MAX_NODE_SHARE * limit.worst * 100.0
    assert all(row.node in result.kept for row in result.table if row.rms >= too_much)
    assert (
        guard.measure(build(frozenset(result.kept[:-1])), limit)[2]
        or result.table[len(result.kept) - 1].rms >= too_much
    )


def test_guard_that_cannot_be_satisfied_says_so(
    lite0: onnx.ModelProto, statistics: Statistics, pictures: PictureSet
) -> None:
    names = [node.name for node in weighted_nodes(lite0)][-6:]
    guard = Guard(lite0, replace(pictures, crops=pictures.crops[:10]), 100.0)
    result = guard.search(
        lambda kept: quantize(lite0, statistics, [n for n in names if n not in kept], "cpu"),
        names,
        Limit(worst=1e-9, srocc=1.0),
    )
    assert "worst difference" in result.violations[0]
    assert result.nodes == 6


def test_guard_that_cannot_be_satisfied_keeps_nodes_only_where_that_helps(
    lite0: onnx.ModelProto, pictures: PictureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for quantisation that adds to the score what each node costs."""
    guard = Guard(lite0, replace(pictures, crops=pictures.crops[:4]), 100.0)
    for costs, kept in (
        ({"a": 1.0, "b": 0.01, "c": 0.01, "d": 0.01}, ("a",)),
        ({"a": 0.3, "b": 0.3, "c": 9.0, "d": 0.3}, ()),
    ):

        def build(kept: frozenset[str], costs: dict[str, float] = costs) -> onnx.ModelProto:
            return shifted(lite0, sum(cost for name, cost in costs.items() if name not in kept))

        result = guard.search(build, list(costs), Limit(worst=1e-9, srocc=-1.0), fixed=["c"])
        assert result.violations
        assert result.kept[: len(kept)] == kept and bool(result.kept) == bool(kept)


def test_guard_measures_little_where_no_node_stands_out(lite0: onnx.ModelProto, pictures: PictureSet) -> None:
    """A stand-in whose nodes each cost the same, and independently: a few steps to the count, not one a node."""
    guard = Guard(lite0, replace(pictures, crops=pictures.crops[:4]), 100.0)
    nodes = [f"node {k}" for k in range(128)]
    built: list[int] = []

    def build(kept: frozenset[str]) -> onnx.ModelProto:
        built.append(len(kept))
        return shifted(lite0, 0.15 * float(np.sqrt(len(nodes) - len(kept))))

    result = guard.search(build, nodes, Limit(worst=0.015, srocc=-1.0))
    assert not result.violations
    assert 28 <= len(result.kept) <= 28 + 4  # 100 nodes may stay reduced
    assert len(result.table) >= len(result.kept)
    assert len(built) <= 62 + 6

    # Another flavour, where keeping nodes helps less than their costs foretell: it begins with as many as were kept.
    tries: list[int] = []

    def build_other(kept: frozenset[str]) -> onnx.ModelProto:
        tries.append(len(kept))
        return shifted(lite0, 1.62 - 0.004 * len(kept))

    other = guard.search(build_other, nodes, Limit(worst=0.015, srocc=-1.0), earlier=result)
    assert not other.violations and 30 <= len(other.kept) <= 30 + 4
    assert tries[:2] == [0, len(result.kept)] and len(tries) <= 5


def shifted(model: onnx.ModelProto, points: float) -> onnx.ModelProto:
    """The model with so many points added to its score."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        node.output[:] = ["unshifted" if name == "score" else name for name in node.output]
    changed.graph.initializer.append(numpy_helper.from_array(np.float32(points), "points"))
    changed.graph.node.append(onnx.helper.make_node("Add", ["unshifted", "points"], ["score"]))
    return changed


def test_guard_looks_at_labels_too(lite0: onnx.ModelProto, statistics: Statistics, pictures: PictureSet) -> None:
    crops = tuple(np.concatenate(pictures.crops)[:, None])  # a crop is as good as a picture here
    labelled = replace(pictures, crops=crops, labels=np.concatenate(scores_of(lite0, crops)))
    guard = Guard(lite0, labelled, 100.0)
    names = [node.name for node in weighted_nodes(lite0)]
    _, drop, violations = guard.measure(quantize(lite0, statistics, names, "cpu"), Limit(worst=1.0, srocc=1.0))
    assert drop is not None
    assert drop > 0
    assert any("SROCC with the labels falls from 1.0000" in violation for violation in violations)


@pytest.mark.parametrize("labels", [np.full(70, 50.0), np.arange(20.0)])
def test_guard_leaves_labels_alone_that_rank_nothing(
    labels: np.ndarray, lite0: onnx.ModelProto, pictures: PictureSet
) -> None:
    few = replace(pictures, crops=tuple(np.concatenate(pictures.crops)[: len(labels), None]), labels=labels)
    agreement, drop, violations = Guard(lite0, few, 100.0).measure(lite0, Limit(worst=1e-6, srocc=1.0))
    assert (drop, violations, agreement.worst) == (None, (), 0)


def test_fp16_of_an_own_scale_and_with_experts_is_a_whole_graph(pictures: PictureSet) -> None:
    model = onnx_file.trace(make_checkpoint(scale=ScoreScale(0, 1, own=True)), with_experts=True)
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    crops = pictures.crops[0]
    before, after = (session_of(graph).run(None, {"image": crops}) for graph in (model, half))
    for one, other in zip(before, after, strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=0.02)


def test_fp16_keeps_what_half_precision_breaks(lite0: onnx.ModelProto, pictures: PictureSet) -> None:
    half = to_half(lite0)
    onnx.checker.check_model(half, full_check=True)
    assert half.ByteSize() <= 0.52 * lite0.ByteSize()
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(half).graph.value_info
    }
    for node in half.graph.node:
        if node.op_type in ("LayerNormalization", "Softmax", "TopK"):
            assert kinds[node.output[0]] == TensorProto.FLOAT, node.name
    convolutions = [node for node in half.graph.node if node.op_type == "Conv"]
    assert {kinds[node.output[0]] for node in convolutions} == {TensorProto.FLOAT16}
    found = compare_pictures(scores_of(lite0, pictures.crops), scores_of(half, pictures.crops), 100.0)
    assert found.srocc > 0.9995
    kept = to_half(lite0, [convolutions[1].name])
    again = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(kept).graph.value_info}
    (node,) = [node for node in kept.graph.node if node.name == convolutions[1].name]
    assert again[node.output[0]] == TensorProto.FLOAT


def test_activations_that_would_overflow_are_found_and_kept(lite0: onnx.ModelProto, pictures: PictureSet) -> None:
    crops = pictures.crops[0]
    quiet = sensitive_nodes(lite0, crops)
    loud = onnx.ModelProto()
    loud.CopyFrom(lite0)
    node = next(node for node in weighted_nodes(loud) if node.op_type == "MatMul")
    tensor = initializers(loud)[node.input[1]]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1e6, tensor.name))
    assert node.name in sensitive_nodes(loud, crops) - quiet
    assert np.isfinite(np.concatenate(scores_of(to_half(loud, sensitive_nodes(loud, crops)), [crops]))).all()
