"""A table of metrics on one set of opinions: each one's SRCC, and how far the first one's lies above it."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from drmetric.bench.tables import Cell, Column, Table
from drmetric.cli.console import show
from drmetric.statistics import bootstrap_by_content, holm, paired_bootstrap_of, srcc

Rows = list[tuple[float, ...]]
"""Scores and the opinion of each image of one content."""

COLUMNS = (
    Column("metric", "metric"),
    Column("srcc", "SRCC", ".3f", "shown"),
    Column("difference", "first minus it", "+.3f", "shown"),
    Column("p_holm", "p (Holm)", ".3f"),
)


def compare(
    title: str,
    columns: Mapping[str, Sequence[float]],
    opinions: Sequence[float],
    contents: Sequence[Hashable] | None = None,
    first: str | None = None,
) -> list[dict[str, Any]]:
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
    rows: list[dict[str, Any]] = []
    for name, column in columns.items():
        interval = bootstrap_by_content(by_content(column, opinions), _srcc)
        test = tests.get(name)
        rows.append(
            {
                "metric": name,
                "srcc": Cell(srcc(column, opinions), *interval),
                "difference": Cell(test.difference, test.low, test.high) if test else Cell(),
                "p_holm": corrected.get(name),
            }
        )
    count = f"{len(opinions)} images" + ("" if contents is None else f" of {len(set(groups))} contents")
    show(Table(COLUMNS, rows, f"{title}: {count}; the first is {first}"))
    return rows


def _srcc(contents: Sequence[Rows]) -> float:
    scores, opinions = np.array([row for rows in contents for row in rows]).T
    return srcc(scores, opinions)


def _difference(contents: Sequence[Rows]) -> float:
    first, second, opinions = np.array([row for rows in contents for row in rows]).T
    return srcc(first, opinions) - srcc(second, opinions)
