"""Blocks that several restorers share. Attribute names are the keys of the published state dicts."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Layer = Callable[[int, int], nn.Module]
"""Makes a layer from its numbers of input and output channels."""


def conv(inputs: int, outputs: int, kernel: int = 3, *, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size, zero padded."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return conv(inputs, outputs, 1)


def depthwise(channels: int, *, bias: bool = True) -> nn.Conv2d:
    return conv(channels, channels, groups=channels, bias=bias)


class Named(nn.Sequential):
    """A sequence whose parts have names instead of numbers."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__(OrderedDict(modules))


class Residual(Named):
    """A sequence that adds its input to its output."""

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return changed + features


class Gate(Named):
    """A sequence that multiplies its input by its output."""

    def forward(self, features: Tensor) -> Tensor:
        weight: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return features * weight


class PointwiseLinear(nn.Linear):
    """A 1x1 convolution whose weight is stored as that of a linear layer."""

    def forward(self, features: Tensor) -> Tensor:
        return functional.conv2d(features, self.weight[..., None, None], self.bias)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of (N,C,H,W)."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


def blueprint_conv(inputs: int, outputs: int) -> Named:
    """Blueprint separable convolution (Haase and Amthor, CVPR 2020): pointwise, then depthwise."""
    return Named(pw=PointwiseLinear(inputs, outputs), dw=depthwise(outputs))


class ShortESA(nn.Module):
    """Enhanced spatial attention cut to one convolution on the coarse grid, as RLFN has it."""

    def __init__(self, channels: int, width: int, point: Layer = pointwise, spatial: Layer = conv) -> None:
        super().__init__()
        self.conv1 = point(channels, width)
        self.conv_f = point(width, width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=2)
        self.conv3 = spatial(width, width)
        self.conv4 = point(width, channels)

    def _coarse(self, pooled: Tensor) -> Tensor:
        changed: Tensor = self.conv3(pooled)
        return changed

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.conv1(features)
        coarse = self._coarse(functional.max_pool2d(self.conv2(reduced), 7, 3))
        coarse = functional.interpolate(coarse, reduced.shape[-2:], mode="bilinear", align_corners=False)
        return features * torch.sigmoid(self.conv4(coarse + self.conv_f(reduced)))


class ESA(ShortESA):
    """Enhanced spatial attention (Liu, Zhang, Tang, Wu, CVPR 2020); the input must be at least 15 x 15."""

    def __init__(
        self,
        channels: int,
        width: int,
        point: Layer = pointwise,
        spatial: Layer = conv,
        activation: Callable[[Tensor], Tensor] = functional.relu,
    ) -> None:
        super().__init__(channels, width, point, spatial)
        self.conv_max = spatial(width, width)
        self.conv3_ = spatial(width, width)
        self._activation = activation

    def _coarse(self, pooled: Tensor) -> Tensor:
        coarse = self._activation(self.conv_max(pooled))
        changed: Tensor = self.conv3_(self._activation(self.conv3(coarse)))
        return changed
