"""People's own data: a CSV file with the columns path,score and what else is known of each picture."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

from lifeiqa.models.datasets.base import Labelled, QualitySet, SetInfo, complete
from lifeiqa.models.datasets.csv_files import read_table
from lifeiqa.runtime.errors import DatasetError

INFO = SetInfo("csv", "CSV", "authentic", 0, 0.0, 100.0, "")


def read_listed(root: Path) -> QualitySet:
    """Reads `path,score[,reference,distortion,level,pristine,split]`; paths are relative to the file's folder.

    Scores are on 0-100, higher better. Without a reference, each picture is its own content. What lifeiqa-synth
    writes is such a file. The set is called as the file is, or as its folder where that is labels.csv.

    Raises:
        DatasetError: the file or a column is missing, a score is no number in 0-100, a level no whole number, a split
            neither train nor test, a picture is missing or cut short.
    """
    if root.is_dir():
        root = root / "labels.csv"
    folder = root.parent
    items, seen = [], set()
    for line, row in enumerate(read_table(root, ("path", "score")), start=2):
        where = f"{root}, line {line}"
        try:
            score = float(row["score"])
        except ValueError:
            score = math.nan
        if not 0 <= score <= 100:
            raise DatasetError(f"{where}: the score {row['score']!r} is not a number in 0-100.")
        level = row.get("level") or "0"
        if not level.isdecimal():
            raise DatasetError(f"{where}: the level {level!r} is not a whole number from 0.")
        split = row.get("split") or ""
        if split not in ("", "train", "test"):
            raise DatasetError(f"{where}: the split is {split!r}; expected train or test.")
        if not row["path"]:
            raise DatasetError(f"{where}: the path is empty.")
        path = os.path.normpath(folder / row["path"])
        if path in seen:
            raise DatasetError(f"{where}: {row['path']} is listed twice.")
        seen.add(path)
        pristine = folder / row["pristine"] if row.get("pristine") else None
        reference = row.get("reference") or row["path"]
        items.append(
            Labelled(folder / row["path"], score, reference, row.get("distortion") or "", int(level), pristine, split)
        )
    if len({bool(item.split) for item in items}) > 1:
        raise DatasetError(f"{root}: some rows have a split and some have none.")
    known = {item.path for item in items}
    orphans = [item.pristine for item in items if item.pristine and item.pristine not in known]
    if orphans:
        raise DatasetError(f"{root} lists no row for {orphans[0]}, which other pictures come from.")
    name = folder.resolve().name if root.name.lower() == "labels.csv" else root.stem
    return complete(items, replace(INFO, title=name or INFO.title), root)
