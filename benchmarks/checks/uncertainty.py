"""Does a metric know when it is wrong? Its uncertainty against its error, on images that it was not trained on.

    python -m benchmarks.checks.uncertainty biq2021 $DRMETRIC_BIQ2021
    python -m benchmarks.checks.uncertainty live_itw $DRMETRIC_LIVE_ITW --split all --metric nariqa

Prints how often the opinion lies within one and two standard errors of the score (68 % and 95 % for a normal error),
and Spearman's correlation of the uncertainty with the absolute error, with 95 % intervals over contents.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from drmetric import create
from drmetric.bench.tables import Cell, Table
from drmetric.cli.console import show
from drmetric.data.rated import read_opinions
from drmetric.data.splits import SPLITS, Split
from drmetric.images import read_image
from drmetric.metrics.base import Metric
from drmetric.statistics import bootstrap_by_content, srcc

Judged = tuple[float, float]
"""Absolute error and standard error of one image."""


def judge(metric: Metric, kind: str, folder: Path, split: Split | None) -> list[list[Judged]]:
    """Of every content, its images' errors."""
    contents: dict[str, list[Judged]] = {}
    for rated in read_opinions(kind, folder, split):
        with torch.no_grad():
            score, error = metric(read_image(rated.image)[None], return_uncertainty=True)
        contents.setdefault(rated.content, []).append((abs(float(score) - rated.score), float(error)))
    return list(contents.values())


def _flat(contents: list[list[Judged]]) -> np.ndarray:
    return np.array([judged for content in contents for judged in content])


def main() -> None:
    """Judge one split and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", choices=[*SPLITS, "all"], default="test")
    parser.add_argument("--metric", choices=["nriqa", "nriqa_akd", "nariqa"], default="nriqa")
    parser.add_argument("--weights", default="default")
    options = parser.parse_args()
    split = None if options.split == "all" else options.split
    contents = judge(create(options.metric, weights=options.weights), options.kind, options.folder, split)
    statistics = {
        "within one standard error": lambda drawn: float(np.mean(_flat(drawn)[:, 0] <= _flat(drawn)[:, 1])),
        "within two": lambda drawn: float(np.mean(_flat(drawn)[:, 0] <= 2 * _flat(drawn)[:, 1])),
        "SRCC of uncertainty and error": lambda drawn: srcc(*_flat(drawn).T[::-1]),
    }
    rows = [
        {"what": name, "value": Cell(of(contents), *bootstrap_by_content(contents, of, n=500))}
        for name, of in statistics.items()
    ]
    show(Table.of(rows, f"{options.metric}, {options.kind}, {options.split}: n = {len(_flat(contents))} images", ".3f"))


if __name__ == "__main__":
    main()
