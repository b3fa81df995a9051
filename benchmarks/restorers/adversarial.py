"""Super-resolvers published with adversarially trained weights: PCARN, Fast-SRGAN and SRGAN.

Each takes and returns RGB in [0, 1]; results are not clamped.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.restorers.blocks import Named, Residual, conv, pointwise


class _GroupedResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(64, 64, groups=4)
        self.conv2 = conv(64, 64, groups=4)
        self.pw = pointwise(64, 64)

    def forward(self, features: Tensor) -> Tensor:
        deep = functional.relu(self.conv2(functional.relu(self.conv1(features))))
        return functional.relu(self.pw(deep) + features)


class _Cascade(nn.Module):
    """Three units; after each, a 1x1 convolution fuses the outputs of all so far with the input."""

    def __init__(self, b1: nn.Module, b2: nn.Module, b3: nn.Module) -> None:
        super().__init__()
        self.b1, self.b2, self.b3 = b1, b2, b3
        self.c1, self.c2, self.c3 = (pointwise(64 * inputs, 64) for inputs in (2, 3, 4))

    def forward(self, features: Tensor) -> Tensor:
        gathered = fused = features
        for unit, fuse in ((self.b1, self.c1), (self.b2, self.c2), (self.b3, self.c3)):
            gathered = torch.cat((gathered, unit(fused)), dim=1)
            fused = fuse(gathered)
        return fused


def _shared_cascade() -> _Cascade:
    unit = _GroupedResidual()
    return _Cascade(unit, unit, unit)


def _grouped_shuffle(scale: int) -> list[nn.Module]:
    return [conv(64, 64 * scale**2, groups=4), nn.ReLU(), nn.PixelShuffle(scale)]


class PCARN(_Cascade):
    """Ahn, Kang, Sohn, "Photo-realistic image super-resolution with fast and lightweight cascading residual
    network", arXiv:1903.02240: PCARN-M, whose residual units share weights. One network for x2, x3 and x4."""

    def __init__(self) -> None:
        super().__init__(_shared_cascade(), _shared_cascade(), _shared_cascade())
        self.sub_mean = Named(shifter=pointwise(3, 3))
        self.entry = conv(3, 64)
        self.upsample = nn.ModuleDict(
            {
                "up2": Named(body=nn.Sequential(*_grouped_shuffle(2))),
                "up3": Named(body=nn.Sequential(*_grouped_shuffle(3))),
                "up4": Named(body=nn.Sequential(*_grouped_shuffle(2), *_grouped_shuffle(2))),
            }
        )
        self.exit = conv(64, 3)
        self.add_mean = Named(shifter=pointwise(3, 3))

    def forward(self, image: Tensor, scale: int = 4) -> Tensor:
        shallow = self.entry(self.sub_mean(image))
        deep = super().forward(shallow) + shallow
        enlarged: Tensor = self.add_mean(self.exit(self.upsample[f"up{scale}"](deep)))
        return enlarged


class FastSRGAN(nn.Module):
    """The generator of SRGAN (Ledig et al., CVPR 2017) with instance norm, by Hasnain Raza; x4.

    Each image is normalised by its own statistics: a crop gives another result than the whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.neck = nn.Sequential(conv(3, 64), nn.PReLU())
        self.stem = nn.Sequential(
            *[
                Residual(
                    conv1=conv(64, 64, bias=False),
                    norm1=nn.InstanceNorm2d(64),
                    relu1=nn.PReLU(),
                    conv2=conv(64, 64, bias=False),
                    norm2=nn.InstanceNorm2d(64),
                )
                for _ in range(8)
            ]
        )
        self.bottleneck = nn.Sequential(conv(64, 64, bias=False), nn.InstanceNorm2d(64))
        self.upsampling = nn.Sequential(
            *[Named(conv=conv(64, 256), shuffle=nn.PixelShuffle(2), relu=nn.PReLU()) for _ in range(2)]
        )
        self.head = nn.Sequential(conv(64, 3), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.neck(2 * image - 1)
        deep = self.bottleneck(self.stem(shallow)) + shallow
        enlarged: Tensor = self.head(self.upsampling(deep))
        return (enlarged + 1) / 2


def _batch_norm_block() -> Residual:
    return Residual(
        conv1=conv(64, 64), bn1=nn.BatchNorm2d(64), prelu=nn.PReLU(), conv2=conv(64, 64), bn2=nn.BatchNorm2d(64)
    )


class SRGAN(nn.Module):
    """The generator of Ledig et al., "Photo-realistic single image super-resolution using a generative
    adversarial network", CVPR 2017, with five residual blocks; x2 or x4."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.block1 = nn.Sequential(conv(3, 64, 9), nn.PReLU())
        self.block2, self.block3, self.block4, self.block5, self.block6 = (_batch_norm_block() for _ in range(5))
        self.block7 = nn.Sequential(conv(64, 64), nn.PReLU())
        enlargements = [
            Named(conv=conv(64, 256), shuffle=nn.PixelShuffle(2), prelu=nn.PReLU()) for _ in range(scale // 2)
        ]
        self.block8 = nn.Sequential(*enlargements, conv(64, 3, 9))

    def forward(self, image: Tensor) -> Tensor:
        shallow = deep = self.block1(image)
        for block in (self.block2, self.block3, self.block4, self.block5, self.block6, self.block7):
            deep = block(deep)
        return (torch.tanh(self.block8(deep + shallow)) + 1) / 2
