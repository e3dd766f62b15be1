import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifeiqa.runtime import Scorer
from lifeiqa.runtime.images import MAX_PIXELS
from lifeiqa.runtime.scoring.decoders import DecodeSettings
from lifeiqa.runtime.scoring.engine import Engine
from lifeiqa.runtime.sinks import Record
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.scan import Scan


def engine(scorer: Scorer, jobs: int = 3, timeout_s: float = 30.0) -> Engine:
    return Engine(scorer, DecodeSettings(scorer.manifest.preprocess, None, MAX_PIXELS, timeout_s), jobs)


def records(engine: Engine, entries: object) -> list[Record]:
    with engine:
        return [record for found in engine.score(entries) for record in found]  # type: ignore[arg-type]


@pytest.fixture(params=[True, False], ids=["picture by picture", "in batches"])
def scorer(request: pytest.FixtureRequest, tiny_onnx: Path) -> Iterator[Scorer]:
    with Scorer(tiny_onnx, "cpu", concurrent=request.param) as scorer:
        assert scorer.backend.concurrent is request.param
        yield scorer


@pytest.fixture
def mixed(photos: Path, tmp_path: Path) -> Path:
    """Pictures and files that are none, many times over, so that batches and queues fill."""
    for n in range(12):
        for path in photos.iterdir():
            (tmp_path / f"{n:02d} {path.name}").symlink_to(path)
        (tmp_path / f"{n:02d} empty.jpg").touch()
    return tmp_path


def test_records_are_those_of_one_picture_after_another_in_the_same_order(scorer: Scorer, mixed: Path) -> None:
    found = records(engine(scorer), Scan([str(mixed)]))
    assert [r.source for r in found] == sorted(str(p) for p in mixed.iterdir())
    for record in found:
        if record.error is None:
            expected = scorer.score_file(record.source)
            exact = 0 if scorer.backend.concurrent else 1e-3
            assert record.score == pytest.approx(expected.score, abs=5e-5 + exact)
            assert (record.grade, record.crops, record.note) == (expected.grade, expected.crops, expected.note)
    assert sum(r.error is not None for r in found) == 12


def test_scores_do_not_depend_on_what_else_is_scored(tiny_onnx: Path, mixed: Path) -> None:
    with Scorer(tiny_onnx, "cpu", concurrent=True) as scorer:
        together = {r.source: r for r in records(engine(scorer), Scan([str(mixed)]))}
        for name in sorted(mixed.iterdir())[:8]:
            assert records(engine(scorer, jobs=1), Scan([str(name)])) == [together[str(name)]]


def test_entries_that_are_errors_and_videos_keep_their_place(scorer: Scorer, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    good = Entry.of(str(photos / "coffee.jpg"))
    entries = [good, Entry("x", error="a reason"), Entry.of(str(tmp_path / "cut.mp4"), video=True), good]
    found = records(engine(scorer), entries)
    assert [r.error is None for r in found] == [True, False, False, True]
    assert found[1].error == "a reason" and "not a video" in str(found[2].error)


def test_first_record_comes_before_a_slow_producer_names_the_second(scorer: Scorer, photos: Path) -> None:
    good = Entry.of(str(photos / "coffee.jpg"))
    named: list[float] = []

    def slow() -> Iterator[Entry]:
        yield good
        time.sleep(3)
        named.append(time.monotonic())
        yield good

    with engine(scorer) as one:
        stream = one.score(slow())
        next(stream)
        if scorer.backend.concurrent:
            assert not named
        assert len(list(stream)) == 1


def test_file_without_an_end_costs_its_time_and_its_record_alone(tiny_onnx: Path, mixed: Path) -> None:
    os.mkfifo(mixed / "00 endless.jpg")
    with Scorer(tiny_onnx, "cpu", concurrent=True) as scorer:
        entries = [Entry.of(str(mixed / "00 endless.jpg")), *Scan([str(mixed)])]
        found = records(engine(scorer, timeout_s=1.0), entries)
    assert "took longer than 1 s" in str(found[0].error)
    assert len(found) == len(entries) and sum(r.error is None for r in found) == 12 * 5


def test_error_of_the_scan_reaches_the_caller(scorer: Scorer, photos: Path) -> None:
    def broken() -> Iterator[Entry]:
        yield Entry.of(str(photos / "coffee.jpg"))
        raise RuntimeError("a bug in the scan")

    with pytest.raises(RuntimeError, match="a bug in the scan"):
        records(engine(scorer), broken())


def processes(engine: Engine) -> set[int]:
    """Those that decode and are still there."""
    return {d._process.pid for d in engine._decoders if d._process is not None and d._process.poll() is None}


def test_processes_end_with_an_iterator_that_is_left_early(scorer: Scorer, mixed: Path) -> None:
    with engine(scorer) as one:
        stream = one.score(Scan([str(mixed)]))
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert one._decoders and not processes(one)


def test_processes_are_kept_from_call_to_call_and_end_with_the_engine(scorer: Scorer, photos: Path) -> None:
    entries = [Entry.of(str(photos / "coffee.jpg"))]
    with engine(scorer, jobs=1) as one:
        first = [list(found) for found in one.score(entries)]
        before = processes(one)
        assert before
        assert [list(found) for found in one.score(entries)] == first
        assert processes(one) == before
    assert not processes(one)
