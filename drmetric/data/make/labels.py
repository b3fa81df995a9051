"""Labels for a corpus: human opinions as full-reference metrics against the pristine image predict them.

A `Fusion` turns features of a restored image into an opinion; benchmarks/label_fusion fits the bundled one to
opinions. The label is thus a judgement with the pristine image at hand that a degraded-reference metric must
predict without it.
"""

import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drmetric import __version__
from drmetric.data.make.blocking import blocking
from drmetric.data.make.building import read_manifest, read_part, worker_pool, write_records
from drmetric.data.make.colour import miscolouring
from drmetric.data.make.perceptual import fine_distance, shared_layers, worst_region
from drmetric.data.make.sharpness import sharpening, softening
from drmetric.errors import ConfigError, InputError
from drmetric.images import read_image
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create, metric_class
from drmetric.writing import write_whole

log = logging.getLogger(__name__)


OWN_FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sharpening": sharpening,
    "softening": softening,
    "blocking": blocking,
    "miscolouring": miscolouring,
    "fine_distance": fine_distance,
    "worst_region": worst_region,
}
"""Features beside the full-reference metrics of the registry: distances, 0 for the pristine image."""


@cache
def _metric(name: str) -> Metric:
    return create(name)


def measure(feature: str, image: Tensor, pristine: Tensor) -> Tensor:
    """(N,) values of a feature of (N,3,H,W) images in [0, 1] against (N,3,H,W) or (1,3,H,W) pristine ones."""
    return measure_all([feature], image, pristine)[feature]


def measure_all(features: Collection[str], image: Tensor, pristine: Tensor) -> dict[str, Tensor]:
    """The values of several features, as `measure` has them; what they share is computed once."""
    with torch.no_grad(), shared_layers():
        values = {name: OWN_FEATURES[name] if name in OWN_FEATURES else _metric(name) for name in features}
        return {name: value(image, pristine.expand_as(image)) for name, value in values.items()}


def is_feature(name: str) -> bool:
    """Whether a fusion may use it: one of `OWN_FEATURES` or a full-reference metric of the registry."""
    try:
        return name in OWN_FEATURES or metric_class(name).mode == "fr"
    except InputError:
        return False


def signature_of(feature: str) -> str:
    """What pins the values of a feature; raises `MissingDependencyError` or `WeightsError` where it cannot be made."""
    if feature not in OWN_FEATURES:
        return _metric(feature).signature
    network = f"|{_metric('lpips').signature}" if feature in ("fine_distance", "worst_region") else ""
    return f"{feature}|drmetric:{__version__}{network}"


MEASURED_BY = "measured_by"
"""Beside the features of a row: the signature of each."""


def measure_content(corpus: Path, records: Sequence[Mapping[str, Any]], signatures: Mapping[str, str]) -> None:
    """Measure all restored images of one content against its pristine image, into features/<content>.jsonl.

    Features that the file already holds are kept, if their signatures were the same.
    """
    torch.set_num_threads(1)
    file = features_file(corpus, records[0]["content"])
    known = {row["id"]: row for row in read_part(file)} if file.is_file() else {}
    rows_before = [known.get(record["id"], {}) for record in records]
    missing = [name for name in signatures if not all(_is_of(row, name, signatures[name]) for row in rows_before)]
    pristine = read_image(corpus / records[0]["pristine"])[None]
    restored = torch.stack([read_image(corpus / record["restored"]) for record in records])
    columns = {name: values.tolist() for name, values in measure_all(missing, restored, pristine).items()}
    measured = {name: signatures[name] for name in missing}
    rows = [
        {"id": record["id"]}
        | before
        | {name: round(column[i], 6) for name, column in columns.items()}
        | {MEASURED_BY: before.get(MEASURED_BY, {}) | measured}
        for i, (record, before) in enumerate(zip(records, rows_before, strict=True))
    ]
    write_records(file, rows)


def features_file(corpus: Path, content: str) -> Path:
    """Where the features of a content's images are kept."""
    return corpus / "features" / f"{content}.jsonl"


def _is_of(row: Mapping[str, Any], name: str, signature: str) -> bool:
    return name in row and row.get(MEASURED_BY, {}).get(name) == signature


def _is_measured(file: Path, records: Sequence[Mapping[str, Any]], signatures: Mapping[str, str]) -> bool:
    known = {row["id"]: row for row in read_part(file)} if file.is_file() else {}
    rows = [known.get(record["id"], {}) for record in records]
    return all(_is_of(row, name, signature) for row in rows for name, signature in signatures.items())


@dataclass(frozen=True)
class Term:
    """One feature of a fusion: `weight` times its distance from perfection to the `power`."""

    weight: float
    power: float


