"""Rank metrics by how well they agree with the labels of a corpus of restored images.

`run` reads a TOML file, scores every image of a split with every metric, one line of scores.jsonl an image
(so a killed run goes on where it stopped), and works out the table:

    [data]
    corpus = "runs/corpus"        # folder of manifest.jsonl; $VARIABLES are expanded
    split = "test"
    [[metrics]]
    name = "driqa"
    [[metrics]]
    name = "lpips"
    reference = "degraded"        # or "pristine", or "none"; by default what the metric's mode asks for
    options = { net = "squeeze" }

An image that a metric fails on costs the metric: it ranks below the worst image that it could score, and
counts in n given but not in n used. Intervals are 95 % percentile bootstraps over contents. See
`drmetric.statistics`.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drmetric import __version__
from drmetric.bench.agreement.table import Board, Images, Scores, compare
from drmetric.bench.scores.score_file import ScoreFile
from drmetric.config import read_toml
from drmetric.data.make.building import read_manifest
from drmetric.errors import ConfigError, MissingDependencyError, WeightsError
from drmetric.images import read_image
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create, metric_class

REFERENCES = ("pristine", "degraded", "none")
ALLOWED = {
    "dr": ("degraded", "pristine"),
    "fr": ("degraded", "pristine"),
    "nar": ("none", "degraded", "pristine"),
    "nr": ("none",),
}
"""References that a mode can use, its default first."""
IMAGES = ("pristine", "degraded", "restored")
NIQE_PHOTOGRAPHS = 200
KEY = ("fingerprint", "signature", "reference")
"""What tells rows of scores.jsonl apart."""

Record = dict[str, Any]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Entry:
    """One [[metrics]] table: a metric, its options, and which image of a record it gets as reference."""

    name: str
    reference: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def reference_for(self, mode: str) -> str:
        """The reference, by default that of the mode; raises `ConfigError` where the mode has no use for it."""
        reference = self.reference or ALLOWED[mode][0]
        if reference not in ALLOWED[mode]:
            raise ConfigError(
                f"metric {self.name!r} (mode {mode!r}) cannot use the reference {reference!r}",
                f'reference = "{ALLOWED[mode][0]}"',
            )
        return reference

    @property
    def label(self) -> str:
        """The name and the options; of paths only the file's name."""
        options = ", ".join(f"{key}={str(value).rpartition('/')[2]}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


@dataclass(frozen=True)
class Config:
    """A leaderboard as its TOML file describes it."""

    corpus: Path
    split: str
    metrics: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read and check a TOML file; raises `ConfigError` naming the entry that is missing or unknown."""
        table = read_toml(path)
        data, metrics = table.get("data", {}), table.get("metrics", [])
        _only(table, {"data", "metrics"}, f"{path}")
        _only(data, {"corpus", "split"}, f"{path}, [data]")
        if "corpus" not in data or not metrics:
            raise ConfigError(f"{path} needs [data] with corpus, and at least one [[metrics]]")
        corpus = Path(os.path.expandvars(data["corpus"])).expanduser()
        return cls(corpus, data.get("split", "test"), read_entries(metrics, path))


def read_entries(metrics: Sequence[dict[str, Any]], path: Path) -> tuple[Entry, ...]:
    """The [[metrics]] of a TOML file; raises `ConfigError` naming the entry that is missing or unknown."""
    for metric in metrics:
        _only(metric, {"name", "reference", "options"}, f"{path}, [[metrics]]")
        if "name" not in metric or metric.get("reference", "none") not in REFERENCES:
            raise ConfigError(f"{path}: [[metrics]] {metric} needs a name and, if any, a reference of {REFERENCES}")
    return tuple(Entry(**metric) for metric in metrics)


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise ConfigError(f"{where}: unknown entry {unknown[0]!r}", f"known entries: {', '.join(sorted(known))}")


def read_records(corpus: Path, split: str, needed: Sequence[str]) -> list[Record]:
    """The records of one split; raises `ConfigError` where there are none or one lacks a needed entry."""
    manifest = corpus / "manifest.jsonl"
    everything = read_manifest(manifest)
    records = [record for record in everything if record.get("split") == split]
    if not records:
        splits = sorted({str(record.get("split")) for record in everything})
        raise ConfigError(f"{manifest} has no record of split {split!r}", f"split = one of {', '.join(splits)}")
    for record in records:
        if missing := [key for key in needed if record.get(key) is None]:
            raise ConfigError(f"{manifest}: record {record.get('id')!r} lacks {', '.join(missing)}")
    return records


def fingerprint(record: Record) -> str:
    """Changes with how the record's images were made, and not with its label."""
    made = {key: record.get(key) for key in ("id", *IMAGES, "degradation", "restorer")}
    return sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


@lru_cache(maxsize=16)
def _image(path: Path) -> Tensor:
    return read_image(path)[None]


def _score_one(metric: Metric, images: list[Path], device: str) -> Record:
    try:
        tensors = [_image(path).to(device) for path in images]
        start = time.perf_counter()
        with torch.inference_mode():
            score = float(metric(*tensors))
        milliseconds = (time.perf_counter() - start) * 1e3
        if not np.isfinite(score):
            raise ValueError(f"the score is {score}")
        return {"score": score, "ms": round(milliseconds, 3)}
    except Exception as error:
        return {"score": None, "error": f"{type(error).__name__}: {error}"}


def score_metric(
    entry: Entry,
    records: Sequence[Record],
    corpus: Path,
    file: ScoreFile,
    device: str = "cpu",
    progress: Progress = lambda metric, done, total: None,
) -> Scores:
    """Score all records with one metric, taking from `file` what is there.

    Whatever an image makes the metric raise is recorded as its failure. A metric whose weights or packages
    are missing fails on every record.

    Raises:
        InputError: an option that the metric does not take.
    """
    reference = entry.reference_for(metric_class(entry.name).mode)
    nothing = np.full(len(records), np.nan)
    result = Scores(entry.label, reference, "", True, nothing, nothing.copy())
    try:
        metric = create(entry.name, **_options(entry, corpus, file.path.parent)).to(device)
    except (WeightsError, MissingDependencyError) as error:
        result.errors.update({record["id"]: str(error) for record in records})
        return result
    result.signature, result.higher_is_better = metric.signature, metric.higher_is_better
    for index, record in enumerate(records):
        key = {"fingerprint": fingerprint(record), "signature": metric.signature, "reference": reference}
        row = file.find(key)
        if row is None:
            kinds = ["restored"] if reference == "none" else ["restored", reference]
            row = _score_one(metric, [corpus / record[kind] for kind in kinds], device)
            file.append({"metric": entry.label, "id": record["id"], **row, **key})
        if row["score"] is None:
            result.errors[record["id"]] = row["error"]
        else:
            result.values[index], result.milliseconds[index] = row["score"], row["ms"]
        progress(entry.label, index + 1, len(records))
    return result


def score_metrics(
    entries: Sequence[Entry], records: Sequence[Record], corpus: Path, output: Path, device: str, progress: Progress
) -> list[Scores]:
    """As `score_metric` for each entry, with the scores in scores.jsonl of the folder `output`, made if need be."""
    output.mkdir(parents=True, exist_ok=True)
    with ScoreFile(output / "scores.jsonl", KEY) as file:
        return [score_metric(entry, records, corpus, file, device, progress) for entry in entries]


def failures(scores: Sequence[Scores]) -> list[tuple[str, str, str]]:
    """(metric, image, what went wrong) of all metrics."""
    return [(each.metric, item, error) for each in scores for item, error in each.errors.items()]


def _options(entry: Entry, corpus: Path, output: Path) -> dict[str, Any]:
    """The metric's options; NIQE without weights gets a model fitted to the corpus' training photographs."""
    if entry.name != "niqe" or "weights" in entry.options:
        return entry.options
    path = output / "niqe.safetensors"
    if not path.exists():
        from drmetric.metrics.niqe import fit_niqe

        photographs = dict.fromkeys(record["pristine"] for record in read_records(corpus, "train", ["pristine"]))
        fit_niqe(_image(corpus / one) for one in islice(photographs, NIQE_PHOTOGRAPHS)).save(path)
    return {**entry.options, "weights": str(path)}


def run(
    config: Config,
    output: Path,
    *,
    device: str = "cpu",
    n_bootstrap: int = 1000,
    progress: Progress = lambda metric, done, total: None,
) -> Board:
    """Score a corpus with all metrics, work out the table, and write it to `output`.

    Args:
        config: what to score, with what.
        output: folder of scores.jsonl, table.csv and table.md; scores that are there already are kept.
        device: where the metrics run.
        n_bootstrap: resamples of each interval.
        progress: called after each image with the metric, and its numbers of images done and in all.

    Raises:
        ConfigError: an unusable configuration or corpus.
        InputError: a metric or an option that does not exist.
    """
    for entry in config.metrics:
        entry.reference_for(metric_class(entry.name).mode)
    records = read_records(config.corpus, config.split, ["id", "content", "label", *IMAGES])
    scores = score_metrics(config.metrics, records, config.corpus, output, device, progress)
    images = Images(
        labels=np.array([record["label"] for record in records], dtype=np.float64),
        contents=[record["content"] for record in records],
        inputs=[record["degraded"] for record in records],
    )
    numbers = f"{len(records)} images of {len(set(images.contents))} contents"
    board = Board(
        title=f"{config.corpus.name}, split {config.split}: {numbers}",
        note=_note(f"{scores[0].metric} ({scores[0].reference})", device, n_bootstrap),
        lines=compare(scores, images, n_bootstrap),
        errors=failures(scores),
    )
    (output / "table.md").write_text(board.table.to_markdown(), encoding="utf-8")
    (output / "table.csv").write_text(board.table.to_csv(), encoding="utf-8")
    return board


def _note(first: str, device: str, n_bootstrap: int) -> str:
    return (
        "SRCC, KRCC and pairs (share of pairs in the right order) are means over contents; SRCC in input is a mean "
        "over degraded inputs; PLCC follows a 4-parameter logistic, or a line where marked *. Brackets: 95 % "
        f"percentile intervals, {n_bootstrap} bootstraps over contents. Differences: SRCC in content of {first} "
        "minus that of each other, paired bootstrap over contents, p after Holm. "
        f"An image that a metric failed on ranks last. ms: median, {device}. drmetric {__version__}, "
        f"torch {torch.__version__}."
    )
