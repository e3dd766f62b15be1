"""LIVE, CSIQ, TID2013 and KADID-10k, each read from the folders and label files its makers publish."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from lifeiqa.models.datasets.base import Labelled, QualitySet, SetInfo, complete, find_file
from lifeiqa.models.datasets.csv_files import read_table
from lifeiqa.models.datasets.label_files import (
    Rows,
    cell_text,
    finder,
    read_numbers,
    read_sheet,
    read_texts,
    reason,
    score_of,
)
from lifeiqa.runtime.errors import DatasetError

# LIVE's realigned DMOS runs beyond 0 and 100, to about -3 and 112; the range leaves room at both ends.
LIVE = SetInfo(
    "live", "LIVE", "synthetic", 779, 115.0, -5.0, "https://live.ece.utexas.edu/research/quality/subjective.htm"
)
CSIQ = SetInfo("csiq", "CSIQ", "synthetic", 866, 1.0, 0.0, "https://s2.smu.edu/~eclarson/csiq.html")
TID2013 = SetInfo("tid2013", "TID2013", "synthetic", 3000, 0.0, 9.0, "https://www.ponomarenko.info/tid2013.htm")
KADID10K = SetInfo(
    "kadid10k", "KADID-10k", "synthetic", 10125, 1.0, 5.0, "https://database.mmsp-kn.de/kadid-10k-database.html"
)

# folder -> (distortion, pictures in the complete set), in the order in which the label files list the folders
LIVE_FOLDERS = {
    "jp2k": ("jpeg2000", 227),
    "jpeg": ("jpeg", 233),
    "wn": ("white noise", 174),
    "gblur": ("gaussian blur", 174),
    "fastfading": ("fast fading", 174),
}
# dst_type in the label file -> (folder and part of the file name, distortion)
CSIQ_TYPES = {
    "noise": ("awgn", "white noise"),
    "jpeg": ("jpeg", "jpeg"),
    "jpeg 2000": ("jpeg2000", "jpeg2000"),
    "fnoise": ("fnoise", "pink noise"),
    "blur": ("blur", "gaussian blur"),
    "contrast": ("contrast", "contrast loss"),
}
TID2013_TYPES = (
    "white noise",
    "color noise",
    "spatially correlated noise",
    "masked noise",
    "high frequency noise",
    "impulse noise",
    "quantization noise",
    "gaussian blur",
    "denoising",
    "jpeg",
    "jpeg2000",
    "jpeg transmission errors",
    "jpeg2000 transmission errors",
    "patch displacement",
    "local blocks",
    "mean shift",
    "contrast change",
    "color saturation",
    "multiplicative noise",
    "comfort noise",
    "lossy compression of noise",
    "color quantization with dither",
    "chromatic aberrations",
    "sparse sampling",
)
KADID10K_TYPES = (
    "gaussian blur",
    "lens blur",
    "motion blur",
    "color diffusion",
    "color shift",
    "color quantization",
    "hsv saturation",
    "lab saturation",
    "jpeg2000",
    "jpeg",
    "white noise",
    "color noise",
    "impulse noise",
    "multiplicative noise",
    "denoising",
    "brighten",
    "darken",
    "mean shift",
    "jitter",
    "patch displacement",
    "pixelate",
    "quantization",
    "color blocks",
    "sharpen",
    "contrast change",
)
_TYPED_NAME = re.compile(r"(i\d+)_(\d+)_(\d+)\.\w+", re.IGNORECASE)


def read_live(root: Path) -> QualitySet:
    """Reads release 2: imgN.bmp in five folders, dmos_realigned.mat and refnames_all.mat.

    The entries of the .mat files follow the folders, and in each the number N. Undistorted copies (orgs is 1) are
    left out.

    Raises:
        DatasetError: a file or variable is missing or unreadable, folders and entries do not match, a label is off.
    """
    labels = find_file(root, "dmos_realigned.mat", LIVE)
    scores, copies = read_numbers(labels, "dmos_new"), read_numbers(labels, "orgs")
    references = read_texts(find_file(root, "refnames_all.mat", LIVE), "refnames_all")
    if not len(scores) == len(copies) == len(references):
        raise DatasetError(
            f"{labels} and refnames_all.mat must have one entry for each picture, not {len(scores)} in dmos_new, "
            f"{len(copies)} in orgs and {len(references)} in refnames_all. Download them again: {LIVE.home}"
        )
    pictures = {folder: _numbered(root / folder) for folder in LIVE_FOLDERS}
    counts = {folder: len(paths) for folder, paths in pictures.items()}
    official = {folder: count for folder, (_, count) in LIVE_FOLDERS.items()}
    if sum(counts.values()) != len(scores) or (len(scores) == sum(official.values()) and counts != official):
        found = ", ".join(f"{folder} {counts[folder]} of {official[folder]}" for folder in LIVE_FOLDERS)
        raise DatasetError(
            f"{root} holds {sum(counts.values())} pictures, but {labels.name} labels {len(scores)} by their position "
            f"({found} in the complete set). Download the set again: {LIVE.home}"
        )
    paths = [(path, LIVE_FOLDERS[folder][0]) for folder in LIVE_FOLDERS for path in pictures[folder]]
    items = []
    for k, (path, distortion) in enumerate(paths):
        if copies[k] not in (0, 1):
            raise DatasetError(f"{labels}: entry {k + 1} of orgs is {copies[k]:g}, neither 0 nor 1; download it again.")
        if not copies[k]:
            score = score_of(scores[k], LIVE, f"{labels}, entry {k + 1}")
            items.append(Labelled(path, score, Path(references[k]).stem.lower(), distortion))
    return complete(items, LIVE, root)


def read_csiq(root: Path) -> QualitySet:
    """Reads dst_imgs/KIND/NAME.KIND.LEVEL.png and the sheet all_by_image of csiq.DMOS.xlsx.

    Raises:
        DatasetError: a file, folder, sheet or column is missing or unreadable, a type is unknown, a label is off.
    """
    labels = find_file(root, "csiq.DMOS.xlsx", CSIQ)
    finders: dict[str, Callable[[str], Path]] = {}
    items = []
    for where, row in read_sheet(labels, ("image", "dst_type", "dst_lev", "dmos"), "all_by_image"):
        image, kind, level = (cell_text(row[column]) for column in ("image", "dst_type", "dst_lev"))
        if not image or kind.lower() not in CSIQ_TYPES or not level.isdecimal():
            raise DatasetError(
                f"{where}: image {image!r}, dst_type {kind!r}, dst_lev {level!r} name no picture; expected a dst_type "
                f"out of {', '.join(CSIQ_TYPES)} and a whole dst_lev. Download the file again: {CSIQ.home}"
            )
        folder, distortion = CSIQ_TYPES[kind.lower()]
        if folder not in finders:
            finders[folder] = finder(root / "dst_imgs" / folder, CSIQ)
        path = finders[folder](f"{image}.{folder}.{level}.png")
        items.append(Labelled(path, score_of(row["dmos"], CSIQ, where), image.lower(), distortion, int(level)))
    return complete(items, CSIQ, root)


def read_tid2013(root: Path) -> QualitySet:
    """Reads distorted_images/IRR_TT_L.bmp and mos_with_names.txt: a line "MOS NAME" for each, names in either case.

    Raises:
        DatasetError: a file or folder is missing or unreadable, a line has another form, a label is off.
    """
    labels = find_file(root, "mos_with_names.txt", TID2013)
    try:
        lines = labels.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"Cannot read {labels}: {reason(error)}. Download it again: {TID2013.home}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        where, cells = f"{labels}, line {number}", line.split()
        if len(cells) not in (0, 2):
            raise DatasetError(f"{where}: expected a label and a picture's name, not {line!r}; download it again.")
        if cells:
            rows.append((where, cells[1], cells[0]))
    return _typed(rows, root / "distorted_images", TID2013_TYPES, TID2013, root)


def read_kadid10k(root: Path) -> QualitySet:
    """Reads images/IRR_TT_LL.png and dmos.csv: dist_img,ref_img,dmos,var. What it calls DMOS is higher for better.

    Raises:
        DatasetError: a file, folder or column is missing or unreadable, a name has another form, a label is off.
    """
    labels = find_file(root, "dmos.csv", KADID10K)
    rows = [
        (f"{labels}, line {line}", row["dist_img"], row["dmos"])
        for line, row in enumerate(read_table(labels, ("dist_img", "dmos")), start=2)
    ]
    return _typed(rows, root / "images", KADID10K_TYPES, KADID10K, root)


def _typed(rows: Rows, folder: Path, types: tuple[str, ...], info: SetInfo, root: Path) -> QualitySet:
    """Pictures whose names say reference, type and level: I01_02_3."""
    find, items = finder(folder, info), []
    for where, name, label in rows:
        match = _TYPED_NAME.fullmatch(name)
        if not match or not 1 <= int(match[2]) <= len(types):
            raise DatasetError(
                f"{where}: {name!r} names no picture; expected I01_02_3: reference, type (1 to {len(types)}), level. "
                f"Download the file again: {info.home}"
            )
        distortion = types[int(match[2]) - 1]
        items.append(
            Labelled(find(name), score_of(label, info, where), match[1].lower(), distortion, level=int(match[3]))
        )
    return complete(items, info, root)


def _numbered(folder: Path) -> list[Path]:
    """img1.bmp, img2.bmp and so on, without a gap."""
    find = finder(folder, LIVE)
    matches = (re.fullmatch(r"img([1-9]\d*)\.bmp", path.name, re.IGNORECASE) for path in folder.iterdir())
    numbers = {int(match[1]) for match in matches if match}
    for expected in range(1, max(numbers, default=0) + 1):
        if expected not in numbers:
            raise DatasetError(
                f"{LIVE.title}: {folder} lacks img{expected}.bmp, and labels go by position.{LIVE.source}"
            )
    return [find(f"img{number}.bmp") for number in sorted(numbers)]
