"""Tables whose columns are declared once: for people on a terminal, as Markdown, LaTeX and HTML; for programs as
CSV, JSON lines and Parquet.

People see the columns that have a head, their numbers as `Column.form` says. Programs get the columns that have a key,
at full precision. Names come from users: whatever a format gives a meaning to (escapes of terminals, line ends, markup,
formulas of spreadsheets) reaches nobody as more than text.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from drmetric.errors import optional
from drmetric.text import no_formula, printable

if TYPE_CHECKING:
    import rich.table

ARROWS = {"": "", "higher": "↑", "lower": "↓"}
LATEX_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$"}
)

Mark = Literal["", "best", "tied", "starred"]
Better = Literal["", "higher", "lower"]


@dataclass(frozen=True)
class Cell:
    """What a row has in one column.

    >>> str(Cell(0.81234, 0.8, 0.825, form=".3f"))
    '0.812 [0.800, 0.825]'

    Attributes:
        value: a number, a text, or None.
        low, high: ends of its interval; NaN where it has none.
        mark: "best"; "tied", no significant difference from the best; "starred", for a reason that the notes give.
        note: what people see behind value and interval.
        text: what people see in place of the value.
        form: of the value and its interval, such as ".3f"; from the column where it is left empty.
    """

    value: Any = None
    low: float = math.nan
    high: float = math.nan
    mark: Mark = ""
    note: str = ""
    text: str | None = None
    form: str = ""

    @property
    def figure(self) -> str:
        """The value, or its `text`, without interval, mark and note."""
        return printable(self.text) if self.text is not None else _written(self.value, self.form)

    @property
    def interval(self) -> str:
        """The interval in brackets, or nothing."""
        return f"[{_written(self.low, self.form)}, {_written(self.high, self.form)}]" if math.isfinite(self.low) else ""

    @property
    def remark(self) -> str:
        """The note, on one line."""
        return printable(self.note)

    @property
    def known(self) -> Any:
        """The value as programs get it."""
        return _known(self.value)

    def __str__(self) -> str:
        return self.joined(" ")

    def joined(self, gap: str) -> str:
        """Value, interval and note with a gap between, and a star where the notes explain one."""
        star = "*" if self.figure and self.mark in ("tied", "starred") else ""
        return gap.join(filter(None, (self.figure, self.interval, self.remark))) + star


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: where a row has the value (an attribute, or the key of a mapping), and the column's name for programs;
            empty for a column that only people see.
        head: what people see above it; empty for a column that only programs get.
        form: of its numbers, such as ".3f".
        interval: "shown" behind the value, or "kept" for programs, which get <key>_low and <key>_high of either; a row
            has the pair as <key>_interval. Empty where there is none.
        better: the direction of its numbers, which people see as an arrow.
        cell: of a row, where it is more than value and interval.
        align: by default numbers, which have a form, are on the right.
        legend: what it holds, in a sentence for the notes.
    """

    key: str = ""
    head: str = ""
    form: str = ""
    interval: Literal["", "shown", "kept"] = ""
    better: Better = ""
    cell: Callable[[Any], Cell] | None = None
    align: Literal["", "left", "right"] = ""
    legend: str = ""

    @property
    def label(self) -> str:
        """The head on one line."""
        return printable(self.head)

    @property
    def arrow(self) -> str:
        """Up where higher is better, down where lower is, or nothing."""
        return ARROWS[self.better]

    @property
    def title(self) -> str:
        """Label and arrow."""
        return f"{self.label} {self.arrow}".rstrip()

    @property
    def is_right(self) -> bool:
        """Whether its cells are aligned to the right."""
        return self.align == "right" or (not self.align and bool(self.form))

    def of(self, row: Any) -> Cell:
        """The cell of a row, for people."""
        cell = self._read(row)
        low, high = (cell.low, cell.high) if self.interval == "shown" else (math.nan, math.nan)
        return replace(cell, form=cell.form or self.form, low=low, high=high)

    @property
    def names(self) -> list[str]:
        """What programs call its values."""
        ends = ["_low", "_high"] if self.interval else []
        return [self.key + end for end in ("", *ends)] if self.key else []

    def known(self, row: Any) -> list[Any]:
        """What programs get of a row, in the order of `names`; what is not known is None."""
        cell = self._read(row)
        return [_known(value) for value in (cell.value, cell.low, cell.high)][: len(self.names)]

    def _read(self, row: Any) -> Cell:
        if self.cell is not None:
            return self.cell(row)
        value = _entry(row, self.key)
        if isinstance(value, Cell):
            return value
        return Cell(value, *_entry(row, f"{self.key}_interval")) if self.interval else Cell(value)


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        columns: in the order of people and of programs.
        rows: mappings, or objects with the columns' keys as attributes.
        title: above it.
        notes: paragraphs below it.
        tied: what a tied cell is, for a legend: text marks it with *, LaTeX underlines it, HTML says so.
    """

    columns: Sequence[Column]
    rows: Sequence[Any]
    title: str = ""
    notes: Sequence[str] = ()
    tied: str = ""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], title: str = "", form: str = "") -> "Table":
        """The entries of the rows, under their names; `form` is that of numbers and of cells, which show intervals."""
        columns = [
            Column(
                name,
                name,
                form if isinstance(entry, Cell | float) else "",
                "shown" if isinstance(entry, Cell) else "",
            )
            for name, entry in next(iter(rows), {}).items()
        ]
        return cls(columns, rows, title)

    @property
    def shown(self) -> list[Column]:
        """The columns that people see."""
        return [column for column in self.columns if column.head]

    @property
    def cells(self) -> list[list[Cell]]:
        """The cells that people see, row by row."""
        return [[column.of(row) for column in self.shown] for row in self.rows]

    @property
    def legends(self) -> str:
        """What the columns that people see hold."""
        return " ".join(column.legend for column in self.shown if column.legend)

    @property
    def paragraphs(self) -> list[str]:
        """The notes, each on one line, without what the marks mean."""
        return [printable(note) for note in self.notes if note]

    @property
    def explained(self) -> list[str]:
        """The paragraphs of text, where a star is a mark."""
        return [*([f"*: {self.tied}."] if self.tied else []), *self.paragraphs]

    @property
    def names(self) -> list[str]:
        """What programs call the values of a row."""
        return [name for column in self.columns for name in column.names]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The rows for programs; what is not known is None."""
        rows = ([value for column in self.columns for value in column.known(row)] for row in self.rows)
        return [dict(zip(self.names, row, strict=True)) for row in rows]

    def without_blanks(self) -> "Table":
        """The table without heads over nothing: such columns are left to programs."""
        blank = [not any(str(column.of(row)) for row in self.rows) for column in self.columns]
        columns = [replace(c, head="") if is_blank else c for c, is_blank in zip(self.columns, blank, strict=True)]
        return replace(self, columns=columns)

    def to_rich(self, width: int | None = None) -> "rich.table.Table":
        """The table for a terminal, without its notes.

        Where it is too narrow, intervals go below their values, and the first column keeps up to two fifths of it.
        """
        from rich.box import SIMPLE_HEAD
        from rich.cells import cell_len
        from rich.table import Table as RichTable
        from rich.text import Text

        title = Text(printable(self.title), "bold") if self.title else None
        table = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
        widths = [
            max(map(cell_len, column)) for column in zip(*(line.split("\t") for line in self.to_lines()), strict=True)
        ]
        is_narrow = width is not None and sum(widths) + 2 * len(widths) > width
        first, gap = (min(widths[0], width * 2 // 5), "\n") if width is not None and is_narrow else (None, " ")
        for number, column in enumerate(self.shown):
            justify: Literal["left", "right"] = "right" if column.is_right else "left"
            table.add_column(Text(column.title), justify=justify, overflow="fold", width=None if number else first)
        for cells in self.cells:
            table.add_row(*(Text(cell.joined(gap), "bold" if cell.mark == "best" else "") for cell in cells))
        return table

    def to_lines(self) -> list[str]:
        """Values between tabs under a line of heads."""
        rows = [[column.title for column in self.shown], *(map(str, cells) for cells in self.cells)]
        return ["\t".join(row) for row in rows]

    def to_markdown(self, level: int = 1) -> str:
        """The title as a heading of this level, the table, and its notes."""
        rule = ["---:" if column.is_right else "---" for column in self.shown]
        body = [[_markdown(str(cell)) for cell in cells] for cells in self.cells]
        lines = [[_markdown(column.title) for column in self.shown], rule, *body]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        heading = f"{'#' * level} {_markdown(printable(self.title))}" if self.title else ""
        return "\n\n".join(filter(None, [heading, table, *map(_markdown, self.explained)])) + "\n"

    def to_latex(self, intervals: bool = True) -> str:
        """The table for the package booktabs: the best in bold; no significant difference from it: underlined."""
        heads = [column.title.translate(LATEX_ESCAPES) for column in self.shown]
        alignment = "".join("r" if column.is_right else "l" for column in self.shown)
        lines = [
            *(f"% {text}" for text in (printable(self.title), *self.paragraphs)),
            rf"% \usepackage{{booktabs}}; bold: best; underlined: {self.tied or 'no significant difference at 5 %'}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _latex_row(heads),
            r"\midrule",
            *(_latex_row([_latex(cell, intervals) for cell in cells]) for cells in self.cells),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """`records` as CSV; what is not known is empty, and a quote keeps names from being formulas."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(no_formula(printable(name)) for name in self.names)
        for record in self.records:
            writer.writerow(no_formula(value) if isinstance(value, str) else value for value in record.values())
        return text.getvalue()

    def to_jsonl(self) -> str:
        """`records` as JSON lines; what is not known is null."""
        return "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records)

    def to_parquet(self) -> bytes:
        """`records` as a Parquet file; raises `MissingDependencyError` without pyarrow."""
        pa, pq = (optional(name, "bench", "a Parquet file") for name in ("pyarrow", "pyarrow.parquet"))
        records, file = self.records, io.BytesIO()
        columns = {name: pa.array([record[name] for record in records]) for name in self.names}
        unknown = {name: values.cast(pa.float64()) for name, values in columns.items() if pa.types.is_null(values.type)}
        pq.write_table(pa.table(columns | unknown), file)
        return file.getvalue()


def to_markdown(tables: Iterable[Table]) -> str:
    """Several tables as one document."""
    return "\n".join(table.to_markdown(min(number, 2)) for number, table in enumerate(tables, start=1))


def number(value: float, form: str) -> str:
    """A number as tables show it; blank where it is not finite."""
    return format(value, form) if math.isfinite(value) else ""


def _entry(row: Any, name: str) -> Any:
    return row[name] if isinstance(row, Mapping) else getattr(row, name)


def _known(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return printable(value) if isinstance(value, str) else value


def _written(value: Any, form: str) -> str:
    if isinstance(value, int | float):
        return number(value, form)
    return "" if value is None else printable(str(value))


def _markdown(text: str) -> str:
    """Without meaning: pipes, tags, entities, and what makes a link of brackets."""
    return re.sub(r"[\\|<&]|(?<=\])\(", r"\\\g<0>", text)


def _latex_row(cells: Sequence[str]) -> str:
    """The empty group keeps a bracket or a star at the beginning from being an option of what ends the row before."""
    row = " & ".join(cells) + r" \\"
    return f"{{}}{row}" if row.startswith(("[", "*")) else row


def _latex(cell: Cell, intervals: bool) -> str:
    figure = cell.figure.translate(LATEX_ESCAPES) or "--"
    if cell.mark == "best":
        figure = rf"\textbf{{{figure}}}"
    elif cell.mark == "tied":
        figure = rf"\underline{{{figure}}}"
    elif cell.mark == "starred":
        figure += "$^*$"
    small = " ".join(filter(None, (cell.interval if intervals else "", cell.remark.translate(LATEX_ESCAPES))))
    return f"{figure} {{\\scriptsize {small}}}" if small else figure
