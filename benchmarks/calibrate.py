"""Put DRIQA's scores on another scale; their order stays.

    python -m benchmarks.calibrate pristine WEIGHTS PHOTOGRAPHS OUTPUT.safetensors    # pristine photographs come near 1
    python -m benchmarks.calibrate label WEIGHTS CORPUS OUTPUT.safetensors            # as a corpus' label has it

Both find slope and offset of the logit (`drmetric.networks.ckdn.CKDNConfig.calibration`) on training images.
"pristine": the offset at which, with a slope that is given, pristine crops beside inputs of every family of
degradations score .92 on average; whole photographs score more. "label": those of the least squared error of 500
restorations, for a judge in self-play (`drmetric.distill.self_play`).
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from drmetric import DRIQA, read_image
from drmetric.checkpoints import read_weights, write_weights
from drmetric.data.rated import read_opinions
from drmetric.distortions.degrade import FAMILIES, degrade, sample_degradation
from drmetric.images import list_images

SIDE, WANTED, SLOPE, RESTORATIONS = 192, 0.92, 1.5, 500


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def fit(pristine: Tensor, slope: float, wanted: float) -> float:
    """Offset at which pristine images, of logits (N,), have the wanted mean score."""
    return root(lambda offset: float((slope * pristine + offset).sigmoid().mean()) - wanted, -20, 20)


def fit_label(logit: Tensor, label: Tensor) -> tuple[float, float]:
    """Slope and offset of the least squared error of the score; logits (N,) and labels (N,) in [0, 1]."""
    parameters = torch.tensor([1.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def error() -> float:
        optimiser.zero_grad()
        loss = ((parameters[0] * logit + parameters[1]).sigmoid() - label).square().mean()
        loss.backward()
        return loss.item()

    optimiser.step(error)
    slope, offset = parameters.tolist()
    return slope, offset


def crops(metric: DRIQA, photographs: Path, seed: int) -> Tensor:
    """(N,) logits of the central crop of every photograph that is large enough, beside a degraded input."""
    rng, found, names = random.Random(seed), [], list(FAMILIES)
    for number, path in enumerate(list_images(photographs)):
        image = read_image(path, alpha="white")[None]
        top, left = ((side - SIDE) // 2 for side in image.shape[-2:])
        if min(top, left) < 0:
            continue
        truth = image[..., top : top + SIDE, left : left + SIDE]
        degraded = degrade(truth, sample_degradation(names[number % len(names)], rng), rng.getrandbits(31))
        found.append(logits(metric, truth, degraded))
    return torch.cat(found)


def restorations(metric: DRIQA, corpus: Path, seed: int) -> tuple[Tensor, Tensor]:
    """Logits and labels of restorations of a corpus' training contents."""
    rated = read_opinions("corpus", corpus, "train")
    chosen = random.Random(seed).sample(rated, min(RESTORATIONS, len(rated)))
    found = []
    for each in chosen:
        assert each.degraded is not None
        found.append(logits(metric, read_image(each.image)[None], read_image(each.degraded)[None]))
    return torch.cat(found), torch.tensor([each.score for each in chosen])


def logits(metric: DRIQA, restored: Tensor, degraded: Tensor) -> Tensor:
    """(N,) before calibration."""
    with torch.no_grad():
        _, local = metric(restored, degraded, return_map=True)
    mean: Tensor = local.mean((1, 2, 3))
    return mean


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("to", choices=["pristine", "label"])
    parser.add_argument("weights")
    parser.add_argument("images", type=Path, help="folder of photographs, or corpus")
    parser.add_argument("output", type=Path)
    parser.add_argument("--wanted", type=float, default=WANTED, help="mean score of pristine crops")
    parser.add_argument("--slope", type=float, default=SLOPE, help="for pristine")
    options = parser.parse_args()
    metric = DRIQA(options.weights)
    if options.to == "label":
        logit, label = restorations(metric, options.images, seed=0)
        slope, offset = (round(value, 4) for value in fit_label(logit, label))
        before, after = (
            ((s * logit + o).sigmoid() - label).square().mean().sqrt() for s, o in ((1, 0), (slope, offset))
        )
        print(f"slope {slope}, offset {offset}: error of {len(logit)} restorations {before:.3f} to {after:.3f}")
    else:
        pristine, slope = crops(metric, options.images, seed=0), options.slope
        offset = round(fit(pristine, slope, options.wanted), 4)
        before, after = pristine.sigmoid().mean(), (slope * pristine + offset).sigmoid().mean()
        print(f"slope {slope}, offset {offset}: {len(pristine)} pristine crops {before:.3f} to {after:.3f}")
    _, state = read_weights(metric.weights_file, "driqa")
    config = replace(metric.network.config, calibration=(slope, offset))
    write_weights(options.output, "driqa", config.as_dict(), state)


if __name__ == "__main__":
    main()
