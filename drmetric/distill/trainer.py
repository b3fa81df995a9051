"""Training by a recipe, on Lightning: checkpoints, resume, progress, and as many devices as its launcher starts."""

import random
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from drmetric.data.readers import RatedTriplet, read_triplets
from drmetric.distill.recipe import Recipe
from drmetric.errors import ConfigError, MissingDependencyError
from drmetric.images import read_image, resize
from drmetric.weights import write_weights

try:
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, Timer
    from lightning.pytorch.loggers import CSVLogger
except ImportError as error:
    raise MissingDependencyError(
        "training needs Lightning, which is not installed", "pip install 'drmetric[train]'"
    ) from error

from drmetric.distill.ckdn import CKDNDistillation, TripletBatch, ValidationItem

LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
"""BT.601's weights of red, green and blue."""


class TimeLimit(Timer):  # type: ignore[misc]
    """Stops this run after its own time; Lightning's timer also counts the runs that it resumes."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Start from zero."""


class TrainingPairs(Dataset[TripletBatch]):
    """Two restored images of one group, drawn anew each time, on one random crop, flipped and turned alike."""

    def __init__(self, triplets: list[RatedTriplet], patch: int, grey_share: float = 0.0, keep: bool = False) -> None:
        def key(triplet: RatedTriplet) -> str:
            return triplet.group

        grouped = (list(members) for _, members in groupby(sorted(triplets, key=key), key))
        self.groups = [members for members in grouped if len(members) > 1]
        self.patch = patch
        self.grey_share = grey_share
        self._kept: dict[Path, Tensor] | None = {} if keep else None
        if not self.groups:
            raise ConfigError("no content has two restored images, so no pair can be drawn", "add restorations")

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> TripletBatch:
        a, b = random.sample(self.groups[index], 2)
        images = [self._read(path) for path in (a.restored, b.restored, a.degraded, a.pristine)]
        size = (images[0].shape[-2], images[0].shape[-1])
        if images[2].shape != images[0].shape:
            images[2] = resize(_unit_range(images[2]), size)
        crop = self._crop(size)
        first, second, degraded, pristine = self._augment(torch.cat([_unit_range(image[crop]) for image in images]))
        return TripletBatch(first, second, degraded, pristine, torch.tensor(a.score), torch.tensor(b.score))

    def _read(self, path: Path) -> Tensor:
        """(1,3,H,W): floats in [0, 1], or bytes where images are kept."""
        if self._kept is None:
            return read_image(path)[None]
        if path not in self._kept:
            self._kept[path] = (read_image(path)[None] * 255).round().byte()
        return self._kept[path]

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
            stack = (stack * LUMA).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        return torch.rot90(stack, random.randrange(4), (-2, -1))


def _unit_range(image: Tensor) -> Tensor:
    return image if image.is_floating_point() else image / 255


class ValidationImages(Dataset[ValidationItem]):
    """Every restored image of a split, whole, with both references."""

    def __init__(self, triplets: list[RatedTriplet]) -> None:
        self.triplets = triplets
        self.contents = {name: i for i, name in enumerate(sorted({t.content for t in triplets}))}

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, index: int) -> ValidationItem:
        triplet = self.triplets[index]
        restored = read_image(triplet.restored)
        size = (restored.shape[-2], restored.shape[-1])
        degraded, pristine = (resize(read_image(p)[None], size)[0] for p in (triplet.degraded, triplet.pristine))
        score, content = torch.tensor(triplet.score), torch.tensor(self.contents[triplet.content])
        return ValidationItem(restored, degraded, pristine, score, content)


def _seed_worker(worker: int) -> None:
    random.seed(torch.initial_seed() % 2**32)
    torch.set_num_threads(1)


def _loaders(recipe: Recipe) -> tuple[DataLoader[TripletBatch], DataLoader[ValidationItem]]:
    data, train = recipe.data, recipe.train
    pairs = TrainingPairs(
        read_triplets(data.kind, data.folder, "train"), train.patch, train.grey_share, train.keep_images
    )
    if len(pairs) < train.batch:
        raise ConfigError(f"batch is {train.batch}, but there are only {len(pairs)} groups", f"batch = {len(pairs)}")
    images = ValidationImages(read_triplets(data.kind, data.folder, "validation"))
    training = DataLoader(
        pairs,
        train.batch,
        shuffle=True,
        drop_last=True,
        num_workers=train.workers,
        worker_init_fn=_seed_worker,
        persistent_workers=train.workers > 0,
    )
    validation = DataLoader(images, 14, num_workers=train.workers, worker_init_fn=_seed_worker)
    return training, validation


def train(recipe: Path, *, resume: bool = False, output: Path | None = None, max_time: str | None = None) -> Path:
    """Train by a recipe and write the student's weights.

    Checkpoints go to `output` every few minutes and at the best validation; `resume` goes on from the last one.

    Args:
        recipe: TOML file, see `drmetric.distill.recipe.Recipe`.
        resume: continue from the last checkpoint in `output`, if there is one.
        output: folder; by default runs/<name of the recipe>.
        max_time: stop after "DD:HH:MM:SS" at the latest, with weights written.

    Returns:
        The weights file, ready for ``DRIQA(weights=...)``: the state with the best validation.

    Raises:
        ConfigError: a bad recipe, missing data, or an output folder that would be overwritten.
    """
    settings = Recipe.read(recipe)
    output = output or Path("runs") / recipe.stem
    last = output / "last.ckpt"
    if last.exists() and not resume:
        raise ConfigError(f"{output} already holds a run", "add --resume, or choose another --output")
    lightning.seed_everything(settings.train.seed, workers=True)
    module = CKDNDistillation(settings)
    training, validation = _loaders(settings)
    best = ModelCheckpoint(output, "best", monitor="val/student_srcc", mode="max", enable_version_counter=False)
    regular = ModelCheckpoint(
        output, "regular", train_time_interval=timedelta(minutes=3), save_last=True, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        max_steps=settings.train.steps,
        val_check_interval=settings.train.validate_every,
        check_val_every_n_epoch=None,
        gradient_clip_val=1.0,
        logger=CSVLogger(output, name=None),
        callbacks=[best, regular, LearningRateMonitor("step"), TimeLimit(max_time)],
        log_every_n_steps=20,
    )
    trainer.fit(module, training, validation, ckpt_path=last if last.exists() else None)
    trainer.save_checkpoint(last)
    kept = output / "best.ckpt"
    return export(kept if kept.is_file() else last, output / f"{recipe.stem}.safetensors")


def export(checkpoint: Path, path: Path) -> Path:
    """Write the student of a training checkpoint as a weights file."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    recipe = Recipe.from_dict({**saved["hyper_parameters"]["recipe"]})
    from_scratch = {**recipe.as_dict()["train"], "backbone_weights": "", "start_from": ""}
    recipe = Recipe.from_dict({**recipe.as_dict(), "train": from_scratch})
    module = CKDNDistillation(recipe)
    module.load_state_dict(saved["state_dict"])
    write_weights(path, recipe.metric, recipe.network.as_dict(), module.student().state_dict())
    return path
