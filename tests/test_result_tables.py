import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from report_files import read_results

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    "cpu": "some processor",
    "features": ["avx2", "fma", "avx512f", "avx512_vnni"],
    "versions": {"onnxruntime": "1.2.3", "torch": "2.0", "numpy": "2.1"},
    "date": "2026-01-02",
}


def contender(name: str, family: str, ms: float) -> dict[str, Any]:
    """A crop takes `ms` alone, and half of it in a batch."""
    seconds = {1: ms / 1000, 8: 8 * ms / 2000}
    return {
        "name": name,
        "family": family,
        "engine": "engine 1",
        "precision": "fp32",
        "artifact_sha256": None,
        "size_bytes": 9_980_000,
        "memory_bytes": 164_600_000,
        "import_s": 0.25,
        "load_s": 0.125,
        "first_s": 0.0625,
        "worst_crop": 1.25 if family == "lifeiqa" else None,
        "batches": [
            {"batch": size, **{f"{part}_s": s for part in ("median", "p5", "p95", "p99")}, "crops_per_s": size / s}
            for size, s in seconds.items()
        ],
    }


def of_people(name: str, subset: str, srocc: float, ms: float) -> dict[str, Any]:
    interval = [srocc - 0.1, srocc + 0.1] if subset == "" else None
    known = {"contender": name, "subset": subset, "srocc": srocc, "plcc_fitted": srocc + 0.01, "ms": ms}
    return {**known, "pictures": 200 if subset else 1200, **({"srocc_interval": interval} if interval else {})}


