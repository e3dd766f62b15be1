import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import TINY, make_checkpoint
from onnx import numpy_helper

from lifeiqa.export import onnx_file
from lifeiqa.export.artifact import Artifact
from lifeiqa.export.cli import main
from lifeiqa.export.graph import ExportGraph
from lifeiqa.export.pipeline import ExportRequest, export_checkpoint
from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.runtime import Scorer, ScoreScale
from lifeiqa.runtime.errors import ParityError, UsageError


def exported(path: Path, **options: object) -> Artifact:
    """The FP32 file, without engines."""
    return export_checkpoint(ExportRequest(path, target="onnx", **options)).artifacts[0]


@pytest.fixture
def pt(tmp_path: Path, tiny_pt: Path) -> Path:
    path = tmp_path / "best.pt"
    path.write_bytes(tiny_pt.read_bytes())
    return path


def test_command_writes_beside_the_checkpoint_and_ends_with_the_line_to_paste(command: Callable, pt: Path) -> None:
    done = command(main, "--ckpt", pt, "--target", "onnx")
    assert done.code == 0, done.err
    assert sorted(os.listdir(pt.parent)) == ["best.onnx", "best.pt"]
    assert "worst difference" in done.out
    last = done.out.splitlines()[-1]
    assert shlex.split(last.split(maxsplit=2)[2])[:3] == ["lifeiqa-run", "--model", str(pt.parent / "best.onnx")]
    assert "checking best.onnx against PyTorch" in done.err.splitlines()


def test_json_has_what_a_program_needs(command: Callable, pt: Path, tmp_path: Path) -> None:
    done = command(main, "--ckpt", pt, "-o", tmp_path / "out", "--json", "--half-weights", "--target", "onnx")
    (result,) = json.loads(done.out)["artifacts"]
    assert result["agreement"]["worst"] <= result["limit"]["worst"]
    assert result["size_bytes"] == (tmp_path / "out" / "best.onnx").stat().st_size
    assert result["manifest"]["weights"] == "fp16"
    assert result["manifest"]["checkpoint_sha256"] == load_checkpoint(pt).sha256


def test_file_has_the_promised_inputs_outputs_and_metadata(tiny_onnx: Path, tiny_pt: Path) -> None:
    model = onnx.load(tiny_onnx)
    image = model.graph.input[0].type.tensor_type
    assert image.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in image.shape.dim][1:] == [224, 224, 3]
    assert [o.name for o in model.graph.output] == ["score", "expert_weights"]
    manifest = json.loads({p.key: p.value for p in model.metadata_props}["lifeiqa_manifest"])
    assert manifest["architecture"] == TINY.to_dict()
    assert manifest["training"] == {"labels": "none"}
    assert set(manifest["tools"]) == {"torch", "timm", "onnx", "onnxscript", "onnxruntime"}
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


