import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import report
from chromium import chromium
from report_axes import Axis, short
from report_files import read_results

ENVIRONMENT = {
    "cpu": "some processor",
    "features": ["avx2"],
    "cores": 4,
    "allowed_cores": 2,
    "memory_bytes": 8 * 10**9,
    "machine": "x86_64",
    "system": "Linux",
    "gpu": None,
    "driver": None,
    "python": "3.12.0",
    "versions": {"onnxruntime": "1.2.3"},
    "date": "2026-01-02",
}
COMMON = {"format": 1, "environment": ENVIRONMENT, "configuration": {"device": "cpu", "cores": 2}}


def contender(name: str, family: str, ms: float, digest: str | None = None) -> dict[str, Any]:
    seconds = ms / 1000
    batches = [
        {
            "batch": size,
            "median_s": seconds * size,
            "p5_s": seconds * size * 0.9,
            "p95_s": seconds * size * 1.1,
            "p99_s": seconds * size * 1.2,
            "crops_per_s": 1 / seconds,
        }
        for size in (1, 8)
    ]
    return {
        "name": name,
        "family": family,
        "engine": "engine 1",
        "precision": "int8",
        "artifact_sha256": digest,
        "size_bytes": 7_000_000,
        "memory_bytes": 90_000_000,
        "import_s": 0.2,
        "load_s": 0.1,
        "first_s": None,
        "worst_crop": 4.5 if family == "lifeiqa" else None,
        "batches": batches,
    }


