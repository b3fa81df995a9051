"""Super-resolvers x4 of the feature distillation family: IMDN, RFDN, EFDN, RLFN and BSRN.

Each takes and returns RGB in [0, 1]; results are not clamped.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.restorers.blocks import (
    ESA,
    Layer,
    Named,
    PointwiseLinear,
    Residual,
    ShortESA,
    blueprint_conv,
    conv,
    pointwise,
)


def _leaky(features: Tensor) -> Tensor:
    return functional.leaky_relu(features, 0.05)


class _MultiDistillation(nn.Module):
    """Splits 16 of 64 channels off after each of three convolutions and fuses what was split off."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(conv(64, 64), nn.LeakyReLU(0.05))
        self.conv2 = nn.Sequential(conv(48, 64), nn.LeakyReLU(0.05))
        self.conv3 = nn.Sequential(conv(48, 64), nn.LeakyReLU(0.05))
        self.conv4 = conv(48, 16)
        self.conv1x1 = pointwise(64, 64)

    def forward(self, features: Tensor) -> Tensor:
        rest, distilled = features, []
        for layer in (self.conv1, self.conv2, self.conv3):
            kept, rest = layer(rest).split((16, 48), dim=1)
            distilled.append(kept)
        distilled.append(self.conv4(rest))
        fused: Tensor = self.conv1x1(torch.cat(distilled, dim=1))
        return fused + features


class IMDN(nn.Module):
    """Hui, Gao, Yang, Wang, ACM MM 2019; the variant of eight blocks without channel attention."""

    def __init__(self) -> None:
        super().__init__()
        trunk = nn.Sequential(*[_MultiDistillation() for _ in range(8)], conv(64, 64))
        self.model = nn.Sequential(conv(3, 64), Residual(sub=trunk), conv(64, 48), nn.PixelShuffle(4))

    def forward(self, image: Tensor) -> Tensor:
        enlarged: Tensor = self.model(image)
        return enlarged


class _ResidualDistillation(nn.Module):
    """Distils half of the channels before each of three shallow residual layers; attention at the end."""

    def __init__(
        self, channels: int, point: Layer, spatial: Layer, activation: Callable[[Tensor], Tensor], attention: nn.Module
    ) -> None:
        super().__init__()
        half = channels // 2
        self.c1_d, self.c2_d, self.c3_d = (point(channels, half) for _ in range(3))
        self.c1_r, self.c2_r, self.c3_r = (spatial(channels, channels) for _ in range(3))
        self.c4 = spatial(channels, half)
        self.c5 = point(4 * half, channels)
        self.esa = attention
        self._activation = activation

    def forward(self, features: Tensor) -> Tensor:
        rest, distilled = features, []
        for distil, refine in ((self.c1_d, self.c1_r), (self.c2_d, self.c2_r), (self.c3_d, self.c3_r)):
            distilled.append(self._activation(distil(rest)))
            rest = self._activation(refine(rest) + rest)
        distilled.append(self._activation(self.c4(rest)))
        attended: Tensor = self.esa(self.c5(torch.cat(distilled, dim=1)))
        return attended


class RFDN(nn.Module):
    """Liu, Tang, Wu, ECCV Workshops 2020. Computes in [0, 255]."""

    def __init__(self) -> None:
        super().__init__()
        self.fea_conv = conv(3, 50)
        self.B1, self.B2, self.B3, self.B4 = (
            _ResidualDistillation(50, pointwise, conv, _leaky, ESA(50, 12)) for _ in range(4)
        )
        self.c = nn.Sequential(pointwise(200, 50), nn.LeakyReLU(0.05))
        self.LR_conv = conv(50, 50)
        self.upsampler = nn.Sequential(conv(50, 48), nn.PixelShuffle(4))

    def forward(self, image: Tensor) -> Tensor:
        shallow = deep = self.fea_conv(255 * image)
        outputs = []
        for block in (self.B1, self.B2, self.B3, self.B4):
            deep = block(deep)
            outputs.append(deep)
        enlarged: Tensor = self.upsampler(self.LR_conv(self.c(torch.cat(outputs, dim=1))) + shallow)
        return enlarged / 255


