import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from lifeiqa.export.artifact import Artifact, ExportResult
from lifeiqa.export.triton import write_repository, write_triton_repository
from lifeiqa.runtime import Manifest, PreprocessSpec, ScoreScale
from lifeiqa.runtime.backends import TensorInfo, open_backend
from lifeiqa.runtime.backends.engine_info import DEFAULT_BATCH, EngineInfo, sidecar_of, sidecar_path
from lifeiqa.runtime.errors import ManifestError, UsageError, WriteError

MANIFEST = Manifest("m", "1", "ab" * 32, "fp16", "fp16", PreprocessSpec(crop_size=160), ScoreScale())
SCORE = TensorInfo("score", "float32", (None,))
INFO = EngineInfo("tensorrt", "10.3.0", "8.7", "linux-x86_64", (1, 4, 16), False, False, "", 4)


def config_in(folder: Path) -> model_config_pb2.ModelConfig:
    """As Triton reads it: by the schema that its own client carries."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def engine(path: Path, **changes: object) -> Path:
    path.write_bytes(b"plan")
    sidecar_path(path).write_bytes(sidecar_of(MANIFEST, replace(INFO, **changes)))
    return path


def test_onnx_file_is_described_as_it_is(tiny_onnx: Path, tmp_path: Path) -> None:
    with open_backend(tiny_onnx, "cpu") as backend:
        manifest, outputs = backend.manifest, backend.io.outputs
    folder = write_triton_repository(tiny_onnx, tmp_path / "models", manifest, outputs)
    assert folder == tmp_path / "models" / "tiny"
    config = config_in(folder)
    assert (config.name, config.platform, config.backend) == ("tiny", "onnxruntime_onnx", "onnxruntime")
    (image,), (score, experts) = config.input, config.output
    assert (image.name, image.data_type, image.dims) == ("image", model_config_pb2.TYPE_UINT8, [224, 224, 3])
    assert not image.HasField("reshape")
    assert (score.name, score.data_type, score.dims) == ("score", model_config_pb2.TYPE_FP32, [1])
    assert score.HasField("reshape")
    assert score.reshape.shape == []
    assert (experts.name, experts.data_type, experts.dims) == ("expert_weights", model_config_pb2.TYPE_FP32, [6, 4])
    assert not experts.HasField("reshape")
    assert config.max_batch_size == DEFAULT_BATCH[2]
    assert config.dynamic_batching.preferred_batch_size == [DEFAULT_BATCH[1]]
    assert config.dynamic_batching.max_queue_delay_microseconds > 0
    assert [group.kind for group in config.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_AUTO]


def test_copied_onnx_file_is_the_same_and_runs(tiny_onnx: Path, tmp_path: Path) -> None:
    with open_backend(tiny_onnx, "cpu") as backend:
        folder = write_triton_repository(tiny_onnx, tmp_path, backend.manifest, backend.io.outputs)
        copy = folder / "1" / "model.onnx"
        assert copy.read_bytes() == tiny_onnx.read_bytes()
        crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
        with open_backend(copy, "cpu") as copied:
            assert np.array_equal(copied.infer(crops), backend.infer(crops))
            described = {t.name: [n or -1 for n in t.shape[1:]] for t in copied.io.inputs + copied.io.outputs}
    config = config_in(folder)
    shapes = {t.name: t.reshape.shape if t.HasField("reshape") else t.dims for t in (*config.input, *config.output)}
    assert shapes == described


def test_client_reads_preprocessing_and_scale_from_the_configuration(tmp_path: Path) -> None:
    parameters = config_in(
        write_triton_repository(engine(tmp_path / "a.engine"), tmp_path, MANIFEST, [SCORE])
    ).parameters
    spec = PreprocessSpec.from_dict(json.loads(parameters["lifeiqa_preprocess"].string_value))
    scale = ScoreScale.from_dict(json.loads(parameters["lifeiqa_scale"].string_value))
    assert (spec, scale) == (MANIFEST.preprocess, MANIFEST.scale)


def test_engine_is_a_plan_on_the_gpu_with_its_own_batches(tmp_path: Path) -> None:
    source = engine(tmp_path / "best.v2.fp16.engine")
    folder = write_triton_repository(source, tmp_path / "models", MANIFEST, [SCORE])
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "1/model.plan",
        "config.pbtxt",
    ]
    assert (folder / "1" / "model.plan").read_bytes() == source.read_bytes()
    config = config_in(folder)
    assert (config.name, config.platform, config.backend) == ("best_v2_fp16", "tensorrt_plan", "tensorrt")
    assert config.input[0].dims == [160, 160, 3]
    assert (config.max_batch_size, config.dynamic_batching.preferred_batch_size) == (16, [4])
    assert [group.kind for group in config.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_GPU]
    assert "compute capability 8.7, TensorRT 10.3.0" in (folder / "config.pbtxt").read_text().splitlines()[0]


@pytest.mark.parametrize(("batch", "preferred"), [((1, 2, 3), [2]), ((1, 1, 1), None)])
def test_batch_is_the_users_and_a_single_crop_is_not_waited_for(
    tmp_path: Path, batch: tuple[int, int, int], preferred: list[int] | None
) -> None:
    source = tmp_path / "a.onnx"
    source.touch()
    config = config_in(write_triton_repository(source, tmp_path, MANIFEST, [SCORE], batch))
    assert config.max_batch_size == batch[2]
    assert config.HasField("dynamic_batching") == (preferred is not None)
    assert config.dynamic_batching.preferred_batch_size == (preferred or [])


def test_int8_file_for_cpus_stays_on_the_cpu(tmp_path: Path) -> None:
    source = tmp_path / "a.int8.onnx"
    source.touch()
    manifest = replace(MANIFEST, precision="int8", flavor="cpu")
    config = config_in(write_triton_repository(source, tmp_path, manifest, [SCORE]))
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


def test_odd_names_and_hostile_versions_are_only_text(tmp_path: Path) -> None:
    name = 'gr\u00fcn "1" \\ it\'s'
    source = tmp_path / f"{name}.onnx"
    source.touch()
    manifest = replace(MANIFEST, precision="fp32", version='1"\nmax_batch_size: 99\n"')
    folder = write_triton_repository(source, tmp_path, manifest, [SCORE])
    config = config_in(folder)
    assert (config.name, folder.name, config.max_batch_size) == (name, name, DEFAULT_BATCH[2])


def test_model_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    first, second = tmp_path / "best.onnx", engine(tmp_path / "best.engine")
    first.write_bytes(b"onnx")
    folder = write_triton_repository(first, tmp_path / "models", MANIFEST, [SCORE])
    before = (folder / "config.pbtxt").read_bytes()
    with pytest.raises(UsageError, match=r"is there already\. Add --force"):
        write_triton_repository(second, tmp_path / "models", MANIFEST, [SCORE])
    assert os.listdir(folder / "1") == ["model.onnx"]
    assert (folder / "config.pbtxt").read_bytes() == before
    write_triton_repository(second, tmp_path / "models", MANIFEST, [SCORE], force=True)
    assert os.listdir(folder / "1") == ["model.plan"]
    assert config_in(folder).platform == "tensorrt_plan"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.pt", "no model that Triton runs"),
        ("none.onnx", "There is no .*none.onnx"),
        ("bad\x1b.onnx", "cannot serve a model called"),
        ("bare.engine", "no readable description beside it"),
    ],
)
def test_what_triton_cannot_serve_is_named_and_nothing_is_written(tmp_path: Path, name: str, message: str) -> None:
    if name != "none.onnx":
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=message):
        write_triton_repository(tmp_path / name, tmp_path / "models", MANIFEST, [SCORE])
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"builder": "tensorrt_rtx", "compute_capability": ""}, "TensorRT for RTX, whose engines Triton does not load"),
        ({"batch": (2, 4, 8)}, "takes batches from 2 crops up.*--batch 1,4,8"),
    ],
)
def test_engine_that_triton_would_fail_on_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        write_triton_repository(engine(tmp_path / "a.engine", **changes), tmp_path / "models", MANIFEST, [SCORE])
    assert not (tmp_path / "models").exists()


def test_repository_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source, models = tmp_path / "a.onnx", tmp_path / "models"
    source.touch()
    models.write_text("")
    with pytest.raises(WriteError, match=r"Cannot write .*config\.pbtxt"):
        write_triton_repository(source, models, MANIFEST, [SCORE])
    with pytest.raises(WriteError, match="Cannot write /proc/none"):
        write_triton_repository(source, Path("/proc/none"), MANIFEST, [SCORE])


def test_full_disk_is_named_and_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    source = tmp_path / "a.onnx"
    source.touch()
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(WriteError, match=r"model\.onnx: No space left"):
        write_triton_repository(source, tmp_path / "models", MANIFEST, [SCORE])
    assert os.listdir(tmp_path / "models" / "a_fp16" / "1") == []


def test_repository_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    (tmp_path / "b.onnx").write_bytes(b"onnx")
    (tmp_path / "models" / "b_fp16").mkdir(parents=True)
    made = tuple(Artifact(tmp_path / name, 4, MANIFEST, 1.0, (SCORE,)) for name in ("a.onnx", "b.onnx"))
    with pytest.raises(UsageError, match="b_fp16 is there already"):
        write_repository(ExportResult(made, 1.0), tmp_path / "models", (1, 4, 16), force=False)
    assert os.listdir(tmp_path / "models") == ["b_fp16"]


def test_export_puts_one_model_of_a_name_and_says_what_it_left_out(tmp_path: Path) -> None:
    def artifact(name: str, info: EngineInfo | None = None) -> Artifact:
        path = tmp_path / name
        if info is None:
            path.write_bytes(b"onnx")
        else:
            engine(path, builder=info.builder, compute_capability=info.compute_capability)
        precision = next((word for word in ("fp16", "int8") if word in name), "fp32")
        flavor = ("cpu" if name == "best.int8.onnx" else "tensorrt") if precision == "int8" else ""
        return Artifact(path, 4, replace(MANIFEST, precision=precision, flavor=flavor), 1.0, (SCORE,), engine=info)

    rtx = replace(INFO, builder="tensorrt_rtx", compute_capability="")
    made = (
        artifact("best.onnx"),
        artifact("best.fp16.onnx"),
        artifact("best.int8.onnx"),
        artifact("best.int8.tensorrt.onnx"),
        artifact("best.fp16.engine", INFO),
        artifact("best.int8.engine", INFO),
        artifact("best.fp32.engine", rtx),
    )
    result = write_repository(ExportResult(made, 1.0, ("before",)), tmp_path / "models", (1, 4, 16), force=False)
    assert {name: config_in(tmp_path / "models" / name).platform for name in os.listdir(tmp_path / "models")} == {
        "best": "onnxruntime_onnx",
        "best_fp16": "tensorrt_plan",
        "best_int8": "onnxruntime_onnx",
        "best_int8_tensorrt": "tensorrt_plan",
    }
    assert result.artifacts == made
    assert result.notes[0] == "before"
    assert [note for note in result.notes if "best.fp32.engine" in note and "TensorRT for RTX" in note]
