"""A metric's own spread, the unit of gains and falls: the standard deviation of its scores over a set of images.

Best is a set that people rated, scored before with `drmetric bench metrics`, `bench methods` or `drmetric score`:
its spread is what the metric makes of differences in quality that people met. Else it is the spread over the images
of the report, untouched and distorted as `DISTORTIONS` says.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from drmetric.bench.judges import Judge
from drmetric.bench.scores.store import read_rows
from drmetric.distortions.kadid.types import distort
from drmetric.errors import ConfigError


def _distorted(image: Tensor, seed: int, kind: str, level: int) -> Tensor:
    return distort(image, kind, level, seed, stretch=False)


DISTORTIONS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    f"KADID-10k {kind} {level}": partial(_distorted, kind=kind, level=level)
    for kind in ("gaussian_blur", "white_noise", "jpeg")
    for level in (1, 3, 5)
}
"""From an image and a seed to types and levels of KADID-10k (`drmetric.distortions.kadid.types`), by name."""


@dataclass(frozen=True)
class Spread:
    """Standard deviation of `n` scores (with n - 1), and which set they are of; NaN where it is not known."""

    source: str
    n: int
    sd: float

    @classmethod
    def of(cls, source: str, scores: Sequence[float]) -> "Spread":
        sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        return cls(source, len(scores), sd if sd > 0 else math.nan)

    def described(self) -> dict[str, Any]:
        """As JSON holds it, which knows no NaN."""
        return {**asdict(self), "sd": self.sd if math.isfinite(self.sd) else None}

    @classmethod
    def of_report(cls, scores: Sequence[float], n_images: int) -> "Spread":
        """Of scores of the report's images, untouched and distorted as `DISTORTIONS` says."""
        what = "untouched, and with KADID-10k's Gaussian blur, white noise and JPEG at levels 1, 3 and 5"
        return cls.of(f"the {n_images} images of the report, {what}", scores)


def spread_of(judge: Judge, files: Sequence[Path]) -> Spread | None:
    """That in the first file that has one; see `spread_in`."""
    return next((spread for file in files if (spread := spread_in(file, judge)) is not None), None)


def spread_in(path: Path, judge: Judge) -> Spread | None:
    """The spread of a metric's scores in a file, or None where it has fewer than two.

    Scores count that have the metric's signature, whatever the version of drmetric; where none has, those of its
    label. Of several references, that of the metric counts.

    Raises:
        InputError: the file is no score file.
        ConfigError: only scores under several other settings.
    """
    rows = [row for row in read_rows(path) if row.score is not None]
    chosen = [row for row in rows if _settings(row.signature) == _settings(judge.signature)]
    chosen = chosen or [row for row in rows if row.metric == judge.label]
    same = [row for row in chosen if row.reference == judge.reference]
    chosen = same or chosen
    kinds = sorted({(row.signature, row.reference) for row in chosen})
    if len(kinds) > 1:
        listed = "; ".join(f"{signature} against {reference}" for signature, reference in kinds)
        raise ConfigError(
            f"{str(path)!r} has scores of {judge.label} under {len(kinds)} other settings: {listed}",
            f"a file with those of {judge.signature} against {judge.reference}",
        )
    if len(chosen) < 2:
        return None
    signature, reference = kinds[0]
    other = "" if _settings(signature) == _settings(judge.signature) else f" of {signature}"
    against = "" if reference == judge.reference else f" against {reference}"
    source = f"{path.parent.name}/{path.name}{other}{against}"
    return Spread.of(source, [row.score for row in chosen if row.score is not None])


def _settings(signature: str) -> str:
    return signature.partition("|drmetric:")[0]
