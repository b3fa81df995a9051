"""Image files for training: read once or every time, cut to crops, and put into batches."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from drmetric.errors import ConfigError
from drmetric.images import read_image, to_8_bit

Item = TypeVar("Item")


def rgb(file: Path) -> Tensor:
    """(1,3,H,W) in [0, 1]."""
    return read_image(file, alpha="white")[None]


class ImageFiles:
    """Reads image files; with `keep`, each from disk once, as for data sets that fit into memory."""

    def __init__(self, keep: bool) -> None:
        self._kept: dict[Path, Tensor] | None = {} if keep else None

    def read(self, file: Path) -> Tensor:
        """(1,3,H,W): floats in [0, 1], or bytes where files are kept."""
        if self._kept is None:
            return rgb(file)
        if file not in self._kept:
            self._kept[file] = to_8_bit(rgb(file))
        return self._kept[file]


def unit_range(image: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; floats as they are."""
    return image if image.is_floating_point() else image / 255


def crop_at(image: Tensor, patch: int, down: float, right: float) -> Tensor:
    """Cut (N,C,H,W) to (N,C,patch,patch); `down` and `right`, 0..1, say how far from the top left corner.

    An image smaller than the patch is continued by its mirror image on the right and below.

    Raises:
        ConfigError: an image of less than half the patch.
    """
    image = _mirrored(image, patch)
    top, left = (round(share * (side - patch)) for share, side in zip((down, right), image.shape[-2:], strict=True))
    return image[..., top : top + patch, left : left + patch]


def _mirrored(image: Tensor, patch: int) -> Tensor:
    height, width = image.shape[-2:]
    missing = max(0, patch - width), max(0, patch - height)
    if missing[0] >= width or missing[1] >= height:
        raise ConfigError(
            f"an image of {height} x {width} is less than half the patch", f"patch = {min(height, width)}"
        )
    return F.pad(unit_range(image), (0, missing[0], 0, missing[1]), mode="reflect") if any(missing) else image


def loader(
    items: Dataset[Item],
    batch: int,
    workers: int,
    *,
    shuffle: bool = False,
    collate: Callable[[list[Item]], Item] | None = None,
) -> DataLoader[Item]:
    """Batches of items: for training, `shuffle`, whole ones alone; else every item in its order.

    Args:
        items: what to read.
        batch: items a batch.
        workers: processes that read.
        shuffle: whether it is for training.
        collate: makes a batch of items; torch's own way by default.

    Raises:
        ConfigError: fewer items than a training batch has.
    """
    count = len(items)  # type: ignore[arg-type]
    if shuffle and count < batch:
        raise ConfigError(f"batch is {batch}, but there are only {count} items", f"batch = {count}")
    return DataLoader(
        items,
        batch,
        shuffle=shuffle,
        drop_last=shuffle,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_seed_worker,
        persistent_workers=workers > 0,
    )


def _seed_worker(worker: int) -> None:
    process = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))  # all begin with one seed
    random.seed((torch.initial_seed() + 1_000_003 * process) % 2**32)
    torch.set_num_threads(1)
