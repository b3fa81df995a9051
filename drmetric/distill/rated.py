"""What training from human opinions reads: rated images of several sets, mixed within every batch."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from drmetric.data.rated import RatedImage, read_opinions, read_triplets
from drmetric.data.splits import Split
from drmetric.distill.crops import crop_at, rgb, unit_range
from drmetric.distill.features import KeptFeatures, RatedFeatures, others
from drmetric.distill.loading import NONE, RatedBatch, grey, loader
from drmetric.distill.recipe import AKDIQARecipe, CVRKDRecipe, FrozenTraining, MobileIQARecipe, OpinionDataConfig
from drmetric.distortions.redistort import redistort
from drmetric.errors import ConfigError
from drmetric.images.files import list_images


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
        score = torch.tensor(rated.score)
        pristine = images[1] if len(files) == 2 else NONE
        return RatedBatch(images[0], score, pristine, self._reference(rated.content))

    def _reference(self, content: str) -> Tensor:
        if self.references is None:
            return NONE
        file = self.references[random.choice(others(list(self.references), content))]
        return unit_range(self._crop(self._read(file)))[0]

    def _read(self, file: Path) -> Tensor:
        """(1,3,H,W): floats in [0, 1], or bytes where images are kept."""
        if self._kept is None:
            return rgb(file)
        if file not in self._kept:
            self._kept[file] = (rgb(file) * 255).round().byte()
        return self._kept[file]

    def _crop(self, image: Tensor) -> Tensor:
        return crop_at(image, self.patch, random.random(), random.random())


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


def references_of(rated: list[RatedImage], folder: str) -> dict[str, Path]:
    """Good images by their content: the set's own pristine ones, or else those of the folder.

    Raises:
        ConfigError: neither pristine images nor a folder.
        ImageFileError: no image in the folder.
    """
    pristine = {each.content: each.reference for each in rated if each.reference}
    if pristine:
        return pristine
    if not folder:
        raise ConfigError("a set without pristine images needs references", '[train] references = "a folder"')
    return {str(file): file for file in list_images(Path(os.path.expandvars(folder)).expanduser())}


def rated_images(settings: OpinionDataConfig, split: Split) -> list[RatedImage]:
    """The images of one set of a recipe; those of a corpus are its restored ones, with their labels."""
    if settings.kind != "corpus":
        return read_opinions(settings.kind, settings.folder, split)
    triplets = read_triplets("corpus", settings.folder, split)
    return [RatedImage(t.restored, t.score, t.content, reference=t.pristine) for t in triplets]


def rated_loaders(
    recipe: MobileIQARecipe | AKDIQARecipe | CVRKDRecipe, network: nn.Module
) -> tuple[CombinedLoader, DataLoader[RatedBatch]]:
    """Batches by the name of their set, an epoch being one of the greatest set; and the images to validate on.

    Args:
        recipe: what to read.
        network: whose frozen backbone makes the features that are kept, if the recipe keeps any.
    """
    train = recipe.train
    loaders = {}
    for settings in recipe.data:
        rated = rated_images(settings, "train")
        if isinstance(train, FrozenTraining) and train.features:
            kept = KeptFeatures(
                train.features_folder,
                network,
                patch=settings.patch or train.patch,
                views=train.views,
                workers=train.workers,
            )
            features = RatedFeatures(
                rated,
                kept,
                pristine=train.needs_pristine,
                references=_references(recipe, rated),
                change=redistort if isinstance(recipe, AKDIQARecipe) and not train.full_reference else None,
            )
            loaders[settings.kind] = loader(features, settings.batch, 0, shuffle=True)
            continue
        crops = RatedCrops(
            rated,
            settings.patch or train.patch,
            pristine=isinstance(train, FrozenTraining) and train.needs_pristine,
            references=_references(recipe, rated),
            grey_share=train.grey_share,
            keep=train.keep_images,
        )
        loaders[settings.kind] = loader(crops, settings.batch, train.workers, shuffle=True)
    judge = next(settings for settings in recipe.data if settings.validate)
    rated = rated_images(judge, "validation")
    validation = WholeImages(rated, _references(recipe, rated), judge.patch or train.patch)
    return CombinedLoader(loaders, "max_size_cycle"), loader(validation, 1, train.workers)


def _references(
    recipe: MobileIQARecipe | AKDIQARecipe | CVRKDRecipe, rated: list[RatedImage]
) -> dict[str, Path] | None:
    """The references that the recipe's network is given; None if it is given none."""
    if not isinstance(recipe, CVRKDRecipe) or recipe.train.full_reference:
        return None
    return references_of(rated, recipe.train.references)
