"""Calibrate what `return_uncertainty` of NRIQA and NARIQA says, on images that they were not trained on.

    python -m benchmarks.calibrate_uncertainty nariqa WEIGHTS biq2021 $DRMETRIC_BIQ2021 OUTPUT.safetensors

`drmetric train` does so by itself on what it validates on; this is for weights that validate on another kind of images,
and for means of weights. It fits the standard error of a score to its distance from the opinion, on the set's
validation part.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.ship_weights import notes_of
from drmetric import create
from drmetric.checkpoints import read_weights, write_weights
from drmetric.data.rated import RatedImage, read_opinions
from drmetric.distill.loop import fitted_uncertainty
from drmetric.images import read_image
from drmetric.metrics.opinions import OpinionMetric
from drmetric.statistics import srcc


@torch.no_grad()
def fit(metric: OpinionMetric, rated: list[RatedImage]) -> tuple[Tensor, float]:
    """What the network's `uncertainty` is to be, and the SRCC of standard and true errors."""
    judged = [metric.score_and_spread(read_image(each.image)[None]) for each in rated]
    score, spread = (torch.cat(column) for column in zip(*judged, strict=True))
    error = score - torch.tensor([each.score for each in rated])
    return fitted_uncertainty(spread, error), srcc(spread.numpy(), error.abs().numpy())


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metric", choices=["nriqa", "nriqa_akd", "nariqa"])
    parser.add_argument("weights")
    parser.add_argument("kind")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    metric = create(options.metric, weights=options.weights)
    assert isinstance(metric, OpinionMetric)
    rated = read_opinions(options.kind, options.folder, "validation")
    uncertainty, agreement = fit(metric, rated)
    print(f"uncertainty {uncertainty.tolist()} from {len(rated)} images; its SRCC with their errors is {agreement:.3f}")
    name = metric.weights_name
    network, state = read_weights(metric.weights_file, name)
    notes = notes_of(metric.weights_file.path)
    write_weights(options.output, name, network, {**state, "uncertainty": uncertainty}, notes)


if __name__ == "__main__":
    main()
