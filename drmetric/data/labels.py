"""Labels for a corpus: a fusion of full-reference metrics against the pristine image.

Each feature is standardised on the training split (so that the other splits do not shape the label), turned so
that higher is better, averaged, and brought to 0..1 by the logistic function. The label of a restored image is
thus a full-reference judgement that a degraded-reference metric must predict without the pristine image.
"""

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch

from drmetric.data.corpus import read_manifest, write_records
from drmetric.errors import ConfigError
from drmetric.images import read_image
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create, metric_class

log = logging.getLogger(__name__)

FEATURES = ("haarpsi", "mdsi", "lpips")


@cache
def _metric(name: str) -> Metric:
    return create(name)


def measure_content(corpus: Path, records: Sequence[Mapping[str, Any]], features: Sequence[str]) -> None:
    """Measure all restored images of one content against its pristine image, into features/<content>.jsonl."""
    torch.set_num_threads(1)
    pristine = read_image(corpus / records[0]["pristine"])[None]
    restored = torch.stack([read_image(corpus / record["restored"]) for record in records])
    with torch.no_grad():
        columns = {name: _metric(name)(restored, pristine).tolist() for name in features}
    rows = [
        {"id": record["id"], **{name: round(column[i], 6) for name, column in columns.items()}}
        for i, record in enumerate(records)
    ]
    write_records(_features_file(corpus, records[0]["content"]), rows)


def _features_file(corpus: Path, content: str) -> Path:
    return corpus / "features" / f"{content}.jsonl"


def _is_measured(file: Path, features: Sequence[str]) -> bool:
    return file.is_file() and all(row.keys() >= set(features) for row in read_manifest(file))


def fuse(
    rows: Sequence[Mapping[str, float]], training: Sequence[Mapping[str, float]], directions: Mapping[str, bool]
) -> list[float]:
    """Labels in 0..1 of `rows`, standardised on `training`.

    Args:
        rows: feature name to value, one mapping an image.
        training: likewise, of the training split.
        directions: feature name to whether higher is better; other keys of a row are ignored.
    """
    moments = {
        name: (fmean(row[name] for row in training), pstdev([row[name] for row in training])) for name in directions
    }
    labels = []
    for row in rows:
        standard = [
            (row[name] - mean) / (spread or 1.0) * (1 if directions[name] else -1)
            for name, (mean, spread) in moments.items()
        ]
        labels.append(1 / (1 + math.exp(-fmean(standard))))
    return labels


def label(corpus: Path, features: Sequence[str] = FEATURES, workers: int = 1) -> Path:
    """Measure what is not measured yet and write label and features into the corpus' manifest.

    Args:
        corpus: folder made by `drmetric.data.corpus.build`.
        features: full-reference metrics of the registry.
        workers: processes.

    Returns:
        The path of the manifest.

    Raises:
        ConfigError: no manifest, or a feature that is not a full-reference metric.
        MissingDependencyError, WeightsError: a feature cannot be computed here.
    """
    for name in features:
        if metric_class(name).mode != "fr":
            raise ConfigError(f"feature {name!r} is not a full-reference metric", f"features = {list(FEATURES)}")
        _metric(name)
    records = read_manifest(corpus / "manifest.jsonl")
    contents = defaultdict(list)
    for record in records:
        contents[record["content"]].append(record)
    todo = [c for c in contents if not _is_measured(_features_file(corpus, c), features)]
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(measure_content, corpus, contents[c], tuple(features)) for c in todo]
        for count, job in enumerate(as_completed(jobs), start=1):
            job.result()
            if count % 50 == 0 or count == len(jobs):
                log.info("%d of %d contents measured", count, len(jobs))
    measured = {row["id"]: row for content in contents for row in read_manifest(_features_file(corpus, content))}
    rows = [measured[record["id"]] for record in records]
    training = [row for row, record in zip(rows, records, strict=True) if record["split"] == "train"]
    if not training:
        raise ConfigError(f"{corpus} has no train contents to standardise on", 'split = "train" in a [[sources]]')
    directions = {name: metric_class(name).higher_is_better for name in features}
    for record, row, value in zip(records, rows, fuse(rows, training, directions), strict=True):
        record["features"] = {name: row[name] for name in features}
        record["label"] = round(value, 6)
    signatures = {name: _metric(name).signature for name in features}
    (corpus / "label.json").write_text(json.dumps({"features": signatures}, indent=1))
    write_records(corpus / "manifest.jsonl", records)
    return corpus / "manifest.jsonl"
