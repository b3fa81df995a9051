"""Loading a restorer's weights, and calling it on images of any size."""

import hashlib
import os
from pathlib import Path

import torch
from safetensors.torch import load as read_safetensors
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.restorers.catalogue import RESTORERS, Restorer
from drmetric.errors import InputError, WeightsError
from drmetric.images import check_image, luma, resize

FOLDER_VARIABLE = "DRMETRIC_RESTORERS"
LEAST_SIDE = 16
"""Smaller images are padded: the attention of some networks pools windows of 15 pixels."""


class LoadedRestorer(nn.Module):
    """A restorer with its weights; call it on images.

    Args:
        restorer: its entry of the catalogue.
        network: the network, already loaded.
    """

    def __init__(self, restorer: Restorer, network: nn.Module) -> None:
        super().__init__()
        self.restorer = restorer
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Tensor, scale: int = 1) -> Tensor:
        """Restore a batch of images, whole.

        Args:
            image: (N,3,h,w) RGB in [0, 1].
            scale: one of the restorer's scales.

        Returns:
            (N,3,scale h,scale w) float32, clamped to [0, 1].

        Raises:
            InputError: a scale that the restorer does not have, or an image that `check_image` refuses.
        """
        scales = self.restorer.scales
        if scale not in scales:
            raise InputError(
                f"{self.restorer.name} does not restore at scale {scale}; it does at {', '.join(map(str, scales))}",
                f"restorer(image, scale={scales[-1]})",
            )
        image = check_image(image)
        height, width = image.shape[-2:]
        missing = (0, max(0, LEAST_SIDE - width), 0, max(0, LEAST_SIDE - height))
        restored = self._restore(functional.pad(image, missing, mode="replicate"), scale)
        return restored[..., : scale * height, : scale * width].clamp(0, 1)

    def _restore(self, image: Tensor, scale: int) -> Tensor:
        if self.restorer.grey == "luma":
            height, width = image.shape[-2:]
            image = resize(image, (scale * height, scale * width))
            grey = luma(image)
            change: Tensor = self.network(grey) - grey
            return image + change
        if self.restorer.grey == "channels":
            channels: Tensor = self.network(image.reshape(-1, 1, *image.shape[-2:]))
            return channels.view_as(image)
        several = len(self.restorer.scales) > 1
        restored: Tensor = self.network(image, scale) if several else self.network(image)
        return restored


def load(name: str, folder: str | Path | None = None) -> LoadedRestorer:
    """Load a restorer's weights, checking their SHA-256.

    Args:
        name: one of `names()`.
        folder: where the safetensors files are; ``$DRMETRIC_RESTORERS`` if None.

    Raises:
        InputError: an unknown name.
        WeightsError: the file is missing, or not the published one.
        MissingDependencyError: the network comes from spandrel, which is not installed.
    """
    if name not in RESTORERS:
        raise InputError(f"unknown restorer {name!r}; known: {', '.join(RESTORERS)}", 'load("imdn_x4")')
    restorer = RESTORERS[name]
    content = _find(restorer, folder).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if not digest.startswith(restorer.sha256):
        raise WeightsError(
            f"{restorer.file} has SHA-256 {digest[:16]}..., the catalogue says {restorer.sha256}...",
            f"convert {restorer.origin} again",
        )
    network = restorer.build()
    network.load_state_dict({key: value.float() for key, value in read_safetensors(content).items()})
    return LoadedRestorer(restorer, network)


def _find(restorer: Restorer, folder: str | Path | None) -> Path:
    given = folder or os.environ.get(FOLDER_VARIABLE)
    if given and (path := Path(given).expanduser() / restorer.file).is_file():
        return path
    where = f"it is not in {given}" if given else f"{FOLDER_VARIABLE} is not set"
    raise WeightsError(
        f"{restorer.name} needs {restorer.file} (from {restorer.origin}), and {where}",
        f"export {FOLDER_VARIABLE}=/folder/of/the/safetensors/files",
    )
