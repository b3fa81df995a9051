"""The pre-activation ResNet-50 without its last stage, for teachers, with batch norms folded into convolutions.

He, Zhang, Ren, Sun: Identity mappings in deep residual networks, ECCV 2016, arXiv:1603.05027.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.errors import ConfigError
from drmetric.networks.backbones.base import Backbone

__all__ = ["load_resnet50v2", "resnet50v2"]


class PreActivation(nn.Module):
    """Norm and ReLU, then 1x1, 3x3 and 1x1 convolutions beside a skip; what follows the last block is not activated.

    The norm is a convolution of one weight and one bias a channel.
    """

    def __init__(self, inputs: int, hidden: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * hidden
        self.norm = nn.Conv2d(inputs, inputs, 1, groups=inputs)
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else None

    def forward(self, features: Tensor) -> Tensor:
        activated = F.relu(self.norm(features))
        changed: Tensor = self.layers(activated)
        return changed + (features if self.skip is None else self.skip(activated))


RESNET50_BLOCKS = (3, 4, 6)


def resnet50v2(stages: int = 4) -> Backbone:
    """Pre-activation ResNet-50 up to stride 16: 64, 256, 512, 1024 channels at strides 2, 4, 8, 16."""
    built = [nn.Sequential(nn.Conv2d(3, 3, 1, groups=3), nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(inplace=True))]
    channels = [64]
    for blocks, hidden, stride in zip(RESNET50_BLOCKS, (64, 128, 256), (1, 2, 2), strict=True):
        layers: list[nn.Module] = [nn.MaxPool2d(3, 2, 1)] if len(built) == 1 else []
        for block in range(blocks):
            layers.append(PreActivation(channels[-1] if block == 0 else 4 * hidden, hidden, 1 if block else stride))
        built.append(nn.Sequential(*layers))
        channels.append(4 * hidden)
    return Backbone(built[:stages], channels[:stages], [2, 4, 8, 16][:stages])


def load_resnet50v2(backbone: Backbone, state: Mapping[str, Tensor]) -> None:
    """Fill `resnet50v2()` from a pre-activation ResNet-50, folding batch norms.

    Args:
        backbone: as made by `resnet50v2`; only its stages are filled.
        state: keys ``"bn0.running_mean"``, ``"conv1.weight"``, ``"layer1.0.bn1.weight"``,
            ``"layer1.0.downsample.weight"`` ...; the norm of the input, bn0, has no weight and bias.

    Raises:
        ConfigError: the state is not one of a pre-activation ResNet-50.
    """
    state = {"bn0.weight": torch.ones(3), "bn0.bias": torch.zeros(3), **state}
    names = [("", "bn0"), ("conv1", "bn1")]
    for layer, blocks in enumerate(RESNET50_BLOCKS, 1):
        for block in range(blocks):
            parts = [("", "bn1"), ("conv1", "bn2"), ("conv2", "bn3"), ("conv3", "")]
            if block == 0:
                parts.append(("downsample", ""))
            at = f"layer{layer}.{block}."
            names += [(kernel and at + kernel, norm and at + norm) for kernel, norm in parts]
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    try:
        for convolution, (kernel, norm) in zip(convolutions, names, strict=False):
            _fill(convolution, state, kernel, norm)
    except (KeyError, RuntimeError) as error:
        raise ConfigError(
            f"not the weights of a pre-activation ResNet-50: {error}",
            'backbone = "mobilenetv2"  # in [network], with the state of torchvision.models.mobilenet_v2().features',
        ) from error


@torch.no_grad()
def _fill(convolution: nn.Conv2d, state: Mapping[str, Tensor], kernel: str, norm: str) -> None:
    """Give a convolution the kernel of that name, or ones, and fold in the norm of that name."""
    convolution.weight.copy_(state[f"{kernel}.weight"] if kernel else torch.ones_like(convolution.weight))
    if norm:
        assert convolution.bias is not None
        gain = state[f"{norm}.weight"].float() / torch.sqrt(state[f"{norm}.running_var"].float() + 1e-5)
        convolution.weight.mul_(gain.view(-1, 1, 1, 1))
        convolution.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)
