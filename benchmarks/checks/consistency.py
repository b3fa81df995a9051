"""What consistency is low? That of faithful restorations, and of another photograph, beside one degraded input.

    python -m benchmarks.checks.consistency $DRMETRIC_DATA/cid22-training

Every photograph is degraded once by each family of `drmetric.distortions.degrade`. Faithful to the input are the
photograph itself and the enlarged input; the next photograph is a sharp picture of something else. Prints for each
family and guard the least consistent of the faithful, the most consistent of the others, and the shares of both that
`drmetric.metrics.consistency` calls doubtful.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.reporting import add_output, report
from drmetric.bench.tables import Column, Table
from drmetric.distortions.degrade import FAMILIES, degrade, sample_degradation
from drmetric.images import list_images, read_image, resize, rounded_to_8_bit
from drmetric.images.scale import size_of
from drmetric.metrics.consistency import DOUBTFUL, GUARDS

SIDE = 384
COLUMNS = (
    Column("family", "degradation"),
    Column("guard", "guard"),
    Column("faithful", "faithful, least consistent", ".1f"),
    Column("faithful_median", "median", ".1f"),
    Column("other_median", "another, median", ".1f"),
    Column("other", "most consistent", ".1f"),
    Column("false", "faithful called doubtful", ".1%"),
    Column("caught", "another called doubtful", ".1%"),
)


def cutting(path: Path) -> Tensor | None:
    """The middle of a photograph, (1,3,SIDE,SIDE), if it is that large."""
    image = read_image(path, alpha="white")[None]
    top, left = ((side - SIDE) // 2 for side in size_of(image))
    return image[..., top : top + SIDE, left : left + SIDE] if min(top, left) >= 0 else None


def measured(truth: Tensor, other: Tensor, family: str, seed: int) -> Iterator[tuple[str, bool, float]]:
    """(guard, whether the output is faithful, its figure) for one photograph and degradation."""
    degraded = rounded_to_8_bit(degrade(truth, sample_degradation(family, random.Random(seed)), seed))
    outputs = [(True, truth), (True, resize(degraded, (SIDE, SIDE)).clamp(0, 1)), (False, other)]
    for name, guard in GUARDS.items():
        if name != "lr_psnr" or size_of(degraded) != size_of(truth):
            for is_faithful, output in outputs:
                yield name, is_faithful, float(guard(output, degraded))


def row(family: str, name: str, faithful: list[float], others: list[float]) -> dict[str, Any]:
    """A line of the table."""
    least, most = (min, max) if GUARDS[name].higher_is_better else (max, min)
    figures: dict[str, Any] = {
        "family": family,
        "guard": GUARDS[name].title,
        "faithful": least(faithful),
        "faithful_median": float(np.median(faithful)),
        "other_median": float(np.median(others)),
        "other": most(others),
        "false": None,
        "caught": None,
    }
    if name in DOUBTFUL:
        figures["false"], figures["caught"] = (
            float(np.mean(np.array(each) < DOUBTFUL[name])) for each in (faithful, others)
        )
    return figures


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    add_output(parser)
    options = parser.parse_args()
    paths = list_images(options.photographs)
    drawn = random.Random(0).sample(paths, min(options.limit + 1, len(paths)))
    chosen = [each for each in map(cutting, drawn) if each is not None]
    found: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
    for seed, (truth, other) in enumerate(pairwise(chosen)):
        for family in FAMILIES:
            for name, is_faithful, figure in measured(truth, other, family, seed):
                found[family, name, is_faithful].append(figure)
    rows = [
        row(family, name, found[family, name, True], found[family, name, False])
        for family in FAMILIES
        for name in GUARDS
        if (family, name, True) in found
    ]
    report(Table(COLUMNS, rows, f"{len(chosen) - 1} photographs"), options.output)


if __name__ == "__main__":
    main()
