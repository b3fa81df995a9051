"""What every backbone is: stages, one a halving of the resolution, applied to a normalised image."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Backbone", "fold_norm", "share_backbones"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Stages applied one after the other to a normalised image.

    Attributes:
        stages: `nn.ModuleList`, each an `nn.Sequential`.
        channels: output channels of each stage.
        strides: resolution divisor after each stage.
        reach: pixels around its place on which a feature depends at most; None where it may be the whole image.
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
        *,
        reach: int | None = 256,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.strides = strides
        self.reach = reach
        self._kept: deque[tuple[Tensor, list[Tensor]]] | None = None
        self.takes_unit_range = not any(mean) and set(std) == {1.0}
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        """(N,3,H,W) in [0, 1] to zero mean and unit spread, with channels last in memory."""
        normalised = image if self.takes_unit_range else (image - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def features(self, image: Tensor) -> list[Tensor]:
        """What every stage makes of (N,3,H,W) images in [0, 1], finest first."""
        if self._kept is None or torch.is_grad_enabled():
            return self._features(image)
        for seen, taps in tuple(self._kept):
            if seen.device == image.device and torch.equal(seen, image):
                return taps
        taps = self._features(image)
        self._kept.append((image, taps))
        return taps

    def _features(self, image: Tensor) -> list[Tensor]:
        features, taps = self.normalise(image), []
        del image  # large ones are looked at in tiles, whose memory counts
        for stage in self.stages:
            features = stage(features)
            taps.append(features)
        return taps


def share_backbones(networks: Iterable[nn.Module]) -> None:
    """Make networks whose backbones are equal look through one of them, which sees an image once for all of them.

    It keeps what it made of the last two images: NRIQA("akd") looks at an image and at one that it makes of it.

    Args:
        networks: frozen; those without a `backbone` of their own are left alone.
    """
    found: list[Backbone] = []
    for network in networks:
        backbone = getattr(network, "backbone", None)
        if not isinstance(backbone, Backbone):
            continue
        twin = next((each for each in found if _are_equal(each, backbone)), None)
        if twin is None:
            found.append(backbone)
        else:
            twin._kept = twin._kept or deque(maxlen=2)
            network.backbone = twin


def _are_equal(a: nn.Module, b: nn.Module) -> bool:
    if str(a) != str(b):
        return False
    pairs = zip(chain(a.parameters(), a.buffers()), chain(b.parameters(), b.buffers()), strict=True)
    return all(torch.equal(mine, other) for mine, other in pairs)


def fold_norm(
    convolution: nn.Conv2d, kernel: Tensor, state: Mapping[str, Tensor], norm: str, *, epsilon: float = 1e-5
) -> None:
    """Fill a convolution with a bias from a `kernel` of its shape and the batch norm behind it.

    Args:
        state: has ``"<norm>.weight"``, ``"<norm>.bias"``, ``"<norm>.running_mean"`` and ``"<norm>.running_var"``.
        epsilon: of the norm.
    """
    gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + epsilon)
    with torch.no_grad():
        convolution.weight.copy_(kernel * gain.view(-1, 1, 1, 1))
        assert convolution.bias is not None
        convolution.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)
