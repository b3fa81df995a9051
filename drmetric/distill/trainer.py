"""Training by a recipe, on Lightning: checkpoints, resume, progress, and as many devices as its launcher starts."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from drmetric.checkpoints import write_weights
from drmetric.distill.recipe import (
    AKDIQARecipe,
    CKDNRecipe,
    CVRKDRecipe,
    MobileIQARecipe,
    Recipe,
    recipe_from,
    run_name,
)
from drmetric.errors import ConfigError, MissingDependencyError

try:
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, Timer
    from lightning.pytorch.loggers import CSVLogger
except ImportError as error:
    raise MissingDependencyError(
        "training needs Lightning, which is not installed", "pip install 'drmetric[train]'"
    ) from error

from drmetric.distill.akdiqa import AKDIQADistillation
from drmetric.distill.ckdn import CKDNDistillation
from drmetric.distill.cvrkd import CVRKDDistillation
from drmetric.distill.mobileiqa import MobileIQADistillation

SYSTEMS: dict[type[Recipe], Callable[[Any], Any]] = {
    CKDNRecipe: CKDNDistillation,
    MobileIQARecipe: MobileIQADistillation,
    AKDIQARecipe: AKDIQADistillation,
    CVRKDRecipe: CVRKDDistillation,
}
"""What each recipe trains."""

ELSEWHERE = ("backbone_weights", "backbone_from", "start_from", "teacher_weights")
"""Entries of [train] that name weights which a checkpoint does not need any more."""


class TimeLimit(Timer):  # type: ignore[misc]
    """Stops this run after its own time; Lightning's timer also counts the runs that it resumes."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Start from zero."""


def train(recipe: Path, *, resume: bool = False, output: Path | None = None, max_time: str | None = None) -> Path:
    """Train by a recipe and write the student's weights.

    Checkpoints go to `output` every few minutes and at the best validation; `resume` goes on from the last one.

    Args:
        recipe: TOML file, see `drmetric.distill.recipe.Recipe`.
        resume: continue from the last checkpoint in `output`, if there is one.
        output: folder; by default runs/<`run_name` of the recipe>.
        max_time: stop after "DD:HH:MM:SS" at the latest, with weights written.

    Returns:
        The weights file, ready for ``DRIQA(weights=...)``: the state with the best validation.

    Raises:
        ConfigError: a bad recipe, missing data, or an output folder that would be overwritten.
    """
    settings = Recipe.read(recipe)
    output = output or Path("runs") / run_name(recipe)
    last = output / "last.ckpt"
    if last.exists() and not resume:
        raise ConfigError(f"{output} already holds a run", "add --resume, or choose another --output")
    lightning.seed_everything(settings.train.seed, workers=True)
    module = SYSTEMS[type(settings)](settings)
    training, validation = module.loaders()
    best = ModelCheckpoint(output, "best", monitor=module.monitor, mode="max", enable_version_counter=False)
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
    return export(kept if kept.is_file() else last, output / f"{run_name(recipe)}.safetensors")


def export(checkpoint: Path, path: Path) -> Path:
    """Write the student of a training checkpoint as a weights file."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    table = saved["hyper_parameters"]["recipe"]
    from_scratch = {**table["train"], **{name: "" for name in ELSEWHERE if name in table["train"]}}
    recipe = recipe_from({**table, "train": from_scratch})
    module = SYSTEMS[type(recipe)](recipe)
    module.load_state_dict(saved["state_dict"])
    write_weights(path, recipe.metric, table["network"], module.student().state_dict())
    return path
