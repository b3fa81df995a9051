"""Our own backbone: patches of 4 x 4 pixels from its first layer on, because full resolution is what costs time."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.networks.backbones.base import Backbone

__all__ = ["patch_cosines", "patches"]


_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
"""Before PyTorch 2.7 exports are not told from other compilations."""


class RepeatedBorder(nn.Module):
    """Repeats the last row and column until both sides are multiples of 8."""

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if _is_exporting() or height % 8 or width % 8:  # an exported graph is for all sizes
            return F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
        return image


class PatchConvolution(nn.Conv2d):
    """Every patch of 4 x 4 RGB pixels to 48 channels.

    Its weights are those of a 1 x 1 convolution behind `torch.nn.functional.pixel_unshuffle`, and so is its result.
    """

    def __init__(self) -> None:
        super().__init__(48, 48, 1)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight.view(48, 3, 4, 4), self.bias, stride=4)


class Residual(nn.Module):
    """3x3 convolution, ReLU and 1x1 convolution beside a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.layers(features)
        return features + changed


def patches(stages: int = 4) -> Backbone:
    """48, 96, 96, 160 channels at strides 4, 8, 16, 32; the input is taken as it is, in [0, 1].

    Up to stride 8 no two positions overlap: pixels become channels, and every convolution is a matrix product. The
    second stage ends without a ReLU, as MobileNetV2's stages do, so that two of them can be subtracted.
    """
    built = [
        nn.Sequential(RepeatedBorder(), PatchConvolution(), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(48, 96, 2, 2), nn.ReLU(inplace=True), nn.Conv2d(96, 96, 1)),
        nn.Sequential(nn.ReLU(), nn.Conv2d(96, 96, 3, 2, 1), Residual(96)),
        nn.Sequential(nn.ReLU(), nn.Conv2d(96, 160, 3, 2, 1), Residual(160), Residual(160), nn.ReLU()),
    ]
    identity = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    backbone = Backbone(built[:stages], [48, 96, 96, 160][:stages], [4, 8, 16, 32][:stages], *identity)
    _initialise(backbone)
    return backbone


def _initialise(backbone: Backbone) -> None:
    """He's initialisation, and for the first layer the cosine transform of each patch in opponent colours.

    Random filters of natural patches all see the mean and little else; these see every frequency apart. Each is
    scaled to about unit variance on photographs, whose amplitudes fall with the frequency.
    """
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
    first = convolutions[0]
    assert first.bias is not None
    with torch.no_grad():
        first.weight.copy_(patch_cosines()[:, :, None, None])
        first.bias.copy_(-0.5 * first.weight.sum((1, 2, 3)))


def patch_cosines() -> Tensor:
    """(48,48) orthogonal rows, scaled: 4 x 4 cosine transforms of luma and two colour differences of an RGB patch.

    Columns are ordered as `torch.nn.functional.pixel_unshuffle` orders pixels.
    """
    position, frequency = torch.arange(4.0), torch.arange(4.0)[:, None]
    cosines = torch.cos(math.pi / 4 * (position + 0.5) * frequency)
    cosines = cosines / cosines.norm(dim=1, keepdim=True)
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    radius = (torch.arange(4.0)[:, None] ** 2 + torch.arange(4.0) ** 2).sqrt()
    scale = torch.tensor([1.0, 4.0, 4.0])[:, None, None] * 6 * (0.15 + radius)
    basis = torch.einsum("ac,uy,vx,auv->auvcyx", colours, cosines, cosines, scale)
    return basis.reshape(48, 48)
