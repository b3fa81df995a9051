"""LPIPS by place and by depth: what the worst region has, and what the finest layer sees.

LPIPS is a mean over the image, which forgives a local disaster, and a sum over layers, of which the deep ones hardly
see faint noise. Both features here are of one pass of its network; `shared_layers` lets them share it.

Richard Zhang, Phillip Isola, Alexei A. Efros, Eli Shechtman, Oliver Wang: "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", CVPR 2018.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drmetric.data.make.colour import power_mean
from drmetric.metrics.registry import create

CELL = 16
"""Side of a cell in pixels; a region is 2 x 2 cells."""
POWER = 16
"""From the mean over regions (1) to the worst one alone (infinity)."""

_shared: ContextVar[dict[tuple[int, int], list[Tensor]] | None] = ContextVar("_shared", default=None)


def worst_region(image: Tensor, pristine: Tensor) -> Tensor:
    """LPIPS (SqueezeNet) of every region of 32 x 32 pixels, as a power mean, which the worst regions lead.

    Args:
        image, pristine: (N,3,H,W) in [0, 1], of one size of at least 32 x 32.

    Returns:
        (N,): 0 for the pristine image, otherwise above its LPIPS.

    Raises:
        MissingDependencyError, WeightsError: LPIPS cannot be computed here; see `drmetric.metrics.lpips`.
    """
    cells = max(2, round(image.shape[-2] / CELL)), max(2, round(image.shape[-1] / CELL))
    local = torch.stack([_to_cells(layer, cells) for layer in _layers(image, pristine)]).sum(0)
    return power_mean(F.avg_pool2d(local, 2, stride=1), POWER)


def fine_distance(image: Tensor, pristine: Tensor) -> Tensor:
    """The part of LPIPS (SqueezeNet) that is of its first layer; arguments and errors as of `worst_region`.

    Returns:
        (N,): 0 for the pristine image, otherwise below its LPIPS.
    """
    return _layers(image, pristine)[0].mean((1, 2, 3))


@contextmanager
def shared_layers() -> Iterator[None]:
    """Within it, one pass of the network serves all features of the same two tensors."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


@cache
def _network() -> nn.Module:
    network: nn.Module = create("lpips").get_submodule("network")
    return network


def _layers(image: Tensor, pristine: Tensor) -> list[Tensor]:
    known, pair = _shared.get(), (image.data_ptr(), pristine.data_ptr())
    if known is None:
        return _compared(image, pristine)
    if pair not in known:
        known[pair] = _compared(image, pristine)
    return known[pair]


def _compared(image: Tensor, pristine: Tensor) -> list[Tensor]:
    """One map (N,1,h,w) a layer: squared differences of unit features, weighted by LPIPS' heads."""
    network = _network().to(image.device)
    scaled, backbone = network.get_submodule("scaling_layer"), network.get_submodule("net")
    with torch.autocast(image.device.type, enabled=False):
        features, expected = (backbone(scaled(2 * each.float() - 1)) for each in (image, pristine))
        heads = network.get_submodule("lins").children()
        return [
            head((F.normalize(own, eps=1e-10) - F.normalize(other, eps=1e-10)).square())
            for own, other, head in zip(features, expected, heads, strict=True)
        ]


def _to_cells(layer: Tensor, cells: tuple[int, int]) -> Tensor:
    if layer.shape[-2] >= cells[0] and layer.shape[-1] >= cells[1]:
        return F.adaptive_avg_pool2d(layer, cells)
    return F.interpolate(layer, size=cells, mode="bilinear", align_corners=False)
