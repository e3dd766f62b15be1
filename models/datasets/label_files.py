"""What the label files of the benchmark sets have in common: cells, variables, names of pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lifeiqa.models.datasets.base import SetInfo, to_hundred
from lifeiqa.runtime.errors import DatasetError

Rows: TypeAlias = Iterable[tuple[str, str, object]]  # where it is written, the picture's name, its label


def finder(folder: Path, info: SetInfo) -> Callable[[str], Path]:
    """Returns what finds a file of a folder by its name, in either case: label files and archives differ in it.

    The path of a name that is not there leads nowhere; `complete` reports such.

    Raises:
        DatasetError: there is no such folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"{info.title}: there is no folder {folder}.{info.source}")
    names = [path.name for path in folder.iterdir()]
    files = {name.lower(): name for name in names} | {name: name for name in names}  # its own case first
    return lambda name: folder / files.get(name, files.get(name.lower(), name))


def score_of(label: object, info: SetInfo, where: str) -> float:
    """Maps a label to 0-100, higher better.

    Raises:
        DatasetError: it is no number, or outside the set's range. `where` names file and row.
    """
    try:
        value = float(cell_text(label))
    except ValueError:
        raise DatasetError(f"{where}: the label {label!r} is not a number; download the file again.") from None
    return to_hundred(value, info, where)


def cell_text(cell: object) -> str:
    """What a spreadsheet cell shows; whole numbers without decimals, and nothing for an empty one."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def reason(error: Exception) -> str:
    """What a library says went wrong, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def read_sheet(path: Path, columns: tuple[str, ...], sheet: str = "") -> list[tuple[str, dict[str, object]]]:
    """Reads the columns of an .xlsx file, wherever in the sheet their header is; empty rows are left out.

    Args:
        path: of the file.
        columns: as the header names them.
        sheet: its name; the first one if empty.

    Returns:
        For each row, file and row number, and its cells by column.

    Raises:
        DatasetError: the file cannot be read, or the sheet or a column is missing.
    """
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formatting that openpyxl does not keep
            with closing(load_workbook(path, read_only=True, data_only=True)) as book:
                title = sheet or book.sheetnames[0]
                rows = list(book[title].iter_rows(values_only=True)) if title in book.sheetnames else []
    except Exception as error:  # openpyxl lets through whatever its parsers trip over
        raise DatasetError(f"{path} is not a readable .xlsx file ({reason(error)}); download it again.") from error
    header = next((k for k, row in enumerate(rows) if set(columns) <= set(row)), None)
    if header is None:
        raise DatasetError(f"{path} has no sheet {title} with the columns {', '.join(columns)}; download it again.")
    at = {column: rows[header].index(column) for column in columns}
    found = []
    for number, row in enumerate(rows[header + 1 :], start=header + 2):
        cells = {column: row[k] if k < len(row) else None for column, k in at.items()}
        if any(cell is not None for cell in cells.values()):
            found.append((f"{path}, row {number}", cells))
    return found


def _vector(path: Path, name: str) -> npt.NDArray[Any]:
    """A variable of a MATLAB file, which must be a row or a column."""
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=[name])
    except Exception as error:  # SciPy lets through whatever its parser trips over
        raise DatasetError(f"{path} is not a readable .mat file ({reason(error)}); download it again.") from error
    if name not in found:
        raise DatasetError(f"{path} lacks the variable {name}; download it again.")
    values = np.asarray(found[name])
    if values.size == 0 or values.size != max(values.shape, default=0):
        raise DatasetError(
            f"{path}: {name} is of the shape {values.shape}; expected one row or column. Download the file again."
        )
    return values.ravel()


def read_numbers(path: Path, name: str) -> list[float]:
    """Reads a row or column of numbers from a .mat file.

    Raises:
        DatasetError: the file cannot be read, or the variable is missing, of another shape or not of real numbers.
    """
    values = _vector(path, name)
    if values.dtype.kind not in "fiub":
        raise DatasetError(f"{path}: {name} does not hold real numbers; download the file again.")
    return [float(value) for value in values]


def read_texts(path: Path, name: str) -> list[str]:
    """Reads a row or column of texts, a cell array, from a .mat file.

    Raises:
        DatasetError: the file cannot be read, or the variable is missing, of another shape or not of texts.
    """
    cells = [np.asarray(cell).ravel() for cell in _vector(path, name)]
    for k, cell in enumerate(cells):
        if cell.size != 1 or cell.dtype.kind != "U":
            raise DatasetError(f"{path}: entry {k + 1} of {name} is not a text; download the file again.")
    return [str(cell[0]) for cell in cells]
