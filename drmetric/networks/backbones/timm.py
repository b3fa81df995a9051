"""Feature extractors of timm whose stages follow one another, convolutional or Swin."""

from torch import Tensor, nn

from drmetric.errors import ConfigError, choose, optional
from drmetric.networks.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone

__all__ = ["UncutBackbone", "timm_backbone"]


class UncutBackbone(Backbone):
    """A model that yields the features of its stages but cannot be cut into them; `stages` holds it whole."""

    def features(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.stages[0](self.normalise(image))
        return features


def timm_backbone(name: str, stages: int, *, cut: bool) -> Backbone:
    """The first `stages` stages of a model of timm, with random weights; arguments and errors of `create_backbone`."""
    timm = optional("timm", "train", f"backbone 'timm:{name}'")
    if name not in timm.list_models():
        near = timm.list_models(f"*{name[:8]}*")[:3]
        raise ConfigError(
            f"timm has no model {name!r}", choose("backbone", [f"timm:{each}" for each in near or ["resnet50"]])
        )
    model = timm.create_model(name, features_only=True, out_indices=tuple(range(stages)), pretrained=False)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    mean, std = (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    channels, strides = model.feature_info.channels(), model.feature_info.reduction()
    ends = list(getattr(model, "return_layers", {}))
    if len(ends) != stages:
        if cut:
            raise ConfigError(f"timm model {name!r} cannot be cut into {stages} stages", 'backbone = "timm:resnet50"')
        return UncutBackbone([model], channels, strides, mean, std, reach=None)
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
    return Backbone(built, channels, strides, mean, std, reach=None)


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
