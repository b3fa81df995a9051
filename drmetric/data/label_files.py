"""What the readers of opinions share: the rated image, label files, image files and splits."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drmetric.data.make.photographs import Split, seed_of
from drmetric.errors import ConfigError, MissingDependencyError


@dataclass(frozen=True)
class RatedImage:
    """An image and what people think of its quality.

    Attributes:
        image: the file.
        score: 0..1, higher is better: the mean opinion, mapped linearly from the scale of the set.
        content: the scene of a synthetic set; else the image's own name, or that of its group where images show
            the same (near-duplicates, one prompt). No content is in two splits, but for those that an official
            split divides.
        reference: the pristine image, of synthetic sets and of restorations.
        spread: standard deviation of the single ratings in units of `score`, where the set publishes it.
        subset: named part of the set, such as the distortion type; "" if it has none.
        degraded: what the restorer was given, of restorations where the set publishes it.
    """

    image: Path
    score: float
    content: str
    reference: Path | None = None
    spread: float | None = None
    subset: str = ""
    degraded: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The image, and those of pristine and degraded that there are."""
        return [file for file in (self.image, self.reference, self.degraded) if file is not None]


Rated = Iterator[tuple[RatedImage, Split]]
Row = Mapping[str, str]


def drawn_split(kind: str, content: str) -> Split:
    """70 % of the contents for training, 10 % for validation and 20 % for the test, by a hash of their names."""
    share = seed_of(kind, content) / 2**32
    return "train" if share < 0.7 else "validation" if share < 0.8 else "test"


def drawn_validation(kind: str, content: str) -> Split:
    """For an official training split: 10 % of its contents for validation, by a hash of their names."""
    return "validation" if seed_of(kind, content) / 2**32 < 0.1 else "train"


def official_split(row: Row, path: Path) -> Split:
    """The split in the column "set" of the data sets of the University of Konstanz."""
    names: dict[str, Split] = {"training": "train", "validation": "validation", "test": "test"}
    if row["set"] not in names:
        raise ConfigError(f"{path}: unknown set {row['set']!r}", f"one of: {', '.join(names)}")
    return names[row["set"]]


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


def read_words(path: Path) -> list[tuple[str, str]]:
    """Lines of two words each, such as a score and a file name; raises `ConfigError` at any other."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if len(words) == 2:
            pairs.append((words[0], words[1]))
        elif words:
            raise ConfigError(f"{path}: {line!r} is not a score and a file name", f"download {path.name} again")
    return pairs


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
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path.name} needs openpyxl, which is not installed", "pip install 'drmetric[bench]'"
        ) from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
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
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path.name} needs scipy, which is not installed", "pip install 'drmetric[bench]'"
        ) from error
    try:
        values = loadmat(path, squeeze_me=True)[variable]
    except Exception as error:  # loadmat raises ValueError, MatReadError, NotImplementedError, zlib.error, ...
        raise ConfigError(
            f"{path} is no MATLAB file with {variable}: {error!r}", f"download {path.name} again"
        ) from error
    return list(values.reshape(-1).tolist())