RESULTS: dict[str, dict[str, Any]] = {
    "latency": {
        "kind": "latency",
        "format": 1,
        "environment": ENVIRONMENT,
        "configuration": {"device": "cpu", "threads": 2, "rounds": 20, "batches": [1, 8], "starts": 3}
        | {"compared_crops": 900},
        "contenders": [
            contender("PyTorch eager", "pytorch", 21),
            contender("ONNX Runtime, fp32", "lifeiqa", 12),
            contender("ONNX Runtime, int8 cpu", "lifeiqa", 7),
            contender("OTHER", "other network", 300),
            contender("simple", "classical", 0.25) | {"size_bytes": None, "memory_bytes": None},
        ],
        "stages": {
            "picture": "1920x1080 JPEG",
            "read_s": 0.001,
            "decode_s": 0.005,
            "preprocess_s": 0.003,
            "infer_s": 0.03,
            "collect_s": 0.001,
        },
        "left_out": [],
    },
    "end_to_end": {
        "kind": "end_to_end",
        "format": 1,
        "environment": ENVIRONMENT,
        "configuration": {"device": "cpu", "cores": 2, "rounds": 5, "model": "lite.onnx", "precision": "int8"},
        "folder": {
            "picture": "1920x1080 JPEG",
            "pictures": 100,
            "seconds": [2.0, 2.0],
            "pictures_per_s": 50.0,
            "core_ms": {"decode": 8.0, "preprocess": 4.0, "infer": 26.0},
            "not_inference_share": 0.316,
        },
        "stream": {"frame": "1280x720 H.264", "camera_frames_per_s": 30, "frames_per_s": 29.96, "latency_ms": 36.4},
        "left_out": [],
    },
    "people.some": {
        "kind": "people",
        "format": 1,
        "environment": ENVIRONMENT,
        "configuration": {"device": "cpu", "threads": 2},
        "contenders": [{"name": "lite.onnx", "sha256": "a" * 64}, {"name": "simple", "package": ""}],
        "left_out": [],
        "sets": [
            {
                "data": "Some Set",
                "half": "test",
                "pictures": 1200,
                "results": [
                    of_people("lite.onnx", "", 0.8, 20),
                    of_people("simple", "", 0.5, 0.5),
                    of_people("simple", "its part", 0.6, 0.5),
                    of_people("lite.onnx", "its part", 0.4, 20),
                ],
            },
        ],
    },
}
OTHER_RESULTS = [of_people("lite.onnx", "", 0.7, 30), of_people("simple", "", 0.3, 1.5)]
OTHER_SET = {"data": "Other", "half": "part", "pictures": 1200, "results": OTHER_RESULTS}
RESULTS["people.the_other"] = RESULTS["people.some"] | {"sets": [OTHER_SET]}
ON_TWO = r"some processor with AVX-512 VNNI; 2 threads, medians of 20 rounds; "
ON_PEOPLE = r"some processor with AVX-512 VNNI; 2 threads; in brackets 95 % intervals, by bootstrap; "
ROWS = {
    "short-people": [
        "| SROCC with people | packaged model | simple |",
        "| Some Set, test part | 0.800 | 0.500 |\n| Other, a part | 0.700 | 0.300 |",
    ],
    "short-files": [
        "|  | MB | ms a crop, one at a time | ms a crop, batches of 8 | worst picture against PyTorch, points of 100 |",
        "| PyTorch |  | 21.0 | 10.5 |  |  |\n| FP32 | 37.3 | 12.0 | 6.00 | 0.00025 | 1.00000 |",
        "| INT8 | 10.0 | 7.00 | 3.50 | 1.3 | 0.99985 |\n| FP16, for GPUs | 18.7 |  |  | 0.14 | 0.99998 |",
        "medians of 20 rounds; 180 held-out pictures; onnxruntime 1.2.3, torch 2.0; 2026-01-02.",
    ],
    "latency": [
        "| ms a crop (times as fast as PyTorch) | batch 1 | 8 | worst crop, points off |\n| --- | --: | --: | --: |",
        "| PyTorch eager | 21.0 (1.0) | 10.5 (1.0) |  |",
        "| ONNX Runtime, int8 cpu | 7.00 (3.0) | 3.50 (3.0) | 1.25 |",
        "| OTHER | 300 (0.1) | 150 (0.1) |  |",
        "| simple | 0.25 (84.0) | 0.12 (84.0) |  |",
        "rounds; points of 100 against PyTorch, 900 crops; "
        "networks of other projects have random weights; onnxruntime 1.2.3, torch 2.0; 2026-01-02.",
    ],
    "start": [
        "| ONNX Runtime, int8 cpu | 10.0 | 0.25 | 0.12 | 0.06 | 165 |",
        "| simple |  | 0.25 | 0.12 | 0.06 |  |",
        "medians of 3 fresh processes; ",
    ],
    "stages": [
        "| packaged model | 1.00 | 5.00 | 3.00 | 30.0 | 1.00 | 40.0 | 25 % |",
        f"\n\n{ON_TWO}onnxruntime 1.2.3; 2026-01-02.\n",
    ],
    "end-to-end": [
        "| folder of 1920x1080 JPEG: pictures a second | 50.0 |\n| wall ms a picture | 20.0 |",
        "| core-ms a picture: decode, preprocess, infer | 8.00, 4.00, 26.0 |\n| these, shared by 2 cores | 19.0 ms |",
        "| share of the core time that is not inference | 32 % |",
        "| stream of 1280x720 H.264: frames a second, of 30 | 30.0 |",
        "| age of a frame when its score is there | 36 ms |",
        "2 cores, lite.onnx (int8), median of 5 runs over the folder; onnxruntime 1.2.3; 2026-01-02.",
    ],
    "people": [
        "| SROCC | pictures | lite.onnx | its PLCC, fitted | simple |",
        "| **Some Set, test part** | 1,200 | 0.800 (0.700 to 0.900) | 0.810 | 0.500 (0.400 to 0.600) |",
        "| its part | 200 | 0.400 | 0.410 | 0.600 |",
        "| **Other, a part** | 1,200 | 0.700 (0.600 to 0.800) |",
        "| ms a picture, Some Set, test part |  | 20.0 |  | 0.50 |",
        f"{ON_PEOPLE}onnxruntime 1.2.3; 2026-01-02.",
    ],
    "table1": [
        "| SROCC, PLCC | parameters | livec |",
        "| Life-IQA, some_network | 12.0 M | 0.820, 0.830 |\n| Life-IQA, the paper's | 95 M | 0.896, 0.919 |",
        "Medians of 10 random splits; ours PLCC after the 4-parameter logistic fit; lifeiqa 0.1.0, torch 2.0.",
    ],
    "table3": [
        "| Life-IQA, 20 %, some_network | 12.0 M | 0.600, 0.610 |",
        "| Life-IQA, 20 %, the paper's |  | 0.804, 0.842 |",
    ],
    "figure2": ["| some_network, stage 4 |  | 0.720, 0.730 |\n| other_network, stage 4 |  | n/a |"],
    "parity": [
        "| INT8 cpu, as packaged | 10.0 | 6 | 1.3 | 0.99985 |",
        "180 held-out pictures; of FP32, the worst crop; ",
    ],
    "backbones": [
        "|  | parameters | ms a crop, batch 1 | ms a crop, batch 8 | SROCC, splits of livec | median |",
        "| `tf_efficientnet_lite2` | 13.4 M | 16.9 | 8.71 | 0.846, 0.843 | 0.845 |",
        "FP32, 2 threads, medians of 25 rounds; onnxruntime 1.32.0, torch 2.14.1; ",
    ],
    "neighbour": ["| ONNX Runtime, lifeiqa, `--threads 1` | 25.2 ms | 25 | 25 ms | 1.00 | 26 ms | 1.96 |", "5 crops"],
}