@dataclass(frozen=True)
class Fusion:
    """Opinions from full-reference features.

    A feature's `distance` from its best value is 0 for the pristine image. The opinion is ``1 + 4 exp(-sum of weight *
    distance ** power)``: 5 for the pristine image, 1 at the worst, on the scale of KADID-10k. The label spaces opinions
    as Elo does, 0 to 1 for 1000 points, 1 for the pristine image.

    Attributes:
        terms: feature (`is_feature`) to its term.
        elo_per_point: Elo points in one point of opinion, from the spread of single ratings.
    """

    terms: Mapping[str, Term]
    elo_per_point: float

    @classmethod
    def read(cls, path: Path) -> "Fusion":
        """Read a JSON file as benchmarks/label_fusion writes it; raises `ConfigError` if it is none."""
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            terms = {name: Term(float(term["weight"]), float(term["power"])) for name, term in table["terms"].items()}
            fusion = cls(terms, float(table["elo_per_point"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} is no fusion: {error!r}",
                '{"terms": {"lpips": {"weight": 1.0, "power": 0.5}}, "elo_per_point": 250}',
            ) from error
        for name in terms:
            if not is_feature(name):
                raise ConfigError(
                    f"{path}: {name!r} is not a full-reference metric",
                    '"lpips"  # or "mdsi", and others of drmetric list',
                )
        return fusion

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.terms)

    def opinion(self, row: Mapping[str, Any]) -> float:
        """1..5, of features by name; other keys are ignored."""
        return float(self._opinions({name: torch.tensor(float(row[name])) for name in self.terms}))

    def label(self, row: Mapping[str, Any]) -> float:
        """0..1, of features by name."""
        return float(self._labels({name: torch.tensor(float(row[name])) for name in self.terms}))

    def label_of(self, image: Tensor, pristine: Tensor) -> Tensor:
        """(N,) labels in 0..1 of (N,3,H,W) images in [0, 1] against (N,3,H,W) or (1,3,H,W) pristine ones.

        For use in a training loop: nothing is written, no gradient flows. An output that overshoots [0, 1] is
        refused; clamp it.
        """
        return self._labels(measure_all(self.features, image, pristine))

    def _opinions(self, features: Mapping[str, Tensor]) -> Tensor:
        exponents = [t.weight * distance(name, features[name]) ** t.power for name, t in self.terms.items()]
        return 1 + 4 * torch.exp(-torch.stack(exponents).sum(0))

    def _labels(self, features: Mapping[str, Tensor]) -> Tensor:
        return (1 - self.elo_per_point * (5 - self._opinions(features)) / 1000).clamp_min(0)


def distance(feature: str, value: Tensor) -> Tensor:
    """How far a feature's values are from the best one, at least 0.

    One rule for all: from the best end of the metric's range, as a share of the range where both ends are finite
    (PSNR's 100 dB, SSIM's -1 to 1). A range whose best end is infinite (VIF's) counts from 1, its value
    for the pristine image.
    """
    if feature in OWN_FEATURES:
        return value.clamp_min(0)
    metric = metric_class(feature)
    worst, best = metric.score_range if metric.higher_is_better else metric.score_range[::-1]
    if math.isinf(best):
        best = 1.0
    span = abs(best - worst) if math.isfinite(worst) else 1.0
    return ((best - value if metric.higher_is_better else value - best) / span).clamp_min(0)


def higher_is_better(feature: str) -> bool:
    """Whether a greater value of the feature means less distance from the pristine image."""
    return feature not in OWN_FEATURES and metric_class(feature).higher_is_better


def bundled_fusion() -> Fusion:
    """The fusion that labelled the shipped weights' corpus; its figures are in docs/research/driqa.md."""
    return Fusion.read(Path(str(files("drmetric.data.make"))) / "fusion.json")


def signatures_of(fusion: Fusion) -> dict[str, str]:
    """The signature of each feature; raises `MissingDependencyError` or `WeightsError` where one cannot be made."""
    return {name: signature_of(name) for name in fusion.features}


def label(corpus: Path, fusion: Fusion | None = None, workers: int = 1) -> Path:
    """Measure what is not measured yet and write label and features into the corpus' manifest.

    Args:
        corpus: folder made by `drmetric.data.make.corpus.build`.
        fusion: of full-reference features; the bundled one if None.
        workers: processes.

    Returns:
        The path of the manifest.

    Raises:
        ConfigError: no manifest, or a broken file.
        MissingDependencyError, WeightsError: a feature cannot be computed here.
    """
    fusion = fusion or bundled_fusion()
    features = fusion.features
    signatures = signatures_of(fusion)
    records = read_manifest(corpus / "manifest.jsonl")
    contents = defaultdict(list)
    for record in records:
        contents[record["content"]].append(record)
    todo = [c for c in contents if not _is_measured(features_file(corpus, c), contents[c], signatures)]
    with worker_pool(workers) as pool:
        jobs = [pool.submit(measure_content, corpus, contents[c], signatures) for c in todo]
        for count, job in enumerate(as_completed(jobs), start=1):
            job.result()
            if count % 50 == 0 or count == len(jobs):
                log.info("%d of %d contents measured", count, len(jobs))
    measured = {row["id"]: row for content in contents for row in read_part(features_file(corpus, content))}
    for record in records:
        row = measured[record["id"]]
        record["features"] = {name: row[name] for name in features}
        record["label"] = round(fusion.label(row), 6)
    described = json.dumps({"features": signatures, "fusion": asdict(fusion)}, indent=1)
    write_whole(corpus / "label.json", described.encode())
    write_records(corpus / "manifest.jsonl", records)
    return corpus / "manifest.jsonl"
