"""What training of several systems shares: batches, losses, groups of parameters."""

import random
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from drmetric.errors import ConfigError
from drmetric.images import luma

Item = TypeVar("Item")

NONE = torch.empty(0)
"""Stands for an image where there is none."""


class RatedBatch(NamedTuple):
    """Rated images.

    Attributes:
        image: (N,3,H,W) in [0, 1].
        score: (N,) in [0, 1].
        pristine: (N,3,H,W) in [0, 1]; empty, (N,0), where there is none.
        reference: (N,3,h,w) in [0, 1], good images of other contents; empty, (N,0), where none is wanted.
    """

    image: Tensor
    score: Tensor
    pristine: Tensor = NONE
    reference: Tensor = NONE

    def needed_pristine(self) -> Tensor:
        """The pristine images; raises `ConfigError` where there are none."""
        if not self.pristine.numel():
            raise ConfigError("a full-reference network needs pristine images", 'kind = "conditions"')
        return self.pristine


def mixed(rated: RatedBatch, concentration: float) -> RatedBatch:
    """Every item mixed with another one of the batch, its score too, in shares drawn from a Beta distribution.

    Mixup: Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018, arXiv:1710.09412.
    """
    share = random.betavariate(concentration, concentration)
    others = torch.randperm(len(rated.score), device=rated.score.device)
    return RatedBatch(*(part if not part.numel() else share * part + (1 - share) * part[others] for part in rated))


def correlation_loss(score: Tensor, target: Tensor) -> Tensor:
    """One minus Pearson's correlation of (N,) scores with (N,) targets, whatever their scales; 0..2."""
    score, target = score - score.mean(), target - target.mean()
    return 1 - F.cosine_similarity(score, target, dim=0, eps=1e-6)


def parameter_groups(network: nn.Module, rate: float, new_layers_rate: float) -> list[dict[str, Any]]:
    """The trained parameters of a network's `backbone`, and all others at `new_layers_rate` times the rate."""
    backbone = network.get_submodule("backbone")
    known = {id(parameter) for parameter in backbone.parameters()}
    new = [parameter for parameter in network.parameters() if id(parameter) not in known]
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    return [{"params": trained}, {"params": new, "lr": rate * new_layers_rate}]


def grey(images: Tensor) -> Tensor:
    """(N,3,H,W) images without their colour, still of three channels."""
    return luma(images).expand(-1, 3, -1, -1)


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
