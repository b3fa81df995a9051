"""A photograph in the forms that the tests of images want."""

from typing import Any

import numpy as np
import torch
from skimage import data

import drmetric
from drmetric.errors import DrmetricError

PHOTO = data.astronaut()[100:164, 150:246]
"""uint8 (64, 96, 3)."""


def as_tensor(pixels: np.ndarray, white: int = 255) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / white


BATCH = as_tensor(PHOTO)[None]


def mended(error: DrmetricError, **variables: Any) -> Any:
    """Run the fix line of an error on the one variable given and return what became of it."""
    scope = {"torch": torch, "numpy": np, "drmetric": drmetric, **variables}
    exec(error.fix, scope)
    return scope[next(iter(variables))]
