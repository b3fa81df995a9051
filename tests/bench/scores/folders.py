"""What tests of folder scoring share: a metric that counts, images, and rows without their times."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from drmetric.bench.scores.rows import Row
from drmetric.metrics.base import Metric


class Distance(Metric):
    """Difference of the mean values; counts the images it is given, and fails where `breaks` says so."""

    name = "distance"
    mode = "dr"
    version = "1"

    def __init__(self, breaks: Callable[[Tensor], BaseException | None] = lambda image: None) -> None:
        super().__init__()
        self.seen = 0
        self.breaks = breaks

    @property
    def signature(self) -> str:
        return f"{self.name}|{self.version}"

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        self.seen += len(image)
        if error := self.breaks(image):
            raise error
        degraded = 0.0 if reference is None else reference.mean((1, 2, 3))
        return image.mean((1, 2, 3)) - degraded


def write_image(file: Path, seed: int, size: tuple[int, int] = (8, 12), alpha: bool = False) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 4 if alpha else 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def without_time(row: Row) -> Row:
    return replace(row, seconds=None)