PAIRS = [{"picture": f"picture {k}", "reference": 2.0 * k, "score": 2.0 * k + 0.1 * (k % 3)} for k in range(36)]
FILES: dict[str, dict[str, Any]] = {
    "latency": {
        "kind": "latency",
        **COMMON,
        "contenders": [
            contender("ours", "lifeiqa", 10, "a" * 64),
            contender("eager", "pytorch", 40),
            contender("OTHER", "other network", 90),
        ],
        "stages": {
            "picture": "1920x1080 JPEG",
            "read_s": 0.001,
            "decode_s": 0.01,
            "preprocess_s": 0.003,
            "infer_s": 0.05,
            "collect_s": 0.0001,
        },
        "left_out": [{"name": "tensorrt", "why": "no GPU here"}],
    },
    "end_to_end": {
        "kind": "end_to_end",
        **COMMON,
        "folder": {
            "picture": "1920x1080 JPEG",
            "pictures": 100,
            "seconds": [4.0, 5.0],
            "pictures_per_s": 22.2,
            "core_ms": {"decode": 10.0, "preprocess": 3.0, "infer": 50.0},
            "not_inference_share": 0.2,
        },
        "stream": {"frame": "1280x720 H.264", "frames_per_s": 21.5, "latency_ms": 60.0},
        "left_out": [],
    },
    "agreement": {
        "kind": "agreement",
        **COMMON,
        "pairs": PAIRS,
        "artifact": {"name": "m.onnx", "precision": "int8"},
        "srocc": 0.9987,
        "plcc": 0.9991,
        "worst": 0.2,
        "median": 0.1,
    },
    "people": {
        "kind": "people",
        **COMMON,
        "contenders": [{"name": "m.onnx", "sha256": "a" * 64}, {"name": "laplacian", "package": ""}],
        "left_out": ["niqe (pip install iqa-torch): nothing there"],
        "sets": [
            {
                "data": "A data set",
                "pictures": 50,
                "results": [
                    {"contender": "m.onnx", "subset": "", "srocc": 0.8, "srocc_interval": [0.7, 0.9], "ms": 20.0},
                    {"contender": "laplacian", "subset": "", "srocc": -0.1, "ms": 1.0},
                ],
                "published": [{"method": "Other", "srocc": 0.85, "trained": "elsewhere", "source": "a paper"}],
            }
        ],
    },
}
SECTIONS = {
    "latency": {"latency", "stages", "start", "figures", "left-out"},
    "end_to_end": {"end-to-end"},
    "agreement": {"agreement"},
    "people": {"people", "left-out"},
}


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[..., str]:
    """The page of some contents of files."""

    def make(*contents: dict[str, Any]) -> str:
        paths = [tmp_path / f"{k}.json" for k in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(json.dumps(content))
        return report.make_page(read_results(paths))

    return make


@pytest.fixture
def run(command: Callable, tmp_path: Path) -> Callable:
    def call(content: str | bytes, *arguments: object) -> Any:
        path = tmp_path / "result.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return command(lambda: report.run_app(report.app), path, "-o", tmp_path / "page.html", *arguments)

    return call


def sections_of(page: str) -> set[str]:
    return set(re.findall(r'<section id="([\w-]+)"', page))


@pytest.mark.parametrize("kind", FILES)
def test_file_alone_gives_its_sections_and_no_others(page_of: Callable[..., str], kind: str) -> None:
    assert sections_of(page_of(FILES[kind])) == SECTIONS[kind] | {"environment"}


def test_all_files_give_all_sections_and_accuracy_against_speed(page_of: Callable[..., str]) -> None:
    page = page_of(*FILES.values())
    assert sections_of(page) == set().union(*SECTIONS.values()) | {"environment", "accuracy"}
    accuracy = page.partition('id="accuracy"')[2].partition("</section>")[0]
    # Found by the file's digest; by the name of a published method. "eager" has no SROCC, "laplacian" no latency.
    assert [m[1] for m in re.finditer(r'<path class="dot [^>]*><title>\d (\w+)', accuracy)] == ["ours", "OTHER"]
    assert "no GPU here" in page and "pip install iqa-torch" in page


def test_stages_and_stream_that_were_not_measured_have_no_figures(page_of: Callable[..., str]) -> None:
    without = {**FILES["latency"], "stages": None}
    assert "stages" not in sections_of(page_of(without))
    assert "frames a second" not in page_of({**FILES["end_to_end"], "stream": None})


def test_scatter_has_a_point_and_the_histogram_a_count_for_each_pair(page_of: Callable[..., str]) -> None:
    page = page_of(FILES["agreement"])
    assert page.count('<path class="dot') == len(PAIRS)
    counts = re.findall(r"<rect class=\"plain\".*?: (\d+)</title>", page)
    assert sum(map(int, counts)) == len(PAIRS)


@pytest.mark.parametrize("pairs", [PAIRS[:1], [{"picture": "p", "reference": 0.0, "score": 0.0}], PAIRS[:1] * 3])
def test_pairs_that_hardly_differ_can_be_drawn(page_of: Callable[..., str], pairs: list[dict[str, Any]]) -> None:
    page = page_of({**FILES["agreement"], "pairs": pairs, "srocc": None, "plcc": None})
    assert page.count('<path class="dot') == len(pairs)


def test_every_contender_has_its_bar_in_every_batch(page_of: Callable[..., str]) -> None:
    latency = page_of(FILES["latency"]).partition('id="latency"')[2].partition("</section>")[0]
    assert latency.count('class="track"') == 6
    assert latency.count('class="range"') == 6
    assert latency.count("engine 1, worst crop 4.5 points off") == 2  # of the exported network alone
    assert "logarithmic" not in latency and "<rect" in latency


def test_bars_that_are_far_apart_become_dots_on_a_scale_that_says_so(page_of: Callable[..., str]) -> None:
    content = copy.deepcopy(FILES["latency"])
    content["contenders"].append(contender("slow", "other network", 2000))
    latency = page_of(content).partition('id="latency"')[2].partition("</section>")[0]
    assert "logarithmic scale" in latency and "<rect" not in latency
    assert latency.count('class="dot') == 8


def test_several_files_of_a_kind_name_their_machines(page_of: Callable[..., str]) -> None:
    other = copy.deepcopy(FILES["latency"])
    other["environment"]["cpu"] = "another processor"
    page = page_of(FILES["latency"], other)
    headings = re.findall(r'<h3 class="machine">([^<]*)<', page.partition('id="latency"')[2].partition("</section>")[0])
    assert headings == ["some processor, 2 cores (0.json)", "another processor, 2 cores (1.json)"]


def strings_replaced(value: Any, text: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: strings_replaced(part, text, name) for name, part in value.items()}
    if isinstance(value, list):
        return [strings_replaced(part, text, key) for part in value]
    return text if isinstance(value, str) and key not in ("kind", "subset", "sha256", "artifact_sha256") else value


def test_texts_of_files_are_escaped(page_of: Callable[..., str]) -> None:
    bad = "</style><script>alert(1)</script>\"'&{{css}}"
    page = page_of(*(strings_replaced(content, bad) for content in FILES.values()))
    assert "<script" not in page and 'alert(1)</script>"' not in page
    assert page.count("</style>") == 1
    assert page.count("&lt;script&gt;alert(1)") > 30


@pytest.mark.parametrize("kind", FILES)
def test_lone_surrogates_and_control_characters_can_be_written(page_of: Callable[..., str], kind: str) -> None:
    page = page_of(strings_replaced(FILES[kind], "a\ud800\x00b"))
    assert "\x00" not in page and page.encode()


def test_page_loads_nothing(page_of: Callable[..., str]) -> None:
    page = page_of(*FILES.values())
    assert not re.search(r"(src|href)=\"(?!data:,|#)", page)
    assert "url(" not in page and "@import" not in page and "default-src 'none'" in page


def test_command_writes_the_page(run: Callable, tmp_path: Path) -> None:
    done = run(json.dumps(FILES["agreement"]))
    assert done.code == 0, done.err
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a result file"),
        ("{}", "of kind None"),
        ('{"kind": "poem", "format": 1}', "of kind 'poem'"),
        ('{"kind": ["latency"], "format": 1}', "of kind"),
        ('{"kind": "latency"}', "has format None"),
        ('{"kind": "latency", "format": 2}', "has format 2"),
        ('{"kind": "latency", "format": 1}', "environment is not an object"),
        ('{"kind": "people", "format": 1, "sets": 3}', "malformed"),
    ],
)
def test_file_that_is_none_of_ours_is_one_line_and_exit_code_2(run: Callable, content: str, said: str) -> None:
    done = run(content)
    assert done.code == 2
    assert done.err.startswith("error: ") and said in done.err and len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("latency", "contenders", []),
        ("latency", "contenders.0.batches.0.median_s", 0),
        ("latency", "contenders.0.batches.1.median_s", "fast"),
        ("latency", "contenders.0.name", None),
        ("latency", "stages.infer_s", None),
        ("latency", "left_out", ["text"]),
        ("latency", "environment", None),
        ("latency", "environment.cores", -1),
        ("end_to_end", "folder.seconds", []),
        ("end_to_end", "folder.core_ms", {"decode": 1}),
        ("end_to_end", "stream", []),
        ("agreement", "pairs", []),
        ("agreement", "pairs.3.score", float("nan")),
        ("agreement", "pairs.3.score", float("inf")),
        ("agreement", "pairs.3.score", True),
        ("agreement", "artifact", "m.onnx"),
        ("people", "sets.0.results.0.srocc", "high"),
        ("people", "sets", []),
    ],
)
def test_malformed_value_is_named_and_ends_with_2(run: Callable, kind: str, path: str, value: Any) -> None:
    content = copy.deepcopy(FILES[kind])
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inner: Any = content
    for part in way:
        inner = inner[part]
    inner[last] = value
    done = run(json.dumps(content))
    assert done.code == 2
    assert "is malformed" in done.err and str(path.split(".")[0]) in done.err


