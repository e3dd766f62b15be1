import os
import pickle
from pathlib import Path

import pytest
import torch
from helpers import make_checkpoint

from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.network.backbone import Backbone, load_backbone_weights
from lifeiqa.runtime.errors import CheckpointError, WriteError


def content_of(path: Path) -> dict[str, object]:
    return dict(torch.load(path, weights_only=True))


def test_checkpoint_survives_the_file(tmp_path: Path) -> None:
    saved = make_checkpoint()
    save_checkpoint(saved, tmp_path / "a.pt")
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert (loaded.config, loaded.preprocess, loaded.scale, loaded.training) == (
        saved.config,
        saved.preprocess,
        saved.scale,
        saved.training,
    )
    assert loaded.state.keys() == saved.state.keys()
    assert all(torch.equal(loaded.state[name], tensor) for name, tensor in saved.state.items())
    assert len(loaded.sha256) == 64


def test_half_precision_halves_the_file_and_widens_at_load(tmp_path: Path) -> None:
    saved = make_checkpoint()
    save_checkpoint(saved, tmp_path / "full.pt")
    save_checkpoint(saved, tmp_path / "half.pt", half=True)
    assert (tmp_path / "half.pt").stat().st_size < 0.65 * (tmp_path / "full.pt").stat().st_size
    loaded = load_checkpoint(tmp_path / "half.pt")
    for name, tensor in saved.state.items():
        assert loaded.state[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded.state[name], tensor, rtol=1e-3, atol=1e-6)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_pickle_payload_is_refused_and_not_run(tmp_path: Path, tiny_pt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({**content_of(tiny_pt), "training": Payload()}, "zip.pt")
    torch.save({"model": Payload()}, "legacy.pt", _use_new_zipfile_serialization=False)
    Path("plain.pt").write_bytes(pickle.dumps(Payload()))
    for name in ("zip.pt", "legacy.pt", "plain.pt"):
        with pytest.raises(CheckpointError):
            load_checkpoint(Path(name))
    with pytest.raises(CheckpointError, match="would run code when loaded"):
        load_checkpoint(Path("zip.pt"))
    assert not Path("executed").exists()


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path, tiny_pt: Path) -> None:
    cases: dict[str, bytes] = {
        "empty.pt": b"",
        "text.pt": b"hello",
        "cut.pt": tiny_pt.read_bytes()[:-500],
        "picture.pt": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    for name in (*cases, "list.pt", "other.pt", "missing.pt", "."):
        with pytest.raises(CheckpointError) as raised:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_missing_extra_and_misshapen_tensors_are_counted_and_named(tmp_path: Path, tiny_pt: Path) -> None:
    content = content_of(tiny_pt)
    state = dict(content["state"])
    del state["head.weight"], state["head.bias"]
    state["surplus"] = torch.zeros(2)
    state["gamma"] = torch.zeros(7)
    torch.save({**content, "state": state}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(tmp_path / "a.pt")
    message = str(raised.value)
    assert "2 missing (the first: head.weight)" in message
    assert "1 unknown (the first: surplus)" in message
    assert "1 of another shape or kind (the first: gamma)" in message


@pytest.mark.parametrize("change", [{"state": 5}, {"config": {}}, {"scale": {"low": 3}}, {"preprocess": None}])
def test_malformed_checkpoint_is_refused(tmp_path: Path, tiny_pt: Path, change: dict[str, object]) -> None:
    torch.save({**content_of(tiny_pt), **change}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        load_checkpoint(tmp_path / "a.pt")


ODD_TENSORS = {
    "sparse": lambda t: t.to_sparse(),
    "complex": lambda t: t.to(torch.complex64),
    "whole numbers": lambda t: t.to(torch.int32),
    "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    "text": lambda t: "weights",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD_TENSORS)
def test_odd_kinds_of_tensor_are_refused(tmp_path: Path, tiny_pt: Path, kind: str) -> None:
    content = content_of(tiny_pt)
    state = dict(content["state"])
    state["head.weight"] = ODD_TENSORS[kind](state["head.weight"])
    torch.save({**content, "state": state}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_diverged_run_are_refused(tmp_path: Path, tiny_pt: Path, value: float) -> None:
    content = content_of(tiny_pt)
    state = {**content["state"], "head.weight": content["state"]["head.weight"].clone()}
    state["head.weight"].view(-1)[3] = value
    torch.save({**content, "state": state}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"1 of its tensors .*head\.weight.*diverged"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"loss": torch.zeros(1)}},
        {"training": {"loss": float("nan")}},
        {"training": [1]},
        {"scale": {"low": 0.0, "high": float("inf"), "own": False, "higher_is_better": True}},
        {"scale": {"low": 0.0, "high": 1.0, "own": "no", "higher_is_better": True}},
        {"model": {1: torch.zeros(1)}, "format": "other"},
        {"model": {"bunch_decoder.layers.0.multihead_attn.in_proj_weight": torch.tensor(1.0)}, "format": "other"},
    ],
)
def test_values_that_no_artifact_could_carry_are_refused(tmp_path: Path, tiny_pt: Path, change: dict) -> None:
    torch.save({**content_of(tiny_pt), **change}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("backbone", ["hf-hub:somebody/something", "local-dir:/tmp"])
def test_checkpoint_cannot_make_timm_fetch_anything(tmp_path: Path, tiny_pt: Path, backbone: str) -> None:
    content = content_of(tiny_pt)
    config = {**content["config"], "backbone": backbone}
    torch.save({**content, "config": config}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="timm knows no model"):
        load_checkpoint(tmp_path / "a.pt")


def test_checkpoint_that_cannot_be_written_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError):
        save_checkpoint(make_checkpoint(), tmp_path / "file" / "a.pt")


def test_backbone_weights_load_by_name_and_by_order(tmp_path: Path) -> None:
    source, target = Backbone("test_efficientnet"), Backbone("test_efficientnet")
    state = source.inner_state()
    torch.save({**state, "classifier.weight": torch.zeros(3)}, tmp_path / "named.pth")
    torch.save({f"port.{i}": t for i, t in enumerate(state.values())}, tmp_path / "ordered.pth")
    for name in ("named.pth", "ordered.pth"):
        for tensor in target.parameters():
            torch.nn.init.zeros_(tensor)
        load_backbone_weights(target, tmp_path / name)
        assert all(torch.equal(target.inner_state()[n], t) for n, t in state.items())


def test_backbone_weights_can_be_those_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    save_checkpoint(checkpoint, tmp_path / "trained.pt")
    target = Backbone(checkpoint.config.backbone)
    load_backbone_weights(target, tmp_path / "trained.pt")
    for name, tensor in target.inner_state().items():
        assert torch.equal(tensor, checkpoint.state[f"backbone.net.model.{name}"])


def test_backbone_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(Backbone("test_resnet").inner_state(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="does not fit this backbone"):
        load_backbone_weights(Backbone("test_efficientnet"), tmp_path / "other.pth")
