import csv
import io
import json
import os
from pathlib import Path

import pytest

from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.scorer import Score
from lifeiqa.runtime.sinks import Record, results_writer, text_writer
from lifeiqa.runtime.sinks.jsonl import to_jsonl
from lifeiqa.runtime.sources.sample import Sample

GOOD = Record.of(Sample("a.png", note="grey"), Score(61.23456, 1.5, 5, 61.23456, "fair"))
BAD = Record.of(Sample("b\n.png", error="empty"), None)
LIVE = Record.of(
    Sample("cam", frame=7, time_s=0.28, age_s=0.01234, dropped=3), Score(100.0, 0.0, 1, 120.0, "excellent")
)
SMALL = Record.of(Sample("s.png", note="grey"), Score(50.0, 0.0, 1, 50.0, "fair", "smaller"))
UNGRADED = Record.of(Sample("u.png"), Score(0.5, 0.0, 1, 0.5))


def written(form: str, *records: Record) -> list[str]:
    file = io.StringIO()
    with text_writer(form, file, 0, 100) as write:
        for record in records:
            write(record)
    return file.getvalue().splitlines()


def test_jsonl_has_the_promised_fields_and_stream_fields_only_for_streams() -> None:
    good, bad, live = (json.loads(line) for line in written("jsonl", GOOD, BAD, LIVE))
    assert list(good.items()) == [
        ("source", "a.png"),
        ("score", 61.2346),
        ("grade", "fair"),
        ("std", 1.5),
        ("crops", 5),
        ("error", None),
        ("note", "grey"),
    ]
    assert (bad["score"], bad["grade"], bad["crops"], bad["error"]) == (None, None, 0, "empty")
    assert (live["frame"], live["time_s"], live["age_s"], live["dropped"]) == (7, 0.28, 0.012, 3)
    assert (live["score"], live["raw"]) == (100.0, 120.0)  # as above: only where the two differ


def test_json_array_holds_the_same_objects_as_the_lines() -> None:
    assert json.loads("\n".join(written("json", GOOD, BAD))) == [json.loads(x) for x in written("jsonl", GOOD, BAD)]
    assert json.loads("\n".join(written("json"))) == []


def test_parquet_has_a_column_for_each_field(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "r.parquet"
    with results_writer("parquet", path, 0, 100) as write:
        for record in (GOOD, BAD, LIVE):
            write(record)
    table = parquet.read_table(path)
    assert [Record(**row) for row in table.to_pylist()] == [GOOD, BAD, LIVE]
    assert os.listdir(tmp_path) == ["r.parquet"]


def test_parquet_does_not_go_to_standard_output() -> None:
    with pytest.raises(UsageError, match="--output"):
        written("parquet", GOOD)


def test_csv_quotes_hostile_names() -> None:
    file = io.StringIO()
    with text_writer("csv", file, 0, 100) as write:
        write(BAD)
        write(GOOD)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["source"] for row in rows] == ["b\n.png", "a.png"]
    assert [(row["score"], row["grade"]) for row in rows] == [("", ""), ("61.2346", "fair")]
    assert list(rows[0])[:4] == ["source", "score", "grade", "std"]


def test_notes_of_the_file_and_of_the_score_are_joined_in_every_format() -> None:
    assert json.loads(written("jsonl", SMALL)[0])["note"] == "grey; smaller"
    assert next(csv.DictReader(written("csv", SMALL)))["note"] == "grey; smaller"
    assert written("table", SMALL)[1].endswith("s.png  (grey; smaller)")


def test_table_has_one_line_a_record_and_a_bar_as_long_as_the_score() -> None:
    lines = written("table", GOOD, BAD, LIVE)
    assert len(lines) == 4
    assert lines[1].count("█") == 6
    assert lines[1].endswith("a.png  (grey)")
    assert lines[2].endswith("b?.png: empty")
    assert lines[3].count("█") == 10
    assert "frame 7, 0.28 s, 12 ms old, 3 dropped" in lines[3]


def test_columns_of_the_table_stand_below_their_heads_and_leave_half_a_terminal_to_the_source() -> None:
    head, *lines = written("table", GOOD, BAD, LIVE, UNGRADED)
    sources = [line.index(name) for line, name in zip(lines, ("a.png", "b?.png", "cam", "u.png"), strict=True)]
    assert set(sources) == {head.index("source")} and head.index("source") <= 40
    grades = [line[head.index("grade") :].split()[0] for line in lines]
    assert grades == ["fair", "-", "excellent", "-"]


def test_name_that_is_not_utf8_is_printed_as_far_as_it_goes() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert "caf" in json.loads(to_jsonl(Record.of(Sample(name, error="x"), None)))["source"]
