"""Tables: a column that is declared once reaches every format, and no name reaches one as more than text."""

import csv
import io
import json
import math
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from drmetric.bench.tables import Cell, Column, Table, to_markdown
from drmetric.text import printable


@dataclass(frozen=True)
class Line:
    metric: str
    srcc: float
    srcc_interval: tuple[float, float]
    krcc: float
    krcc_interval: tuple[float, float] = (0.1, 0.2)
    is_linear: bool = False


COLUMNS = (
    Column("metric", "metric"),
    Column("srcc", "SRCC", ".3f", "shown", "higher", legend="SRCC: Spearman's."),
    Column("krcc", "KRCC", ".2f", "kept"),
    Column("is_linear"),
    Column(head="kind", cell=lambda line: Cell(text="line" if line.is_linear else "curve")),
)
LINES = (Line("one", 0.81234, (0.8, 0.825), 1 / 3), Line("two", math.nan, (math.nan, math.nan), -0.5, is_linear=True))
TABLE = Table(COLUMNS, LINES, "Board: test", ["A note."])


def read_csv(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.to_csv())))


def test_people_see_heads_and_forms_and_programs_get_keys_and_every_figure() -> None:
    assert TABLE.to_lines() == [
        "metric\tSRCC ↑\tKRCC\tkind",
        "one\t0.812 [0.800, 0.825]\t0.33\tcurve",
        "two\t\t-0.50\tline",
    ]
    first, second = TABLE.records
    assert list(first) == ["metric", "srcc", "srcc_low", "srcc_high", "krcc", "krcc_low", "krcc_high", "is_linear"]
    assert (first["srcc"], first["srcc_low"], first["krcc"], first["krcc_high"]) == (0.81234, 0.8, 1 / 3, 0.2)
    assert (second["srcc"], second["srcc_low"], second["is_linear"]) == (None, None, True)


def test_csv_json_lines_and_parquet_agree() -> None:
    assert [json.loads(line) for line in TABLE.to_jsonl().splitlines()] == TABLE.records
    assert pq.read_table(pa.BufferReader(TABLE.to_parquet())).to_pylist() == TABLE.records
    one, two = read_csv(TABLE)
    assert (float(one["krcc"]), two["srcc"], two["is_linear"]) == (1 / 3, "", "True")


def test_what_is_never_known_is_still_a_number_in_parquet() -> None:
    schema = pq.read_schema(pa.BufferReader(Table(COLUMNS, LINES[1:]).to_parquet()))
    assert schema.field("srcc").type == schema.field("krcc").type == pa.float64()


def test_markdown_has_a_heading_a_table_and_notes() -> None:
    assert TABLE.to_markdown() == (
        "# Board: test\n\n"
        "| metric | SRCC ↑ | KRCC | kind |\n| --- | ---: | ---: | --- |\n"
        "| one | 0.812 [0.800, 0.825] | 0.33 | curve |\n| two |  | -0.50 | line |\n\n"
        "A note.\n"
    )
    several = to_markdown([TABLE, replace(TABLE, title="Part"), replace(TABLE, title="")])
    assert [line for line in several.splitlines() if line.startswith("#")] == ["# Board: test", "## Part"]


def test_latex_marks_the_best_and_those_not_told_from_it() -> None:
    marks = ("best", "tied", "starred", "")
    rows = [{"name": "50 % & more", "score": Cell(1.5, 1.0, 2.0, mark, "3/4")} for mark in marks]
    table = Table([Column("name", "Name"), Column("score", "Score", ".1f", "shown", "lower")], rows, "Title", ["Note."])
    lines = table.to_latex().splitlines()
    assert lines[:2] == ["% Title", "% Note."]
    assert r"Name & Score $\downarrow$ \\" in lines
    assert r"\begin{tabular}{lr}" in lines
    figures = [line.partition(" & ")[2].partition(" {")[0] for line in lines if line.startswith("50")]
    assert figures == [r"\textbf{1.5}", r"\underline{1.5}", "1.5$^*$", "1.5"]
    assert r"50 \% \& more & 1.5 {\scriptsize [1.0, 2.0] 3/4} \\" in lines
    assert [str(row["score"]) for row in rows] == [
        "1.5 [1.0, 2.0] 3/4",
        *["1.5 [1.0, 2.0] 3/4*"] * 2,
        "1.5 [1.0, 2.0] 3/4",
    ]


