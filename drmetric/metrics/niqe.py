"""NIQE: the distance of an image's natural scene statistics from those of pristine photographs.

Mittal, Soundararajan, Bovik: Making a "completely blind" image quality analyzer, IEEE Signal Processing
Letters 20(3), 2013. Written from the paper; with the authors' pristine model (niqe_pris_params.npz in BasicSR)
the scores are BasicSR's to .02. `fit_niqe` fits a model to photographs of your own: quote `signature`, which
names the model, with every figure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor

from drmetric import __version__
from drmetric.checkpoints import find_weights, manifest
from drmetric.errors import InputError, WeightsError
from drmetric.images import as_doubles, check_image, luma
from drmetric.metrics.base import INFINITY, Metric, Mode
from drmetric.metrics.scene_statistics import coefficient_fits, normalised_coefficients, product_mean
from drmetric.writing import write_whole

__all__ = ["NIQE", "NiqeModel", "fit_niqe", "niqe_distance", "niqe_features"]

PATCH = 96
SHARPEST = 0.75
FIT = 'drmetric fit-niqe PHOTOGRAPHS -o niqe.safetensors  # then NIQE(weights="niqe.safetensors")'


def _patches(x: Tensor, size: int) -> Tensor:
    """(P,size,size) patches, row by row without overlap, of the top-left part of one (1,1,H,W) map."""
    return x[0, 0].unfold(0, size, size).unfold(1, size, size).reshape(-1, size, size)


def _patch_features(coefficients: Tensor) -> Tensor:
    shape, left, right = coefficient_fits(coefficients, wrap=True)
    means = product_mean(shape, left, right)
    to_scale = torch.exp(0.5 * (torch.lgamma(1 / shape) - torch.lgamma(3 / shape)))
    left, right = left * to_scale, right * to_scale
    products = torch.stack([shape, means, left, right], dim=-1)[:, 1:].flatten(1)
    features = torch.cat([shape[:, :1], (left + right)[:, :1] / 2, products], dim=1)
    flat = ((left == 0) | (right == 0)).any(dim=1, keepdim=True)
    return features.masked_fill(flat, torch.nan)


def niqe_features(image: Tensor) -> tuple[Tensor, Tensor]:
    """36 features of each 96 x 96 patch at two scales, (P,36), NaN in flat ones, and their sharpness, (P,).

    Args:
        image: (1,3,H,W) or (1,1,H,W) in [0, 1]; what exceeds a multiple of 96 right and below is left out.
    """
    height, width = (side // PATCH * PATCH for side in image.shape[-2:])
    grey = luma(255 * as_doubles(image[..., :height, :width])).round()
    coefficients, deviation = normalised_coefficients(grey)
    half = F.interpolate(grey, scale_factor=0.5, mode="bicubic", antialias=True)
    half_coefficients, _ = normalised_coefficients(half)
    fine, coarse = _patches(coefficients, PATCH), _patches(half_coefficients, PATCH // 2)
    features = torch.cat([_patch_features(fine), _patch_features(coarse)], dim=1)
    return features, _patches(deviation, PATCH).mean(dim=(1, 2))


@dataclass(frozen=True)
class NiqeModel:
    """Pristine photographs as NIQE sees them: mean (36,) and covariance (36,36) of patch features."""

    mean: Tensor
    covariance: Tensor

    def save(self, path: str | Path) -> None:
        """Write the two tensors as float64 to a .safetensors file."""
        content = save({"mean": self.mean.contiguous(), "covariance": self.covariance.contiguous()})
        write_whole(Path(path), content)

    @classmethod
    def load(cls, path: str | Path) -> "NiqeModel":
        """Read what `save` wrote, or an .npz file with mu_pris_param and cov_pris_param, such as BasicSR's.

        Raises:
            WeightsError: another file, or a damaged one.
        """
        try:
            if Path(path).suffix == ".npz":
                with np.load(path) as arrays:
                    mean, covariance = (torch.from_numpy(arrays[f"{key}_pris_param"]) for key in ("mu", "cov"))
            else:
                tensors = load_file(str(path))
                mean, covariance = tensors["mean"], tensors["covariance"]
            return cls(mean.reshape(36), covariance.reshape(36, 36))
        except OSError:
            raise
        except Exception as error:  # a damaged file can raise anything
            raise WeightsError(f"{path} holds no model of NIQE: {error!r}", FIT) from error


def fit_niqe(images: Iterable[Tensor]) -> NiqeModel:
    """Fit NIQE's pristine model.

    Args:
        images: clean photographs, each (N,3,H,W) or (N,1,H,W), floats in [0, 1] or uint8, at least 96 x 96. Of
            each, the patches whose sharpness is above .75 of the sharpest one's are kept. 36 x 36 numbers are
            estimated, so a few hundred patches (some thirty images of 512 px) are the least that makes sense.

    Raises:
        InputError: fewer than 37 patches were kept; an image of a wrong shape, range or size.
    """
    kept = []
    for image in images:
        for one in torch.split(check_image(image, "image", PATCH), 1):
            features, sharpness = niqe_features(one)
            kept.append(features[(sharpness > SHARPEST * sharpness.max()) & features.isfinite().all(dim=1)])
    n_patches = sum(len(features) for features in kept)
    if n_patches <= 36:
        raise InputError(
            f"fit_niqe needs more than 36 sharp patches, got {n_patches}", "fit_niqe(more_clean_photographs)"
        )
    features = torch.cat(kept)
    return NiqeModel(features.mean(dim=0), torch.cov(features.T))


def niqe_distance(image: Tensor, model: NiqeModel) -> Tensor:
    """NIQE of one image (1,C,H,W) of at least two patches: a scalar >= 0, lower is better.

    Flat patches are left out. An image of nothing else has no statistics: zeros stand for them, far from natural.
    """
    features, _ = niqe_features(image)
    natural = features[features.isfinite().all(dim=1)]
    features = natural if len(natural) > 1 else features.nan_to_num()
    difference = features.mean(dim=0) - model.mean.to(features)
    covariance = (torch.cov(features.T) + model.covariance.to(features)) / 2
    squared: Tensor = difference @ torch.linalg.pinv(covariance, hermitian=True) @ difference
    return squared.clamp_min(0).sqrt()


class NIQE(Metric):
    """Distance from natural statistics, 0 is best; comparable only under one pristine model.

    Args:
        weights: path of a model that `NiqeModel.save` wrote; "default" is a bundled one, or
            $DRMETRIC_HOME/niqe.safetensors.

    Raises:
        WeightsError: no such model, or a file that holds none.
    """

    name: ClassVar[str] = "niqe"
    mode: ClassVar[Mode] = "nr"
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)
    differentiable: ClassVar[bool] = False
    min_size: ClassVar[int] = 2 * PATCH

    def __init__(self, weights: str | Path = "default") -> None:
        super().__init__()
        if weights == "default" and self.name not in manifest():
            weights = self.name
        try:
            self.weights_file = find_weights(self.name, weights)
        except WeightsError as error:
            raise WeightsError(error.problem, FIT) from error
        self._model = NiqeModel.load(self.weights_file.path)

    @property
    def signature(self) -> str:
        file = self.weights_file
        return f"niqe|weights:{file.name}@{file.sha256[:12]}|drmetric:{__version__}"

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        return torch.stack([niqe_distance(one[None], self._model) for one in image]).float().to(image.device)
