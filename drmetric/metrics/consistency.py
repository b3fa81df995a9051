"""Restoration consistency: is the output, degraded again, the input that it was made from?

A restorer may invent detail, but what the degraded input shows for certain must still be there: its low
frequencies and its colours. None of this sees whether the output looks good: the input itself, enlarged, is the
most consistent of all outputs. The figures belong beside those of quality, as a guard against invention, and
count in no mean rank.

* ``lr_psnr``: PSNR in dB between the input and the output brought down to its size, for super-resolution;
* ``low_band_psnr``: the same after a Gaussian low-pass of both, for inputs of any size: noise, blur and JPEG
  blocks of the input are mostly above that band, so removing them costs nothing;
* ``colour_difference``: mean CIELAB difference (delta E of 1976) of the means of blocks of 32 x 32 pixels.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from kornia.color import rgb_to_lab
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional

from drmetric import __version__
from drmetric.errors import InputError, NotApplicableError
from drmetric.images import (
    AT_ONCE,
    Whole,
    as_floats,
    check_scale,
    mean_tiled,
    resize,
    resized,
    run_tiled,
    without_autocast,
)
from drmetric.images.scale import size_of
from drmetric.metrics.base import INFINITY, Metric, Mode

__all__ = [
    "DOUBTFUL",
    "GUARDS",
    "ColourDifference",
    "Consistency",
    "LowBandPSNR",
    "LowResolutionPSNR",
    "consistency",
    "doubt",
]

BLOCK = 32
TILE = 1024
"""Pixels along a side of the tiles in which large images are compared."""


def _psnr(squared_error: Tensor) -> Tensor:
    return -10 * torch.log10(squared_error.clamp_min(1e-10))


def _squared_difference(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square()


class Consistency(Metric):
    """A comparison of a restored image with its degraded input, in float32 outside autocast.

    Attributes:
        title: what tables call it, with its unit.
    """

    title: ClassVar[str]
    mode: ClassVar[Mode] = "dr"
    reference_name: ClassVar[str] = "degraded"
    takes_bytes: ClassVar[bool] = True
    guard: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        settings = "".join(f"|{key}:{value}" for key, value in self._settings().items())
        return f"{self.name}{settings}|input:rgb01|resize:bicubic-aa|drmetric:{__version__}"

    def _settings(self) -> dict[str, str]:
        return {}

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        assert reference is not None
        check_scale(image, reference, "image", self.reference_name)
        with without_autocast(image.device):
            if math.prod(size_of(image)) <= AT_ONCE:
                return self._compare(as_floats(image), as_floats(reference))
            return self._compare_tiled(image, reference)

    @abstractmethod
    def _compare(self, image: Tensor, degraded: Tensor) -> Tensor:
        """(N,) scores of (N,3,H,W) images; `degraded` has N images or one, of that size or a common scale smaller."""

    @abstractmethod
    def _compare_tiled(self, image: Tensor, degraded: Tensor) -> Tensor:
        """The same to about 1e-5 of large images, floats or uint8, of which parts alone become floats at a time."""


class LowResolutionPSNR(Consistency):
    """PSNR in dB of the output, resized to the smaller input, against that input; equal images score 100.

    Raises:
        NotApplicableError: the input is not smaller than the output.
    """

    name: ClassVar[str] = "lr_psnr"
    title: ClassVar[str] = "LR-PSNR, dB"
    score_range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    min_size: ClassVar[int] = 2

    def _compare(self, image: Tensor, degraded: Tensor) -> Tensor:
        smaller = _smaller_size(image, degraded)
        return _psnr(_squared_difference(resize(image, smaller), degraded).mean((1, 2, 3)))

    def _compare_tiled(self, image: Tensor, degraded: Tensor) -> Tensor:
        sources = resized(image, _smaller_size(image, degraded)), Whole(degraded)
        return _psnr(mean_tiled(_squared_difference, sources, TILE, 0))


def _smaller_size(image: Tensor, degraded: Tensor) -> tuple[int, int]:
    """The size of the degraded image."""
    size, smaller = size_of(image), size_of(degraded)
    if smaller == size:
        raise NotApplicableError(
            f"lr_psnr is for super-resolution, and the input ({smaller[0]} x {smaller[1]} pixels) is not smaller "
            f"than the output ({size[0]} x {size[1]})",
            'create("low_band_psnr")  # for inputs of any size',
        )
    return smaller


class LowBandPSNR(Consistency):
    """PSNR in dB of the low bands of output and input at the size of the input; equal bands score 100.

    Args:
        sigma: deviation in pixels of the Gaussian that leaves the low band.
    """

    name: ClassVar[str] = "low_band_psnr"
    title: ClassVar[str] = "low-band PSNR, dB"
    score_range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    min_size: ClassVar[int] = 32

    def __init__(self, sigma: float = 4.0) -> None:
        super().__init__()
        if not sigma > 0:
            raise InputError(f"sigma is {sigma}; wanted more than 0", "LowBandPSNR(sigma=4.0)")
        self.sigma = float(sigma)

    def _settings(self) -> dict[str, str]:
        return {"sigma": f"{self.sigma:g}"}

    def _compare(self, image: Tensor, degraded: Tensor) -> Tensor:
        size = size_of(degraded)
        bands = (self._low_band(resize(each, size)) for each in (image, degraded))
        return _psnr(_squared_difference(*bands).mean((1, 2, 3)))

    def _compare_tiled(self, image: Tensor, degraded: Tensor) -> Tensor:
        size, reach = size_of(degraded), round(3 * self.sigma)
        sources = resized(image, size), Whole(degraded)
        tile = max(TILE, 2 * (reach + 1))
        return _psnr(mean_tiled(lambda *parts: _squared_difference(*map(self._low_band, parts)), sources, tile, reach))

    def _low_band(self, image: Tensor) -> Tensor:
        radius = min(round(3 * self.sigma), min(image.shape[-2:]) - 1)
        window = 2 * radius + 1
        blurred: Tensor = gaussian_blur2d(image, (window, window), (self.sigma, self.sigma), border_type="reflect")
        return blurred


class ColourDifference(Consistency):
    """Mean CIELAB delta E (1976, D65) of the means of blocks of 32 x 32 pixels of the output; lower is better."""

    name: ClassVar[str] = "colour_difference"
    title: ClassVar[str] = "colour difference, ΔE"
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)

    def _settings(self) -> dict[str, str]:
        return {"block": str(BLOCK), "deltaE": "1976"}

    def _compare(self, image: Tensor, degraded: Tensor) -> Tensor:
        return self._of_means(_block_means(image), _block_means(resize(degraded, size_of(image))))

    def _compare_tiled(self, image: Tensor, degraded: Tensor) -> Tensor:
        sources = Whole(image), resized(degraded, size_of(image))
        means = run_tiled(lambda *parts: [_block_means(each) for each in parts], sources, TILE, 0, [BLOCK, BLOCK])
        return self._of_means(*means)

    def _of_means(self, *means: Tensor) -> Tensor:
        """(N,) of the means of blocks of both images."""
        first, second = (rgb_to_lab(each.clamp(0, 1)) for each in means)
        distances: Tensor = (first - second).square().sum(dim=1).clamp_min(1e-12).sqrt()
        return distances.mean(dim=(1, 2))


def _block_means(image: Tensor) -> Tensor:
    """Means over blocks; those at the right and the bottom edge may be smaller."""
    return functional.avg_pool2d(image, BLOCK, ceil_mode=True, count_include_pad=False)


GUARDS: Mapping[str, Consistency] = {
    metric.name: metric for metric in (LowResolutionPSNR(), LowBandPSNR(), ColourDifference())
}
"""By name, with their default options."""


def consistency(image: Tensor, degraded: Tensor) -> dict[str, Tensor]:
    """What stands beside the scores of a metric that knows the degraded input alone.

    Args:
        image: (N,3,H,W) or (N,1,H,W), as metrics take it.
        degraded: (N,3,h,w), or one image for all N.

    Returns:
        (N,) of "lr_psnr", where the input is smaller, or else of "low_band_psnr"; and of "colour_difference". What an
        image is too small for is left out.

    Raises:
        InputError: as the metrics do.
    """
    is_smaller = size_of(degraded) != size_of(image)
    names = ("lr_psnr" if is_smaller else "low_band_psnr", "colour_difference")
    fits = {name: GUARDS[name] for name in names if min(size_of(image)) >= GUARDS[name].min_size}
    return {name: metric(image, degraded) for name, metric in fits.items()}


DOUBTFUL: Mapping[str, float] = {"lr_psnr": 16.0, "low_band_psnr": 16.0}
"""dB below which an output is doubtful as a restoration of its input: between the least consistent faithful outputs and
the most consistent photographs of something else, as `benchmarks.checks.consistency` measures them."""


def doubt(figures: Sequence[Mapping[str, float]]) -> str:
    """A sentence on the outputs whose `consistency` is doubtful; empty where there are none.

    >>> doubt([{"lr_psnr": 9.0}, {"lr_psnr": 38.0}])
    '1 of 2 outputs does not reduce to its input: LR-PSNR below 16 dB'
    """
    low = {name: sum(each.get(name, bound) < bound for each in figures) for name, bound in DOUBTFUL.items()}
    named = [f"{GUARDS[name].title.partition(',')[0]} below {DOUBTFUL[name]:g} dB" for name in low if low[name]]
    words = "does not reduce to its input" if sum(low.values()) == 1 else "do not reduce to their inputs"
    return f"{sum(low.values())} of {len(figures)} outputs {words}: {' or '.join(named)}" if named else ""
