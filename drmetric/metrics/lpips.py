"""LPIPS: a distance of deep features, weighted as people judge.

Zhang, Isola, Efros, Shechtman, Wang: The unreasonable effectiveness of deep features as a perceptual metric, CVPR
2018, arXiv:1801.03924.
"""

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from drmetric.checkpoints import WeightsFile
from drmetric.errors import InputError, optional
from drmetric.images import without_autocast
from drmetric.metrics.alignment import Alignment, Crop
from drmetric.metrics.base import INFINITY, Mode
from drmetric.metrics.imagenet import BACKBONES, find_backbone, load_backbone
from drmetric.metrics.learned import LearnedMetric

__all__ = ["LPIPS"]


class LPIPS(LearnedMetric):
    """Learned perceptual distance, version 0.1 (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018).

    The heads are those inside the package `lpips`; the backbone is looked for by
    `drmetric.metrics.imagenet.find_backbone`.

    Args:
        net: "squeeze", "alex" or "vgg".
        backbone: a .safetensors or .pth file with torchvision's keys.
        crop, upscale: see `drmetric.metrics.alignment.Alignment`.

    Raises:
        InputError: an unknown net.
        WeightsError: no backbone, or a file of another network.
        MissingDependencyError: lpips or torchvision is not installed, or does not import.
    """

    name: ClassVar[str] = "lpips"
    mode: ClassVar[Mode] = "fr"
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (0.0, INFINITY)
    min_size: ClassVar[int] = 32
    licence: ClassVar[str] = "BSD-2-Clause"

    def __init__(
        self,
        net: str = "squeeze",
        *,
        backbone: str | Path | None = None,
        crop: Crop = "none",
        upscale: bool = False,
    ) -> None:
        if net not in BACKBONES:
            raise InputError(f"unknown net {net!r}; known: {', '.join(BACKBONES)}", 'LPIPS("squeeze")')
        optional("lpips", "bench", "LPIPS")  # before the backbone, whose fix needs torchvision, which comes with it
        self.net = net
        self.alignment = Alignment(crop, upscale)
        super().__init__(find_backbone(net, backbone))

    def _settings(self) -> dict[str, str]:
        return {"net": self.net, "lpips": version("lpips"), "input": "rgb01", **self.alignment.settings}

    def _build(self, file: WeightsFile) -> nn.Module:
        lpips = optional("lpips", "bench", "LPIPS")
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            network: nn.Module = lpips.LPIPS(net=self.net, pnet_rand=True, verbose=False)
        backbone = network.get_submodule("net")
        # lpips cuts torchvision's `features` into slices and keeps the numbers of the layers.
        numbers = {key: key.split(".", 1)[1] for key in backbone.state_dict()}
        load_backbone(backbone, numbers, file.path, self.net, "LPIPS")
        return network

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        assert reference is not None
        with without_autocast(image.device):
            distance: Tensor = self.network(*self.alignment(image, reference, self.min_size), normalize=True)
            return distance.flatten()
