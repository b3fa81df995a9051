"""The lock file of a report, and whether the report still holds."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drmetric.bench import provenance
from drmetric.bench.judges import Judge
from drmetric.bench.methods.board import MethodBoard, judges_of, task_of
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.files import Picture, collect
from drmetric.bench.methods.scale import wrong_sizes
from drmetric.bench.provenance import Verdict
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.run import Task
from drmetric.bench.scores.store import read_rows

REPORTS = ("scores.jsonl", "report.html", "table.md", "table.tex", "table.csv", "table.jsonl", "table.parquet")
"""What a lock has the hashes of."""


def facts(board: MethodBoard) -> dict[str, str]:
    """What the figures of a board depend on beside its files and metrics."""
    return provenance.facts(date=board.made, device=board.device, seed=board.seed, bootstraps=board.n_bootstrap)


def write_lock(board: MethodBoard, config: Config, output: Path) -> Path:
    """Write lock.json for the `REPORTS`, which must be in the folder already."""
    folder = _from(output.resolve(), config.folder.resolve())
    contents = {
        "facts": facts(board),
        "config": {"name": config.name, "folder": folder, "text": config.text},
        "metrics": [provenance.described(judge) for judge in board.scores.judges],
        "files": _digests(board.pictures, board.scores.methods),
    }
    return provenance.write_lock(output / "lock.json", contents, REPORTS)


def _from(output: Path, folder: Path) -> str:
    """The way from one folder to another; the other itself where there is none, as between drives of Windows."""
    return os.path.relpath(folder, output) if folder.anchor == output.anchor else str(folder)


def _digests(pictures: Sequence[Picture], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of the inputs, the truth and each method's outputs."""
    folders: dict[str, list[tuple[str, Path]]] = {
        "degraded": [(each.name, each.degraded) for each in pictures if each.degraded is not None]
    }
    folders["truth"] = [(each.name, each.truth) for each in pictures if each.truth is not None]
    for method in methods:
        folders[f"method {method}"] = [(p.name, p.restored[method]) for p in pictures if method in p.restored]
    return {role: provenance.digest_of(files) for role, files in folders.items()}


def config_of(lock_file: Path) -> Config:
    """The configuration of a report; raises `ConfigError` where it is not a lock file, or one of another version."""
    return _config_in(provenance.read_lock(lock_file), lock_file)


def _config_in(lock: Mapping[str, Any], lock_file: Path) -> Config:
    given = lock["config"]
    return Config.parse(given["text"], lock_file.parent / given["folder"], given["name"], f"{lock_file}, config")


def verify(lock_file: Path, sample: int = 20, device: str = "cpu") -> Verdict:
    """Compare a report with its files as they are now, and compute a sample of its scores again.

    Args:
        lock_file: lock.json of a report, in the folder where it was written.
        sample: how many scores to compute, drawn evenly over the metrics.
        device: where to compute.

    Raises:
        ConfigError: not a lock file, or one of another version.
        PairingError, ImageFileError: folders that are missing or empty.
    """
    lock, folder = provenance.read_lock(lock_file), lock_file.parent
    config = _config_in(lock, lock_file)
    judges, unmade, _ = judges_of(config)
    labels = {(metric["signature"], metric["reference"]): metric["label"] for metric in lock["metrics"]}
    by_label = {judge.label: judge for judge in judges}
    pictures = {each.name: each for each in collect(config.degraded, config.truth, config.methods).pictures}

    def judge(row: Row) -> Judge | None:
        return by_label.get(labels[row.signature, row.reference])

    def files(row: Row) -> dict[str, Path]:
        return pictures[row.image].files(row.method) if row.image in pictures else {}

    def task(row: Row) -> Task | None:
        return task_of(pictures[row.image], row.method or "", judges) if "restored" in files(row) else None

    scores = folder / "scores.jsonl"
    scored = [row for row in read_rows(scores) if row.score is not None] if scores.is_file() else []
    methods = [method.name for method in config.methods]
    scored = [row for row in scored if row.method in methods]
    are_same = _digests(list(pictures.values()), methods) == lock["files"]
    if are_same:  # so that scores without files, or of outputs that are refused, are of an earlier board
        wrong = wrong_sizes(list(pictures.values()), config.scale)
        scored = [row for row in scored if (row.method, row.image) not in wrong]
        scored = [row for row in scored if {"restored", row.reference} - {"none"} <= files(row).keys()]
    rows = [row for row in scored if (row.signature, row.reference) in labels]
    differences = provenance.changed_reports(lock, folder, REPORTS)
    differences += [
        f"{title} cannot be made any more: {error}" for title, error in unmade.items() if title in labels.values()
    ]
    differences += provenance.changed_metrics(lock, judges, {row.signature for row in scored})
    if not are_same:
        differences += provenance.changed_files(rows, files) or ["files were added or removed since the report"]
    found = provenance.verify_scores(rows, judge, task, sample, device)
    return Verdict(
        found.recomputed, found.given, found.largest, list(dict.fromkeys([*differences, *found.differences]))
    )
