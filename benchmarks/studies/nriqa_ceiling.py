"""How far NRIQA's own features would go on a set of opinions if they were fitted to it.

    python -m benchmarks.studies.nriqa_ceiling live_itw $DRMETRIC_LIVE_ITW

A ridge regression on the means and standard deviations of the network's local features, fitted to nine tenths of the
set's contents and judged on the last, ten times. Prints its SRCC beside that of the metric as it is, with 95 %
intervals over contents. Nothing that ships is fitted to these opinions.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.studies.comparison import compare
from drmetric import NRIQA
from drmetric.data.rated import read_opinions
from drmetric.data.splits import seed_of
from drmetric.images import read_image
from drmetric.networks.mobileiqa import MobileIQA

FOLDS = 10
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


@torch.no_grad()
def described(metric: NRIQA, image: Tensor) -> tuple[float, np.ndarray]:
    """The score of (1,3,H,W), and means and standard deviations of the local features."""
    assert isinstance(metric.network, MobileIQA)
    local = metric.network.local_features(image)[0].flatten(0, 1).flatten(1)
    return float(metric(image)[0]), torch.cat([local.mean(1), local.std(1)]).numpy()


def ridge(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Weights of (n,d) inputs, and a constant, for (n,) targets."""
    inputs = np.column_stack([inputs, np.ones(len(inputs))])
    penalties = np.full(inputs.shape[1], penalty)
    penalties[-1] = 0
    return np.linalg.solve(inputs.T @ inputs + np.diag(penalties), inputs.T @ targets)


def predicted(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) predictions."""
    return inputs @ weights[:-1] + weights[-1]


def chosen_penalty(inputs: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> float:
    """The penalty with the least squared error on the folds that are left out in turn."""

    def error(penalty: float) -> float:
        total = 0.0
        for fold in set(folds):
            known, held = folds != fold, folds == fold
            residual = predicted(inputs[held], ridge(inputs[known], targets[known], penalty)) - targets[held]
            total += float(np.square(residual).sum())
        return total

    return min(PENALTIES, key=error)


def main() -> None:
    """Judge the metric as it is and its features fitted to the set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", help="of the set; all of it by default")
    parser.add_argument("--weights", default="default")
    options = parser.parse_args()
    rated = read_opinions(options.kind, options.folder, options.split)
    metric = NRIQA(weights=options.weights)
    scores, features = zip(*(described(metric, read_image(each.image)[None]) for each in rated), strict=True)
    inputs, targets = np.stack(features), np.array([each.score for each in rated])
    inputs = (inputs - inputs.mean(0)) / inputs.std(0).clip(1e-6)
    folds = np.array([seed_of("fold", each.content) % FOLDS for each in rated])
    fitted = np.empty(len(rated))
    for fold in range(FOLDS):
        known, held = folds != fold, folds == fold
        penalty = chosen_penalty(inputs[known], targets[known], folds[known])
        fitted[held] = predicted(inputs[held], ridge(inputs[known], targets[known], penalty))
    columns = {"as it is": list(scores), "its features, fitted to the set": fitted.tolist()}
    compare(f"{options.kind}", columns, targets.tolist(), [each.content for each in rated])


if __name__ == "__main__":
    main()
