"""Scores that are put together from those of other metrics, as challenges rank by:

    [[composites]]
    name = "perceptual"
    terms = [
        { metric = "lpips", scale = -1, offset = 1 },               # 1 - LPIPS
        { metric = "niqe", scale = -0.1, offset = 1, least = 0 },   # max(0, (10 - NIQE) / 10)
    ]

A composite is the sum of its terms, higher is better. It is worked out image by image from the scores that its board
has anyway. Where one of its metrics has none, neither has the composite: a sum of fewer terms would pass for a score.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from drmetric.bench.judges import Judge
from drmetric.config import section
from drmetric.errors import ConfigError
from drmetric.images import as_doubles
from drmetric.metrics.base import Metric
from drmetric.statistics import Array

MEETS = ("none", "truth")
"""What metrics of a composite may be compared with."""


@dataclass(frozen=True)
class Term:
    """``offset + scale * score`` of the metric of that title, and `least` at the least."""

    metric: str
    scale: float = 1.0
    offset: float = 0.0
    least: float = -math.inf

    def of(self, scores: Any) -> Any:
        """The term of scores, element by element."""
        return np.maximum(self.offset + self.scale * scores, self.least)

    def __str__(self) -> str:
        """As in a formula.

        >>> str(Term("NIQE", scale=-0.1, offset=1, least=0))
        'max(0, 1 - 0.1 NIQE)'
        """
        factor = "" if abs(self.scale) == 1 else f"{abs(self.scale):g} "
        start = f"{self.offset:g} {'-' if self.scale < 0 else '+'} " if self.offset else "-" if self.scale < 0 else ""
        term = f"{start}{factor}{self.metric}"
        return term if self.least == -math.inf else f"max({self.least:g}, {term})"


@dataclass(frozen=True)
class CompositeEntry:
    """One [[composites]] table."""

    name: str
    terms: tuple[Term, ...]

    @classmethod
    def read(cls, table: Mapping[str, Any], where: str) -> "CompositeEntry":
        """Raises `ConfigError` for an entry that is missing, unknown or wrong."""
        name, terms = table.get("name"), table.get("terms")
        known = isinstance(name, str) and name and isinstance(terms, list) and terms and set(table) == {"name", "terms"}
        if not known or not all(isinstance(term, dict) for term in terms or ()):
            raise ConfigError(
                f"{where}: {dict(table)!r}; wanted a name and terms alone",
                'name = "perceptual"\nterms = [{ metric = "lpips", scale = -1, offset = 1 }]',
            )
        return cls(str(name), tuple(section(Term, term, f"{where}, terms") for term in terms or ()))

    def make(self, judges: Sequence[Judge], absent: Mapping[str, str]) -> Judge | str:
        """The judge, or why there is none.

        Args:
            judges: of the board.
            absent: {title: why} of its metrics that have no judge.

        Raises:
            ConfigError: a term of no metric of the board, or of one that meets the degraded input.
        """
        parts = {judge.label: judge for judge in judges}
        if self.name in parts:
            raise ConfigError(f"two columns are called {self.name!r}", 'name = "..."  # another for the composite')
        for term in self.terms:
            if term.metric not in parts and term.metric not in absent:
                raise ConfigError(
                    f"the composite {self.name!r} has a term of {term.metric!r}, and no [[metrics]] is called so",
                    f"metric = {next(iter(parts), 'driqa')!r}",
                )
        if missing := [term.metric for term in self.terms if term.metric in absent]:
            return f"it is {_sum(self.terms)}, and without {', '.join(missing)} there is none"
        metric = Composite(self.terms, [parts[term.metric] for term in self.terms])
        return Judge(self.name, "truth" if metric.mode == "fr" else "none", metric)


def _sum(terms: Sequence[Term]) -> str:
    return " + ".join(f"({term})" if term.offset and term.least == -math.inf else str(term) for term in terms)


class Composite(Metric):
    """The sum of terms of other metrics' scores; higher is better."""

    name: ClassVar[str] = "composite"
    differentiable: ClassVar[bool] = False

    def __init__(self, terms: Sequence[Term], parts: Sequence[Judge]) -> None:
        super().__init__()
        self.terms, self.parts = tuple(terms), tuple(parts)
        if wrong := [part.label for part in parts if part.reference not in MEETS]:
            raise ConfigError(
                f"a composite cannot have the term {wrong[0]!r}, which meets the degraded input", 'metric = "nriqa"'
            )
        self.mode = "fr" if any(part.reference == "truth" for part in parts) else "nr"  # type: ignore[misc]
        self.min_size = max(part.metric.min_size for part in parts)  # type: ignore[misc]
        ends = np.array([sorted(term.of(np.array(part.metric.score_range))) for term, part in self._pairs])
        self.score_range = (float(ends[:, 0].sum()), float(ends[:, 1].sum()))  # type: ignore[misc]

    @property
    def _pairs(self) -> list[tuple[Term, Judge]]:
        return list(zip(self.terms, self.parts, strict=True))

    @property
    def formula(self) -> str:
        """The sum, with the metrics by their titles."""
        return _sum(self.terms)

    @property
    def signature(self) -> str:
        """The formula, and the signatures of what it is made of."""
        return "|".join([self.name, self.formula, *(f"({part.signature})" for part in self.parts)])

    def combined(self, scores: Mapping[str, Array]) -> Array:
        """The composites of scores by title, element by element; NaN where one is."""
        total: Array = np.sum([term.of(scores[part.label]) for term, part in self._pairs], axis=0)
        return total

    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        others = {} if reference is None else {"truth": reference}
        rated = {part.label: as_doubles(part.rate(image, others)).numpy(force=True) for part in self.parts}
        return image.new_tensor(self.combined(rated))
