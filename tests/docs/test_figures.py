"""A figure has one source: what users read is what a card or a research note of the present weights says."""

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
