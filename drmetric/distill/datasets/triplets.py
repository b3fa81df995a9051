"""What DRIQA trains on: pairs of restored images of one degraded input, with both references."""

import random
from collections.abc import Sequence
from itertools import groupby
from types import EllipsisType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from drmetric.data.rated import RatedTriplet, read_triplets
from drmetric.data.splits import Split
from drmetric.distill.augment import grey
from drmetric.distill.datasets.reading import ImageFiles, rgb, unit_range
from drmetric.distill.recipe import DataConfig
from drmetric.errors import ConfigError
from drmetric.images import resize


class TripletBatch(NamedTuple):
    """Two restored images a content with what they were made from; images (N,3,H,W), scores (N,) in [0, 1]."""

    a: Tensor
    b: Tensor
    degraded: Tensor
    pristine: Tensor
    score_a: Tensor
    score_b: Tensor


class ValidationItem(NamedTuple):
    """One restored image, its references and its score; `content` numbers the scene."""

    restored: Tensor
    degraded: Tensor
    pristine: Tensor
    score: Tensor
    content: Tensor


class TrainingPairs(Dataset[TripletBatch]):
    """Two restored images of one group, drawn anew each time, on one random crop, flipped and turned alike.

    A share of the degraded images is made up to half as large first, as if the input had been a smaller one.
    """

    def __init__(
        self,
        triplets: list[RatedTriplet],
        patch: int,
        grey_share: float = 0.0,
        keep: bool = False,
        reduced_share: float = 0.0,
    ) -> None:
        def key(triplet: RatedTriplet) -> str:
            return triplet.group

        grouped = (list(members) for _, members in groupby(sorted(triplets, key=key), key))
        self.groups = [members for members in grouped if len(members) > 1]
        self.patch = patch
        self.grey_share = grey_share
        self.reduced_share = reduced_share
        self._files = ImageFiles(keep)
        if not self.groups:
            raise ConfigError(
                "no content has two restored images, so no pair can be drawn",
                "restore each degraded input in two ways or more",
            )

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> TripletBatch:
        a, b = random.sample(self.groups[index], 2)
        images = [self._files.read(path) for path in (a.restored, b.restored, a.degraded, a.pristine)]
        size = (images[0].shape[-2], images[0].shape[-1])
        if random.random() < self.reduced_share:
            images[2] = _reduced(unit_range(images[2]), random.uniform(1, 2))
        if images[2].shape != images[0].shape:
            images[2] = resize(unit_range(images[2]), size)
        crop = self._crop(size)
        first, second, degraded, pristine = self._augment(torch.cat([unit_range(image[crop]) for image in images]))
        return TripletBatch(first, second, degraded, pristine, torch.tensor(a.score), torch.tensor(b.score))

    def _crop(self, size: tuple[int, int]) -> tuple[EllipsisType, slice, slice]:
        height, width = size
        if min(size) < self.patch:
            raise ConfigError(f"images of {height} x {width} are smaller than the patch", f"patch = {min(size)}")
        top, left = random.randint(0, height - self.patch), random.randint(0, width - self.patch)
        return ..., slice(top, top + self.patch), slice(left, left + self.patch)

    def _augment(self, stack: Tensor) -> Tensor:
        if random.random() < 0.5:
            stack = stack.flip(-1)
        if random.random() < self.grey_share:
            stack = grey(stack)
        return torch.rot90(stack, random.randrange(4), (-2, -1))


def _reduced(image: Tensor, factor: float) -> Tensor:
    return resize(image, (round(image.shape[-2] / factor), round(image.shape[-1] / factor)))


class ValidationImages(Dataset[ValidationItem]):
    """Every restored image of a split, whole, with both references."""

    def __init__(self, triplets: list[RatedTriplet]) -> None:
        self.triplets = triplets
        self.contents = {name: i for i, name in enumerate(sorted({t.content for t in triplets}))}

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, index: int) -> ValidationItem:
        triplet = self.triplets[index]
        restored = rgb(triplet.restored)[0]
        size = (restored.shape[-2], restored.shape[-1])
        degraded, pristine = (resize(rgb(file), size)[0] for file in (triplet.degraded, triplet.pristine))
        score, content = torch.tensor(triplet.score), torch.tensor(self.contents[triplet.content])
        return ValidationItem(restored, degraded, pristine, score, content)


def triplets_of(data: Sequence[DataConfig], split: Split) -> list[RatedTriplet]:
    """Those of all data sets; raises `ConfigError` where one has none."""
    return [triplet for each in data for triplet in read_triplets(each.kind, each.folder, split)]
