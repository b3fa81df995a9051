"""Feature extractors cut into stages, one a halving of the resolution: a file each, and their names.

`create_backbone("patches")` is our own; "mobilenetv2" and "efficientnet_lite0" to "2" are for students, "resnet50v2"
for teachers; `create_backbone("timm:<name>")` is any feature extractor of timm whose stages follow one another.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from drmetric.errors import ConfigError
from drmetric.networks.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone, share_backbones
from drmetric.networks.backbones.efficientnet_lite import EFFICIENTNET_LITE, load_efficientnet_lite
from drmetric.networks.backbones.mobilenetv2 import load_torchvision_mobilenetv2, mobilenetv2
from drmetric.networks.backbones.patches import patches
from drmetric.networks.backbones.resnet50v2 import load_resnet50v2, resnet50v2
from drmetric.networks.backbones.timm import timm_backbone

__all__ = [
    "BUILDERS",
    "DROPOUT",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LOADERS",
    "MOST_STAGES",
    "Backbone",
    "create_backbone",
    "load_backbone",
    "share_backbones",
]

MOST_STAGES = 5
"""Of a backbone that a network here looks through; "mobilenetv2" has as many."""
DROPOUT = (0, 0.9)
"""Range of the share that a network leaves out while training."""

BUILDERS: dict[str, Callable[[int], Backbone]] = {
    "patches": patches,
    "mobilenetv2": mobilenetv2,
    "resnet50v2": resnet50v2,
    **EFFICIENTNET_LITE,
}
LOADERS: dict[str, Callable[[Backbone, Mapping[str, Tensor]], None]] = {
    "mobilenetv2": load_torchvision_mobilenetv2,
    "resnet50v2": load_resnet50v2,
    **dict.fromkeys(EFFICIENTNET_LITE, load_efficientnet_lite),
}


def create_backbone(name: str, stages: int, *, cut: bool = True) -> Backbone:
    """Build the first `stages` stages of a backbone with random weights.

    Args:
        name: "patches", "mobilenetv2", "efficientnet_lite0" to "2", "resnet50v2" or "timm:<model>" (needs the `train`
            extra).
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
        return timm_backbone(name.removeprefix("timm:"), stages, cut=cut)
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
