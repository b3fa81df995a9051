"""Put DRIQA's scores on a scale on which pristine photographs come near 1; their order stays.

    python -m benchmarks.calibrate WEIGHTS PHOTOGRAPHS OUTPUT.safetensors        # training photographs

Slope and offset of the logit (`drmetric.networks.ckdn.CKDNConfig.calibration`) are those at which pristine crops,
beside inputs of every family of degradations, score .92 on average, and the inputs themselves, enlarged, what they
scored before.
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
from drmetric.distortions.degrade import FAMILIES, degrade, sample_degradation
from drmetric.images import list_images, resize

SIDE, WANTED, STEEPEST = 192, 0.92, 10.0


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def fit(pristine: Tensor, enlarged: Tensor, wanted: float) -> tuple[float, float]:
    """Slope and offset at which pristine images have the wanted mean score and enlarged inputs the mean that they had.

    Both are given as logits (N,). Where they overlap too much for that the slope ends at `STEEPEST`.
    """

    def offset_at(slope: float) -> float:
        return root(lambda x: float((slope * enlarged + x).sigmoid().mean() - enlarged.sigmoid().mean()), -20, 20)

    def excess(slope: float) -> float:
        return float((slope * pristine + offset_at(slope)).sigmoid().mean()) - wanted

    slope = root(excess, 0.1, STEEPEST)
    return slope, offset_at(slope)


def logits(metric: DRIQA, photographs: Path, seed: int) -> tuple[Tensor, Tensor]:
    """Of the central crop of every photograph that is large enough, and of its degraded input."""
    rng, pairs, names = random.Random(seed), [], list(FAMILIES)
    for number, path in enumerate(list_images(photographs)):
        image = read_image(path, alpha="white")[None]
        top, left = ((side - SIDE) // 2 for side in image.shape[-2:])
        if min(top, left) < 0:
            continue
        truth = image[..., top : top + SIDE, left : left + SIDE]
        degraded = degrade(truth, sample_degradation(names[number % len(names)], rng), rng.getrandbits(31))
        both = torch.cat([truth, resize(degraded, (SIDE, SIDE))])
        with torch.no_grad():
            pairs.append(metric(both, degraded, return_map=True)[1].mean((1, 2, 3)))
    pristine, enlarged = torch.stack(pairs).unbind(1)
    return pristine, enlarged


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("photographs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--wanted", type=float, default=WANTED)
    options = parser.parse_args()
    metric = DRIQA(options.weights)
    pristine, enlarged = logits(metric, options.photographs, seed=0)
    slope, offset = (round(value, 4) for value in fit(pristine, enlarged, options.wanted))
    _, state = read_weights(metric.weights_file, "driqa")
    config = replace(metric.network.config, calibration=(slope, offset))
    write_weights(options.output, "driqa", config.as_dict(), state)
    before, after = pristine.sigmoid().mean(), (slope * pristine + offset).sigmoid().mean()
    print(f"slope {slope}, offset {offset}: {len(pristine)} pristine crops {before:.3f} to {after:.3f}")


if __name__ == "__main__":
    main()
