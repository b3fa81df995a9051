"""Is the score of a photograph that of its parts? DRIQA on whole photographs and on crops of them.

    python -m benchmarks.checks.sizes PHOTOGRAPHS
    python -m benchmarks.checks.sizes PHOTOGRAPHS --weights driqa-patches-3 --sides 128

Every photograph is made smaller by 4 (bicubic, anti-aliased, 8 bits). The bicubic enlargement, that of a network
trained for PSNR (PCARN-M) and the photograph itself are scored whole, and in crops side by side, each beside the part
of the input that it was made from. Prints mean scores over the photographs with 95 % intervals, and how much higher the
map is in its outermost cells than within. Needs DRMETRIC_RESTORERS.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks.checks.anchors import PRISTINE, STEPS, load_enlargers
from benchmarks.reporting import add_output, mean_of, report
from drmetric import DRIQA
from drmetric.bench.tables import Column, Table
from drmetric.distortions.degrade import degrade
from drmetric.images import list_images, read_image, rounded_to_8_bit

SCALE = 4
WAYS = ("bicubic", "network trained for PSNR")


def crops(restored: Tensor, degraded: Tensor, side: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Squares of `side` pixels side by side, with their inputs."""
    small = side // SCALE
    for top in range(0, degraded.shape[-2] - small + 1, small):
        for left in range(0, degraded.shape[-1] - small + 1, small):
            rows, columns = (slice(SCALE * first, SCALE * first + side) for first in (top, left))
            yield restored[..., rows, columns], degraded[..., top : top + small, left : left + small]


@torch.no_grad()
def measured(metric: DRIQA, restored: Tensor, degraded: Tensor, sides: list[int]) -> dict[str, float]:
    """The score whole and the mean of the crops' of every side, and how much higher the map is at its border."""
    score, local = metric(restored, degraded, return_map=True)
    within = local[..., 1:-1, 1:-1]
    border = (local.sum() - within.sum()) / (local.numel() - within.numel())
    found = {"whole": float(score), "border of the map": float(border - within.mean())}
    for side in sides:
        found[f"{side} px"] = fmean(float(metric(*pair)) for pair in crops(restored, degraded, side))
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--weights", default="default", help="of DRIQA")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256], help="multiples of 4")
    add_output(parser)
    options = parser.parse_args()
    metric, enlargers = DRIQA(options.weights), load_enlargers(SCALE)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (*WAYS, PRISTINE)}
    for number, path in enumerate(list_images(options.photographs)):
        truth = read_image(path, alpha="white")[None]
        truth = truth[..., : truth.shape[-2] // SCALE * SCALE, : truth.shape[-1] // SCALE * SCALE]
        degraded = rounded_to_8_bit(degrade(truth, STEPS["x4"], number))
        for name in WAYS:
            restored = rounded_to_8_bit(enlargers[name](degraded))
            found[name].append(measured(metric, restored, degraded, options.sides))
        found[PRISTINE].append(measured(metric, truth, degraded, options.sides))
    keys = list(found[PRISTINE][0])
    rows = [
        {"image": name, **{key: mean_of([each[key] for each in every]) for key in keys}}
        for name, every in found.items()
    ]
    columns = (Column("image", "image"), *(Column(key, key, ".3f", "shown") for key in keys))
    report(Table(columns, rows, f"n = {len(found[PRISTINE])} photographs"), options.output)


if __name__ == "__main__":
    main()
