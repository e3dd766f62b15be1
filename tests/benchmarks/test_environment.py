import json
import os
from importlib import metadata
from pathlib import Path

import pytest
from environment import environment, versions

FIELDS = {"cpu", "features", "cores", "allowed_cores", "memory_bytes", "machine", "system", "gpu", "driver", "python"}


def cpuinfo(root: Path, text: str) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(text)
    return root


def test_every_field_is_there_and_can_be_written_as_json() -> None:
    found = environment()
    assert found.keys() == FIELDS | {"versions", "date"}
    assert json.loads(json.dumps(found)) == found
    assert 1 <= found["allowed_cores"] <= found["cores"] == os.cpu_count()
    assert found["cpu"]
    assert found["memory_bytes"] > 100e6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model name : X\nflags : fpu avx2 avx512f avx512_vnni avx512_bf16 amx_int8\n\nflags : fma\n",
            ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"],
        ),
        ("Features : fp asimd asimddp i8mm\n", ["asimddp", "i8mm"]),
        ("isa : rv64imafdc\n", []),
    ],
)
def test_features_that_matter_are_read_from_the_first_processor(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert environment(cpuinfo(tmp_path, text))["features"] == expected


def test_name_of_the_processor_is_that_of_the_system(tmp_path: Path) -> None:
    assert environment(cpuinfo(tmp_path, "model name : Some CPU 9000\nflags : avx2\n"))["cpu"] == "Some CPU 9000"


def test_versions_are_those_that_are_installed_and_nothing_else() -> None:
    found = versions()
    assert found["numpy"] == metadata.version("numpy")
    assert found["lifeiqa"] == metadata.version("lifeiqa")
    assert all(found.values())
