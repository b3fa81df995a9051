"""MobileNetV2, with batch norms folded into convolutions.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018,
arXiv:1801.04381.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from drmetric.errors import ConfigError
from drmetric.networks.backbones.base import Backbone, fold_norm
from drmetric.networks.fused import Convolution, ConvolutionReLU6

__all__ = ["load_torchvision_mobilenetv2", "mobilenetv2"]

# expansion, output channels, blocks, stride: table 2 of the paper, grouped by resolution
_STAGES: tuple[tuple[tuple[int, int, int, int], ...], ...] = (
    ((1, 16, 1, 1),),
    ((6, 24, 2, 2),),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)


class InvertedResidual(nn.Module):
    """Expansion, depthwise 3x3 and linear projection, with a skip where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [ConvolutionReLU6(inputs, hidden, 1)] if expansion > 1 else []
        layers += [ConvolutionReLU6(hidden, hidden, 3, stride, 1, groups=hidden), Convolution(hidden, outputs, 1)]
        self.layers = nn.Sequential(*layers)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.layers(features)
        return features + projected if self.skips else projected


def mobilenetv2(stages: int = 5) -> Backbone:
    """MobileNetV2 1.0 without its last 1x1 convolution: 16, 24, 32, 96, 320 channels at strides 2..32."""
    built: list[nn.Sequential] = []
    inputs = 32
    for table in _STAGES[:stages]:
        layers: list[nn.Module] = [ConvolutionReLU6(3, 32, 3, 2, 1)] if not built else []
        for expansion, outputs, blocks, stride in table:
            for block in range(blocks):
                layers.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
                inputs = outputs
        built.append(nn.Sequential(*layers))
    channels = [table[-1][1] for table in _STAGES[:stages]]
    return Backbone(built, channels, [2**i for i in range(1, stages + 1)])


def load_torchvision_mobilenetv2(backbone: Backbone, state: Mapping[str, Tensor]) -> None:
    """Fill `mobilenetv2()` from the state of torchvision's ``mobilenet_v2().features``, folding batch norms.

    Args:
        backbone: as made by `mobilenetv2`; only its stages are filled.
        state: keys ``"0.0.weight"``, ``"0.1.bias"`` ...; a ``"features."`` prefix is dropped.

    Raises:
        ConfigError: the state is not one of MobileNetV2 1.0.
    """
    state = {key.removeprefix("features."): value.float() for key, value in state.items()}
    kernels = [key for key in state if key.endswith(".weight") and state[key].dim() == 4]
    kernels.sort(key=lambda key: [int(part) for part in key.split(".") if part.isdigit()])
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    if len(kernels) < len(convolutions):
        raise ConfigError(
            f"the state has {len(kernels)} convolutions, MobileNetV2 wants {len(convolutions)}",
            "state = torchvision.models.mobilenet_v2(weights='DEFAULT').features.state_dict()",
        )
    for convolution, key in zip(convolutions, kernels, strict=False):
        parent, index = key.removesuffix(".weight").rsplit(".", 1)
        norm = f"{parent}.{int(index) + 1}"
        if convolution.weight.shape != state[key].shape or f"{norm}.running_var" not in state:
            raise ConfigError(
                f"{key} has shape {tuple(state[key].shape)}, MobileNetV2 wants {tuple(convolution.weight.shape)}",
                "state = torchvision.models.mobilenet_v2(weights='DEFAULT').features.state_dict()",
            )
        fold_norm(convolution, state[key], state, norm)
