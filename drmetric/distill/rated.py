"""What NRIQA trains on: rated images of several sets, mixed within every batch."""

import random
from pathlib import Path

import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from drmetric.data.opinions import RatedImage, Split, read_opinions
from drmetric.data.readers import read_triplets
from drmetric.distill.loading import RatedBatch, grey, loader, unit_range
from drmetric.distill.recipe import AKDIQARecipe, MobileIQARecipe, OpinionDataConfig
from drmetric.errors import ConfigError
from drmetric.images import read_image

NONE = torch.empty(0)
"""Stands for the pristine image where there is none."""


class RatedCrops(Dataset[RatedBatch]):
    """A random crop of each rated image, and if wanted of its pristine image, flipped at random."""

    def __init__(
        self,
        rated: list[RatedImage],
        patch: int,
        *,
        opinions: int = 1,
        pristine: bool = False,
        grey_share: float = 0.0,
        keep: bool = False,
    ) -> None:
        self.rated = rated
        self.patch = patch
        self.opinions = opinions
        self.pristine = pristine
        self.grey_share = grey_share
        self._kept: dict[Path, Tensor] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.rated)

    def __getitem__(self, index: int) -> RatedBatch:
        rated = self.rated[index]
        files = [rated.image, *([rated.reference] if self.pristine and rated.reference else [])]
        images = unit_range(self._crop(torch.cat([self._read(file) for file in files])))
        if random.random() < 0.5:
            images = images.flip(-1)
        if random.random() < self.grey_share:
            images = grey(images)
        score, unseen_by = torch.tensor(rated.score), torch.tensor(index % self.opinions)
        return RatedBatch(images[0], score, unseen_by, images[1] if len(files) == 2 else NONE)

    def _read(self, file: Path) -> Tensor:
        """(1,3,H,W): floats in [0, 1], or bytes where images are kept."""
        if self._kept is None:
            return rgb(file)
        if file not in self._kept:
            self._kept[file] = (rgb(file) * 255).round().byte()
        return self._kept[file]

    def _crop(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if min(height, width) < self.patch:
            raise ConfigError(
                f"images of {height} x {width} are smaller than the patch", f"patch = {min(height, width)}"
            )
        top, left = random.randint(0, height - self.patch), random.randint(0, width - self.patch)
        return image[..., top : top + self.patch, left : left + self.patch]


class WholeImages(Dataset[RatedBatch]):
    """Every rated image whole."""

    def __init__(self, rated: list[RatedImage]) -> None:
        self.rated = rated

    def __len__(self) -> int:
        return len(self.rated)

    def __getitem__(self, index: int) -> RatedBatch:
        rated = self.rated[index]
        pristine = rgb(rated.reference)[0] if rated.reference else NONE
        return RatedBatch(rgb(rated.image)[0], torch.tensor(rated.score), torch.tensor(0), pristine)


def rgb(file: Path) -> Tensor:
    """(1,3,H,W) in [0, 1]."""
    return read_image(file, alpha="white")[None]


def rated_images(settings: OpinionDataConfig, split: Split) -> list[RatedImage]:
    """The images of one set of a recipe; those of a corpus are its restored ones, with their labels."""
    if settings.kind != "corpus":
        return read_opinions(settings.kind, settings.folder, split)
    triplets = read_triplets("corpus", settings.folder, split)
    return [RatedImage(t.restored, t.score, t.content, reference=t.pristine) for t in triplets]


def rated_loaders(recipe: MobileIQARecipe | AKDIQARecipe) -> tuple[CombinedLoader, DataLoader[RatedBatch]]:
    """Batches by the name of their set, an epoch being one of the greatest set; and the images to validate on."""
    train = recipe.train
    loaders = {}
    for settings in recipe.data:
        crops = RatedCrops(
            rated_images(settings, "train"),
            settings.patch or train.patch,
            opinions=recipe.network.opinions if isinstance(recipe, MobileIQARecipe) else 1,
            pristine=isinstance(recipe, AKDIQARecipe),
            grey_share=train.grey_share,
            keep=train.keep_images,
        )
        loaders[settings.kind] = loader(crops, settings.batch, train.workers, shuffle=True)
    judge = next(settings for settings in recipe.data if settings.validate)
    validation = WholeImages(rated_images(judge, "validation"))
    return CombinedLoader(loaders, "max_size_cycle"), loader(validation, 1, train.workers)
