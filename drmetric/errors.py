"""Typed errors: each says what came, what is wanted, and gives the line that mends it."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from importlib import import_module
from typing import Any

__all__ = [
    "ConfigError",
    "DrmetricError",
    "ExportError",
    "ImageFileError",
    "InputError",
    "MissingDependencyError",
    "NotApplicableError",
    "OutputError",
    "PairingError",
    "RangeWarning",
    "ScaleWarning",
    "WeightsError",
    "choose",
    "optional",
    "quoted",
    "refuse_all",
]


class DrmetricError(Exception):
    """Base of every error raised by drmetric.

    Args:
        problem: what was given and what is wanted instead.
        fix: the line (of Python or of shell) that mends it; shown on a line of its own.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(problem, fix)

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}" if self.fix else self.problem


class InputError(DrmetricError, ValueError):
    """A tensor or an option of the wrong type, shape, range or value."""


class NotApplicableError(InputError):
    """A metric or an attack that says nothing about this kind of image or pair; no fault of the image."""


class ImageFileError(DrmetricError, OSError):
    """An image file that cannot be read as an RGB image."""

    # OSError builds its own two-argument __str__ in C; keep ours.
    __str__ = DrmetricError.__str__


class OutputError(DrmetricError, OSError):
    """An output that cannot be written, that another run writes, or that was changed while this one wrote it."""

    __str__ = DrmetricError.__str__


class PairingError(DrmetricError, ValueError):
    """Files of two folders that do not pair up."""


class WeightsError(DrmetricError, RuntimeError):
    """Weights that are unknown, missing, or whose SHA-256 differs from the manifest."""


class ExportError(DrmetricError, RuntimeError):
    """A metric that no file of another program's format can hold."""


class ConfigError(DrmetricError, ValueError):
    """A recipe or configuration file with a missing, unknown or impossible entry."""


class MissingDependencyError(DrmetricError, ImportError):
    """An optional package that the requested feature needs is not installed."""

    __str__ = DrmetricError.__str__


class RangeWarning(UserWarning):
    """Outputs that may overshoot, and lie outside the range so much that it may be another."""


class ScaleWarning(UserWarning):
    """An output whose size suggests that it was cropped."""


def choose(name: str, values: Sequence[str]) -> str:
    """The fix of an entry that has an unknown value.

    >>> choose("split", ["train", "test"])
    'split = "train"  # one of: train, test'
    """
    return f'{name} = "{values[0]}"  # one of: {", ".join(values)}'


def optional(package: str, extra: str, purpose: str) -> Any:
    """Import a package that only an extra installs.

    Args:
        package: its module, such as "pyarrow.parquet".
        extra: the extra of drmetric that installs it.
        purpose: what needs it, as the subject of a sentence.

    Raises:
        MissingDependencyError: it is not installed, or does not import (as torchvision, with a RuntimeError, where it
            was built for another torch).
    """
    try:
        return import_module(package)
    except (ImportError, RuntimeError) as error:
        fix = f"pip install 'drmetric[{extra}]'"
        if "torchvision" in str(error) and not isinstance(error, ModuleNotFoundError):
            fix = "pip install --force-reinstall torch torchvision  # both from one index"
        raise MissingDependencyError(
            f"{purpose} needs the package {package}, and it does not import: {error}",
            fix,
        ) from error


def quoted(*words: object) -> str:
    """Words of a command, as the shell of this system wants them."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


def refuse_all(missing: Sequence[DrmetricError]) -> None:
    """Raise what is missing: one error as it is, several as a `ConfigError` that names them all; none is no error."""
    if len(missing) == 1:
        raise missing[0]
    if missing:
        problems = "; ".join(error.problem for error in missing)
        fixes = "\n".join(dict.fromkeys(error.fix for error in missing))
        raise ConfigError(f"{len(missing)} things are missing: {problems}", fixes)
