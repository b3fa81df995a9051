"""Small restorers and images, for real runs of the frameworks."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from drmetric import example

WEIGHTS = "driqa-patches-3"
"""The fastest of DRIQA's."""


def pairs(count: int = 4, scale: int = 2) -> tuple[Tensor, Tensor]:
    """Truth (N,3,64,64) and degraded (N,3,64/scale,64/scale)."""
    photo = example.image("restored/coffee_sharp")
    truth = torch.cat([photo[..., top : top + 64, 64:128] for top in range(0, 32 * count, 32)])
    return truth, functional.interpolate(truth, scale_factor=1 / scale, mode="area")


class Upscaler(nn.Module):
    """Bilinear, and one learned layer over it."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.dirac_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, degraded: Tensor) -> Tensor:
        image: Tensor = self.layer(functional.interpolate(degraded, scale_factor=self.scale, mode="bilinear"))
        return image
