"""What the readers of data sets share: label files as rows, and image files by name."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drmetric.errors import ConfigError, optional

Row = Mapping[str, str]


class SetFolder:
    """The files of a data set by their paths below its folder, whatever their case."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files = {file.relative_to(root).as_posix().lower(): file for file in sorted(root.rglob("*"))}

    def image(self, *paths: str) -> Path:
        """The first of these paths that exists; else the first, which `read_opinions` will report as missing."""
        found = (self._files[path.lower()] for path in paths if path.lower() in self._files)
        return next(found, self.root / paths[0])

    def has(self, path: str) -> bool:
        return path.lower() in self._files

    def labels(self, *paths: str) -> Path:
        """The first of these label files that exists; raises `ConfigError` if none does."""
        if not any(map(self.has, paths)):
            raise ConfigError(
                f"no {' or '.join(paths)} in {self.root}",
                f"unpack the data set so that {self.root / paths[0]} exists, or give the folder where it does",
            )
        return self.image(*paths)


def number(row: Row, column: str, path: Path) -> float:
    """A cell as a finite number; raises `ConfigError` if it is none."""
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{path}: {column} is {row[column]!r}; wanted a number", f"download {path.name} again")
    return value


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file by its headings; raises `ConfigError` where one of `columns` is missing."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = [column for column in columns if column not in (rows.fieldnames or ())]
        if missing:
            raise ConfigError(f"{path} has no column {', '.join(missing)}", f"its first line: {','.join(columns)}")
        return list(rows)


def read_words(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Lines of words, with blanks or a comma between them, as rows of these columns; raises `ConfigError` at others."""
    rows = []
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        words = re.split(r"[,\s]+", line)
        if len(words) != len(columns):
            raise ConfigError(f"{path}: {line!r} is not {' and '.join(columns)}", f"download {path.name} again")
        rows.append(dict(zip(columns, words, strict=True)))
    return rows


def name_parts(name: str, pattern: str, path: Path) -> tuple[str, ...]:
    """The groups of a pattern, in any case, in a file name of a label file; raises `ConfigError` where it differs."""
    match = re.fullmatch(pattern, name, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"{path}: {name!r} is no file name of this data set", f"download {path.name} again")
    return match.groups()


def read_xlsx(path: Path, columns: Sequence[str], sheet: str = "") -> list[dict[str, str]]:
    """Rows of a spreadsheet below its line of headings.

    Args:
        path: an .xlsx file (Office Open XML); no formula is evaluated.
        columns: headings that there must be; rows without a value in one of them are left out.
        sheet: its name; the first one if "".

    Raises:
        ConfigError: not an .xlsx file, no such sheet, or no line with these headings.
        MissingDependencyError: openpyxl is not installed.
    """
    rows = _sheet(path, sheet)
    for place, headings in enumerate(rows):
        if set(columns) <= set(headings):
            named = [dict(zip(headings, row, strict=True)) for row in rows[place + 1 :]]
            return [row for row in named if all(row[column] for column in columns)]
    raise ConfigError(f"{path} has no line of headings with {', '.join(columns)}", f"download {path.name} again")


def _sheet(path: Path, sheet: str) -> list[list[str]]:
    """The cells of a sheet as text."""
    openpyxl = optional("openpyxl", "bench", f"reading {path.name}")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        cells = book[sheet] if sheet else book.worksheets[0]
        return [
            ["" if cell is None else str(cell).strip() for cell in row] for row in cells.iter_rows(values_only=True)
        ]
    except Exception as error:  # BadZipFile, KeyError, ParseError, ... as the file is broken
        raise ConfigError(
            f"{path} cannot be read as a spreadsheet: {error!r}",
            f"download it again, or save it anew as {path.stem}.xlsx",
        ) from error


def read_mat(path: Path, variable: str) -> list[Any]:
    """A vector out of a MATLAB file, as floats or strings.

    Raises:
        ConfigError: not a MATLAB file, or without this variable.
        MissingDependencyError: scipy is not installed.
    """
    io = optional("scipy.io", "bench", f"reading {path.name}")
    try:
        values = io.loadmat(path, squeeze_me=True)[variable]
    except Exception as error:  # loadmat raises ValueError, MatReadError, NotImplementedError, zlib.error, ...
        raise ConfigError(
            f"{path} is no MATLAB file with {variable}: {error!r}", f"download {path.name} again"
        ) from error
    return list(values.reshape(-1).tolist())