def test_absent_file_and_wrong_output_are_usage_errors(command: Callable, tmp_path: Path) -> None:
    main = lambda: report.run_app(report.app)  # noqa: E731
    done = command(main, tmp_path / "absent.json", "-o", tmp_path / "page.html")
    assert done.code == 2 and "cannot be read" in done.err
    done = command(main, tmp_path / "absent.json", "-o", tmp_path / "page.json")
    assert done.code == 2 and "not an HTML file" in done.err


@pytest.mark.parametrize("values", [(0.0,), (5.0, 5.0), (1e-7, 3e-7), (-12.0, 88.0), (0.0, 1e9)])
def test_linear_axis_holds_all_values_and_has_few_ticks(values: tuple[float, ...]) -> None:
    axis = Axis.linear(values)
    assert all(-1e-6 <= axis.place(value) <= 100 + 1e-6 for value in values)
    assert 2 <= len(axis.ticks) <= 8


@pytest.mark.parametrize("values", [(1.0,), (3.0, 4.0), (0.01, 5000.0), (0.3, 20.0)])
def test_logarithmic_axis_holds_all_values_and_has_few_ticks(values: tuple[float, ...]) -> None:
    axis = Axis.logarithmic(values)
    assert all(0 < axis.place(value) < 100 for value in values)
    assert 1 <= len(axis.ticks) <= 8


def test_figures_are_short() -> None:
    found = [short(value) for value in (0.0, 0.00123, 0.31, 9.4, 99.94, 1234.5, -0.04)]
    assert found == ["0", "0.0012", "0.31", "9.4", "99.9", "1,234", "-0.04"]


def test_page_opens_in_chromium_without_a_message(page_of: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of(*FILES.values()), encoding="utf-8")
    done = chromium(tmp_path, "--dump-dom", "--window-size=360,800", path.as_uri())
    assert b"</html>" in done.stdout
    assert b"CONSOLE" not in done.stderr, done.stderr
