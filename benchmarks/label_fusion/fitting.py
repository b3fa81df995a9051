"""The fusion's weights: least squares on the opinions of KADID-10k's conditions and on one difference in PIPAL."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize

from benchmarks.label_fusion.images import FAMILIES, Row, read_csv
from drmetric.data.make.labels import Fusion, Term, distance

POWERS = {
    "sharpening": 3.0,
    "softening": 1.0,
    "blocking": 1.0,
    "miscolouring": 1.0,
    "fine_distance": 0.5,
    "worst_region": 1.0,
}
"""The features of the fusion and the powers of their distances; docs/research/label.md says why these."""

OF_RESTORERS = (
    "gaussian_blur", "lens_blur", "motion_blur", "jpeg2000", "jpeg", "white_noise", "white_noise_ycbcr",
    "impulse_noise", "multiplicative_noise", "denoise", "pixelate", "high_sharpen",
)  # fmt: skip
"""KADID types that restorers get or make: the spread of their ratings spaces the label."""

FAMILY_SHARE = 1.0
FOLDS = 4


def family_elo(table: Path) -> dict[str, float]:
    """Mean Elo of PIPAL's x4 variants by family; which variants are x4 is read off the table, not stated there."""
    x4 = {"0": (1, 4, 7, 10), "1": (2, 5, 8, 11, 14), "3": tuple(range(20))}
    names = {"0": "traditional", "1": "psnr", "3": "gan"}
    elo: dict[str, list[float]] = {}
    for row in read_csv(table):
        if int(row["variant"]) in x4.get(row["category"], ()):
            elo.setdefault(names[row["category"]], []).append(float(row["mean_elo"]))
    return {name: float(np.mean(values)) for name, values in elo.items()}


def distances(rows: Sequence[Row], features: Sequence[str]) -> NDArray[np.float64]:
    """(row, feature)."""
    columns = [distance(name, torch.tensor([row[name] for row in rows])).numpy() for name in features]
    return np.stack(columns, axis=1).astype(np.float64)


def of_family(restored: Sequence[Row], family: str) -> list[Row]:
    """The x4 rows of a family's members."""
    return [row for row in restored if row["scale"] == 4 and row["method"] in FAMILIES[family]]


def fit_fusion(
    kadid: Sequence[Row], restored: Sequence[Row], elo: Mapping[str, float], powers: Mapping[str, float]
) -> Fusion:
    """Weights of at least 0 for features with given powers.

    The difference, adversarial less PSNR-trained super-resolvers (mean over contents, at x4), is the one that
    full-reference metrics get wrong; it counts `FAMILY_SHARE` times what all opinions together count. That
    traditional methods come last, and nearest neighbours below bicubic, is left to the check.
    """
    opinions = np.array([row["score"] for row in kadid])
    elo_per_point = 1000 / _points_per_1000_elo(kadid)
    exponents = np.array(list(powers.values()))
    bases = distances(kadid, list(powers)) ** exponents
    gan, psnr = (distances(of_family(restored, name), list(powers)) ** exponents for name in ("gan", "psnr"))
    wanted = (elo["gan"] - elo["psnr"]) / elo_per_point
    spread = bases.std(0).clip(1e-9)

    def opinion(weights: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(1 + 4 * np.exp(-base @ weights))

    def residuals(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        wrong = opinion(weights, gan).mean() - opinion(weights, psnr).mean() - wanted
        return np.append(opinion(weights, bases) - opinions, (FAMILY_SHARE * len(opinions)) ** 0.5 * wrong)

    fitted = optimize.least_squares(residuals, 0.1 / spread, bounds=(0, np.inf), x_scale=1 / spread).x
    terms = {
        name: Term(round(float(weight), 4), power) for (name, power), weight in zip(powers.items(), fitted, strict=True)
    }
    return Fusion(terms, round(float(elo_per_point), 1))


def held_out_opinions(
    kadid: Sequence[Row], restored: Sequence[Row], elo: Mapping[str, float], powers: Mapping[str, float]
) -> list[float]:
    """Of each row, what a fusion fitted without its content says."""
    contents = sorted({row["content"] for row in kadid})
    opinions: dict[int, float] = {}
    for fold in range(FOLDS):
        outside = set(contents[fold::FOLDS])
        inside = [row for row in kadid if row["content"] not in outside]
        fusion = fit_fusion(inside, [row for row in restored if row["content"] not in outside], elo, powers)
        opinions |= {i: fusion.opinion(row) for i, row in enumerate(kadid) if row["content"] in outside}
    return [opinions[i] for i in range(len(kadid))]


def _points_per_1000_elo(kadid: Sequence[Row]) -> float:
    """Points of opinion after which the better of two images wins as often as 1000 Elo points say.

    One rating has the standard deviation s, so a difference d is seen right with the probability
    Phi(d / (s sqrt 2)), which is close to the logistic function of 1.702 d / (s sqrt 2).
    """
    variances = [row["rating_std"] ** 2 for row in kadid if row["type"] in OF_RESTORERS]
    spread = float(np.sqrt(np.mean(variances)))
    return 1000 * np.log(10) / 400 * spread * 2**0.5 / 1.702
