from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lifeiqa.calibration.limits import MIN_CROPS
from lifeiqa.calibration.pictures import read_pictures
from lifeiqa.export.pictures import named_pictures
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

SPEC = PreprocessSpec()


def write(folder: Path, count: int, side: int = 300) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for k in range(count):
        path = folder / f"{k:03d}.png"
        path.write_bytes(cv2.imencode(".png", rng.integers(0, 255, (side, side, 3), np.uint8))[1].tobytes())
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration")
    write(path, 14)
    return path


def test_crops_are_cut_as_the_runtime_cuts_them(folder: Path) -> None:
    found = named_pictures(str(folder), SPEC)
    assert len(found.crops) == 14
    assert found.crop_count == 70
    pixels = cv2.imread(str(sorted(folder.iterdir())[3]))[:, :, ::-1]
    np.testing.assert_array_equal(found.crops[3], crops_of(np.ascontiguousarray(pixels), SPEC))
    assert any("70 crops are few" in warning for warning in found.warnings)
    assert found.labels is None


def test_small_pictures_are_reflected_as_the_runtime_does(tmp_path: Path) -> None:
    paths = write(tmp_path, 64, side=100)
    found = named_pictures(str(tmp_path), SPEC)
    assert (len(found.crops), found.crop_count, found.skipped) == (64, 64, ())
    pixels = cv2.imread(str(paths[0]))[:, :, ::-1]
    np.testing.assert_array_equal(found.crops[0], crops_of(pixels, SPEC))


def test_broken_pictures_are_named_skipped_and_not_counted(folder: Path, tmp_path: Path) -> None:
    paths = write(tmp_path / "some", 13)
    for name in ("text.png", "cut.png"):
        data = b"no picture" if name == "text.png" else paths[0].read_bytes()[:2000]
        (tmp_path / "some" / name).write_bytes(data)
    found = named_pictures(str(tmp_path / "some"), SPEC)
    assert len(found.crops) == 13
    assert len(found.skipped) == 2
    assert "cut.png" in found.skipped[0]
    assert any("2 pictures were skipped" in warning for warning in found.warnings)
    paths[0].unlink()
    with pytest.raises(DatasetError, match=rf"gives 60 crops of 12 pictures; at least {MIN_CROPS} .*cut.png"):
        named_pictures(str(tmp_path / "some"), SPEC)


def test_one_picture_again_and_again_is_refused(folder: Path, tmp_path: Path) -> None:
    data = next(folder.iterdir()).read_bytes()
    for k in range(80):
        (tmp_path / f"{k}.png").write_bytes(data)
    with pytest.raises(DatasetError, match="one picture 80 times over"):
        named_pictures(str(tmp_path), SPEC)


def test_repeated_pictures_count_once(folder: Path, tmp_path: Path) -> None:
    for path in write(tmp_path, 13):
        path.with_name(f"copy_of_{path.name}").write_bytes(path.read_bytes())
    found = named_pictures(str(tmp_path), SPEC)
    assert len(found.crops) == 13
    assert any("13 pictures came more than once" in warning for warning in found.warnings)


def test_lists_and_labelled_files_are_read(folder: Path, tmp_path: Path) -> None:
    names = sorted(folder.iterdir())
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in names))
    (tmp_path / "labels.csv").write_text("path,score\n" + "".join(f"{path},{5 * k}\n" for k, path in enumerate(names)))
    by_list, by_csv = (named_pictures(str(tmp_path / name), SPEC) for name in ("list.txt", "labels.csv"))
    by_folder = named_pictures(str(folder), SPEC)
    assert by_list.sha256 == by_csv.sha256 == by_folder.sha256
    assert by_csv.labels is not None
    assert by_csv.labels.tolist() == [5.0 * k for k in range(14)]
    named = named_pictures(f"csv={tmp_path / 'labels.csv'}", SPEC)
    assert named.sha256 == by_folder.sha256


def test_other_pictures_have_another_hash(folder: Path, tmp_path: Path) -> None:
    other = write(tmp_path, 14)
    other[5].write_bytes(cv2.imencode(".png", np.zeros((300, 300, 3), np.uint8))[1].tobytes())
    assert named_pictures(str(tmp_path), SPEC).sha256 != named_pictures(str(folder), SPEC).sha256


def test_of_many_pictures_evenly_spread_ones_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, 64)
    monkeypatch.setattr("lifeiqa.calibration.pictures.MAX_PICTURES", 20)
    found = read_pictures([(path, float(k)) for k, path in enumerate(paths)], SPEC, "many")
    assert found.labels is not None
    assert found.labels.tolist() == [*range(0, 64, 4), *range(1, 17, 4)]


def test_in_the_place_of_pictures_that_are_no_use_come_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, 40)
    for path in paths[::2]:
        path.write_bytes(b"broken")
    monkeypatch.setattr("lifeiqa.calibration.pictures.MAX_PICTURES", 20)
    found = read_pictures([(path, None) for path in paths], SPEC, "many")
    assert (len(found.crops), len(found.skipped)) == (20, 20)


def test_one_picture_alone_is_an_error_however_many_crops_it_gives(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is one picture; ranges of one"):
        read_pictures([(write(tmp_path, 1)[0], None)], replace(SPEC, crops=100), "one")


@pytest.mark.parametrize("argument", ["nothing", "photo.png", "kadid=/nowhere", "list.txt"])
def test_what_is_no_picture_set_is_an_error(argument: str) -> None:
    with pytest.raises((UsageError, DatasetError)):
        named_pictures(argument, SPEC)


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no pictures"):
        named_pictures(str(tmp_path), SPEC)
