import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compare
import pytest

from lifeiqa.runtime.console import run_app


def figures(**seconds: tuple[float, float, float]) -> dict[str, Any]:
    names = {"ours": "lifeiqa", "network": "pytorch"}
    return {
        "kind": "latency",
        "format": 1,
        "environment": {"cpu": "A", "gpu": None, "driver": None, "cores": 2, "versions": {"onnxruntime": "1.0"}},
        "configuration": {"threads": 2, "batches": [1]},
        "contenders": [
            {
                "name": name,
                "family": names[name],
                "batches": [{"batch": 1, "p5_s": low, "median_s": median, "p95_s": high}],
            }
            for name, (low, median, high) in seconds.items()
        ],
    }


BEFORE = figures(ours=(0.9, 1.0, 1.1), network=(2.0, 2.0, 2.0))


@pytest.fixture
def compared(tmp_path: Path, command: Callable[..., Any]) -> Callable[..., Any]:
    def run(after: dict[str, Any], *options: object) -> Any:
        for name, report in (("before", BEFORE), ("after", after)):
            (tmp_path / f"{name}.json").write_text(json.dumps(report))
        return command(lambda: run_app(compare.app), tmp_path / "before.json", tmp_path / "after.json", *options)

    return run


def changed(part: str, name: str, value: Any) -> dict[str, Any]:
    report = copy.deepcopy(BEFORE)
    place = report["environment"]["versions"] if part == "versions" else report[part]
    place[name] = value
    return report


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ((1.11, 1.2, 1.3), "slower"),
        ((1.1, 1.2, 1.3), "within the noise"),
        ((0.5, 0.6, 0.89), "faster"),
        ((0.5, 0.6, 0.9), "within the noise"),
    ],
)
def test_only_ranges_that_do_not_overlap_are_a_difference(after: tuple[float, float, float], verdict: str) -> None:
    found, _ = compare.differences(BEFORE, figures(ours=after))
    assert found[0].verdict == verdict
    assert found[0].ratio == pytest.approx(after[1])


def test_ratios_ranges_and_verdicts_are_shown(compared: Callable[..., Any]) -> None:
    done = compared(figures(ours=(1.4, 1.5, 1.6), network=(2.0, 2.0, 2.0)))
    assert done.code == 0
    (line,) = [line for line in done.out.splitlines() if "ours" in line]
    for shown in ("1000.0 (900.0 to 1100.0)", "1500.0 (1400.0 to 1600.0)", "1.50", "slower"):
        assert shown in line


def test_limit_ends_with_4_only_where_ours_is_slower_beyond_the_noise(compared: Callable[..., Any]) -> None:
    slower = compared(figures(ours=(1.4, 1.5, 1.6), network=(2.0, 2.0, 2.0)), "--limit", 1.1)
    assert slower.code == 4
    assert "ours, batch 1: 1.50 times" in slower.err
    assert compared(figures(ours=(1.4, 1.5, 1.6), network=(2.0, 2.0, 2.0)), "--limit", 1.6).code == 0
    assert compared(figures(ours=(1.0, 1.5, 1.6), network=(2.0, 2.0, 2.0)), "--limit", 1.1).code == 0
    assert compared(figures(ours=(0.9, 1.0, 1.1), network=(9.0, 9.0, 9.0)), "--limit", 1.1).code == 0


def test_limit_is_not_met_by_leaving_a_contender_out(compared: Callable[..., Any]) -> None:
    done = compared(figures(network=(2.0, 2.0, 2.0)), "--limit", 1.1)
    assert done.code == 2
    assert "the second file has no ours" in done.err


def test_other_settings_are_refused_even_with_anyway(compared: Callable[..., Any]) -> None:
    done = compared(changed("configuration", "threads", 4), "--anyway")
    assert done.code == 2
    assert "threads: 2 and 4" in done.err


@pytest.mark.parametrize(("part", "name", "value"), [("environment", "cpu", "B"), ("versions", "onnxruntime", "2.0")])
def test_another_processor_or_engine_is_refused_unless_anyway(
    part: str, name: str, value: str, compared: Callable[..., Any]
) -> None:
    refused = compared(changed(part, name, value))
    assert refused.code == 2
    assert f"{name}: " in refused.err
    assert "--anyway" in refused.err
    told = compared(changed(part, name, value), "--anyway")
    assert told.code == 0
    assert f"differs: {name}: " in told.err


@pytest.mark.parametrize(("part", "name", "value"), [("environment", "cores", 4), ("versions", "nncf", "3.0")])
def test_other_differences_are_told(part: str, name: str, value: Any, compared: Callable[..., Any]) -> None:
    done = compared(changed(part, name, value))
    assert done.code == 0
    assert f"differs: {name}: " in done.err


@pytest.mark.parametrize(
    "report",
    [
        {**BEFORE, "kind": "end_to_end"},
        {**BEFORE, "format": 2},
        {**BEFORE, "contenders": [{}]},
        [],
        {"kind": "latency"},
    ],
)
def test_other_kinds_formats_and_broken_files_are_usage_errors(report: Any, compared: Callable[..., Any]) -> None:
    done = compared(report)
    assert done.code == 2
    assert done.err.startswith("error: ")


def test_files_without_a_common_contender_are_a_usage_error(compared: Callable[..., Any]) -> None:
    assert compared(figures()).code == 2


def test_contender_of_one_file_alone_is_told(compared: Callable[..., Any]) -> None:
    assert "only in one of them: network" in compared(figures(ours=(0.9, 1.0, 1.1))).err
