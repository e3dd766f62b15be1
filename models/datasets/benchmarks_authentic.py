"""LIVE Challenge, KonIQ-10k, SPAQ and BIQ2021, each read from the folders and label files its makers publish."""

from __future__ import annotations

import re
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
    score_of,
)
from lifeiqa.runtime.errors import DatasetError

_RESIZE_TO = (512, 384)
LIVEC = SetInfo(
    "livec", "LIVE Challenge", "authentic", 1162, 0.0, 100.0, "https://live.ece.utexas.edu/research/ChallengeDB/"
)
KONIQ10K = SetInfo(
    "koniq10k",
    "KonIQ-10k",
    "authentic",
    10073,
    0.0,
    100.0,
    "https://database.mmsp-kn.de/koniq-10k-database.html",
    _RESIZE_TO,
)
SPAQ = SetInfo("spaq", "SPAQ", "authentic", 11125, 0.0, 100.0, "https://github.com/h4nwei/SPAQ", _RESIZE_TO)
BIQ2021 = SetInfo("biq2021", "BIQ2021", "authentic", 12000, 0.0, 1.0, "https://github.com/nisarahmedrana/BIQ2021")
BIQ2021_LABELS = (("train", "Train (Images and MOS).csv"), ("test", "Test (Images and MOS).csv"))
_BIQ2021_NAME = re.compile(r"ss0(\d) ?\(\d+\)\.\w+", re.IGNORECASE)
LIVEC_TRAINING = 7  # first entries: what the raters practised on; no paper counts them


def read_livec(root: Path) -> QualitySet:
    """Reads ChallengeDB_release, or the folder it lies in: Images, Data/AllImages_release.mat and AllMOS_release.mat.

    Raises:
        DatasetError: a file, folder or variable is missing or unreadable, the two do not match, a label is off.
    """
    if not (root / "Data").is_dir() and (root / "ChallengeDB_release").is_dir():
        root = root / "ChallengeDB_release"
    labels = find_file(root, "Data/AllMOS_release.mat", LIVEC)
    scores = read_numbers(labels, "AllMOS_release")
    names = read_texts(find_file(root, "Data/AllImages_release.mat", LIVEC), "AllImages_release")
    if len(names) != len(scores):
        raise DatasetError(
            f"{labels} has {len(scores)} labels, but AllImages_release.mat {len(names)} names; expected as many. "
            f"Download them again: {LIVEC.home}"
        )
    rows = [(f"{labels}, entry {k + 1}", names[k], scores[k]) for k in range(LIVEC_TRAINING, len(names))]
    return _authentic(rows, root / "Images", LIVEC, root)


def read_koniq10k(root: Path) -> QualitySet:
    """Reads 1024x768 (or else 512x384) and koniq10k_scores_and_distributions.csv.

    The label is MOS_zscore, on 0-100, which papers use; the column MOS is on 1-5.

    Raises:
        DatasetError: a file, both folders or a column are missing or unreadable, a label is off.
    """
    labels = find_file(root, "koniq10k_scores_and_distributions.csv", KONIQ10K)
    folders = [root / name for name in ("1024x768", "512x384") if (root / name).is_dir()]
    if not folders:
        raise DatasetError(f"{KONIQ10K.title}: there is neither 1024x768 nor 512x384 in {root}.{KONIQ10K.source}")
    rows = [
        (f"{labels}, line {line}", row["image_name"], row["MOS_zscore"])
        for line, row in enumerate(read_table(labels, ("image_name", "MOS_zscore")), start=2)
    ]
    return _authentic(rows, folders[0], KONIQ10K, root)


def read_spaq(root: Path) -> QualitySet:
    """Reads TestImage and the first sheet of "Annotations/MOS and Image attribute scores.xlsx".

    Raises:
        DatasetError: a file, folder or column is missing or unreadable, a label is off.
    """
    labels = find_file(root, "Annotations/MOS and Image attribute scores.xlsx", SPAQ)
    rows = [
        (where, cell_text(row["Image name"]), row["MOS"]) for where, row in read_sheet(labels, ("Image name", "MOS"))
    ]
    return _authentic(rows, root / "TestImage", SPAQ, root)


def read_biq2021(root: Path) -> QualitySet:
    """Reads Images, "Train (Images and MOS).csv" and "Test (Images and MOS).csv", the makers' own split.

    Its three parts differ in where the pictures come from (an album; a camera badly set on purpose; Unsplash) and in
    their mean label; they stand as "subset 1" to "subset 3" where other sets have distortions, to be reported apart.

    Raises:
        DatasetError: a file, folder or column is missing or unreadable, a label is off, a picture is listed twice or
            its name does not say the subset.
    """
    find, items, lines = finder(root / "Images", BIQ2021), list[Labelled](), dict[str, str]()
    for split, file in BIQ2021_LABELS:
        labels = find_file(root, file, BIQ2021)
        for line, row in enumerate(read_table(labels, ("Image Name", "MOS")), start=2):
            where, name = f"{labels}, line {line}", row["Image Name"].strip()
            known = _BIQ2021_NAME.fullmatch(name)
            if known is None:
                raise DatasetError(f"{where}: {name!r} names no picture of the set; expected such as 'ss01 (1).jpg'.")
            key = name.lower()
            if key in lines:
                raise DatasetError(f"{where}: {name} is listed before, in {lines[key]}.")
            lines[key] = where
            score = score_of(row["MOS"], BIQ2021, where)
            items.append(Labelled(find(name), score, key, distortion=f"subset {known[1]}", split=split))
    return complete(items, BIQ2021, root)


def _authentic(rows: Rows, folder: Path, info: SetInfo, root: Path) -> QualitySet:
    """Pictures that are each their own content."""
    find = finder(folder, info)
    items = [Labelled(find(name), score_of(label, info, where), name.lower()) for where, name, label in rows]
    return complete(items, info, root)
