"""Feature extractors cut into stages, one a halving of the resolution.

`create_backbone("patches")` is our own: it works on patches of 4 x 4 pixels from its first layer on, because full
resolution is what costs time. `create_backbone("mobilenetv2")` is MobileNetV2 (Sandler et al., CVPR 2018) and
`create_backbone("resnet50v2")`, for teachers, the pre-activation ResNet-50 (He et al., ECCV 2016) without its last
stage, both written out with batch norms folded into convolutions; `create_backbone("timm:<name>")` is any feature
extractor of timm whose stages follow one another, convolutional or Swin.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.errors import ConfigError, MissingDependencyError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# expansion, output channels, blocks, stride: table 2 of the paper, grouped by resolution
_MOBILENETV2_STAGES: tuple[tuple[tuple[int, int, int, int], ...], ...] = (
    ((1, 16, 1, 1),),
    ((6, 24, 2, 2),),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)


class Backbone(nn.Module):
    """Stages applied one after the other to a normalised image.

    Attributes:
        stages: `nn.ModuleList`, each an `nn.Sequential`.
        channels: output channels of each stage.
        strides: resolution divisor after each stage.
        mean, std: of the input in [0, 1], per channel, subtracted and divided by before the first stage.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stages: Sequence[nn.Module],
        channels: list[int],
        strides: list[int],
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.strides = strides
        self.takes_unit_range = not any(mean) and set(std) == {1.0}
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        """(N,3,H,W) in [0, 1] to zero mean and unit spread."""
        if self.takes_unit_range:
            return image
        return (image - self.mean) / self.std

    def features(self, image: Tensor) -> list[Tensor]:
        """What every stage makes of (N,3,H,W) images in [0, 1], finest first."""
        features, taps = self.normalise(image), []
        for stage in self.stages:
            features = stage(features)
            taps.append(features)
        return taps


