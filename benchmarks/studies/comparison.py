"""A table of metrics on one set of opinions: each one's SRCC, and how far the first one's lies above it."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from drmetric.statistics import bootstrap_by_content, holm, paired_bootstrap_of, srcc

Rows = list[tuple[float, ...]]
"""Scores and the opinion of each image of one content."""


def compare(
    title: str,
    columns: Mapping[str, Sequence[float]],
    opinions: Sequence[float],
    contents: Sequence[Hashable] | None = None,
    first: str | None = None,
) -> list[list[str]]:
    """Print and return, for each metric, its SRCC and the first one's paired difference from it, with p after Holm.

    Args:
        title: of the table.
        columns: scores of each metric, higher is better.
        opinions: of the images.
        contents: what each image shows; intervals are over these. None takes every image for itself.
        first: which metric the others are compared with; the first one if not given.
    """
    first = first or next(iter(columns))
    groups = list(range(len(opinions))) if contents is None else list(contents)

    def by_content(*values: Sequence[float]) -> list[Rows]:
        found: dict[Hashable, Rows] = {}
        for group, row in zip(groups, zip(*values, strict=True), strict=True):
            found.setdefault(group, []).append(row)
        return list(found.values())

    others = [name for name in columns if name != first]
    tests = {
        name: paired_bootstrap_of(by_content(columns[first], columns[name], opinions), _difference) for name in others
    }
    corrected = dict(zip(others, holm([test.p_value for test in tests.values()]), strict=True))
    rows = []
    for name, column in columns.items():
        pairs = by_content(column, opinions)
        low, high = bootstrap_by_content(pairs, _srcc)
        row = [name, f"{srcc(column, opinions):.3f} [{low:.3f}, {high:.3f}]", "", ""]
        if name != first:
            test = tests[name]
            row[2:] = f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}]", f"{corrected[name]:.3f}"
        rows.append(row)
    count = f"{len(opinions)} images" + ("" if contents is None else f" of {len(set(groups))} contents")
    table = Table("metric", "SRCC", f"{first} minus it", "p (Holm)", title=f"{title}: {count}")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)
    return rows


def _srcc(contents: Sequence[Rows]) -> float:
    scores, opinions = np.array([row for rows in contents for row in rows]).T
    return srcc(scores, opinions)


def _difference(contents: Sequence[Rows]) -> float:
    first, second, opinions = np.array([row for rows in contents for row in rows]).T
    return srcc(first, opinions) - srcc(second, opinions)
