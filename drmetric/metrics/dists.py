"""DISTS through the package piq, on weights that are looked for and never downloaded.

Ding, Ma, Wang, Simoncelli: Image Quality Assessment: Unifying Structure and Texture Similarity, IEEE TPAMI 44(5),
2022. piq's own class downloads torchvision's VGG16 and a file of 2 x 1475 weights when it is made; here its code runs
on files that exist.
"""

from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from drmetric.checkpoints import WeightsFile, home
from drmetric.errors import WeightsError, optional
from drmetric.images import without_autocast
from drmetric.metrics.alignment import Alignment, Crop
from drmetric.metrics.base import Mode
from drmetric.metrics.imagenet import find_backbone, load_backbone
from drmetric.metrics.learned import LearnedMetric

__all__ = ["DISTS", "find_dists_weights"]

WEIGHTS_URL = "https://github.com/photosynthesis-team/piq/releases/download/v0.4.1/dists_weights.pt"
CHANNELS = (3, 64, 128, 256, 512, 512)
"""Of the image and of the five feature maps that are compared."""
LAYERS = ("3", "8", "15", "22", "29")
"""The last ReLU of each stage of VGG16, by its number in torchvision's `features`."""
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def find_dists_weights(weights: str | Path = "default") -> Path:
    """The file with DISTS' weights alpha and beta: piq's dists_weights.pt, or weights.pt of DISTS' authors.

    A path, else the first that is there of ``$DRMETRIC_HOME/dists_weights.safetensors``, ``.pt`` beside it, and
    dists_weights.pt in torch hub's cache, where piq would put it.

    Raises:
        WeightsError: none of these exists.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    looked_for = [home() / "dists_weights.safetensors", home() / "dists_weights.pt", cache / "dists_weights.pt"]
    places = looked_for if weights == "default" else [Path(weights).expanduser()]
    for place in places:
        if place.is_file():
            return place
    raise WeightsError(
        f"DISTS needs its weights alpha and beta, and there is no {' or '.join(map(str, places))}",
        f"curl -L --create-dirs -o {home() / 'dists_weights.pt'} {WEIGHTS_URL}",
    )


def _read_weights(path: Path) -> list[Tensor]:
    """Alpha, then beta, each (1,C,1,1) for every C of `CHANNELS`; all of them sum to 1."""
    try:
        tensors = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        both = [tensors[name].detach().float().reshape(1, sum(CHANNELS), 1, 1) for name in ("alpha", "beta")]
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise WeightsError(
            f"{path} does not hold DISTS' alpha and beta, {sum(CHANNELS)} numbers each: {error!r}",
            f"curl -L --create-dirs -o {home() / 'dists_weights.pt'} {WEIGHTS_URL}",
        ) from error
    total = both[0].sum() + both[1].sum()
    return [part for weights in both for part in torch.split(weights / total, list(CHANNELS), dim=1)]


def _vgg16_features() -> nn.Sequential:
    """The convolutional part of VGG16 with torchvision's numbers of layers, not initialised."""
    layers: list[nn.Module] = []
    width = 3
    for channels, count in _STAGES:
        for _ in range(count):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            width = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _keep_windows(features: nn.Module) -> None:
    """Make buffers of the windows of piq's L2 pooling, which otherwise stay on the device of the first image."""
    functional = optional("piq.functional", "bench", "DISTS")
    pools = [layer for layer in features.children() if isinstance(layer, functional.L2Pool2d)]
    for pool, (channels, _) in zip(pools, _STAGES, strict=True):
        del pool.kernel
        pool.register_buffer("kernel", functional.hann_filter(pool.kernel_size).repeat(channels, 1, 1, 1))


class DISTS(LearnedMetric):
    """Deep image structure and texture similarity, a distance: 0 for equal images, lower is better.

    As in piq, an image whose short side is above 256 pixels is brought to 256 by bilinear interpolation.

    Args:
        weights: "default" or a file; see `find_dists_weights`.
        backbone: a .safetensors or .pth file of VGG16 with torchvision's keys; by default it is looked for by
            `drmetric.metrics.imagenet.find_backbone`.
        crop, upscale: see `drmetric.metrics.alignment.Alignment`.

    Raises:
        WeightsError: one of the two files is missing, or is another one.
        MissingDependencyError: piq or torchvision is not installed, or does not import.
    """

    name: ClassVar[str] = "dists"
    mode: ClassVar[Mode] = "fr"
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (0.0, 2.0)
    min_size: ClassVar[int] = 32
    licence: ClassVar[str] = "Apache-2.0 AND BSD-3-Clause AND MIT"

    def __init__(
        self,
        weights: str | Path = "default",
        *,
        backbone: str | Path | None = None,
        crop: Crop = "none",
        upscale: bool = False,
    ) -> None:
        optional("piq", "bench", "DISTS")  # before the backbone, whose fix needs torchvision, which comes with it
        self.alignment = Alignment(crop, upscale)
        self._heads = find_dists_weights(weights)
        super().__init__(find_backbone("vgg", backbone, "DISTS"))

    def _settings(self) -> dict[str, str]:
        heads = f"{self._heads.name}@{self._heads_hash}"
        return {"heads": heads, "piq": version("piq"), "input": "rgb01", **self.alignment.settings}

    def _build(self, file: WeightsFile) -> nn.Module:
        piq = optional("piq", "bench", "DISTS")
        self._heads_hash = sha256(self._heads.read_bytes()).hexdigest()[:12]
        with torch.random.fork_rng(devices=[]):
            features = _vgg16_features()
        load_backbone(features, {key: key for key in features.state_dict()}, file.path, "vgg", "DISTS")
        network: nn.Module = piq.DISTS.__new__(piq.DISTS)
        piq.ContentLoss.__init__(
            network,
            features,
            layers=LAYERS,
            weights=_read_weights(self._heads),
            replace_pooling=True,
            reduction="none",
            allow_layers_weights_mismatch=True,
        )
        _keep_windows(network.get_submodule("model"))
        return network

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        assert reference is not None
        with without_autocast(image.device):
            distance: Tensor = self.network(
                *(each.clamp(0, 1) for each in self.alignment(image, reference, self.min_size))
            )
            return distance.flatten()