class _EdgeCell(nn.Module):
    """Three convolutions of 48 channels, each of which gives 24 to the fusion; the edge branches are folded in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Named(conv1x1=pointwise(48, 48), act=nn.PReLU(48))
        self.conv2 = Named(rep_conv=conv(48, 48), act=nn.PReLU(48))
        self.conv3 = Named(rep_conv=conv(48, 48), act=nn.PReLU(48))
        self.branch = nn.ModuleList(pointwise(48, 24) for _ in range(4))
        self.fuse = pointwise(96, 48)
        self.att = ESA(48, 12)

    def forward(self, features: Tensor) -> Tensor:
        stages = [features]
        for layer in (self.conv1, self.conv2, self.conv3):
            stages.append(layer(stages[-1]))
        branches = [branch(stage) for branch, stage in zip(self.branch, stages, strict=True)]
        attended: Tensor = self.att(self.fuse(torch.cat(branches, dim=1)))
        return attended + features


class EFDN(nn.Module):
    """Wang, "Edge-enhanced feature distillation network for efficient super-resolution", CVPR Workshops 2022."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 48)
        self.cells = nn.ModuleList(_EdgeCell() for _ in range(4))
        self.local_fuse = nn.ModuleList(pointwise(96, 48) for _ in range(3))
        self.tail = nn.Sequential(conv(48, 48), nn.PixelShuffle(4))

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.head(image)
        first = self.cells[0](shallow)
        second = self.cells[1](first)
        third = self.cells[2](self.local_fuse[0](torch.cat((first, second), dim=1)))
        fourth = self.cells[3](self.local_fuse[1](torch.cat((second, third), dim=1)))
        deep = self.local_fuse[2](torch.cat((second, fourth), dim=1))
        enlarged: Tensor = self.tail(deep + shallow)
        return enlarged


class _ResidualLocal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = conv(46, 48), conv(48, 48), conv(48, 46)
        self.c5 = pointwise(46, 46)
        self.esa = ShortESA(46, 16)

    def forward(self, features: Tensor) -> Tensor:
        deep = features
        for layer in (self.c1_r, self.c2_r, self.c3_r):
            deep = _leaky(layer(deep))
        attended: Tensor = self.esa(self.c5(deep + features))
        return attended


class RLFN(nn.Module):
    """Kong et al., "Residual local feature network", CVPR Workshops 2022; as in the challenge. In [0, 255]."""

    def __init__(self) -> None:
        super().__init__()
        self.fea_conv = conv(3, 46)
        self.B1, self.B2, self.B3, self.B4 = (_ResidualLocal() for _ in range(4))
        self.LR_conv = conv(46, 46)
        self.upsampler = nn.Sequential(conv(46, 48), nn.PixelShuffle(4))

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.fea_conv(255 * image)
        deep = self.B4(self.B3(self.B2(self.B1(shallow))))
        enlarged: Tensor = self.upsampler(self.LR_conv(deep) + shallow)
        return enlarged / 255


class _BlueprintDistillation(_ResidualDistillation):
    def __init__(self) -> None:
        attention = ESA(48, 12, PointwiseLinear, blueprint_conv, functional.gelu)
        super().__init__(48, PointwiseLinear, blueprint_conv, functional.gelu, attention)
        self.cw = nn.Parameter(torch.ones(1, 48))
        self.conv_out = PointwiseLinear(48, 48)

    def forward(self, features: Tensor) -> Tensor:
        weighted = super().forward(features) * self.cw[..., None, None]
        changed: Tensor = self.conv_out(weighted)
        return changed + features


class BSRN(nn.Module):
    """Li et al., "Blueprint separable residual network", CVPR Workshops 2022."""

    def __init__(self) -> None:
        super().__init__()
        self.fea_conv = blueprint_conv(12, 48)
        self.B1, self.B2, self.B3, self.B4, self.B5 = (_BlueprintDistillation() for _ in range(5))
        self.c1 = PointwiseLinear(240, 48)
        self.c2 = blueprint_conv(48, 48)
        self.upsampler = Named(upsampleOneStep=nn.Sequential(conv(48, 48), nn.PixelShuffle(4)))

    def forward(self, image: Tensor) -> Tensor:
        shallow = deep = self.fea_conv(image.repeat(1, 4, 1, 1))
        outputs = []
        for block in (self.B1, self.B2, self.B3, self.B4, self.B5):
            deep = block(deep)
            outputs.append(deep)
        deep = self.c2(functional.gelu(self.c1(torch.cat(outputs, dim=1))))
        enlarged: Tensor = self.upsampler(deep + shallow)
        return enlarged
