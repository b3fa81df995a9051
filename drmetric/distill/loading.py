"""What the training data of all systems share."""

import random
from typing import TypeVar

import torch
from kornia.color import rgb_to_grayscale
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from drmetric.errors import ConfigError

Item = TypeVar("Item")


def unit_range(image: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; floats as they are."""
    return image if image.is_floating_point() else image / 255


def grey(images: Tensor) -> Tensor:
    """(N,3,H,W) images without their colour, still of three channels."""
    luma: Tensor = rgb_to_grayscale(images)
    return luma.expand(-1, 3, -1, -1)


def loader(items: Dataset[Item], batch: int, workers: int, *, shuffle: bool = False) -> DataLoader[Item]:
    """Batches of items: for training, `shuffle`, whole ones alone; else every item in its order.

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
        worker_init_fn=_seed_worker,
        persistent_workers=workers > 0,
    )


def _seed_worker(worker: int) -> None:
    random.seed(torch.initial_seed() % 2**32)
    torch.set_num_threads(1)
