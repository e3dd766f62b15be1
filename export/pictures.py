"""What --calib-data and --guard-data name: a folder, a list, a CSV file or a benchmark set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lifeiqa.calibration.pictures import PictureSet, read_pictures
from lifeiqa.models.datasets import open_set
from lifeiqa.models.synthesis.ladders import LADDERS, held_out_pictures, ladder
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.images import IMAGE_SUFFIXES
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

Progress = Callable[[int, int], None]


def named_pictures(argument: str, spec: PreprocessSpec, progress: Progress = lambda done, total: None) -> PictureSet:
    """Reads the pictures that a user names.

    Args:
        argument: a folder, searched to its depths; a .txt file with a path a line, relative to its own folder; a .csv
            file with the columns path,score; or NAME=PATH of a benchmark set.
        spec: preprocessing of the model.
        progress: called with pictures read and pictures in all.

    Raises:
        UsageError, DatasetError: it is none of these, or cannot be read, or is too few pictures.
    """
    path, (name, equals, root) = Path(argument), argument.partition("=")
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise UsageError(f"Cannot read {argument[:80]}: {error.strerror}.") from error
    if is_folder:
        listed = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not listed:
            raise DatasetError(f"{path} holds no pictures.")
        return read_pictures([(p, None) for p in listed], spec, argument, progress)
    if path.suffix.lower() == ".txt" and is_file:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"Cannot read the list {path}: {error}.") from error
        return read_pictures(
            [(path.parent / line.strip(), None) for line in lines if line.strip()], spec, argument, progress
        )
    is_csv = path.suffix.lower() == ".csv" and is_file
    if is_csv or equals:
        items = open_set("csv", path).items if is_csv else open_set(name, Path(root)).items
        return read_pictures([(item.path, item.score) for item in items], spec, argument, progress)
    raise UsageError(
        f"{argument} is no folder of pictures, no list of them (.txt), no CSV file with the columns path,score and no "
        "NAME=PATH of a data set."
    )


def held_out_set(spec: PreprocessSpec) -> PictureSet:
    """scikit-image's sample pictures and a degraded copy of each by every ladder; for judging, never for ranges."""
    pictures = []
    for _, picture in held_out_pictures():
        pictures += [picture, *(ladder(picture, name)[3] for name in LADDERS)]
    return PictureSet("scikit-image's sample pictures", tuple(crops_of(p, spec) for p in pictures), None, "")
