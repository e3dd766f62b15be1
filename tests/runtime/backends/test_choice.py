"""What "auto" takes, on processors that are made up."""

from pathlib import Path

import numpy as np
import pytest

from lifeiqa.runtime.backends import choose_engine, open_backend
from lifeiqa.runtime.backends.choice import SAME_SCORE, TABLE, WORTH_IT, precision_of
from lifeiqa.runtime.processor import Processor
from lifeiqa.runtime.scorer import default_model

BOTH = ("onnxruntime", "openvino")
VNNI = Processor("X", "x86_64", {"AVX2": True, "AVX-512": True, "VNNI": True, "AMX": False})
AVX2 = Processor("X", "x86_64", {"AVX2": True, "AVX-512": False, "VNNI": False, "AMX": False})
ARM = Processor("X", "aarch64", {"dotprod": True, "I8MM": False})
SILENT = Processor("", "x86_64", {"AVX2": None, "AVX-512": None, "VNNI": None, "AMX": None})


@pytest.fixture(autouse=True)
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


def test_openvino_is_taken_where_it_is_faster_and_gives_the_same_scores() -> None:
    engine, why = choose_engine("auto", "fp16", here=BOTH, cpu=VNNI)
    assert engine == "openvino"
    assert "same scores" in why and "EPYC" in why


def test_small_gain_is_not_worth_another_engine() -> None:
    engine, why = choose_engine("auto", "fp32", here=BOTH, cpu=VNNI)
    assert engine == "onnxruntime"
    assert "not worth another engine" in why and "EPYC" in why


def test_scores_go_before_speed_in_int8() -> None:
    engine, why = choose_engine("auto", "int8", here=BOTH, cpu=VNNI)
    assert engine == "onnxruntime"
    assert "differ by up to 0.78 points" in why and "EPYC" in why


def test_many_pictures_at_the_same_time_are_for_the_engine_that_can() -> None:
    assert choose_engine("cpu", "fp16", concurrent=True, here=BOTH, cpu=VNNI)[0] == "onnxruntime"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", ""])
@pytest.mark.parametrize("cpu", [AVX2, ARM, SILENT], ids=["AVX2", "ARM", "silent"])
def test_processor_without_a_measurement_gets_the_default_and_says_so(cpu: Processor, precision: str) -> None:
    engine, why = choose_engine("auto", precision, here=BOTH, cpu=cpu)
    assert engine == "onnxruntime"
    assert "was not measured on a processor like this one" in why


@pytest.mark.parametrize("cpu", [VNNI, AVX2, ARM])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_engine_that_alone_is_installed_is_taken(cpu: Processor, precision: str) -> None:
    for alone in BOTH:
        engine, why = choose_engine("auto", precision, here=[alone], cpu=cpu)
        assert engine == alone
        assert "installed" in why


def test_who_asks_for_cuda_gets_onnx_runtime() -> None:
    for here in (BOTH, ["onnxruntime"], ["openvino"], []):
        assert choose_engine("cuda", "fp32", here=here, cpu=VNNI)[0] == "onnxruntime"


def test_build_for_cuda_is_not_passed_over_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert choose_engine("auto", "fp16", here=BOTH, cpu=VNNI) == ("onnxruntime", "this ONNX Runtime is for CUDA")
    assert choose_engine("cpu", "fp16", here=BOTH, cpu=VNNI)[0] == "openvino"


@pytest.mark.parametrize("engine", BOTH)
def test_named_engine_goes_before_the_table(engine: str, tiny_onnx: Path) -> None:
    pytest.importorskip(engine)
    for model in (tiny_onnx, default_model()):
        with open_backend(model, "cpu", backend=engine) as backend:
            assert backend.engine.startswith(engine)


def test_table_is_what_opens_a_file(tiny_onnx: Path) -> None:
    for model, precision in ((tiny_onnx, "fp32"), (default_model(), "int8")):
        with open_backend(model, "cpu") as backend:
            assert backend.engine.split()[0] == choose_engine("cpu", precision)[0]


def test_scores_of_both_engines_are_as_near_as_the_table_says(tiny_onnx: Path) -> None:
    pytest.importorskip("openvino")
    crops = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    with (
        open_backend(tiny_onnx, "cpu", 1, "onnxruntime") as first,
        open_backend(tiny_onnx, "cpu", 1, "openvino") as other,
    ):
        assert np.abs(first.infer(crops) - other.infer(crops)).max() < SAME_SCORE


def test_every_row_says_where_it_was_measured() -> None:
    for row in TABLE:
        assert row.where and row.features and min(row.onnxruntime_ms, row.openvino_ms) > 0
    assert 0 < WORTH_IT < 1


def test_precision_is_read_without_an_engine(tiny_onnx: Path, tmp_path: Path) -> None:
    assert (precision_of(tiny_onnx), precision_of(default_model())) == ("fp32", "int8")
    for number, data in enumerate((b"", b"\x00garbage" * 100, b"\xff" * 100, tiny_onnx.read_bytes()[:-3000])):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(data)
        assert precision_of(path) == ""
    assert precision_of(tmp_path / "none.onnx") == ""
