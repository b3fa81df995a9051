"""Full-reference metrics of the package piq: MS-SSIM, VIF, FSIM, GMSD, HaarPSI and MDSI; papers at the classes."""

from collections.abc import Callable
from importlib.metadata import version
from typing import ClassVar

import torch
from torch import Tensor

from drmetric.errors import optional
from drmetric.metrics.alignment import Crop
from drmetric.metrics.base import INFINITY, FullReference

__all__ = ["FSIM", "GMSD", "MDSI", "MSSSIM", "VIF", "HaarPSI", "PiqMetric"]


class PiqMetric(FullReference):
    """A metric of the package piq with its default settings; gradients that piq makes NaN are 0.

    Equal images score `ideal`, black ones too, of which piq's HaarPSI is infinite.

    Args:
        crop, upscale: see `drmetric.metrics.alignment.Alignment`.

    Raises:
        MissingDependencyError: piq is not installed, or does not import.
    """

    function: ClassVar[str]
    ideal: ClassVar[float] = 1.0
    min_size: ClassVar[int] = 32

    def __init__(self, *, crop: Crop = "none", upscale: bool = False) -> None:
        super().__init__(crop=crop, upscale=upscale)
        self._function: Callable[..., Tensor] = getattr(optional("piq", "bench", self.name), self.function)

    @property
    def settings(self) -> str:  # type: ignore[override]
        return f"piq:{version('piq')}"

    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        image = image.clamp(0, 1)
        if image.requires_grad:
            # Square roots of 0 give NaN where the image equals its reference.
            image.register_hook(_without_nan)  # type: ignore[no-untyped-call]
        reference = reference.clamp(0, 1)
        scores = self._function(image, reference, data_range=1.0, reduction="none")
        equal = (image == reference).flatten(1).all(dim=1)
        return torch.where(equal, torch.full_like(scores, self.ideal), scores)


class MSSSIM(PiqMetric):
    """Multi-scale SSIM, five scales (Wang, Simoncelli, Bovik, Asilomar 2003)."""

    name: ClassVar[str] = "ms_ssim"
    function: ClassVar[str] = "multi_scale_ssim"
    min_size: ClassVar[int] = 161


class VIF(PiqMetric):
    """Visual information fidelity in the pixel domain (Sheikh, Bovik, IEEE TIP 15(2), 2006).

    Identical images score 1; more contrast than the reference can score above 1.
    """

    name: ClassVar[str] = "vif"
    function: ClassVar[str] = "vif_p"
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)
    min_size: ClassVar[int] = 41


class FSIM(PiqMetric):
    """Feature similarity with its chromatic part, FSIMc (Zhang, Zhang, Mou, Zhang, IEEE TIP 20(8), 2011)."""

    name: ClassVar[str] = "fsim"
    function: ClassVar[str] = "fsim"


class GMSD(PiqMetric):
    """Gradient magnitude similarity deviation (Xue et al., IEEE TIP 23(2), 2014); lower is better."""

    name: ClassVar[str] = "gmsd"
    function: ClassVar[str] = "gmsd"
    ideal: ClassVar[float] = 0.0
    higher_is_better: ClassVar[bool] = False


class HaarPSI(PiqMetric):
    """Haar wavelet perceptual similarity (Reisenhofer, Bosse, Kutyniok, Wiegand, SPIC 61, 2018)."""

    name: ClassVar[str] = "haarpsi"
    function: ClassVar[str] = "haarpsi"


class MDSI(PiqMetric):
    """Mean deviation similarity index (Ziaei Nafchi et al., IEEE Access 4, 2016); lower is better."""

    name: ClassVar[str] = "mdsi"
    function: ClassVar[str] = "mdsi"
    ideal: ClassVar[float] = 0.0
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)


def _without_nan(gradient: Tensor) -> Tensor:
    return gradient.nan_to_num(0.0, 0.0, 0.0)
