"""PSNR and SSIM, with the protocols of the papers: RGB or luma, whole or without the border.

Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural similarity, IEEE
Transactions on Image Processing 13(4), 2004.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from kornia.metrics import ssim
from torch import Tensor

from drmetric.errors import InputError
from drmetric.images import studio_luma
from drmetric.metrics.alignment import Crop
from drmetric.metrics.base import FullReference

__all__ = ["CHANNELS", "PSNR", "SSIM", "PixelProtocol"]

CHANNELS = ("rgb", "y")


class PixelProtocol(FullReference):
    """PSNR or SSIM under a named protocol: of RGB or of luma, with or without the border of the image.

    Args:
        channel: "rgb", or "y" for `drmetric.images.studio_luma` alone, as is usual in super-resolution; the range
            stays 1 (255 of 8 bits).
        shave: pixels left out at each side, in super-resolution usually the scale factor.
        crop, upscale: see `drmetric.metrics.alignment.Alignment`.

    Raises:
        InputError: an unknown channel, or a border that is no whole number from 0 up.
    """

    formula: ClassVar[str]

    def __init__(self, channel: str = "rgb", shave: int = 0, *, crop: Crop = "none", upscale: bool = False) -> None:
        super().__init__(crop=crop, upscale=upscale)
        if channel not in CHANNELS:
            raise InputError(f"unknown channel {channel!r}; known: {', '.join(CHANNELS)}", 'channel="y"')
        if not isinstance(shave, int) or isinstance(shave, bool) or shave < 0:
            raise InputError(f"shave is {shave!r}; wanted whole pixels, 0 or more", "shave=4")
        self.channel, self.shave = channel, shave
        self.min_size = type(self).min_size + 2 * shave  # type: ignore[misc]

    @property
    def settings(self) -> str:  # type: ignore[override]
        return f"channel:{self.channel}|shave:{self.shave}|{self.formula}"

    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        return self._compare_channels(self._channels(image), self._channels(reference))

    def _channels(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        inner = image[..., self.shave : height - self.shave, self.shave : width - self.shave]
        return studio_luma(inner) if self.channel == "y" else inner

    @abstractmethod
    def _compare_channels(self, image: Tensor, reference: Tensor) -> Tensor:
        """(N,) scores of (N,C,H,W) images of one or three channels."""


class PSNR(PixelProtocol):
    """Peak signal-to-noise ratio in dB of each image, over all channels; identical images score 100.

    ``PSNR(channel="y", shave=4)`` is the figure of papers on super-resolution by 4; see `PixelProtocol`.
    """

    name: ClassVar[str] = "psnr"
    score_range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    formula: ClassVar[str] = "range:1|limit:100dB"

    def _compare_channels(self, image: Tensor, reference: Tensor) -> Tensor:
        mean_square = (image - reference).square().mean(dim=(1, 2, 3))
        return -10 * torch.log10(mean_square.clamp_min(1e-10))


class SSIM(PixelProtocol):
    """Structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004), mean over the channels.

    Gaussian window of 11 pixels, sigma 1.5, whole windows only, no downsampling: scikit-image's
    ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``. Channel and border:
    see `PixelProtocol`.
    """

    name: ClassVar[str] = "ssim"
    score_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    min_size: ClassVar[int] = 11
    formula: ClassVar[str] = "window:11|sigma:1.5|border:valid"

    def _compare_channels(self, image: Tensor, reference: Tensor) -> Tensor:
        local: Tensor = ssim(image, reference, window_size=11, padding="valid")
        return local.mean(dim=(1, 2, 3))
