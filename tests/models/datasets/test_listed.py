import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifeiqa.models.datasets import DATASETS, Labelled, open_set
from lifeiqa.models.datasets.label_files import finder
from lifeiqa.runtime.errors import DatasetError

PIXELS = cv2.imencode(".png", np.full((8, 8, 3), 128, np.uint8))[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PIXELS)
    return tmp_path


def write(folder: Path, *lines: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_path_and_score_are_enough_and_each_picture_is_its_own_content(folder: Path) -> None:
    data = open_set("csv", write(folder, "path,score", "a.png,0", "sub/c.png,100"))
    assert data.items == (
        Labelled(folder / "a.png", 0, "a.png"),
        Labelled(folder / "sub/c.png", 100, "sub/c.png"),
    )


def test_set_is_called_as_its_file_or_as_the_folder_of_labels_csv(folder: Path) -> None:
    labels = write(folder, "path,score", "a.png,0")
    assert open_set("csv", labels).info.title == open_set("csv", folder).info.title == folder.name
    assert open_set("csv", labels.rename(folder / "gate cameras.csv")).info.title == "gate cameras"


def test_what_else_is_known_is_kept_and_the_folder_will_do(folder: Path) -> None:
    write(
        folder,
        "split,level,score,path,reference,distortion,pristine",
        "train,0,100,a.png,hill,pristine,a.png",
        "train,3,40.5,b.png,hill,jpeg,a.png",
        "test,,70,sub/c.png,,,",
    )
    assert open_set("csv", folder).items == (
        Labelled(folder / "a.png", 100, "hill", "pristine", 0, folder / "a.png", "train"),
        Labelled(folder / "b.png", 40.5, "hill", "jpeg", 3, folder / "a.png", "train"),
        Labelled(folder / "sub/c.png", 70, "sub/c.png", "", 0, None, "test"),
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,mos", "a.png,3"], "must be a CSV with the columns path,score; it has 'path', 'mos'"),
        (["path;score", "a.png;3"], "must be a CSV with the columns path,score; it has 'path;score'"),
        (["path,score"], "at least one row"),
        (["path,score", "a.png"], "line 2: has too few or too many cells"),
        (["path,score", "a.png,1,2"], "line 2: has too few or too many cells"),
        (["path,score", "a.png,50", "b.png,good"], "line 3: the score 'good' is not a number in 0-100"),
        (["path,score,score", "a.png,50,60"], "has more than one column score"),
        (["path,score", "a.png,nan"], "line 2: the score 'nan' is not"),
        (["path,score", "a.png,-0.1"], "line 2: the score '-0.1' is not"),
        (["path,score", "a.png,100.1"], "line 2: the score '100.1' is not"),
        (["path,score,level", "a.png,50,strong"], "line 2: the level 'strong' is not a whole number"),
        (["path,score,level", "a.png,50,-1"], "line 2: the level '-1' is not a whole number"),
        (["path,score,split", "a.png,50,valid"], "line 2: the split is 'valid'; expected train or test"),
        (["path,score,split", "a.png,50,train", "b.png,50,"], "some rows have a split and some have none"),
        (["path,score", ",50"], "line 2: the path is empty"),
        (["path,score", "a.png,50", "a.png,60"], "line 3: a.png is listed twice"),
        (["path,score", "a.png,50", "sub/../a.png,60"], "line 3: sub/../a.png is listed twice"),
        (["path,score,pristine", "b.png,50,a.png"], "lists no row for .*a.png"),
        (["path,score", "a.png,50", "none.png,50"], "1 of 2 listed pictures are not there, the first: .*none.png"),
    ],
)
def test_malformed_file_gives_one_clear_error(folder: Path, lines: list[str], message: str) -> None:
    path = write(folder, *lines)
    with pytest.raises(DatasetError, match=message) as caught:
        open_set("csv", path)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_picture_cut_short_is_named(folder: Path) -> None:
    path = write(folder, "path,score", "a.png,50", "b.png,40")
    (folder / "b.png").write_bytes(PIXELS[:-9])
    with pytest.raises(DatasetError, match=r"1 of 2 pictures are cut short, the first: .*b\.png"):
        open_set("csv", path)
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="cut short"):
        open_set("csv", path)


def test_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"there is no .*other\.csv"):
        open_set("csv", folder / "other.csv")
    with pytest.raises(DatasetError, match=r"Cannot read .*labels\.csv"):
        open_set("csv", folder)
    shutil.copyfile(folder / "a.png", folder / "labels.csv")
    with pytest.raises(DatasetError, match="is not a CSV file in UTF-8"):
        open_set("csv", folder)


@given(scores=st.lists(st.floats(0, 100), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_scores_come_back_as_written(scores: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("scores")
    for k in range(len(scores)):
        (folder / f"{k}.png").write_bytes(PIXELS)
    write(folder, "path,score", *(f"{k}.png,{score!r}" for k, score in enumerate(scores)))
    assert [item.score for item in open_set("csv", folder).items] == scores


def test_picture_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "b.png").unlink()
    (folder / "b.png").symlink_to("/proc/self/mem")  # a file whose first page cannot be read, whoever asks
    with pytest.raises(DatasetError, match=r"b\.png cannot be read: Input/output error"):
        open_set("csv", write(folder, "path,score", "a.png,50", "b.png,40"))


def test_names_that_differ_in_case_alone_are_two_pictures(tmp_path: Path) -> None:
    for name in ("A.jpg", "a.jpg", "B.JPG"):
        (tmp_path / name).touch()
    find = finder(tmp_path, DATASETS["csv"][0])
    assert [find(name).name for name in ("A.jpg", "a.jpg", "b.jpg", "c.jpg")] == ["A.jpg", "a.jpg", "B.JPG", "c.jpg"]
