"""Restorers of weather: AOD-Net against haze and PReNet against rain. Both take and return RGB in [0, 1]."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.restorers.blocks import conv


class AODNet(nn.Module):
    """Li, Peng, Wang, Xu, Feng, "AOD-Net: all-in-one dehazing network", ICCV 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.e_conv1 = conv(3, 3, 1)
        self.e_conv2 = conv(3, 3, 3)
        self.e_conv3 = conv(6, 3, 5)
        self.e_conv4 = conv(6, 3, 7)
        self.e_conv5 = conv(12, 3, 3)

    def forward(self, image: Tensor) -> Tensor:
        first = functional.relu(self.e_conv1(image))
        second = functional.relu(self.e_conv2(first))
        third = functional.relu(self.e_conv3(torch.cat((first, second), dim=1)))
        fourth = functional.relu(self.e_conv4(torch.cat((second, third), dim=1)))
        haze = functional.relu(self.e_conv5(torch.cat((first, second, third, fourth), dim=1)))
        return functional.relu(haze * image - haze + 1)


def _residual_pair() -> nn.Sequential:
    return nn.Sequential(conv(32, 32), nn.ReLU(), conv(32, 32), nn.ReLU())


class PReNet(nn.Module):
    """Ren, Zuo, Hu, Zhu, Meng, "Progressive image deraining networks", CVPR 2019; six passes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(conv(6, 32), nn.ReLU())
        self.conv_i, self.conv_f, self.conv_o = (nn.Sequential(conv(64, 32), nn.Sigmoid()) for _ in range(3))
        self.conv_g = nn.Sequential(conv(64, 32), nn.Tanh())
        self.res_conv1, self.res_conv2, self.res_conv3, self.res_conv4, self.res_conv5 = (
            _residual_pair() for _ in range(5)
        )
        self.conv = nn.Sequential(conv(32, 3))

    def forward(self, image: Tensor) -> Tensor:
        restored = image
        hidden = cell = image.new_zeros(len(image), 32, *image.shape[-2:])
        for _ in range(6):
            seen = torch.cat((self.conv0(torch.cat((image, restored), dim=1)), hidden), dim=1)
            cell = self.conv_f(seen) * cell + self.conv_i(seen) * self.conv_g(seen)
            hidden = self.conv_o(seen) * torch.tanh(cell)
            deep = hidden
            for block in (self.res_conv1, self.res_conv2, self.res_conv3, self.res_conv4, self.res_conv5):
                deep = functional.relu(deep + block(deep))
            restored = image + self.conv(deep)
        return restored
