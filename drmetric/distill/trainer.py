"""Training by a recipe, on Lightning: checkpoints, resume, progress, and one device or several."""

import os
import re
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from drmetric.checkpoints import write_weights
from drmetric.distill.loop import KEPT
from drmetric.distill.recipe import Recipe, recipe_from, run_name
from drmetric.errors import ConfigError, DrmetricError, optional, quoted
from drmetric.writing import sole_writer

lightning = optional("lightning", "train", "training")
callbacks = optional("lightning.pytorch.callbacks", "train", "training")
rank = optional("lightning.pytorch.utilities.rank_zero", "train", "training")
loggers = optional("lightning.pytorch.loggers", "train", "training")

ELSEWHERE = ("backbone_weights", "backbone_from", "start_from", "teacher_weights")
"""Entries of [train] that name weights which a checkpoint does not need any more."""


FREE_TO_CHANGE = ("steps", "validate_every", "devices", "workers", "keep_images")
"""Entries of [train] in which a resumed run may differ from the one that it continues."""


PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""What `ModelCheckpoint` keeps of paths, beside the keys of "best_k_models"."""


class TimeLimit(callbacks.Timer):  # type: ignore[misc, name-defined]
    """Stops this run after its own time; Lightning's timer also counts the runs that it resumes."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Start from zero."""


class ModelCheckpoint(callbacks.ModelCheckpoint):  # type: ignore[misc, name-defined]
    """Knows the best state of a run whose folder was moved, which Lightning's forgets."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the files to be in the folder of this run."""
        here = {name: self._here(state_dict[name]) for name in PATHS if state_dict.get(name)}
        best = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **here, "best_k_models": best, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath) / Path(path).name)


def train(recipe: Path, *, resume: bool = False, output: Path | None = None, max_time: str | None = None) -> Path:
    """Train by a recipe and write the student's weights.

    Checkpoints go to `output` every few minutes and at the best validation; `resume` continues from the last one.

    Args:
        recipe: TOML file, see `drmetric.distill.recipe.Recipe`.
        resume: continue from the last checkpoint in `output`, if there is one.
        output: folder; by default runs/<`run_name` of the recipe>.
        max_time: stop after "DD:HH:MM:SS" at the latest, with weights written.

    Returns:
        The weights file, ready for ``DRIQA(weights=...)``: the state with the best validation.

    Raises:
        ConfigError: a bad recipe or `max_time`, missing data, or an output folder that holds a run: any, or with
            `resume` one of another recipe.
        OutputError: another run is writing in the folder, or its weights were deleted or changed by others.
    """
    if max_time is not None and not re.fullmatch(r"\d+(:\d\d){3}", max_time):
        raise ConfigError(f"max_time is {max_time!r}; wanted DD:HH:MM:SS", "--max-time 00:02:00:00  # two hours")
    settings = Recipe.read(recipe)
    _refuse_devices(settings.train.devices)
    output = output or Path("runs") / run_name(recipe)
    with sole_writer(output) if rank.rank_zero_only.rank == 0 else nullcontext():
        return _train(settings, recipe, output, resume, max_time)


def _train(settings: Recipe, recipe: Path, output: Path, resume: bool, max_time: str | None) -> Path:
    last = output / "last.ckpt"
    _refuse_another_run(output, settings, resume)
    done = int(_saved(last)["global_step"]) if last.exists() else 0
    module, training, validation = prepare(settings, str(recipe), done)
    best = ModelCheckpoint(output, "best", monitor=module.monitor, mode="max", enable_version_counter=False)
    regular = ModelCheckpoint(
        output, "regular", train_time_interval=timedelta(minutes=3), save_last=True, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        devices=settings.train.devices or "auto",
        strategy="ddp" if settings.train.devices > 1 else "auto",
        max_steps=settings.train.steps,
        val_check_interval=settings.train.validate_every,
        check_val_every_n_epoch=None,
        gradient_clip_val=1.0,
        logger=loggers.CSVLogger(output, name=None),
        callbacks=[best, regular, callbacks.LearningRateMonitor("step"), TimeLimit(max_time)],
        log_every_n_steps=20,
    )
    trainer.fit(module, training, validation, ckpt_path=last if last.exists() else None)
    trainer.save_checkpoint(last)
    kept, weights = output / "best.ckpt", output / f"{run_name(recipe)}.safetensors"
    if trainer.is_global_zero:
        export(kept if kept.is_file() else last, weights)
    trainer.strategy.barrier()
    return weights


def prepare(recipe: Recipe, where: str = "the recipe", done: int = 0) -> tuple[Any, Any, Any]:
    """The Lightning module of a recipe, from its seed, and the loaders of its training and validation images.

    Where some steps are done, order and crops are drawn anew: a training that is often resumed would else see the same
    images again and again.

    Raises:
        ConfigError: entries that fit no network or no data, by the error that they lead to; missing data.
        WeightsError, MissingDependencyError: weights or a package that the recipe names.
    """
    try:
        lightning.seed_everything(recipe.train.seed + done, workers=True)
        module = recipe.module()
        return module, *module.loaders()
    except DrmetricError:
        raise
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{where} cannot be followed: {type(error).__name__}: {error}",
            "compare its [network], [train] and [data] with weights/*/recipe.toml",
        ) from error


def _refuse_devices(wanted: int) -> None:
    """Raise `ConfigError` where there are fewer: processes would wait for one another for ever."""
    gpus = torch.cuda.device_count()
    there = gpus or os.cpu_count() or 1
    if wanted > there:
        kind = "GPUs" if gpus else "CPU cores"
        raise ConfigError(f"[train] devices is {wanted}, but here are {there} {kind}", f"devices = {there}")


def _refuse_another_run(output: Path, recipe: Recipe, resume: bool) -> None:
    """Raise `ConfigError` where a checkpoint in the folder is not of this run, which would export or overwrite it."""
    checkpoints = sorted(output.glob("*.ckpt"))
    if checkpoints and not resume:
        raise ConfigError(f"{output} already holds a run ({checkpoints[0].name})", "--resume  # or another --output")
    for checkpoint in checkpoints:
        if changed := _changed_entries(_recipe_of(_saved(checkpoint)).as_dict(), recipe.as_dict()):
            raise ConfigError(
                f"{checkpoint} is of a run with another recipe: it differs in {', '.join(changed)}",
                f"--output {quoted(f'{output}-2')}",
            )


def _changed_entries(kept: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The entries in which two recipes differ, such as "[train] rate", except those that are free to change."""
    changed = []
    for section in sorted(kept.keys() | wanted.keys()):
        ours, theirs = kept.get(section), wanted.get(section)
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            changed += [section] if ours != theirs else []
            continue
        entries = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
        changed += [f"[{section}] {name}" for name in entries if section != "train" or name not in FREE_TO_CHANGE]
    return changed


def _saved(checkpoint: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return saved


def _recipe_of(saved: dict[str, Any]) -> Recipe:
    return recipe_from(saved["hyper_parameters"]["recipe"])


def export(checkpoint: Path, path: Path) -> Path:
    """Write the student of a training checkpoint as a weights file."""
    saved = _saved(checkpoint)
    table = saved["hyper_parameters"]["recipe"]
    from_scratch = {**table["train"], **{name: "" for name in ELSEWHERE if name in table["train"]}}
    recipe = recipe_from({**table, "train": from_scratch})
    module = recipe.module()
    module.load_state_dict(saved["state_dict"])
    network = table["network"] | saved["hyper_parameters"].get(KEPT, {})
    write_weights(path, recipe.metric, network, module.student().state_dict())
    return path
