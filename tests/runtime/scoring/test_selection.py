import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lifeiqa.runtime import Record, Scorer, ScoreScale
from lifeiqa.runtime.cli import main
from lifeiqa.runtime.scoring.selection import Selection, Wanted

SCORES = {"a": 50.0, "b": 10.0, "c": 90.0, "d": 10.0, "e": None, "f": 70.0}


def shown(wanted: Wanted, scale: ScoreScale | None = None) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    selection = Selection(wanted, file, "jsonl", scale or ScoreScale())
    for name, score in SCORES.items():
        selection.offer(Record(name, score, None, 0.0, 5, None if score is not None else "broken"))
    selection.finish()
    data = file.buffer.getvalue()  # type: ignore[attr-defined]
    if wanted.null:
        return [name.decode() for name in data.split(b"\0")[:-1]]
    return [json.loads(line)["source"] if line.startswith("{") else line for line in data.decode().splitlines()]


def test_the_worst_come_first_and_of_equal_ones_the_earlier() -> None:
    assert shown(Wanted(worst=1)) == ["b"]
    assert shown(Wanted(worst=3)) == ["b", "d", "a"]
    assert shown(Wanted(worst=99)) == ["b", "d", "a", "f", "c"]


def test_pictures_at_the_end_of_the_scale_are_still_in_order() -> None:
    file = io.StringIO()
    selection = Selection(Wanted(worst=2), file, "jsonl", ScoreScale())
    for name, raw in (("bad", -1.0), ("worst", -9.5), ("worse", -4.0), ("fair", None)):
        selection.offer(Record(name, 50.0 if raw is None else 0.0, None, 0.0, 5, raw=raw))
    selection.finish()
    assert [json.loads(line)["source"] for line in file.getvalue().splitlines()] == ["worst", "worse"]


def test_the_best_come_after_the_worst_the_very_best_first() -> None:
    assert shown(Wanted(worst=1, best=2)) == ["b", "c", "f"]


def test_names_below_a_score_come_in_their_order() -> None:
    assert shown(Wanted(below=51)) == ["a", "b", "d"]
    assert shown(Wanted(below=10)) == []


def test_where_lower_is_better_the_worst_are_the_highest() -> None:
    assert shown(Wanted(worst=1, best=1), ScoreScale(higher_is_better=False)) == ["c", "b"]


def test_null_ends_names_alone(command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    assert shown(Wanted(worst=2, null=True)) == ["b", "d"]
    odd = tmp_path / os.fsdecode(b"caf\xe9\n.jpg")
    odd.write_bytes((photos / "coffee.jpg").read_bytes())
    done = command(main, "--model", tiny_onnx, tmp_path, "--below", "101")
    assert done.out == f"{tmp_path}/caf\\xe9\n.jpg\n"


def test_all_records_go_to_the_file_and_the_chosen_ones_to_standard_output(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    arguments = ["--model", tiny_onnx, photos, "-o", tmp_path / "all.jsonl", "--worst", "2", "--resume"]
    for _ in range(2):  # the second time, all is in the journal
        done = command(main, *arguments)
        worst = [json.loads(line) for line in done.out.splitlines()]
        rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
        assert done.code == 0 and len(rows) == 5
        assert worst == sorted(rows, key=lambda row: row["score"])[:2]
    with Scorer(tiny_onnx) as scorer:
        assert worst[0]["score"] == pytest.approx(scorer.score_file(worst[0]["source"]).score, abs=5e-5)


def test_null_without_a_choice_is_an_error(command: Callable, tiny_onnx: Path, photos: Path) -> None:
    done = command(main, "--model", tiny_onnx, photos, "-0")
    assert done.code == 2 and "--below, --worst or --best" in done.err
