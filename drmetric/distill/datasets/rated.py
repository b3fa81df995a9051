"""Rated images to train on: random crops or whole images, with pristine images and references if wanted."""

import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from drmetric.config import expand
from drmetric.data.rated import RatedImage
from drmetric.distill.augment import grey
from drmetric.distill.datasets.reading import ImageFiles, crop_at, rgb, unit_range
from drmetric.errors import ConfigError
from drmetric.images import list_images

log = logging.getLogger(__name__)

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
    partners = torch.randperm(len(rated.score), device=rated.score.device)
    return RatedBatch(*(part if not part.numel() else share * part + (1 - share) * part[partners] for part in rated))


class RatedCrops(Dataset[RatedBatch]):
    """A random crop of each rated image, and if wanted of its pristine image, flipped at random.

    With `references`, files by their content, also a crop of one of another content, drawn anew each time.
    """

    def __init__(
        self,
        rated: list[RatedImage],
        patch: int,
        *,
        pristine: bool = False,
        references: Mapping[str, Path] | None = None,
        grey_share: float = 0.0,
        keep: bool = False,
    ) -> None:
        self.rated = rated
        self.patch = patch
        self.pristine = pristine
        self.references = references
        self.grey_share = grey_share
        self._files = ImageFiles(keep)

    def __len__(self) -> int:
        return len(self.rated)

    def __getitem__(self, index: int) -> RatedBatch:
        return self.drawn(index, random.Random(random.random()))

    def drawn(self, index: int, chance: random.Random) -> RatedBatch:
        """The image of an index; the crop, its flip, its colours and the reference are left to `chance`."""
        rated = self.rated[index]
        files = [rated.image, *([rated.reference] if self.pristine and rated.reference else [])]
        images = unit_range(self._crop(torch.cat([self._files.read(file) for file in files]), chance))
        if chance.random() < 0.5:
            images = images.flip(-1)
        if chance.random() < self.grey_share:
            images = grey(images)
        score = torch.tensor(rated.score)
        pristine = images[1] if len(files) == 2 else NONE
        return RatedBatch(images[0], score, pristine, self._reference(rated.content, chance))

    def _reference(self, content: str, chance: random.Random) -> Tensor:
        if self.references is None:
            return NONE
        file = self.references[chance.choice(others(list(self.references), content))]
        return unit_range(self._crop(self._files.read(file), chance))[0]

    def _crop(self, image: Tensor, chance: random.Random) -> Tensor:
        return crop_at(image, self.patch, chance.random(), chance.random())


class Drawable(Protocol):
    """Rated images of which each is drawn by chance: crops of them, or kept features."""

    rated: list[RatedImage]

    def drawn(self, index: int, chance: random.Random) -> RatedBatch:
        """The image of an index; what is random about it is left to `chance`."""


class Groups(Dataset[RatedBatch]):
    """Of every content that has them `size` images at once, drawn anew each time, with one crop for all.

    Args:
        items: rated images.
        size: of a group.
        batch: images that a batch has.

    Raises:
        ConfigError: fewer contents have so many images than a batch wants, or none.
    """

    def __init__(self, items: Drawable, size: int, batch: int) -> None:
        self.items = items
        self.size = size
        by_content = defaultdict(list)
        for index, rated in enumerate(items.rated):
            by_content[rated.content].append(index)
        self._contents = [indices for indices in by_content.values() if len(indices) >= size]
        count = len(self._contents)
        if not count:
            most = max(len(indices) for indices in by_content.values())
            fix = f"group = {most}\nbatch = {max(1, batch // most) * most}"
            raise ConfigError(
                f"no content has {size} images; the most are {most}", fix if most > 1 else f"{fix}\nwithin = 0.0"
            )
        if count * size < batch:
            raise ConfigError(
                f"batch is {batch} in groups of {size}, but only {count} contents have so many images",
                f"batch = {count * size}",
            )
        if count < len(by_content):
            missing = len(by_content) - count
            log.warning("%d of %d contents have fewer than %d images: left out", missing, len(by_content), size)

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, index: int) -> RatedBatch:
        chosen, seed = random.sample(self._contents[index], self.size), random.random()
        return stacked([self.items.drawn(each, random.Random(seed)) for each in chosen])


def stacked(items: Sequence[RatedBatch]) -> RatedBatch:
    """Single images as a batch."""
    return RatedBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))


def ungrouped(groups: Sequence[RatedBatch]) -> RatedBatch:
    """Groups as one batch, one after the other."""
    return RatedBatch(*(torch.cat(parts) for parts in zip(*groups, strict=True)))


class WholeImages(Dataset[RatedBatch]):
    """Every rated image whole.

    With `references`, files by their content, also the middle of one of another content, `patch` pixels on a side at
    most: each time the same.
    """

    def __init__(self, rated: list[RatedImage], references: Mapping[str, Path] | None = None, patch: int = 224) -> None:
        self.rated = rated
        self.references = references
        self.patch = patch

    def __len__(self) -> int:
        return len(self.rated)

    def __getitem__(self, index: int) -> RatedBatch:
        rated = self.rated[index]
        pristine = rgb(rated.reference)[0] if rated.reference else NONE
        score = torch.tensor(rated.score)
        return RatedBatch(rgb(rated.image)[0], score, pristine, self._reference(index))

    def _reference(self, index: int) -> Tensor:
        if self.references is None:
            return NONE
        choice = others(list(self.references), self.rated[index].content)
        reference = rgb(self.references[choice[index % len(choice)]])[0]
        height, width = (min(side, self.patch) for side in reference.shape[-2:])
        top, left = (reference.shape[-2] - height) // 2, (reference.shape[-1] - width) // 2
        return reference[:, top : top + height, left : left + width]


def references_of(rated: Sequence[RatedImage], folder: str) -> dict[str, Path]:
    """Good images by their content: the set's own pristine ones, or else those of the folder.

    Raises:
        ConfigError: neither pristine images nor a folder.
        ImageFileError: no image in the folder.
    """
    pristine = {each.content: each.reference for each in rated if each.reference}
    if pristine:
        return pristine
    if not folder:
        raise ConfigError("a set without pristine images needs references", 'references = "FOLDER"  # in [train]')
    return {str(file): file for file in list_images(expand(folder))}


def others(contents: Sequence[str], content: str) -> list[str]:
    """The contents that are not `content`; raises `ConfigError` if there is none."""
    found = [each for each in contents if each != content]
    if not found:
        raise ConfigError(
            f"no reference shows anything else than {content!r}",
            'references = "FOLDER"  # in [train]: one of more images',
        )
    return found
