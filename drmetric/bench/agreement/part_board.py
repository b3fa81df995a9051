"""A board of metrics on a human-rated set: one table for the whole set and one for each part of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np

from drmetric.bench.tables import Cell, Column, Table, to_markdown


class PartLine(Protocol):
    """One metric on one part."""

    @property
    def part(self) -> str: ...

    @property
    def rank_by(self) -> float:
        """What tables are sorted by, highest first."""
        ...


Line = TypeVar("Line", bound=PartLine)

SUBJECT = (
    Column("part"),
    Column("metric", "metric"),
    Column("reference", "reference", cell=lambda line: Cell(line.reference, text=line.reference.replace("none", ""))),
    Column("n_used", "n used/given", cell=lambda line: Cell(line.n_used, text=f"{line.n_used}/{line.n_given}")),
    Column("n_given"),
)
"""The first columns of every board."""
COST = (Column("milliseconds", "ms/image", ".1f"), Column("signature"))
"""The last columns of every board."""


@dataclass(frozen=True)
class PartBoard(Generic[Line]):
    """A finished board: the lines of every part, the whole set first.

    Attributes:
        title: data set and split, in words.
        note: how the figures were made.
        lines: part by part.
        errors: (metric, image, what went wrong).
    """

    columns: ClassVar[Sequence[Column]]
    title: str
    note: str
    lines: list[Line]
    errors: list[tuple[str, str, str]]

    @property
    def table(self) -> Table:
        """All lines: part by part, best first."""
        parts = list(dict.fromkeys(line.part for line in self.lines))
        ranked = sorted(self.lines, key=lambda line: -np.nan_to_num(line.rank_by, nan=-2))
        return Table(self.columns, sorted(ranked, key=lambda line: parts.index(line.part)))

    def tables(self) -> list[Table]:
        """A table a part, for people: columns that are blank in all of them are left out."""
        whole = self.table.without_blanks()
        found = [
            replace(whole, rows=[line for line in whole.rows if line.part == part], title=f"{self.title}: {part}")
            for part in dict.fromkeys(line.part for line in whole.rows)
        ]
        return [*found[:-1], replace(found[-1], notes=[f"{whole.legends} {self.note}".lstrip()])]

    def write(self, folder: Path) -> None:
        """Write table.md and table.csv."""
        (folder / "table.md").write_text(to_markdown(self.tables()), encoding="utf-8")
        (folder / "table.csv").write_text(self.table.to_csv(), encoding="utf-8")