class UncutBackbone(Backbone):
    """A model that yields the features of its stages but cannot be cut into them; `stages` holds it whole."""

    def features(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.stages[0](self.normalise(image))
        return features


class InvertedResidual(nn.Module):
    """Expansion, depthwise 3x3 and linear projection, with a skip where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [_convolution(inputs, hidden, 1)] if expansion > 1 else []
        layers += [_convolution(hidden, hidden, 3, stride, groups=hidden), nn.Conv2d(hidden, outputs, 1)]
        self.layers = nn.Sequential(*layers)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.layers(features)
        return features + projected if self.skips else projected


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups), nn.ReLU6(inplace=True))


def mobilenetv2(stages: int = 5) -> Backbone:
    """MobileNetV2 1.0 without its last 1x1 convolution: 16, 24, 32, 96, 320 channels at strides 2..32."""
    built: list[nn.Sequential] = []
    inputs = 32
    for table in _MOBILENETV2_STAGES[:stages]:
        layers: list[nn.Module] = [_convolution(3, 32, 3, stride=2)] if not built else []
        for expansion, outputs, blocks, stride in table:
            for block in range(blocks):
                layers.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
                inputs = outputs
        built.append(nn.Sequential(*layers))
    channels = [table[-1][1] for table in _MOBILENETV2_STAGES[:stages]]
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
            "pass the state of torchvision.models.mobilenet_v2().features",
        )
    for convolution, key in zip(convolutions, kernels, strict=False):
        parent, index = key.removesuffix(".weight").rsplit(".", 1)
        norm = f"{parent}.{int(index) + 1}"
        if convolution.weight.shape != state[key].shape or f"{norm}.running_var" not in state:
            raise ConfigError(
                f"{key} has shape {tuple(state[key].shape)}, MobileNetV2 wants {tuple(convolution.weight.shape)}",
                "pass the state of torchvision.models.mobilenet_v2().features",
            )
        gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-5)
        with torch.no_grad():
            convolution.weight.copy_(state[key] * gain.view(-1, 1, 1, 1))
            assert convolution.bias is not None
            convolution.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)


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


class RepeatedBorder(nn.Module):
    """Repeats the last row and column until both sides are multiples of 8."""

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate") if height % 8 or width % 8 else image


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


def _timm(name: str, stages: int, *, cut: bool) -> Backbone:
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise MissingDependencyError(
            f"backbone 'timm:{name}' needs timm, which is not installed", "pip install 'drmetric[train]'"
        ) from error
    if name not in timm.list_models():
        near = timm.list_models(f"*{name[:8]}*")[:3]
        raise ConfigError(f"timm has no model {name!r}", f"one of: {', '.join(near) or 'timm.list_models()'}")
    model = timm.create_model(name, features_only=True, out_indices=tuple(range(stages)), pretrained=False)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    mean, std = (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    channels, strides = model.feature_info.channels(), model.feature_info.reduction()
    ends = list(getattr(model, "return_layers", {}))
    if len(ends) != stages:
        if cut:
            raise ConfigError(f"timm model {name!r} cannot be cut into {stages} stages", 'backbone = "timm:resnet50"')
        return UncutBackbone([model], channels, strides, mean, std)
    built: list[nn.Sequential] = []
    layers: list[nn.Module] = []
    for key, layer in model.items():
        layers.append(layer)
        if key == ends[len(built)]:
            built.append(nn.Sequential(*layers))
            layers = []
        if len(built) == stages:
            break
    if getattr(model, "output_fmt", "NCHW") == "NHWC":
        built = [_channels_first(stage, image_first=index == 0) for index, stage in enumerate(built)]
    return Backbone(built, channels, strides, mean, std)


class Permutation(nn.Module):
    """The axes of a tensor in another order."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, features: Tensor) -> Tensor:
        return features.permute(self.axes)


def _channels_first(stage: nn.Sequential, *, image_first: bool) -> nn.Sequential:
    """A stage from (N,h,w,C), or from an image (N,3,H,W), to (N,h,w,C) made one from and to (N,C,h,w)."""
    before = [] if image_first else [Permutation(0, 2, 3, 1)]
    return nn.Sequential(*before, *stage, Permutation(0, 3, 1, 2))


BUILDERS: dict[str, Callable[[int], Backbone]] = {
    "patches": patches,
    "mobilenetv2": mobilenetv2,
    "resnet50v2": resnet50v2,
}
LOADERS: dict[str, Callable[[Backbone, Mapping[str, Tensor]], None]] = {
    "mobilenetv2": load_torchvision_mobilenetv2,
    "resnet50v2": load_resnet50v2,
}


def create_backbone(name: str, stages: int, *, cut: bool = True) -> Backbone:
    """Build the first `stages` stages of a backbone with random weights.

    Args:
        name: "patches", "mobilenetv2", "resnet50v2" or "timm:<model>" (needs the `train` extra).
        stages: how many; 2 ends at stride 4 for both MobileNetV2 and ResNet-50.
        cut: its stages are used one by one; without, for `features` alone, fewer stages will do, or a timm model that
            cannot be cut.

    Raises:
        ConfigError: an unknown name, a backbone of fewer stages, or a timm model that is not a sequence of stages.
        MissingDependencyError: timm is not installed.
    """
    if name in BUILDERS:
        built = BUILDERS[name](stages)
        if cut and len(built.stages) < stages:
            raise ConfigError(
                f"backbone {name!r} has {len(built.stages)} stages; {stages} are wanted", 'backbone = "mobilenetv2"'
            )
        return built
    if name.startswith("timm:"):
        return _timm(name.removeprefix("timm:"), stages, cut=cut)
    raise ConfigError(
        f"unknown backbone {name!r}", 'backbone = "mobilenetv2"  # or "patches", "resnet50v2", "timm:<name>"'
    )


def load_backbone(name: str, backbone: Backbone, state: Mapping[str, Tensor]) -> None:
    """Fill a backbone made by `create_backbone(name, ...)` from published weights.

    Raises:
        ConfigError: no weights of that backbone can be read, or these are not of it.
    """
    if name not in LOADERS:
        raise ConfigError(f"weights of backbone {name!r} cannot be read", 'backbone = "mobilenetv2"  # or "resnet50v2"')
    LOADERS[name](backbone, state)