def test_a_board_gains_a_column_by_one_line() -> None:
    lengths = Column(
        "length", "letters", ".1f", legend="Letters of the name.", cell=lambda line: Cell(len(line.metric))
    )
    table = Table((*COLUMNS, lengths), LINES)
    assert [line.split("\t")[-1] for line in table.to_lines()] == ["letters", "3.0", "3.0"]
    assert "| kind | letters |" in table.to_markdown()
    assert r"kind & letters \\" in table.to_latex()
    assert table.legends == "SRCC: Spearman's. Letters of the name."
    assert [row["length"] for row in table.records] == [3, 3]
    assert [row["length"] for row in read_csv(table)] == ["3", "3"]
    assert "letters" in {str(column.header) for column in table.to_rich().columns}


def test_columns_that_are_blank_are_left_to_programs() -> None:
    table = Table(COLUMNS, LINES[1:]).without_blanks()
    assert [column.head for column in table.shown] == ["metric", "KRCC", "kind"]
    assert table.legends == ""
    assert table.records == Table(COLUMNS, LINES[1:]).records


def test_a_table_without_rows_has_its_heads() -> None:
    table = Table(COLUMNS, [])
    assert table.to_csv() == "metric,srcc,srcc_low,srcc_high,krcc,krcc_low,krcc_high,is_linear\n"
    assert table.to_lines() == ["metric\tSRCC ↑\tKRCC\tkind"]
    assert "| metric |" in table.to_markdown()
    assert pq.read_table(pa.BufferReader(table.to_parquet())).num_rows == 0
    assert Table.of([]).to_lines() == [""]


def test_entries_of_rows_are_columns_under_their_names() -> None:
    table = Table.of([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])
    assert table.to_lines() == ["a\tb", "1\tx", "2\ty"]
    assert table.records == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize(
    ("value", "interval", "form", "text"),
    [
        (0.81234, (0.8, 0.825), ".3f", "0.812 [0.800, 0.825]"),
        (0.5, (math.nan, math.nan), ".2f", "0.50"),
        (-0.5, (-1.0, 0.25), "+.1f", "-0.5 [-1.0, +0.2]"),
        (math.nan, (math.nan, math.nan), ".3f", ""),
    ],
)
def test_one_way_to_write_an_interval(value: float, interval: tuple[float, float], form: str, text: str) -> None:
    assert str(Cell(value, *interval, form=form)) == text


def test_on_a_narrow_terminal_names_stay_whole_and_intervals_go_below_their_values() -> None:
    columns = [Column("name", "image"), *(Column(f"figure{n}", f"figure {n}", ".6f", "shown") for n in range(4))]
    values = {f"figure{n}": Cell(0.5, 0.25, 0.75) for n in range(4)}
    table = Table(columns, [{"name": "astronaut_oversharpened.png", **values}])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table.to_rich(80))
    shown = console.export_text().splitlines()
    assert max(map(len, shown)) <= 80
    (row,) = (line for line in shown if "astronaut" in line)
    assert row.split() == ["astronaut_oversharpened.png", *["0.500000"] * 4]


WICKED = "\x1b[31m=x|<img src=y>&amp;[a](b)\\<b>\u202e_%\n"


def test_names_are_text_in_every_format() -> None:
    table = Table([Column("name", WICKED), Column("n", "n")], [{"name": WICKED, "n": 1}], WICKED, [WICKED])
    rich_cells = "".join(
        map(str, (table.to_rich().title, *(cell for c in table.to_rich().columns for cell in c.cells)))
    )
    texts = [*table.to_lines(), rich_cells]
    texts += [
        text.replace("\n", "") for text in (table.to_markdown(), table.to_latex(), table.to_csv(), table.to_jsonl())
    ]
    assert all(text.replace("\t", "").isprintable() for text in texts)
    markdown = table.to_markdown()
    assert r"\|\<img src=y>\&amp;[a]\(b)\\\<b>" in markdown
    assert len({line.replace(r"\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1
    assert r"\_\%\textbackslash{}n" in table.to_latex()
    assert json.loads(table.to_jsonl()) == {"name": printable(WICKED), "n": 1}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "=HYPERLINK(1)", "＝1+1"])
def test_names_are_no_formulas_and_numbers_stay_numbers(name: str) -> None:
    (row,) = read_csv(Table.of([{"name": name, "score": -1.5}]))
    assert row == {"name": f"'{name}", "score": "-1.5"}


def test_heads_are_no_formulas_either() -> None:
    assert Table.of([{"=1+1": 1, "a\tb": 2}]).to_csv() == "'=1+1,a\\tb\n1,2\n"


@pytest.mark.parametrize("name", ["[2cm] x", "*x"])
def test_a_row_does_not_begin_with_an_option_of_the_end_of_another(name: str) -> None:
    lines = Table.of([{"name": name, "n": 1}] * 2).to_latex().splitlines()
    rows = [line for line in lines if line.endswith(r"\\") and "x" in line]
    assert rows == [rf"{{}}{name} & 1 \\"] * 2
