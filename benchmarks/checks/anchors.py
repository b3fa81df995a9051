"""Scores of images whose quality is known: the marks by which other scores are read (docs/number.md).

    python -m benchmarks.checks.anchors PHOTOGRAPHS --scales 2 3 4

Every photograph is made smaller (bicubic, anti-aliased, 8 bits) and enlarged again: by the nearest pixel, bicubically,
by a network trained for PSNR and by the same network trained adversarially (PCARN-M, arXiv:1903.02240). Prints mean
scores with 95 % intervals over the photographs as a Markdown table. Needs DRMETRIC_RESTORERS.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.reporting import mean_of
from benchmarks.restorers.loading import load
from benchmarks.restorers.outputs import interpolated
from drmetric import create
from drmetric.bench.tables import Table
from drmetric.distortions.degrade import degrade
from drmetric.images import list_images, read_image, rounded_to_8_bit
from drmetric.metrics.base import Metric

Enlarger = Callable[[Tensor], Tensor]
PRISTINE = "pristine photograph"


def load_enlargers(scale: int) -> dict[str, Enlarger]:
    """What enlarges by `scale`, from worst to best as people see it."""
    networks = {"network trained for PSNR": "pcarn_m_l1_x234", "the same, adversarially": "pcarn_m_x234"}
    filters = {name: partial(interpolated, scale=scale, method=name) for name in ("nearest", "bicubic")}
    return filters | {what: partial(load(name), scale=scale) for what, name in networks.items()}


def scores_of(
    photograph: Tensor, scale: int, enlargers: dict[str, Enlarger], metrics: list[Metric]
) -> Iterator[tuple[str, list[float]]]:
    """For each anchor of one photograph (1, 3, H, W) its score by every metric."""
    height, width = (side // scale * scale for side in photograph.shape[-2:])
    truth = photograph[..., :height, :width]
    degraded = rounded_to_8_bit(degrade(truth, [{"op": "downscale", "scale": scale}], 0))
    restored = {name: rounded_to_8_bit(enlarge(degraded)) for name, enlarge in enlargers.items()}
    references = {"dr": (degraded,), "fr": (truth,), "nar": (), "nr": ()}
    for name, image in {**restored, PRISTINE: truth}.items():
        yield name, [float(metric(image, *references[metric.mode])) for metric in metrics]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of pristine photographs that no metric was trained on")
    parser.add_argument("--scales", type=int, nargs="+", choices=(2, 3, 4), default=(2, 3, 4))
    parser.add_argument("--metrics", nargs="+", default=("driqa", "nariqa", "nriqa", "nriqa_akd"))
    options = parser.parse_args()
    metrics = [create(name) for name in options.metrics]
    photographs = list_images(options.photographs)
    print(f"{len(photographs)} photographs")
    rows = []
    for scale in options.scales:
        enlargers = load_enlargers(scale)
        found: dict[str, list[list[float]]] = {}
        for path in photographs:
            with torch.no_grad():
                for name, scores in scores_of(read_image(path, alpha="white")[None], scale, enlargers, metrics):
                    found.setdefault(name, []).append(scores)
        for name, values in found.items():
            by_metric = {
                f"`{m.name}`": mean_of(of, 1000) for m, of in zip(metrics, zip(*values, strict=True), strict=True)
            }
            rows.append({"scale": f"x{scale}", "image": name, **by_metric})
    print(Table.of(rows, form=".3f").to_markdown())


if __name__ == "__main__":
    main()
