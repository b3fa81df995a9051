"""The ImageNet backbones that LPIPS and DISTS stand on: looked for where torchvision puts them, never downloaded."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from drmetric.checkpoints import home
from drmetric.errors import WeightsError

__all__ = ["BACKBONES", "find_backbone", "load_backbone"]

BACKBONES = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}


def find_backbone(net: str, backbone: str | Path | None = None, metric: str = "LPIPS") -> Path:
    """The file of an ImageNet backbone, with torchvision's keys; never downloaded.

    The first that is there of: `backbone`, ``$DRMETRIC_LPIPS_BACKBONE``,
    ``$DRMETRIC_HOME/<name>*.safetensors`` and torchvision's own ``<name>-*.pth`` in torch hub's cache;
    <name> is squeezenet1_1, alexnet or vgg16.

    Args:
        net: "squeeze", "alex" or "vgg".
        backbone: a file; no other is looked for then.
        metric: "LPIPS" or "DISTS", which has ``$DRMETRIC_DISTS_BACKBONE``.

    Raises:
        WeightsError: a given file is missing, or nothing was given and nothing was found.
    """
    name = BACKBONES[net]
    given = backbone or os.environ.get(f"DRMETRIC_{metric}_BACKBONE")
    if given and Path(given).expanduser().is_file():
        return Path(given).expanduser()
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    found = [*sorted(home().glob(f"{name}*.safetensors")), *sorted(cache.glob(f"{name}-*.pth"))]
    if given or not found:
        where = str(given) if given else f"{home()} or {cache}"
        raise WeightsError(
            f"{metric} with net={net!r} needs torchvision's {name}, and it is not at {where}",
            f"python -c \"from torchvision.models import *; {name}(weights='DEFAULT')\"  # downloads it",
        )
    return found[0]


def load_backbone(module: nn.Module, numbers: Mapping[str, str], path: Path, net: str, metric: str) -> None:
    """Load a module with the layers of torchvision's `features` in a file.

    Args:
        module: the layers.
        numbers: of each key of the module's state, the number and kind in `features`, such as "0.weight".
        path: what `find_backbone` found.
        net: as there.
        metric: the class that needs it, for the error.

    Raises:
        WeightsError: the file does not hold this network.
    """
    try:
        is_safe = path.suffix == ".safetensors"
        pretrained = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict({key: pretrained[f"features.{number}"] for key, number in numbers.items()})
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise WeightsError(
            f"{path} does not hold torchvision's {BACKBONES[net]}: {error}",
            f'{metric}(backbone="{BACKBONES[net]}.safetensors")',
        ) from error
