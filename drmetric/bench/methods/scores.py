"""What a methods board is scored by, and its scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drmetric.bench.methods.files import Failure
from drmetric.bench.scores.score_file import Row
from drmetric.metrics.base import Metric
from drmetric.statistics import Array

Reference = Literal["degraded", "truth", "none"]
Progress = Callable[[int, int], None]

KEY = ("method", "image", "signature", "reference")
"""What tells rows of scores.jsonl apart; a row holds as long as its "sha256" are those of the files."""


@dataclass(frozen=True)
class Judge:
    """A metric, what to call it, and which image it compares with."""

    label: str
    reference: Reference
    metric: Metric

    @property
    def judges_quality(self) -> bool:
        """Whether its ranks count in the mean rank: those of restoration consistency, a guard, do not."""
        return not self.metric.guard

    @cached_property
    def signature(self) -> str:
        """Of the metric."""
        return self.metric.signature


@dataclass
class MethodScores:
    """Scores of all images, (metrics, methods, images), in the order of the lists; NaN where there is none.

    Attributes:
        values: as the metrics give them.
        seconds: spent in the metric, without reading files; the first method bears the cost of the reference.
        applies: False where a metric says nothing about this kind of image, such as without ground truth.
        errors: scores that are missing and should not be.
        kept: how many were taken from an earlier run.
        devices: what computed the others: GPUs by their names.
    """

    judges: list[Judge]
    methods: list[str]
    images: list[str]
    values: Array = field(init=False)
    seconds: Array = field(init=False)
    applies: NDArray[np.bool_] = field(init=False)
    errors: list[Failure] = field(default_factory=list)
    kept: int = 0
    devices: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        shape = (len(self.judges), len(self.methods), len(self.images))
        self.values, self.seconds = np.full(shape, np.nan), np.full(shape, np.nan)
        self.applies = np.ones(shape, dtype=bool)

    def only(self, numbers: Sequence[int]) -> "MethodScores":
        """The scores of these metrics alone, with all errors."""
        chosen = MethodScores([self.judges[number] for number in numbers], self.methods, self.images)
        rows = list(numbers)
        chosen.values, chosen.seconds, chosen.applies = self.values[rows], self.seconds[rows], self.applies[rows]
        chosen.errors, chosen.kept, chosen.devices = self.errors, self.kept, self.devices
        return chosen

    @property
    def given(self) -> NDArray[np.bool_]:
        """(metrics, images) the images that the metric can be asked about."""
        return np.asarray(np.isfinite(self.values).any(axis=1) | self.applies.all(axis=1))

    def put(self, index: tuple[int, int, int], row: Row) -> None:
        """Enter a row of scores.jsonl at (metric, method, image)."""
        if "error" in row:
            judge, method, image = index
            self.errors.append(
                Failure(self.judges[judge].label, self.methods[method], self.images[image], row["error"])
            )
        elif row["score"] is None:
            self.applies[index] = False
        else:
            self.values[index], self.seconds[index] = row["score"], row["seconds"]
