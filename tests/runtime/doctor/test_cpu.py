"""Features of processors, from files as Linux writes them."""

from pathlib import Path

import pytest

from lifeiqa.runtime.doctor.cpu import check_cpu
from lifeiqa.runtime.doctor.report import State

JETSON = (
    "processor\t: 0\nBogoMIPS\t: 62.50\nFeatures\t: fp asimd aes asimdhp asimddp\nCPU part\t: 0xd42\n\nprocessor\t: 1\n"
)
GRAVITON = "processor : 0\nFeatures : fp asimd asimddp sve i8mm bf16\n"
HASWELL = "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-4770\nflags\t\t: fpu sse4_2 avx avx2 fma\n"
RAPIDS = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: avx2 avx512f avx512_vnni amx_int8\n"
ALDER = "processor\t: 0\nmodel name\t: i5\nflags\t\t: avx2 avx_vnni\n"


@pytest.mark.parametrize(
    ("machine", "text", "present"),
    [
        ("aarch64", JETSON, {"dotprod": True, "I8MM": False}),
        ("aarch64", GRAVITON, {"dotprod": True, "I8MM": True}),
        ("x86_64", HASWELL, {"AVX2": True, "AVX-512": False, "VNNI": False, "AMX": False}),
        ("x86_64", RAPIDS, {"AVX2": True, "AVX-512": True, "VNNI": True, "AMX": True}),
        ("x86_64", ALDER, {"AVX2": True, "AVX-512": False, "VNNI": True, "AMX": False}),
    ],
)
def test_features_on_linux(tmp_path: Path, machine: str, text: str, present: dict[str, bool]) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(text)
    first, *features = check_cpu(tmp_path, machine, "Linux")
    assert first.text.endswith(machine)
    assert {check.name: check.values["present"] for check in features} == present
    assert all(check.state is (State.ok if check.values["present"] else State.absent) for check in features)


@pytest.mark.parametrize(("machine", "system"), [("AMD64", "Windows"), ("x86_64", "Linux"), ("arm64", "Darwin")])
def test_what_a_system_does_not_say_is_unknown(tmp_path: Path, machine: str, system: str) -> None:
    features = check_cpu(tmp_path, machine, system)[1:]
    assert features
    assert {check.state for check in features} == {State.unknown}


def test_other_processor_has_no_list_of_features(tmp_path: Path) -> None:
    assert [check.name for check in check_cpu(tmp_path, "riscv64", "Linux")] == ["processor"]
