import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.scoring.journal import Journal, file_state
from lifeiqa.runtime.sinks import Record
from lifeiqa.runtime.sources.entries import Entry

SETTINGS = {"model": "abc", "crops": 5}
OPENED: list[Journal] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def record(source: str, score: float, frame: int | None = None) -> Record:
    return Record(source, score, "fair", 0.5, 5, frame=frame, time_s=None if frame is None else frame / 25)


def begun(path: Path, rows: dict[str, list[Record]]) -> Journal:
    journal = Journal(path, SETTINGS)
    OPENED.append(journal)
    journal.begin()
    for source, records in rows.items():
        assert list(journal.add(records, f"state of {source}", journal.reserve())) == records
    return journal


def resumed(path: Path, settings: dict[str, object] | None = None) -> Journal:
    journal = Journal(path, SETTINGS if settings is None else settings)
    OPENED.append(journal)
    journal.resume()
    return journal


@pytest.fixture
def rows() -> dict[str, list[Record]]:
    video = [record("v.mp4", 10.0 + n, n) for n in range(3)]
    return {"a.jpg": [record("a.jpg", 1.0)], "v.mp4": video, "é\n.jpg": [record("é\n.jpg", 3.0)]}


def test_records_come_back_as_they_were(tmp_path: Path, rows: dict[str, list[Record]]) -> None:
    journal = begun(tmp_path / "j", rows)
    assert list(journal.records()) == [r for records in rows.values() for r in records]


def test_records_of_a_video_that_was_left_early_are_kept_and_it_is_begun_anew(
    tmp_path: Path, rows: dict[str, list[Record]]
) -> None:
    journal = begun(tmp_path / "j", {"a.jpg": rows["a.jpg"]})
    frames = journal.add(rows["v.mp4"], "state of v.mp4", journal.reserve())
    assert [next(frames), next(frames)] == rows["v.mp4"][:2]
    frames.close()
    assert list(journal.records()) == [*rows["a.jpg"], *rows["v.mp4"][:2]]
    journal.close()
    journal = resumed(tmp_path / "j")
    assert journal.has("a.jpg", "state of a.jpg") and not journal.has("v.mp4", "state of v.mp4")


def test_order_is_the_scans_whatever_was_written_first(tmp_path: Path, rows: dict[str, list[Record]]) -> None:
    begun(tmp_path / "j", rows).close()
    journal = resumed(tmp_path / "j")
    assert journal.found == 3
    new = record("b.jpg", 2.0)
    assert journal.has("é\n.jpg", "state of é\n.jpg")
    place = journal.reserve()
    assert journal.has("v.mp4", "state of v.mp4")
    assert list(journal.add([new], "x", place)) == [new]
    assert list(journal.records()) == [*rows["é\n.jpg"], new, *rows["v.mp4"]]


def test_file_with_an_error_is_scored_again(tmp_path: Path, rows: dict[str, list[Record]]) -> None:
    failed = replace(record("b.jpg", 1.0), score=None, grade=None, error="its reader is not installed")
    rows = {"b.jpg": [failed], **rows}
    assert list(begun(tmp_path / "j", rows).records()) == [r for records in rows.values() for r in records]
    journal = resumed(tmp_path / "j")
    assert journal.found == 3
    assert not journal.has("b.jpg", "state of b.jpg") and journal.has("a.jpg", "state of a.jpg")
    mended = record("b.jpg", 50.0)
    assert list(journal.add([mended], "state of b.jpg", journal.reserve())) == [mended]
    journal.close()
    journal = resumed(tmp_path / "j")
    assert journal.has("b.jpg", "state of b.jpg")
    assert list(journal.records()) == [mended]


def test_changed_file_is_not_there(tmp_path: Path, rows: dict[str, list[Record]]) -> None:
    begun(tmp_path / "j", rows).close()
    journal = resumed(tmp_path / "j")
    assert not journal.has("a.jpg", "another state")
    assert not journal.has("b.jpg", "state of a.jpg")
    assert list(journal.records()) == []


@pytest.mark.parametrize("where", ["in a line", "in a video", "between files"])
def test_what_was_cut_is_scored_again_and_nothing_else(
    tmp_path: Path, rows: dict[str, list[Record]], where: str
) -> None:
    begun(tmp_path / "j", rows).close()
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    kept = {"in a line": b"".join(lines[:5]) + lines[5][:-9], "in a video": b"".join(lines[:4])}
    (tmp_path / "j").write_bytes(kept.get(where, b"".join(lines[:5])))
    journal = resumed(tmp_path / "j")
    there = [source for source in rows if journal.has(source, f"state of {source}")]
    assert there == (["a.jpg"] if where == "in a video" else ["a.jpg", "v.mp4"])
    for source in rows.keys() - set(there):
        list(journal.add(rows[source], f"state of {source}", journal.reserve()))
    assert sorted(r.source for r in journal.records()) == sorted(r.source for v in rows.values() for r in v)
    assert all(json.loads(line) for line in (tmp_path / "j").read_bytes().splitlines())


def test_other_settings_and_other_files_are_refused(tmp_path: Path, rows: dict[str, list[Record]]) -> None:
    begun(tmp_path / "j", rows).close()
    with pytest.raises(UsageError, match="crops was 5, is 3"):
        resumed(tmp_path / "j", {"model": "abc", "crops": 3})
    for text in ("", "not a journal\n", '{"journal": 99, "settings": {}}\n', "[]\n"):
        (tmp_path / "k").write_text(text)
        with pytest.raises(UsageError, match="not a journal that this lifeiqa reads"):
            resumed(tmp_path / "k")


def test_file_named_twice_has_its_records_twice(tmp_path: Path, rows: dict[str, list[Record]]) -> None:
    begun(tmp_path / "j", rows).close()
    journal = resumed(tmp_path / "j")
    assert journal.has("a.jpg", "state of a.jpg") and journal.has("a.jpg", "state of a.jpg")
    assert list(journal.records()) == rows["a.jpg"] * 2


def test_state_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    entry = Entry.of(str(path))
    os.utime(path, ns=(1, 1))
    plain, full = file_state(entry, False), file_state(entry, True)
    assert plain and full.startswith(plain) and full != plain
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert file_state(entry, False) == plain
    assert file_state(entry, True) != full
    os.utime(path, ns=(2, 2))
    assert file_state(entry, False) != plain
    assert file_state(Entry.of(str(tmp_path / "none")), True) == ""
    assert file_state(Entry("-", data=b"x"), False) != file_state(Entry("-", data=b"y"), False)