def test_experts_are_gathered_and_their_weights_plain_matrices(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    kinds = {node.op_type for node in model.graph.node}
    assert "TopK" in kinds
    assert kinds & {"Gather", "GatherND"}
    assert not kinds & {"ScatterElements", "ScatterND", "Einsum", "Where", "If", "Loop"}
    shapes = {tuple(t.dims) for t in model.graph.initializer}
    assert (48, 4 * 32) in shapes
    assert (4 * 32, 4) in shapes  # second layer and head as one


@pytest.mark.parametrize(
    "config",
    [
        LifeIQAConfig.released("test_efficientnet", 3),
        LifeIQAConfig(backbone="test_resnet", dim=48, top_k=1, grid=5),
        LifeIQAConfig(backbone="mobilenetv3_small_050", dim=48, experts=2, decoder_layers=2),
    ],
)
def test_other_architectures_export_too(config: LifeIQAConfig, tmp_path: Path) -> None:
    save_checkpoint(make_checkpoint(config), tmp_path / "a.pt")
    result = exported(tmp_path / "a.pt", with_experts=True)
    assert result.agreement is not None
    assert result.agreement.worst < 1e-4


@pytest.mark.parametrize(
    "scale", [ScoreScale(1, 5), ScoreScale(0, 100, higher_is_better=False), ScoreScale(0, 1, own=True)]
)
def test_scores_are_on_0_100_unless_the_own_scale_is_kept(
    scale: ScoreScale, astronaut: np.ndarray, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(scale=scale)
    save_checkpoint(checkpoint, tmp_path / "a.pt")
    path = exported(tmp_path / "a.pt").path
    raw = TorchScorer(checkpoint.build(), checkpoint.preprocess, ScoreScale(0, 1, own=True)).score(astronaut)
    with Scorer(path, device="cpu") as scorer:
        found = scorer.score(astronaut).raw
        assert scorer.manifest.scale.own == scale.own
    expected = {1: 25 * (raw - 1), 0: 100 - raw}[int(scale.low)] if not scale.own else raw
    assert found == pytest.approx(expected, abs=1e-3)


def test_tied_router_logits_choose_the_same_experts_in_the_file(tmp_path: Path) -> None:
    state = dict(make_checkpoint().state)
    state["moe.router.weight"] = torch.zeros_like(state["moe.router.weight"])
    state["moe.router.bias"] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    save_checkpoint(make_checkpoint(state=state), tmp_path / "a.pt")
    path = exported(tmp_path / "a.pt", with_experts=True).path
    with Scorer(path, device="cpu") as scorer:
        weights = scorer.backend.infer_all(np.zeros((1, 224, 224, 3), np.uint8))["expert_weights"]
    assert (weights[0, :, 0] > 0).all()
    assert (weights[0, :, 2:] == 0).all()


def test_graph_in_pytorch_equals_the_reference(astronaut: np.ndarray) -> None:
    checkpoint = make_checkpoint()
    crops = astronaut[None, :224, :224]
    score, _ = TorchScorer.of(checkpoint).score_crops(crops)
    exported = ExportGraph(checkpoint)(torch.from_numpy(crops))
    torch.testing.assert_close(exported, score, rtol=1e-5, atol=1e-3)


def test_artifact_that_is_there_is_kept_unless_forced(pt: Path, command: Callable) -> None:
    target = pt.with_suffix(".onnx")
    target.write_bytes(b"precious")
    with pytest.raises(UsageError, match="--force"):
        exported(pt)
    assert target.read_bytes() == b"precious"
    assert command(main, "--ckpt", pt, "--force", "--target", "onnx").code == 0
    assert target.stat().st_size > 100_000


def test_export_that_is_off_ends_with_4_and_writes_nothing(
    pt: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = onnx_file.trace

    def corrupt(*arguments: object) -> onnx.ModelProto:
        model = honest(*arguments)
        weights = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1.02, weights.name))
        return model

    monkeypatch.setattr(onnx_file, "trace", corrupt)
    target = pt.with_suffix(".onnx")
    target.write_bytes(b"old")
    done = command(main, "--ckpt", pt, "--force", "--target", "onnx")
    assert done.code == 4
    assert "differs from PyTorch: worst difference" in done.err
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(pt.parent)) == ["best.onnx", "best.pt"]
    with pytest.raises(ParityError):
        exported(pt, force=True)


def test_bad_checkpoints_end_with_2_and_one_line(command: Callable, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    for name in ("missing.pt", "text.pt", "."):
        done = command(main, "--ckpt", tmp_path / name, "-o", tmp_path / "out", "--target", "onnx")
        assert done.code == 2
        errors = [line for line in done.err.splitlines() if line != "reading the checkpoint"]
        assert len(errors) == 1
        assert errors[0].startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written_ends_with_3(command: Callable, pt: Path) -> None:
    (pt.parent / "file").touch()
    done = command(main, "--ckpt", pt, "-o", pt.parent / "file" / "sub", "--target", "onnx")
    assert done.code == 3
    assert "Cannot write" in done.err


def test_killed_export_leaves_the_old_artifact(pt: Path) -> None:
    target = pt.with_suffix(".onnx")
    target.write_bytes(b"old")
    code = "from lifeiqa.export.cli import main; main()"
    arguments = ["--ckpt", str(pt), "--force", "--target", "onnx"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("checking best.onnx"):
                time.sleep(0.2)
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
    assert target.read_bytes() == b"old"
