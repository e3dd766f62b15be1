"""Miniature copies of the benchmark sets: their folders, file names and label files, with a few real pictures.

The label of a picture distorted at level L (1 to 5) is `quality` of its content and L, on the set's own scale.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from openpyxl import Workbook
from scipy.io import savemat

from lifeiqa.models.synthesis.distortions import Picture, distort
from lifeiqa.models.synthesis.ladders import held_out_pictures, ladder

SIDE = 256


def quality(content: int, level: int) -> float:
    """From 0.1 to 0.94; falls with the level, and differs a little from one content to the next."""
    return round(1.1 - 0.2 * level + 0.01 * (content % 5), 2)


def make_miniature(name: str, root: Path, contents: int = 5) -> Path:
    """Writes a miniature of the set into `root` and returns the folder to open; about 30 pictures of 5 contents."""
    root.mkdir(parents=True, exist_ok=True)
    MAKERS[name](root, contents)
    return root


@functools.cache
def _samples() -> tuple[Picture, ...]:
    return tuple(picture for _, picture in held_out_pictures())


def _content(number: int) -> Picture:
    """A 256x256 window of a sample; another one each time the samples have been gone through."""
    picture = _samples()[number % len(_samples())]
    step = 61 * (number // len(_samples()))
    y, x = step % (picture.shape[0] - SIDE), step % (picture.shape[1] - SIDE)
    return np.ascontiguousarray(picture[y : y + SIDE, x : x + SIDE])


def _write(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture[:, :, ::-1])[1].tobytes())


def _write_distorted(path: Path, content: int, distortion: str, level: int) -> None:
    _write(path, distort(_content(content), distortion, level, seed=content))


def _cells(texts: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
    """A MATLAB cell array of texts."""
    cells = np.empty(len(texts), object)
    cells[:] = texts
    return cells.reshape(shape)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], quoting: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=quoting)
        writer.writerow(header)
        writer.writerows(rows)


def _make_live(root: Path, contents: int) -> None:
    names = [f"Content{content}.bmp" for content in range(contents)]
    references, scores, copies = [], [], []
    for content in range(contents):
        _write(root / "refimgs" / names[content], _content(content))
    folders = {
        "jp2k": "jpeg2000",
        "jpeg": "jpeg",
        "wn": "white_noise",
        "gblur": "gaussian_blur",
        "fastfading": "patch_displacement",
    }
    for k, (folder, distortion) in enumerate(folders.items()):
        for number in range(1, contents + 2 + k % 2):  # folders differ in length
            content, level = number % contents, (number + k) % 5 + 1
            path = root / folder / f"img{number}.bmp"
            is_copy = number == contents + 1
            if is_copy:
                _write(path, _content(content))
            else:
                _write_distorted(path, content, distortion, level)
            references.append(names[content])
            scores.append(0.0 if is_copy else round(110 * (1 - quality(content, level)) - 2 * (k == 0), 6))
            copies.append(is_copy)
        (root / folder / "info.txt").write_text("reference img1.bmp 0\n")
    labels = {"dmos_new": [scores], "dmos_std": [[5.0] * len(scores)], "orgs": np.array([copies], np.uint8)}
    savemat(root / "dmos_realigned.mat", labels)
    savemat(root / "refnames_all.mat", {"refnames_all": _cells(references, (1, len(references)))})


def _make_csiq(root: Path, contents: int) -> None:
    types = {
        "noise": ("awgn", "AWGN", "white_noise"),
        "jpeg": ("jpeg", "JPEG", "jpeg"),
        "jpeg 2000": ("jpeg2000", "jpeg2000", "jpeg2000"),
        "fnoise": ("fnoise", "fnoise", "color_noise"),
        "blur": ("blur", "BLUR", "gaussian_blur"),
        "contrast": ("contrast", "contrast", "contrast_loss"),
    }
    book = Workbook()
    book.active.title = "by_type"
    sheet = book.create_sheet("all_by_image")
    sheet["D2"] = "All images"
    for column, title in enumerate(("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"), start=4):
        sheet.cell(4, column, title)
    row = 5
    for content in range(contents):
        name = 1600 if content == 0 else f"Content{content}"  # the one picture whose name is a number
        _write(root / "src_imgs" / f"{name}.png", _content(content))
        for k, (kind, (folder, tag, distortion)) in enumerate(types.items()):
            level = (content + k) % 5 + 1
            _write_distorted(root / "dst_imgs" / folder / f"{name}.{tag}.{level}.png", content, distortion, level)
            dmos = round(1 - quality(content, level), 3)
            for column, value in enumerate((name, k + 1, kind, level, 0.05, dmos), start=4):
                sheet.cell(row, column, value)
            row += 1
    book.save(root / "csiq.DMOS.xlsx")


def _make_tid2013(root: Path, contents: int) -> None:
    lines = []
    for content in range(contents):
        reference = f"I{content + 1:02d}"
        _write(root / "reference_images" / f"{reference}.BMP", _content(content))
        for kind, distortion in (("08", "gaussian_blur"), ("10", "jpeg")):
            for level in (1, 3, 5):
                stem = f"{reference}_{kind}_{level}"
                on_disk = stem.lower() if content == contents - 1 else stem
                _write_distorted(root / "distorted_images" / f"{on_disk}.bmp", content, distortion, level)
                lines.append(f"{9 * quality(content, level):.5f} {stem}.bmp\n")
    (root / "mos_with_names.txt").write_text("".join(lines))


def _make_kadid10k(root: Path, contents: int) -> None:
    rows = []
    for content in range(contents):
        reference = f"I{content + 1:02d}"
        _write(root / "images" / f"{reference}.png", _content(content))
        for kind, distortion in (("01", "gaussian_blur"), ("10", "jpeg")):
            for level in (1, 3, 5):
                name = f"{reference}_{kind}_{level:02d}.png"
                _write_distorted(root / "images" / name, content, distortion, level)
                rows.append((name, f"{reference}.png", round(1 + 4 * quality(content, level), 2), 0.5))
    _write_table(root / "dmos.csv", ("dist_img", "ref_img", "dmos", "var"), rows, csv.QUOTE_MINIMAL)


def _write_photos(folder: Path, contents: int, name: Callable[[int], str]) -> list[tuple[str, float]]:
    """Five photographs of each content, and their names and qualities from 0 to 1."""
    labels = []
    for number in range(5 * contents):
        content, level = number // 5, number % 5 + 1
        _write_distorted(folder / name(number), content, ("gaussian_blur", "jpeg", "darken")[number % 3], level)
        labels.append((name(number), quality(content, level)))
    return labels


def _make_livec(root: Path, contents: int) -> None:
    folder = root / "ChallengeDB_release"
    training = [f"t{number}.bmp" for number in range(1, 8)]
    for number, name in enumerate(training):
        _write(folder / "Images" / "trainingImages" / name, _content(number))
    labels = _write_photos(folder / "Images", contents, lambda k: f"{k + 3}.JPG" if k % 4 == 3 else f"{k + 3}.bmp")
    names = training + [name for name, _ in labels]
    scores = [50.0] * len(training) + [100 * value for _, value in labels]
    (folder / "Data").mkdir()
    savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": _cells(names, (len(names), 1))})
    savemat(folder / "Data" / "AllMOS_release.mat", {"AllMOS_release": [scores]})
    savemat(folder / "Data" / "AllStdDev_release.mat", {"AllStdDev_release": [[18.0] * len(names)]})


def _make_koniq10k(root: Path, contents: int) -> None:
    labels = _write_photos(root / "1024x768", contents, lambda number: f"{10004473376 + number}.jpg")
    rows = [
        (name, 0, 2, 25, 73, 7, 107, round(1 + 4 * value, 6), 0.59, round(100 * value, 6)) for name, value in labels
    ]
    header = ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "MOS_zscore")
    _write_table(root / "koniq10k_scores_and_distributions.csv", header, rows, csv.QUOTE_NONNUMERIC)


def _make_spaq(root: Path, contents: int) -> None:
    labels = _write_photos(root / "TestImage", contents, lambda number: f"{number + 1:05d}.jpg")
    book = Workbook()
    book.active.append(("Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"))
    for name, value in labels:
        book.active.append((name, round(100 * value, 2), 50, 50, 50, 50, 50))
    (root / "Annotations").mkdir()
    book.save(root / "Annotations" / "MOS and Image attribute scores.xlsx")


def _make_biq2021(root: Path, contents: int) -> None:
    labels = _write_photos(
        root / "Images", contents, lambda k: f"ss0{k % 3 + 1} ({k + 1}).{'JPG' if k == 4 else 'jpg'}"
    )
    rows = [(name.replace("JPG", "jpg"), round(value, 4)) for name, value in labels]
    test = 5 * (contents - 1)  # the last content
    _write_table(root / "Test (Images and MOS).csv", ("Image Name", "MOS"), rows[test:], csv.QUOTE_MINIMAL)
    with_empty_cells = [(*row, "", "") for row in rows[:test]]
    _write_table(
        root / "Train (Images and MOS).csv", ("Image Name", "MOS", "", ""), with_empty_cells, csv.QUOTE_MINIMAL
    )


MAKERS: dict[str, Callable[[Path, int], None]] = {
    "live": _make_live,
    "csiq": _make_csiq,
    "tid2013": _make_tid2013,
    "kadid10k": _make_kadid10k,
    "livec": _make_livec,
    "koniq10k": _make_koniq10k,
    "spaq": _make_spaq,
    "biq2021": _make_biq2021,
}


def make_ladder_csv(root: Path, contents: int = 5) -> Path:
    """A CSV set as lifeiqa-synth writes it: pristine pictures and two ladders of five levels of each; the last two
    contents are the test part."""
    root.mkdir(parents=True, exist_ok=True)
    rows = ["path,score,reference,split,pristine,distortion,level"]
    for k, (name, picture) in enumerate(list(held_out_pictures())[:contents]):
        split = "test" if k >= contents - 2 else "train"
        for kind in ("blur", "jpeg"):
            for level, copy in enumerate(ladder(np.ascontiguousarray(picture[:256, :300]), kind)):
                file = f"{name}_{kind}_{level}.png" if level else f"{name}.png"
                cv2.imwrite(str(root / file), copy[:, :, ::-1])
                distortion = kind if level else "pristine"
                row = f"{file},{100 - 18 * level},{name},{split},{name}.png,{distortion},{level}"
                if row not in rows:
                    rows.append(row)
    labels = root / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    return labels
