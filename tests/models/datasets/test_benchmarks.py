import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import MAKERS, make_miniature, quality
from openpyxl import Workbook, load_workbook
from scipy.io import loadmat, savemat

from lifeiqa.models.datasets import DATASETS, QualitySet, open_set, split_set
from lifeiqa.models.datasets.benchmarks import READERS
from lifeiqa.models.datasets.benchmarks_synthetic import KADID10K_TYPES, LIVE, LIVE_FOLDERS, TID2013_TYPES
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.images import read_image

LABELS = {
    "live": "dmos_realigned.mat",
    "csiq": "csiq.DMOS.xlsx",
    "tid2013": "mos_with_names.txt",
    "kadid10k": "dmos.csv",
    "livec": "ChallengeDB_release/Data/AllMOS_release.mat",
    "koniq10k": "koniq10k_scores_and_distributions.csv",
    "spaq": "Annotations/MOS and Image attribute scores.xlsx",
    "biq2021": "Train (Images and MOS).csv",
}
NAMES = {  # further files without which there is no set
    "live": "refnames_all.mat",
    "livec": "ChallengeDB_release/Data/AllImages_release.mat",
    "biq2021": "Test (Images and MOS).csv",
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {name: make_miniature(name, folder / name) for name in MAKERS}


@pytest.fixture(scope="module")
def sets(roots: dict[str, Path]) -> dict[str, QualitySet]:
    return {name: open_set(name, root) for name, root in roots.items()}


@pytest.fixture
def copy_of(roots: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(roots[name], tmp_path / name))


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edit_mat(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    """Changes a variable of a .mat file; removes it where `change` returns None."""
    variables = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    changed = change(variables.pop(name))
    savemat(path, variables if changed is None else {**variables, name: changed})


def set_entry(index: int, value: object) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(object if array.dtype == object else float)
        array.ravel()[index] = value
        return array

    return change


def edit_sheet(path: Path, cell: str, value: object) -> None:
    book = load_workbook(path)
    (book["all_by_image"] if "all_by_image" in book.sheetnames else book.active)[cell] = value
    book.save(path)


def edit_koniq(path: Path, column: str, value: str) -> None:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[1][rows[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def rename_sheet(path: Path, old: str, new: str) -> None:
    book = load_workbook(path)
    book[old].title = new
    book.save(path)


def by_name(data: QualitySet, root: Path) -> dict[str, tuple[float, str, str, int]]:
    return {
        item.path.relative_to(root).as_posix(): (item.score, item.reference, item.distortion, item.level)
        for item in data.items
    }


def test_readers_are_the_seven_sets_of_the_paper_with_their_sizes() -> None:
    assert {info.name: info.pictures for info, _ in READERS} == {
        "live": 779,
        "csiq": 866,
        "tid2013": 3000,
        "kadid10k": 10125,
        "livec": 1162,
        "koniq10k": 10073,
        "spaq": 11125,
    }
    assert {info.name for info, _ in READERS if info.resize_to} == {"koniq10k", "spaq"}
    assert [*MAKERS, "csv"] == list(DATASETS)


def test_type_numbers_mean_what_the_makers_say() -> None:
    assert len(set(TID2013_TYPES)) == len(TID2013_TYPES) == 24
    assert [TID2013_TYPES[k - 1] for k in (1, 6, 8, 10, 11, 17, 20, 24)] == [
        "white noise",
        "impulse noise",
        "gaussian blur",
        "jpeg",
        "jpeg2000",
        "contrast change",
        "comfort noise",
        "sparse sampling",
    ]
    assert len(set(KADID10K_TYPES)) == len(KADID10K_TYPES) == 25
    assert [KADID10K_TYPES[k - 1] for k in (1, 3, 9, 10, 11, 17, 19, 25)] == [
        "gaussian blur",
        "motion blur",
        "jpeg2000",
        "jpeg",
        "white noise",
        "darken",
        "jitter",
        "contrast change",
    ]


@pytest.mark.parametrize(
    ("name", "count", "references", "known"),
    [
        (
            "live",
            27,
            5,
            {
                "jp2k/img1.bmp": (100 * (115 - 29.9) / 120, "content1", "jpeg2000", 0),
                "jpeg/img7.bmp": (100 * (115 - 74.8) / 120, "content2", "jpeg", 0),
                "wn/img1.bmp": (100 * (115 - 75.9) / 120, "content1", "white noise", 0),
                "gblur/img2.bmp": (100 * (115 - 8.8) / 120, "content2", "gaussian blur", 0),
                "fastfading/img5.bmp": (100 * (115 - 99) / 120, "content0", "fast fading", 0),
            },
        ),
        (
            "csiq",
            30,
            5,
            {
                "dst_imgs/awgn/1600.AWGN.1.png": (90, "1600", "white noise", 1),
                "dst_imgs/jpeg/1600.JPEG.2.png": (70, "1600", "jpeg", 2),
                "dst_imgs/jpeg2000/Content1.jpeg2000.4.png": (31, "content1", "jpeg2000", 4),
                "dst_imgs/fnoise/Content4.fnoise.3.png": (54, "content4", "pink noise", 3),
                "dst_imgs/blur/1600.BLUR.5.png": (10, "1600", "gaussian blur", 5),
                "dst_imgs/contrast/Content2.contrast.3.png": (52, "content2", "contrast loss", 3),
            },
        ),
        (
            "tid2013",
            30,
            5,
            {
                "distorted_images/I01_08_1.bmp": (90, "i01", "gaussian blur", 1),
                "distorted_images/I02_10_5.bmp": (11, "i02", "jpeg", 5),
                "distorted_images/i05_10_3.bmp": (54, "i05", "jpeg", 3),
            },
        ),
        (
            "kadid10k",
            30,
            5,
            {
                "images/I01_01_01.png": (90, "i01", "gaussian blur", 1),
                "images/I03_10_05.png": (12, "i03", "jpeg", 5),
            },
        ),
        (
            "livec",
            25,
            25,
            {
                "ChallengeDB_release/Images/3.bmp": (90, "3.bmp", "", 0),
                "ChallengeDB_release/Images/6.JPG": (30, "6.jpg", "", 0),
                "ChallengeDB_release/Images/27.bmp": (14, "27.bmp", "", 0),
            },
        ),
        ("koniq10k", 25, 25, {"1024x768/10004473377.jpg": (70, "10004473377.jpg", "", 0)}),
        ("spaq", 25, 25, {"TestImage/00010.jpg": (11, "00010.jpg", "", 0)}),
        (
            "biq2021",
            25,
            25,
            {
                "Images/ss01 (1).jpg": (90, "ss01 (1).jpg", "subset 1", 0),
                "Images/ss02 (5).JPG": (10, "ss02 (5).jpg", "subset 2", 0),  # the label file says .jpg
                "Images/ss03 (21).jpg": (94, "ss03 (21).jpg", "subset 3", 0),
            },
        ),
    ],
)
def test_set_is_read_fully(
    name: str,
    count: int,
    references: int,
    known: dict[str, tuple[float, str, str, int]],
    roots: dict[str, Path],
    sets: dict[str, QualitySet],
) -> None:
    data = sets[name]
    assert data.info.name == name
    assert len(data.items) == len({item.path for item in data.items}) == count
    assert len({item.reference for item in data.items}) == references
    assert all(item.pristine is None and 0 <= item.score <= 100 for item in data.items)
    assert all(read_image(item.path).pixels.shape == (256, 256, 3) for item in data.items)
    items = by_name(data, roots[name])
    for path, (score, *rest) in known.items():
        assert items[path][0] == pytest.approx(score, abs=0.01), path
        assert list(items[path][1:]) == rest, path


@pytest.mark.parametrize(
    ("name", "worst", "best"),
    [
        ("live", "gblur/img1.bmp", "gblur/img2.bmp"),
        ("csiq", "dst_imgs/blur/1600.BLUR.5.png", "dst_imgs/blur/Content1.BLUR.1.png"),
        ("tid2013", "distorted_images/I02_08_5.bmp", "distorted_images/I02_08_1.bmp"),
        ("kadid10k", "images/I02_01_05.png", "images/I02_01_01.png"),
        ("livec", "ChallengeDB_release/Images/12.bmp", "ChallengeDB_release/Images/8.bmp"),
        ("koniq10k", "1024x768/10004473385.jpg", "1024x768/10004473381.jpg"),
        ("spaq", "TestImage/00010.jpg", "TestImage/00006.jpg"),
        ("biq2021", "Images/ss01 (10).jpg", "Images/ss03 (6).jpg"),
    ],
)
def test_more_distorted_picture_has_the_lower_score(
    name: str, worst: str, best: str, roots: dict[str, Path], sets: dict[str, QualitySet]
) -> None:
    items = by_name(sets[name], roots[name])
    assert items[worst][0] < 25 < 85 < items[best][0]


@pytest.mark.parametrize("name", MAKERS)
def test_ten_splits_share_no_content_and_lose_no_picture(name: str, sets: dict[str, QualitySet]) -> None:
    data = sets[name]
    halves = [split_set(data, seed) for seed in range(10)]
    for train, test in halves:
        assert not {item.reference for item in train} & {item.reference for item in test}
        assert {item.path for item in train} | {item.path for item in test} == {item.path for item in data.items}
        assert len(train) + len(test) == len(data.items)
    assert (len({frozenset(item.path for item in test) for _, test in halves}) > 1) == (name != "biq2021")


def test_biq2021_keeps_the_split_of_its_makers(roots: dict[str, Path], sets: dict[str, QualitySet]) -> None:
    train, test = split_set(sets["biq2021"], seed=3)
    assert [item.path.name for item in test] == [f"ss0{k % 3 + 1} ({k + 1}).jpg" for k in range(20, 25)]
    assert len(train) == 20
    assert {item.split for item in train} == {"train"}


def test_live_goes_by_number_and_not_by_the_order_of_names(tmp_path: Path) -> None:
    data = open_set("live", make_miniature("live", tmp_path, contents=12))
    items = by_name(data, tmp_path)
    for number in range(1, 13):
        score, reference, _, _ = items[f"wn/img{number}.bmp"]
        assert reference == f"content{number % 12}"
        dmos = 110 * (1 - quality(number % 12, (number + 2) % 5 + 1))
        assert score == pytest.approx(100 * (115 - dmos) / 120)
    assert "wn/img13.bmp" not in items  # the undistorted copy


def test_complete_live_has_779_pictures_and_one_in_the_wrong_folder_is_noticed(tmp_path: Path) -> None:
    pixel = cv2.imencode(".bmp", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    for folder, (_, count) in LIVE_FOLDERS.items():
        (tmp_path / folder).mkdir()
        for number in range(1, count + 1):
            (tmp_path / folder / f"img{number}.bmp").write_bytes(pixel)
    orgs = np.arange(982) >= 779
    dmos = np.linspace(-2.64, 111.77, 982)
    savemat(tmp_path / "dmos_realigned.mat", {"dmos_new": dmos[None], "orgs": orgs[None].astype(float)})
    references = np.array([[f"r{k % 29}.bmp" for k in range(982)]], object)
    savemat(tmp_path / "refnames_all.mat", {"refnames_all": references})
    data = open_set("live", tmp_path)
    assert len(data.items) == LIVE.pictures == 779
    assert data.items[0].score > 97
    (tmp_path / "jp2k/img227.bmp").rename(tmp_path / "jpeg/img234.bmp")
    with pytest.raises(DatasetError, match="jp2k 226 of 227, jpeg 234 of 233"):
        open_set("live", tmp_path)


def test_livec_is_found_from_inside_too_and_its_training_pictures_are_left_out(roots: dict[str, Path]) -> None:
    data = open_set("livec", roots["livec"] / "ChallengeDB_release")
    assert len(data.items) == 25
    assert not [item for item in data.items if item.path.name.startswith("t")]


def test_koniq_is_read_from_the_small_pictures_where_there_are_no_large_ones(copy_of: Callable[[str], Path]) -> None:
    root = copy_of("koniq10k")
    shutil.copytree(root / "1024x768", root / "512x384")
    assert open_set("koniq10k", root).items[0].path.parent.name == "1024x768"
    shutil.rmtree(root / "1024x768")
    assert open_set("koniq10k", root).items[0].path.parent.name == "512x384"
    shutil.rmtree(root / "512x384")
    with pytest.raises(DatasetError, match="neither 1024x768 nor 512x384"):
        open_set("koniq10k", root)


@pytest.mark.parametrize("name", ["tid2013", "kadid10k", "koniq10k"])
def test_label_file_with_fewer_rows_is_a_smaller_set(name: str, copy_of: Callable[[str], Path]) -> None:
    root = copy_of(name)
    lines = (root / LABELS[name]).read_text().splitlines(keepends=True)
    (root / LABELS[name]).write_text("".join(lines[:11]))
    assert len(open_set(name, root).items) == (11 if name == "tid2013" else 10)


def test_spreadsheet_of_few_rows_and_with_gaps_is_a_smaller_set(copy_of: Callable[[str], Path]) -> None:
    root = copy_of("spaq")
    book = Workbook()
    book.active.append(("MOS", "note", "Image name"))
    book.active.append((25, "", "00003.jpg"))
    book.active.append(())
    book.active.append((75.5, "", "00001.JPG"))
    book.save(root / LABELS["spaq"])
    assert [(item.path.name, item.score) for item in open_set("spaq", root).items] == [
        ("00003.jpg", 25),
        ("00001.jpg", 75.5),
    ]


def error_of(name: str, root: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        open_set(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_set_and_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no data set called ava.*live, csiq"):
        open_set("ava", tmp_path)
    assert re.search(r"CSIQ: there is no .*nowhere\. The set .*https://", error_of("csiq", tmp_path / "nowhere"))


@pytest.mark.parametrize("name", MAKERS)
def test_missing_label_file_is_named(name: str, copy_of: Callable[[str], Path]) -> None:
    for file in (LABELS[name], NAMES.get(name)):
        if file:
            root = copy_of(name)
            (root / file).unlink()
            message = error_of(name, root)
            assert Path(file).name in message
            assert "there is no" in message
            assert DATASETS[name][0].home in message
            shutil.rmtree(root)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00broken\x00", b"PK\x03\x04 cut short", b"MATLAB 5.0 MAT-file"])
def test_label_file_that_is_something_else_is_named(name: str, content: bytes, copy_of: Callable[[str], Path]) -> None:
    root = copy_of(name)
    (root / LABELS[name]).write_bytes(content)
    message = error_of(name, root)
    assert str(root / LABELS[name]) in message or "lists no picture" in message


@pytest.mark.parametrize("name", ["live", "csiq", "livec", "spaq"])
@given(share=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_binary_label_file_cut_anywhere_is_named(name: str, share: float, roots: dict[str, Path]) -> None:
    path = roots[name] / LABELS[name]
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: int(share * (len(whole) - 8))])  # the last 8 bytes may be padding
        assert path.name in error_of(name, roots[name])
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "live"])
def test_missing_and_broken_pictures_are_counted(
    name: str, copy_of: Callable[[str], Path], sets: dict[str, QualitySet], roots: dict[str, Path]
) -> None:
    root = copy_of(name)
    paths = [root / item.path.relative_to(roots[name]) for item in sets[name].items]
    whole = paths[3].read_bytes()
    paths[3].write_bytes(whole[: len(whole) // 2])
    assert f"1 of {len(paths)} pictures are cut short, the first: {paths[3]}" in error_of(name, root)
    paths[3].unlink()
    paths[7].unlink()
    assert f"2 of {len(paths)} listed pictures are not there" in error_of(name, root)
    shutil.rmtree(paths[3].parent)
    assert paths[3].parent.name in error_of(name, root)


def test_incomplete_live_is_refused_because_labels_go_by_position(copy_of: Callable[[str], Path]) -> None:
    root = copy_of("live")
    last, middle = root / "jpeg/img7.bmp", root / "wn/img2.bmp"
    whole = last.read_bytes()
    last.write_bytes(whole[:-1])
    assert f"1 of 27 pictures are cut short, the first: {last}" in error_of("live", root)
    last.unlink()
    message = error_of("live", root)
    assert "holds 31 pictures, but dmos_realigned.mat labels 32 by their position" in message
    assert "jpeg 6 of 233" in message
    middle.unlink()
    assert f"{middle.parent} lacks img2.bmp" in error_of("live", root)
    shutil.rmtree(middle.parent)
    assert f"no folder {middle.parent}" in error_of("live", root)


Damage = Callable[[Path], None]
NUMBER = "is not a number"

DAMAGES: list[tuple[str, Damage, str]] = [
    ("live", lambda p: edit_mat(p, "dmos_new", lambda a: None), r"realigned\.mat lacks the variable dmos_new"),
    ("live", lambda p: edit_mat(p, "orgs", lambda a: None), r"realigned\.mat lacks the variable orgs"),
    ("live", lambda p: edit_mat(p, "dmos_new", lambda a: a.reshape(2, -1)), r"dmos_new is of the shape \(2, 16\)"),
    ("live", lambda p: edit_mat(p, "dmos_new", lambda a: np.array([["x"]], object)), "does not hold real numbers"),
    ("live", lambda p: edit_mat(p, "dmos_new", lambda a: a + 1j), "does not hold real numbers"),
    ("live", lambda p: edit_mat(p, "dmos_new", lambda a: a[:, :-1]), "not 31 in dmos_new, 32 in orgs and 32 in refna"),
    ("live", lambda p: edit_mat(p, "dmos_new", set_entry(1, np.nan)), rf"entry 2: the label nan {NUMBER} in -5 to 115"),
    ("live", lambda p: edit_mat(p, "dmos_new", set_entry(1, 116)), rf"entry 2: the label 116 {NUMBER} in -5 to 115"),
    ("live", lambda p: edit_mat(p, "orgs", set_entry(4, 2)), "entry 5 of orgs is 2, neither 0 nor 1"),
    ("live", lambda p: edit_mat(p, "orgs", lambda a: a * 0 + 1), "lists no picture"),
    (
        "live",
        lambda p: edit_mat(p.parent / NAMES["live"], "refnames_all", lambda a: None),
        r"refnames_all\.mat lacks the variable refnames_all",
    ),
    (
        "live",
        lambda p: edit_mat(p.parent / NAMES["live"], "refnames_all", set_entry(2, 5.0)),
        "entry 3 of refnames_all is not a text",
    ),
    (
        "live",
        lambda p: edit_mat(p.parent / NAMES["live"], "refnames_all", lambda a: a[:, :30]),
        "32 in orgs and 30 in refnames_all",
    ),
    ("csiq", lambda p: rename_sheet(p, "all_by_image", "other"), "no sheet all_by_image with the columns"),
    ("csiq", lambda p: edit_sheet(p, "I4", "DMOS?"), "no sheet all_by_image with the columns image, dst_type"),
    ("csiq", lambda p: edit_sheet(p, "I6", "n/a"), rf"row 6: the label 'n/a' {NUMBER}"),
    ("csiq", lambda p: edit_sheet(p, "I6", None), rf"row 6: the label None {NUMBER}"),
    ("csiq", lambda p: edit_sheet(p, "I6", "nan"), rf"row 6: the label nan {NUMBER} in 0 to 1"),
    ("csiq", lambda p: edit_sheet(p, "I6", 1.25), rf"row 6: the label 1\.25 {NUMBER} in 0 to 1"),
    ("csiq", lambda p: edit_sheet(p, "F7", "sepia"), "row 7: .*dst_type 'sepia'.*expected a dst_type out of noise, "),
    ("csiq", lambda p: edit_sheet(p, "G7", 1.5), r"row 7: .*dst_lev '1\.5' name no picture"),
    ("csiq", lambda p: edit_sheet(p, "D7", None), "row 7: image '', .* name no picture"),
    ("csiq", lambda p: edit_sheet(p, "D7", 1601), "1 of 30 listed pictures are not there.*1601.jpeg2000.3.png"),
    ("tid2013", lambda p: edit_text(p, " I01_08_3.bmp", ""), "line 2: expected a label and a picture's name"),
    ("tid2013", lambda p: edit_text(p, "4.5", "four"), rf"line 2: the label 'four0+' {NUMBER}"),
    ("tid2013", lambda p: edit_text(p, "8.10000 ", "nan "), rf"line 1: the label nan {NUMBER} in 0 to 9"),
    ("tid2013", lambda p: edit_text(p, "8.10000 ", "9.1 "), rf"line 1: the label 9\.1 {NUMBER} in 0 to 9"),
    ("tid2013", lambda p: edit_text(p, "I01_08_1", "I01_25_1"), r"line 1: 'I01_25_1.bmp' names no picture.*1 to 24"),
    ("tid2013", lambda p: edit_text(p, "I01_08_1", "I01_00_1"), "line 1: 'I01_00_1.bmp' names no picture"),
    ("tid2013", lambda p: edit_text(p, "I01_08_1", "lena"), r"line 1: 'lena\.bmp' names no picture; expected I01_02_3"),
    ("tid2013", lambda p: p.write_text(""), "lists no picture"),
    ("kadid10k", lambda p: edit_text(p, "dmos,", "mos,"), "with the columns dist_img,dmos"),
    ("kadid10k", lambda p: edit_text(p, ",I01.png,4.6,0.5", ",I01.png"), "line 2: has too few or too many cells"),
    ("kadid10k", lambda p: edit_text(p, "4.6", "good"), rf"line 2: the label 'good' {NUMBER}"),
    ("kadid10k", lambda p: edit_text(p, "4.6", ""), rf"line 2: the label '' {NUMBER}"),
    ("kadid10k", lambda p: edit_text(p, "4.6", "nan"), rf"line 2: the label nan {NUMBER} in 1 to 5"),
    ("kadid10k", lambda p: edit_text(p, "4.6", "0.9"), rf"line 2: the label 0\.9 {NUMBER} in 1 to 5"),
    ("kadid10k", lambda p: edit_text(p, "I01_01_01", "I01_26_01"), "line 2: 'I01_26_01.png' names no picture.*1 to 25"),
    ("livec", lambda p: edit_mat(p, "AllMOS_release", lambda a: None), "lacks the variable AllMOS_release"),
    ("livec", lambda p: edit_mat(p, "AllMOS_release", lambda a: a[:, :-1]), "31 labels, but .* 32 names"),
    ("livec", lambda p: edit_mat(p, "AllMOS_release", lambda a: a.reshape(4, 8)), r"of the shape \(4, 8\)"),
    ("livec", lambda p: edit_mat(p, "AllMOS_release", set_entry(9, np.nan)), rf"entry 10: the label nan {NUMBER} in 0"),
    ("livec", lambda p: edit_mat(p, "AllMOS_release", set_entry(9, -1)), rf"entry 10: the label -1 {NUMBER} in 0 to 1"),
    (
        "livec",
        lambda p: edit_mat(p.parent / "AllImages_release.mat", "AllImages_release", set_entry(9, 1.0)),
        "entry 10 of AllImages_release is not a text",
    ),
    (
        "livec",
        lambda p: edit_mat(p.parent / "AllImages_release.mat", "AllImages_release", set_entry(9, "no.bmp")),
        "1 of 25 listed pictures are not there.*no.bmp",
    ),
    ("koniq10k", lambda p: edit_text(p, "MOS_zscore", "z"), "with the columns image_name,MOS_zscore"),
    ("koniq10k", lambda p: edit_text(p, ",0.59,90.0", ",0.59"), "line 2: has too few or too many cells"),
    ("koniq10k", lambda p: edit_koniq(p, "MOS_zscore", "high"), rf"line 2: the label 'high' {NUMBER}"),
    ("koniq10k", lambda p: edit_koniq(p, "MOS_zscore", "NaN"), rf"line 2: the label nan {NUMBER} in 0 to 100"),
    ("koniq10k", lambda p: edit_koniq(p, "MOS_zscore", "100.5"), rf"line 2: the label 100\.5 {NUMBER} in 0 to 100"),
    ("koniq10k", lambda p: edit_koniq(p, "image_name", "no.jpg"), "1 of 25 listed pictures are not there.*no.jpg"),
    ("spaq", lambda p: edit_sheet(p, "B1", "Score"), "no sheet Sheet with the columns Image name, MOS"),
    ("spaq", lambda p: edit_sheet(p, "B3", "good"), rf"row 3: the label 'good' {NUMBER}"),
    ("spaq", lambda p: edit_sheet(p, "B3", None), rf"row 3: the label None {NUMBER}"),
    ("spaq", lambda p: edit_sheet(p, "B3", 101), rf"row 3: the label 101 {NUMBER} in 0 to 100"),
    ("spaq", lambda p: edit_sheet(p, "A3", None), "1 of 25 listed pictures are not there"),
    ("biq2021", lambda p: edit_text(p, "MOS", "score"), "with the columns Image Name,MOS"),
    ("biq2021", lambda p: edit_text(p, ",0.9,", ",1.1,"), rf"line 2: the label 1\.1 {NUMBER} in 0 to 1"),
    ("biq2021", lambda p: edit_text(p, ",0.9,", ",,"), rf"line 2: the label '' {NUMBER}"),
    ("biq2021", lambda p: edit_text(p, ",0.9,,", ",0.9"), "line 2: has too few or too many cells"),
    ("biq2021", lambda p: edit_text(p, "ss01 (1).jpg", "1.jpg"), "line 2: '1.jpg' names no picture of the set"),
    ("biq2021", lambda p: edit_text(p, "ss01 (1)", "ss01 (99)"), "1 of 25 listed pictures are not there.*ss01 .99."),
    (
        "biq2021",
        lambda p: edit_text(p, "ss01 (4)", "SS01 (1)"),
        r"line 5: SS01 \(1\).jpg is listed before, in .*line 2",
    ),
    ("biq2021", lambda p: edit_text(p, "ss01 (4)", "ss03 (21)"), r"Test .*line 2: .* is listed before, in .*Train"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_damaged_label_file_gives_one_clear_error(
    name: str, damage: Damage, message: str, copy_of: Callable[[str], Path]
) -> None:
    root = copy_of(name)
    damage(root / LABELS[name])
    found = error_of(name, root)
    assert re.search(message, found), found
    assert str(root) in found
