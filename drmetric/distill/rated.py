"""What NRIQA trains on: rated images of several sets, mixed within every batch."""

import random

import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from drmetric.data.opinions import RatedImage, Split, read_opinions
from drmetric.data.readers import read_triplets
from drmetric.distill.loading import grey, loader, unit_range
from drmetric.distill.mobileiqa import RatedBatch
from drmetric.distill.recipe import MobileIQARecipe, OpinionDataConfig
from drmetric.errors import ConfigError
from drmetric.images import read_image


class RatedCrops(Dataset[RatedBatch]):
    """A random crop of each rated image, flipped at random."""

    def __init__(
        self, rated: list[RatedImage], patch: int, opinions: int, grey_share: float = 0.0, keep: bool = False
    ) -> None:
        self.rated = rated
        self.patch = patch
        self.opinions = opinions
        self.grey_share = grey_share
        self._kept: dict[int, Tensor] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.rated)

    def __getitem__(self, index: int) -> RatedBatch:
        image = unit_range(self._crop(self._read(index)))
        if random.random() < 0.5:
            image = image.flip(-1)
        if random.random() < self.grey_share:
            image = grey(image)
        return RatedBatch(image[0], torch.tensor(self.rated[index].score), torch.tensor(index % self.opinions))

    def _read(self, index: int) -> Tensor:
        """(1,3,H,W): floats in [0, 1], or bytes where images are kept."""
        if self._kept is None:
            return rgb(index, self.rated)
        if index not in self._kept:
            self._kept[index] = (rgb(index, self.rated) * 255).round().byte()
        return self._kept[index]

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
        return RatedBatch(rgb(index, self.rated)[0], torch.tensor(self.rated[index].score), torch.tensor(0))


def rgb(index: int, rated: list[RatedImage]) -> Tensor:
    """(1,3,H,W) in [0, 1]; grey images with three equal channels."""
    return read_image(rated[index].image, alpha="white")[None].expand(-1, 3, -1, -1)


def rated_images(settings: OpinionDataConfig, split: Split) -> list[RatedImage]:
    """The images of one set of a recipe; those of a corpus are its restored ones, with their labels."""
    if settings.kind != "corpus":
        return read_opinions(settings.kind, settings.folder, split)
    triplets = read_triplets("corpus", settings.folder, split)
    return [RatedImage(t.restored, t.score, t.content, reference=t.pristine) for t in triplets]


def rated_loaders(recipe: MobileIQARecipe) -> tuple[CombinedLoader, DataLoader[RatedBatch]]:
    """Batches by the name of their set, an epoch being one of the greatest set; and the images to validate on."""
    train = recipe.train
    loaders = {}
    for settings in recipe.data:
        crops = RatedCrops(
            rated_images(settings, "train"),
            settings.patch or train.patch,
            recipe.network.opinions,
            train.grey_share,
            train.keep_images,
        )
        loaders[settings.kind] = loader(crops, settings.batch, train.workers, shuffle=True)
    judge = next(settings for settings in recipe.data if settings.validate)
    validation = WholeImages(rated_images(judge, "validation"))
    return CombinedLoader(loaders, "max_size_cycle"), loader(validation, 1, train.workers)
