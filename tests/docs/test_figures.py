"""A figure has one source: what users read is what a card or a research note of the present weights says."""

import csv
import re

import pytest

from tests.docs.blocks import ROOT

INTERVAL = re.compile(r"-?\.\d+ \[-?\.\d+, -?\.\d+\]")
SOURCES = [*ROOT.glob("weights/*/card.md"), *ROOT.glob("docs/research/*.md")]
KNOWN = {
    figure
    for source in SOURCES
    for figure in INTERVAL.findall(re.sub(r"\s+", " ", source.read_text(encoding="utf-8").replace("**", "")))
}


@pytest.mark.parametrize("page", ["README.md", "docs/evidence.md", "docs/number.md"])
def test_figures_with_intervals_are_those_of_the_cards(page: str) -> None:
    text = re.sub(r"\s+", " ", (ROOT / page).read_text(encoding="utf-8").replace("**", ""))
    assert [figure for figure in INTERVAL.findall(text) if figure not in KNOWN] == []


def figures(row: dict[str, str]) -> set[str]:
    """Each figure of a results' row that has an interval, as documents write it."""
    ends = {name: (row.get(f"{name}_low"), row.get(f"{name}_high")) for name in row}
    return {
        "{} [{}, {}]".format(*(f"{float(value):.3f}".replace("0.", ".", 1) for value in (row[name], low, high)))
        for name, (low, high) in ends.items()
        if row[name] and low and high
    }


def test_the_uses_quote_the_cards_and_the_results() -> None:
    files = (path for path in (ROOT / "benchmarks/results").glob("*/*.csv"))
    known = KNOWN.union(*(figures(row) for path in files for row in csv.DictReader(path.open(encoding="utf-8"))))
    text = re.sub(r"\s+", " ", (ROOT / "docs/uses.md").read_text(encoding="utf-8").replace("**", ""))
    quoted = INTERVAL.findall(text)
    assert len(quoted) > 30
    assert [figure for figure in quoted if figure not in known] == []
