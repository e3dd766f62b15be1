"""The head that is exported computes what the trained one computes, from fewer products."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import TINY, make_checkpoint

from lifeiqa.calibration.graph import initializers, session_of
from lifeiqa.export import onnx_file
from lifeiqa.export.folding import DirectAttention, ExpertVotes, MatrixPool
from lifeiqa.export.graph import ExportGraph
from lifeiqa.export.simplify import fold_scale_into_stem
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.decoder import Attention, PartitionAveragePool
from lifeiqa.models.network.moe import MixtureOfExperts
from lifeiqa.models.network.variants import VARIANTS, variant
from lifeiqa.runtime import ScoreScale
from lifeiqa.runtime.errors import UsageError

WIDE = replace(TINY, dim=96, heads=2)  # wide enough that the queries read the pooled stage itself


def lively(config: LifeIQAConfig, **changes: object) -> Checkpoint:
    """Random weights with biases and scales that a fresh network does not have."""
    checkpoint = make_checkpoint(config, **changes)
    torch.manual_seed(1)
    state = {
        name: tensor + 0.1 * torch.randn_like(tensor) if "backbone" not in name else tensor
        for name, tensor in checkpoint.state.items()
    }
    return replace(checkpoint, state=state)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("config", [TINY, WIDE], ids=["narrow", "wide"])
def test_every_variant_scores_as_the_network_does(name: str, config: LifeIQAConfig, astronaut: np.ndarray) -> None:
    checkpoint = lively(variant(name, config))
    crops = np.stack([astronaut[:224, :224], astronaut[-224:, -224:]])
    expected, weights = TorchScorer.of(checkpoint).score_crops(crops)
    graph = ExportGraph(checkpoint, with_experts=weights is not None)
    found = graph(torch.from_numpy(crops))
    scores = found if weights is None else found[0]
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=2e-3)
    if weights is not None:
        torch.testing.assert_close(found[1], weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [LifeIQAConfig.released("test_efficientnet", 3), replace(WIDE, bypass="scaled_moe")])
def test_bypass_scale_and_own_range_are_folded_too(config: LifeIQAConfig, astronaut: np.ndarray) -> None:
    checkpoint = lively(config, scale=ScoreScale(1, 5, higher_is_better=False))
    crops = astronaut[None, :224, :224]
    expected, _ = TorchScorer.of(checkpoint).score_crops(crops)
    torch.testing.assert_close(ExportGraph(checkpoint)(torch.from_numpy(crops)), expected, rtol=1e-5, atol=2e-3)


def test_attention_reads_the_pooled_stage_itself() -> None:
    torch.manual_seed(0)
    attention, memory = Attention(24, 3), torch.nn.Linear(7, 24)
    for layer in (attention.query, attention.key, attention.value, attention.out):
        torch.nn.init.normal_(layer.bias)
    x, pooled = torch.randn(2, 5, 24), torch.randn(2, 9, 7)
    with torch.no_grad():
        expected, found = attention(x, memory(pooled)), DirectAttention(attention, memory)(x, pooled)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_equal_logits_choose_the_lower_expert_in_the_file() -> None:
    checkpoint = lively(TINY)
    state = {**checkpoint.state, "moe.router.weight": torch.zeros_like(checkpoint.state["moe.router.weight"])}
    state["moe.router.bias"] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    model = onnx_file.trace(replace(checkpoint, state=state), with_experts=True)
    _, weights = session_of(model).run(None, {"image": np.zeros((1, 224, 224, 3), np.uint8)})
    assert (weights[0, :, :2] > 0).all()
    assert (weights[0, :, 2:] == 0).all()


def test_an_expert_votes_with_one_vector() -> None:
    torch.manual_seed(0)
    experts, head, gamma = MixtureOfExperts(16, 3, 2, 8), torch.nn.Linear(16, 1), torch.tensor(0.3)
    x = torch.randn(2, 6, 16)
    with torch.no_grad():
        y, routing = experts(x)
        expected = 25 * head(y + gamma * x).squeeze(-1).mean(dim=1) - 3
        found, weights = ExpertVotes(experts, head, gamma, True, 25.0, -3.0)(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights, routing.weights)


@pytest.mark.parametrize(("side", "grid"), [(14, 6), (7, 5), (14, 7)])
def test_pool_is_one_product(side: int, grid: int) -> None:
    x = torch.randn(2, 3, side, side)
    pool = PartitionAveragePool(grid)
    torch.testing.assert_close(MatrixPool(pool, side)(x), pool(x), rtol=1e-5, atol=1e-6)


def test_network_without_experts_has_no_expert_weights() -> None:
    with pytest.raises(UsageError, match="no experts"):
        ExportGraph(make_checkpoint(replace(TINY, tail="none")), with_experts=True)


def test_file_has_no_keys_no_values_and_no_second_layer_of_experts() -> None:
    model = onnx_file.trace(make_checkpoint(WIDE))
    kinds = [node.op_type for node in model.graph.node]
    names = {node.name for node in model.graph.node}
    assert {"layers.0.attention.query", "layers.0.attention.out", "tail.first"} <= names
    assert not any("key" in name or "value" in name or "memory_projection" in name for name in names)
    assert kinds.count("Slice") + kinds.count("Gather") + kinds.count("GatherND") == 0
    assert kinds.count("Transpose") <= 3
    shapes = {tuple(tensor.dims) for tensor in model.graph.initializer}
    assert (4 * 32, 4) in shapes
    assert (4 * 32, WIDE.dim) not in shapes


def test_half_weights_keep_the_numbers_of_the_checkpoint() -> None:
    checkpoint = make_checkpoint(WIDE)
    stored = {key: tensor.half().float() for key, tensor in checkpoint.state.items() if tensor.is_floating_point()}
    checkpoint = replace(checkpoint, state={**checkpoint.state, **stored})
    full, half = (session_of(onnx_file.trace(checkpoint, half_weights=kind)) for kind in (False, True))
    crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    one, other = (session.run(["score"], {"image": crops})[0] for session in (full, half))
    np.testing.assert_allclose(other, one, atol=1e-3)


def normalised(factors: list[float], offsets: list[float]) -> onnx.ModelProto:
    """A picture's normalisation and a convolution that pads."""
    rng = np.random.default_rng(0)
    constants = {
        "factor": np.array(factors, np.float32).reshape(1, 3, 1, 1),
        "offset": np.array(offsets, np.float32).reshape(1, 3, 1, 1),
        "weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=4).astype(np.float32),
    }
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["wide"], to=1),
        onnx.helper.make_node("Transpose", ["wide"], ["turned"], perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Mul", ["turned", "factor"], ["scaled"]),
        onnx.helper.make_node("Add", ["scaled", "offset"], ["normal"]),
        onnx.helper.make_node("Conv", ["normal", "weight", "bias"], ["score"], pads=[1, 1, 1, 1]),
    ]
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [1, 6, 6, 3])
    score = onnx.helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, [1, 4, 6, 6])
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(nodes, "stem", [image], [score], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("factors", "offsets", "numbers"),
    [([0.01, 0.01, 0.01], [-1, -1, -1], 1), ([0.017, 0.0175, 0.0174], [-2.1, -2.0, -1.8], 3)],
)
def test_scale_goes_into_the_first_convolution_and_padding_stays_right(
    factors: list[float], offsets: list[float], numbers: int
) -> None:
    model = normalised(factors, offsets)
    picture = np.random.default_rng(1).integers(0, 256, (1, 6, 6, 3), np.uint8)
    (expected,) = session_of(model).run(None, {"image": picture})
    fold_scale_into_stem(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Transpose", "Add", "Conv"]
    assert int(np.prod(initializers(model)["offset"].dims)) == numbers
    (found,) = session_of(model).run(None, {"image": picture})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_scale_that_something_else_reads_stays() -> None:
    model = normalised([0.01] * 3, [-1] * 3)
    model.graph.node.append(onnx.helper.make_node("Relu", ["scaled"], ["positive"]))
    before = model.SerializeToString()
    fold_scale_into_stem(model)
    assert model.SerializeToString() == before


def test_openvino_scores_the_exported_file_alike(tmp_path: Path, astronaut: np.ndarray) -> None:
    pytest.importorskip("openvino")
    from lifeiqa.runtime.backends.openvino import OpenVinoBackend

    checkpoint = lively(WIDE)
    path = tmp_path / "a.onnx"
    onnx_file.write(onnx_file.trace(checkpoint), onnx_file.build_manifest(checkpoint, "a", False), path)
    crops = astronaut[None, :224, :224]
    expected, _ = TorchScorer.of(checkpoint).score_crops(crops)
    with OpenVinoBackend(path) as backend:
        np.testing.assert_allclose(backend.infer(crops), expected.numpy(), rtol=1e-4, atol=2e-3)
