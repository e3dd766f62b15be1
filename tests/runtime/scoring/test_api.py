from pathlib import Path

import pytest

from lifeiqa.runtime import Scorer, score_files, score_frame
from lifeiqa.runtime.errors import UsageError


def test_each_path_has_its_record_in_order(tiny_onnx: Path, photos: Path) -> None:
    paths = [photos / "coffee.jpg", "missing.jpg", str(photos / "astronaut.png"), photos / "coffee.jpg"]
    records = list(score_files(paths, model=tiny_onnx, jobs=2))
    assert [r.source for r in records] == [str(p) for p in paths]
    assert records[1].error == "no such file" and records[0] == records[3]
    with Scorer(tiny_onnx) as scorer:
        expected = scorer.score_file(paths[2])
    assert records[2].score == pytest.approx(expected.score, abs=5e-5)


def test_paths_may_come_without_end(tiny_onnx: Path, photos: Path) -> None:
    def endless() -> object:
        while True:
            yield photos / "coffee.jpg"

    stream = score_files(endless(), model=tiny_onnx, jobs=1)  # type: ignore[arg-type]
    assert next(stream) == next(stream)
    stream.close()  # type: ignore[attr-defined]


def test_table_of_pandas_gets_columns(tiny_onnx: Path, photos: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"file": [str(photos / "coffee.jpg"), "none.jpg"], "id": [7, 8]}, index=[3, 1])
    scored = score_frame(frame, "file", model=tiny_onnx, jobs=1)
    assert list(scored.columns) == ["file", "id", "score", "grade", "std", "crops", "error", "note"]
    assert list(scored.index) == [3, 1] and scored["score"].notna().tolist() == [True, False]
    assert list(frame.columns) == ["file", "id"]


def test_table_of_pyarrow_gets_columns_and_those_of_before_are_replaced(tiny_onnx: Path, photos: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"path": [str(photos / "coffee.jpg")], "score": ["old"], "id": [7]})
    scored = score_frame(table, model=tiny_onnx, jobs=1)
    assert scored.column_names == ["path", "score", "id", "grade", "std", "crops", "error", "note"]
    assert isinstance(scored["score"][0].as_py(), float) and scored["error"].to_pylist() == [None]


def test_rows_without_a_path_are_rows_with_an_error(tiny_onnx: Path, photos: Path) -> None:
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    paths = [None, str(photos / "coffee.jpg"), None]
    scored = score_frame(pyarrow.table({"path": paths}), model=tiny_onnx, jobs=1)
    assert scored["error"].to_pylist() == ["no path", None, "no path"]
    assert [value is None for value in scored["score"].to_pylist()] == [True, False, True]
    scored = score_frame(pandas.DataFrame({"path": [*paths, float("nan")]}), model=tiny_onnx, jobs=1)
    assert scored["error"].fillna("").tolist() == ["no path", "", "no path", "no path"]
    assert scored["score"].notna().tolist() == [False, True, False, False]
    scored = score_frame(pandas.DataFrame({"path": paths}, dtype="string"), model=tiny_onnx, jobs=1)
    assert scored["error"].fillna("").tolist() == ["no path", "", "no path"]


def test_what_is_no_table_or_has_no_such_column_is_named(tiny_onnx: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(UsageError, match="not list"):
        score_frame(["a.jpg"], model=tiny_onnx)
    with pytest.raises(UsageError, match="no column 'path'; the table has file"):
        score_frame(pyarrow.table({"file": ["a.jpg"]}), model=tiny_onnx)
    with pytest.raises(UsageError, match="'path' holds paths; 7 is none"):
        score_frame(pyarrow.table({"path": [7]}), model=tiny_onnx)
