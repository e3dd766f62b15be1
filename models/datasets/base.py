"""What every data set is turned into: labelled pictures on one scale, and the checks they share."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lifeiqa.runtime.errors import DatasetError, ImageError
from lifeiqa.runtime.images import ends_early

PRISTINE = "pristine"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises `DatasetError`, which names the file, for an `ImageError` inside."""
    try:
        yield
    except ImageError as error:
        raise DatasetError(f"{path}: {error}.") from error


@dataclass(frozen=True)
class Labelled:
    """One labelled picture.

    Attributes:
        path: of the file.
        score: 0-100, higher better.
        reference: name of its content. Pictures that share it never fall into both parts of a split.
        distortion: type; "pristine" for none, "" where the set does not say. Of a set in parts that are reported
            apart, such as BIQ2021, the part.
        level: of the distortion, from 1 for the mildest; 0 for none or where the set does not say.
        pristine: the undistorted picture it was made from, where that one is labelled too.
        split: "train" or "test" where the set prescribes it, otherwise "".
    """

    path: Path
    score: float
    reference: str
    distortion: str = ""
    level: int = 0
    pristine: Path | None = None
    split: str = ""


@dataclass(frozen=True)
class SetInfo:
    """What is known of a data set before it is read.

    Attributes:
        name: as commands take it.
        title: as papers write it.
        kind: "synthetic": distorted from reference pictures; "authentic": as cameras took them.
        pictures: distorted pictures in the complete set; 0 if that is not fixed.
        worst, best: label values that become 0 and 100. Lower labels are the better ones where worst > best.
        home: where the set is to be had; "" for people's own.
        resize_to: width and height to which its pictures are brought before cropping; () for none. What the released
            implementation does for KonIQ-10k and SPAQ; the paper says nothing.
    """

    name: str
    title: str
    kind: Literal["synthetic", "authentic"]
    pictures: int
    worst: float
    best: float
    home: str
    resize_to: tuple[int, ...] = ()

    @property
    def source(self) -> str:
        """A sentence for the end of a message: where the set is to be had."""
        return f" The set is to be had at {self.home}" if self.home else ""


@dataclass(frozen=True)
class QualitySet:
    """A data set that was read: at least one picture, every file there, every score in 0-100."""

    info: SetInfo
    items: tuple[Labelled, ...]

    @property
    def pictures(self) -> int:
        """How many there are, counted as in `SetInfo.pictures`: without undistorted ones."""
        return sum(item.distortion != PRISTINE for item in self.items)


def to_hundred(value: float, info: SetInfo, where: str) -> float:
    """Maps a label to 0-100, higher better.

    Raises:
        DatasetError: it is no finite number or lies outside the set's range. `where` names file and row.
    """
    low, high = sorted((info.worst, info.best))
    if not (math.isfinite(value) and low <= value <= high):
        raise DatasetError(f"{where}: the label {value:g} is not a number in {low:g} to {high:g}.")
    return 100.0 * (value - info.worst) / (info.best - info.worst)


def find_file(root: Path, relative: str, info: SetInfo) -> Path:
    """A file of the set's official layout.

    Raises:
        DatasetError: it is not there. Says what was looked for, where, and where the set is to be had.
    """
    path = root / relative
    if not path.is_file():
        raise DatasetError(f"{info.title}: there is no {relative} in {root}.{info.source}")
    return path


def complete(items: list[Labelled], info: SetInfo, root: Path) -> QualitySet:
    """Checks that every listed picture is there and whole, as far as its end marker tells.

    Raises:
        DatasetError: pictures are missing or cut short; how many, and the first. No picture is listed.
    """
    if not items:
        raise DatasetError(f"{info.title}: {root} lists no picture.")
    missing = [item.path for item in items if not item.path.is_file()]
    if missing:
        raise DatasetError(
            f"{info.title}: {len(missing)} of {len(items)} listed pictures are not there, the first: {missing[0]}."
            f"{info.source}"
        )

    def is_broken(path: Path) -> bool:
        try:
            return ends_early(path)
        except OSError as error:
            raise DatasetError(f"{info.title}: {path} cannot be read: {error.strerror or error}.") from error

    broken = [item.path for item in items if is_broken(item.path)]
    if broken:
        raise DatasetError(
            f"{info.title}: {len(broken)} of {len(items)} pictures are cut short, the first: {broken[0]}.{info.source}"
        )
    return QualitySet(info, tuple(items))