def of_paper(label: str, backbone: str, srocc: float | None, **line: Any) -> dict[str, Any]:
    """What `lifeiqa-tables --format json` prints."""
    ours = {"livec": {"srocc": srocc, "plcc_fitted": None if srocc is None else srocc + 0.01}}
    row = {"label": label, "parameters": 0, "ours": ours, "paper": {}, "paper_parameters_m": None, **line}
    facts = {"backbones": [backbone], "splits": 10, "pictures": {"livec": 1162}}
    return {"settings": {**facts, "versions": {"lifeiqa": "0.1.0", "torch": "2.0"}}, "rows": [row]}


PAPER = {
    "table1.some_network": of_paper(
        "Life-IQA", "some_network", 0.82, parameters=12_000_000, paper={"livec": [0.896, 0.919]}, paper_parameters_m=95
    ),
    "table3.some_network": of_paper(
        "Life-IQA, 20 %", "some_network", 0.6, parameters=12_000_000, paper={"livec": [0.804, 0.842]}
    ),
    "figure2.a": of_paper("some_network, stage 4", "some_network", 0.72),
    "figure2.b": of_paper("other_network, stage 4", "other_network", None),
}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import result_tables

    return result_tables


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with a file of each kind."""
    folder = tmp_path / "results"
    folder.mkdir()
    for kind, data in (RESULTS | PAPER).items():
        (folder / f"{kind}.json").write_text(json.dumps(data))
    for name in ("backbones.json", "neighbour.json", "parity.json"):
        shutil.copy(ROOT / "benchmarks/results" / name, folder)
    return folder


@pytest.fixture
def page(tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only page there is, with a figure that somebody typed."""
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- results: stages -->\n19 ms\n<!-- end -->\n\nafter\n")
    monkeypatch.setattr(tables, "PAGES", [page])
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "PICTURE", tmp_path / "report.png")
    monkeypatch.setattr(tables, "write_report_picture", lambda files, path: True)
    return page


def test_tables_on_the_pages_are_those_of_the_committed_results(tables: ModuleType) -> None:
    assert tables.main(["--check"]) == 0, "run `make tables`"


def test_every_table_stands_on_one_page(tables: ModuleType) -> None:
    found = [name for page in tables.PAGES for name in re.findall(r"<!-- results: (\S+) -->", page.read_text())]
    assert sorted(found) == sorted(tables.BLOCKS)


def test_committed_results_are_such_as_the_report_reads(tables: ModuleType) -> None:
    read_results(tables.reported(tables.RESULTS))


def test_results_of_these_tests_are_such_as_benchmarks_write(results: Path) -> None:
    assert len(read_results(results / f"{kind}.json" for kind in RESULTS)) == len(RESULTS)


@pytest.mark.parametrize("name", ROWS)
def test_a_table_has_the_figures_of_its_file(name: str, tables: ModuleType, results: Path) -> None:
    made = tables.with_tables(f"<!-- results: {name} -->\n<!-- end -->", results)
    assert [row for row in ROWS[name] if row not in made] == []
    widths = {line.count("|") for line in made.splitlines() if line.startswith("|")}
    assert len(widths) == 1, "every row has all columns"


def test_a_stream_that_was_not_measured_has_no_rows(tables: ModuleType) -> None:
    assert "stream" not in tables.end_to_end(RESULTS["end_to_end"] | {"stream": None})


def test_a_figure_that_was_typed_is_found_and_replaced(
    tables: ModuleType, results: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--results", str(results)]
    typed = page.read_text()
    assert tables.main(["--check", *options]) == 1
    assert "differs from the results: page.md" in capsys.readouterr().err
    assert page.read_text() == typed
    assert tables.main(options) == 0
    assert page.read_text().startswith("before\n\n<!-- results: stages -->\n| one 1920x1080 JPEG, ms |")
    assert page.read_text().endswith("2026-01-02.\n<!-- end -->\n\nafter\n")
    assert tables.main(["--check", *options]) == 0


def test_a_table_without_its_file_is_left_as_it_is(
    tables: ModuleType, page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = page.read_text()
    for options in (["--check"], []):
        assert tables.main([*options, "--results", str(tmp_path)]) == 0
        assert capsys.readouterr().err == "left as it is: stages, for there is no latency.json\n"
    assert page.read_text() == typed


def test_a_table_that_nobody_makes_is_an_error(tables: ModuleType, results: Path) -> None:
    with pytest.raises(KeyError, match="stage"):
        tables.with_tables("<!-- results: stage -->\n<!-- end -->", results)


def test_the_picture_shows_the_report(tables: ModuleType, results: Path, tmp_path: Path) -> None:
    if not tables.write_report_picture(tables.reported(results), tmp_path / "report.png"):
        pytest.skip("Chromium is not installed")
    data = (tmp_path / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 30_000, "an empty page has a few kilobytes"


def test_the_committed_picture_is_small(tables: ModuleType) -> None:
    assert 30_000 < tables.PICTURE.stat().st_size < 400_000
