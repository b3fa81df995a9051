"""A board of metrics on a human-rated set: one table for the whole set and one for each part of it."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from rich.console import Group
from rich.table import Table

from drmetric.bench.agreement.table import Interval


class PartLine(Protocol):
    """One metric on one part; a dataclass, whose fields ending in _interval are pairs."""

    @property
    def part(self) -> str: ...

    @property
    def rank_by(self) -> float:
        """What tables are sorted by, highest first."""
        ...


Line = TypeVar("Line", bound=PartLine)


@dataclass(frozen=True)
class PartBoard(Generic[Line]):
    """A finished board: the lines of every part, the whole set first.

    Attributes:
        title: data set and split, in words.
        note: how the figures were made.
        lines: part by part.
        errors: (metric, image, what went wrong).
    """

    columns: ClassVar[Mapping[str, Callable[[Any], str]]]
    """Headings, and the cell of a line; a column that is blank in all lines is left out of tables."""

    title: str
    note: str
    lines: list[Line]
    errors: list[tuple[str, str, str]]

    def _parts(self) -> dict[str, list[Line]]:
        parts: dict[str, list[Line]] = {line.part: [] for line in self.lines}
        for line in sorted(self.lines, key=lambda line: -np.nan_to_num(line.rank_by, nan=-2)):
            parts[line.part].append(line)
        return parts

    def _used_columns(self) -> dict[str, Callable[[Any], str]]:
        return {name: cell for name, cell in self.columns.items() if any(map(cell, self.lines))}

    def to_rich(self) -> Group:
        """The tables for a terminal."""
        columns = self._used_columns()
        tables = []
        for name, lines in self._parts().items():
            table = Table(*columns, title=f"{self.title}: {name}")
            for line in lines:
                table.add_row(*(cell(line) for cell in columns.values()))
            tables.append(table)
        return Group(*tables, self.note)

    def to_markdown(self) -> str:
        """Title, tables and note."""
        columns = self._used_columns()
        text = [self.title]
        for name, lines in self._parts().items():
            rows = [list(columns), ["---"] * len(columns)]
            rows += [[cell(line) for cell in columns.values()] for line in lines]
            text.append(name + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows))
        return "\n\n".join([*text, self.note]) + "\n"

    def to_csv(self) -> str:
        """Every field of every line, at full precision; an interval makes two columns, _low and _high."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        kind: Any = type(self.lines[0])
        writer.writerow([column for field in fields(kind) for column in _csv_columns(field.name)])
        for lines in self._parts().values():
            for line in lines:
                values = asdict(line).values()  # type: ignore[call-overload]
                writer.writerow([v for value in values for v in (value if isinstance(value, tuple) else (value,))])
        return text.getvalue()

    def write(self, folder: Path) -> None:
        """Write table.md and table.csv."""
        (folder / "table.md").write_text(self.to_markdown(), encoding="utf-8")
        (folder / "table.csv").write_text(self.to_csv(), encoding="utf-8")


def _csv_columns(name: str) -> tuple[str, ...]:
    stem = name.removesuffix("_interval")
    return (f"{stem}_low", f"{stem}_high") if name.endswith("_interval") else (name,)


def cell(value: float, interval: Interval | None = None, form: str = ".3f") -> str:
    """A number for a table, with its interval, if there is one, in brackets; blank where it is NaN."""
    if np.isnan(value):
        return ""
    low, high = interval or (float("nan"), float("nan"))
    return format(value, form) + ("" if np.isnan(low) else f" [{low:{form}}, {high:{form}}]")
