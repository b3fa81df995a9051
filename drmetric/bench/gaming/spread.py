"""A metric's own spread, the unit of its gains: the standard deviation of its scores over a set of images.

Best is a set that people rated, scored before with `drmetric bench metrics`, `bench methods` or `drmetric score`:
its spread is what the metric makes of differences in quality that people met. Else it is the spread over the images
of the report, untouched and distorted as `DISTORTIONS` says.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drmetric.bench.agreement import leaderboard
from drmetric.bench.methods import scores as method_scores
from drmetric.bench.methods.scores import Judge
from drmetric.bench.scores.records import Scored, read_records
from drmetric.bench.scores.score_file import ScoreFile
from drmetric.errors import ConfigError, InputError

DISTORTIONS = tuple((kind, level) for kind in ("gaussian_blur", "white_noise", "jpeg") for level in (1, 3, 5))
"""Types and levels of KADID-10k (`drmetric.distortions.kadid.types`)."""
OWN = "untouched, and with KADID-10k's Gaussian blur, white noise and JPEG at levels 1, 3 and 5"


@dataclass(frozen=True)
class Spread:
    """Standard deviation of `n` scores (with n - 1), and which set they are of; NaN where it is not known."""

    source: str
    n: int
    sd: float

    @classmethod
    def of(cls, source: str, scores: Sequence[float]) -> "Spread":
        sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        return cls(source, len(scores), sd if sd > 0 else float("nan"))


class _Row(NamedTuple):
    metric: str
    signature: str
    reference: str
    score: float


def spread_in(path: Path, judge: Judge) -> Spread | None:
    """The spread of a metric's scores in a file, or None where it has fewer than two.

    Scores count that have the metric's signature, whatever the version of drmetric; where none has, those of its
    label. Of several references, that of the metric counts.

    Raises:
        InputError: the file is no score file.
        ConfigError: only scores under several other settings.
    """
    rows = list(_rows(path))
    chosen = [row for row in rows if _settings(row.signature) == _settings(judge.metric.signature)]
    chosen = chosen or [row for row in rows if row.metric.replace(" (", "(") == judge.label.replace(" (", "(")]
    same = [row for row in chosen if row.reference == judge.reference]
    chosen = same or chosen
    kinds = sorted({(row.signature, row.reference) for row in chosen})
    if len(kinds) > 1:
        listed = "; ".join(f"{signature} against {reference}" for signature, reference in kinds)
        raise ConfigError(
            f"{str(path)!r} has scores of {judge.label} under {len(kinds)} other settings: {listed}",
            f"a file with those of {judge.metric.signature} against {judge.reference}",
        )
    if len(chosen) < 2:
        return None
    signature, reference = kinds[0]
    other = "" if _settings(signature) == _settings(judge.metric.signature) else f" of {signature}"
    against = "" if reference in (judge.reference, "") else f" against {reference}"
    source = f"{path.parent.name}/{path.name}{other}{against}"
    return Spread.of(source, [row.score for row in chosen])


def _settings(signature: str) -> str:
    return signature.partition("|drmetric:")[0]


def _rows(path: Path) -> Iterable[_Row]:
    """The scores of any score file that drmetric writes; "pristine" is what boards of methods call "truth"."""
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline()) if path.suffix == ".jsonl" else {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}", "give the scores.jsonl of an earlier run") from error
    if "fingerprint" not in first and "method" not in first:
        for record in read_records(path):
            if isinstance(record, Scored):
                yield _Row(record.metric, record.signature, "", record.score)
        return
    key = leaderboard.KEY if "fingerprint" in first else method_scores.KEY
    for row in ScoreFile(path, key).rows:
        if row["score"] is not None:
            reference = "truth" if row["reference"] == "pristine" else row["reference"]
            yield _Row(row["metric"], row["signature"], reference, row["score"])
