"""lock.json: what the figures of a report depend on, and what of it no longer holds.

A board writes the lock beside its report; `verify_scores` and `changed_reports` are what its verification is made of.
"""

import json
import platform
import random
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from drmetric import __version__
from drmetric.bench.judges import Judge
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.run import Task, rescore
from drmetric.bench.scores.store import sha256_of
from drmetric.errors import ConfigError, DrmetricError
from drmetric.writing import write_whole

FORMAT = 2
TOLERANCE = 1e-4
"""How far a score may move: this much, or this share of a score above 1, as other machines round otherwise."""
PACKAGES = ("torch", "kornia", "numpy", "scipy", "pillow", "piq", "lpips")


def facts(**settings: object) -> dict[str, str]:
    """Versions of Python and of the packages that decide scores, platform, threads, and the settings of a report."""
    found = {"python": platform.python_version(), "drmetric": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found |= {"platform": platform.platform(), "threads": str(torch.get_num_threads())}
    return found | {name: str(value) for name, value in settings.items()}


def described(judge: Judge) -> dict[str, Any]:
    """What a metric was: label, reference, signature and weights."""
    weights = getattr(judge.metric, "weights_file", None)
    return {
        "label": judge.label,
        "reference": judge.reference,
        "signature": judge.signature,
        "weights": None if weights is None else {"name": weights.name, "sha256": weights.sha256},
    }


def digest_of(files: Iterable[tuple[str, Path]]) -> dict[str, Any]:
    """How many files there are, and one hash of all names and contents."""
    lines = [f"{sha256_of(path)} {name!a}\n" for name, path in files]
    return {"count": len(lines), "sha256": sha256("".join(lines).encode()).hexdigest()}


def write_lock(path: Path, contents: Mapping[str, Any], reports: Iterable[str]) -> Path:
    """Write a lock with its format, the command line, and the hashes of the reports in its folder."""
    lock = {
        "format": FORMAT,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        **contents,
        "reports": {name: sha256_of(path.parent / name) for name in reports},
    }
    write_whole(path, (json.dumps(lock, indent=1, allow_nan=False) + "\n").encode())
    return path


def read_lock(path: Path) -> dict[str, Any]:
    """What `write_lock` wrote; raises `ConfigError` where it is another file or of another version."""
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", "give the lock.json of a report") from error
    if not isinstance(lock, dict) or lock.get("format") != FORMAT:
        raise ConfigError(
            f"{path} is not a lock file of format {FORMAT}", "drmetric bench methods CONFIG.toml  # again"
        )
    metrics, reports = lock.get("metrics"), lock.get("reports")
    if not (
        _holds(lock.get("config"), "name", "folder", "text")
        and isinstance(metrics, list)
        and all(_holds(metric, "label", "reference", "signature") for metric in metrics)
        and isinstance(lock.get("files"), dict)
        and isinstance(reports, dict)
        and _holds(reports, *reports)
    ):
        raise ConfigError(
            f"{path} lacks entries that a lock file has, or has others in their place",
            "drmetric bench methods CONFIG.toml  # again",
        )
    return lock


def _holds(table: Any, *names: str) -> bool:
    """Whether it is a table with texts of these names."""
    return isinstance(table, dict) and all(isinstance(table.get(name), str) for name in names)


def changed_reports(lock: Mapping[str, Any], folder: Path, wanted: Iterable[str]) -> list[str]:
    """Sentences on the reports that are not what was locked, and on those of `wanted` that were not locked."""
    return [f"{name} is not in the lock" for name in wanted if name not in lock["reports"]] + [
        f"{name} is not the file that was locked"
        for name, digest in lock["reports"].items()
        if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]


def changed_metrics(lock: Mapping[str, Any], judges: Sequence[Judge], scored: Collection[str]) -> list[str]:
    """Sentences on the metrics that are not what was locked.

    Args:
        lock: with its metrics.
        judges: of the configuration.
        scored: signatures of those that gave scores; the others applied to no image, and are not locked.
    """
    locked = {metric["label"]: metric for metric in lock["metrics"]}
    known = {judge.label for judge in judges}
    return [
        *(f"{label} is in the lock, and not in the configuration" for label in locked if label not in known),
        *(
            f"{judge.label} has scores, and is not in the lock"
            for judge in judges
            if judge.label not in locked and judge.signature in scored
        ),
    ] + [
        f"{judge.label} was {locked[judge.label]['signature']}, and is now {judge.signature}"
        for judge in judges
        if judge.label in locked and described(judge) != locked[judge.label]
    ]


def changed_files(rows: Iterable[Row], files_of: Callable[[Row], Mapping[str, Path]]) -> list[str]:
    """Sentences on the files, by kind, that are missing or hold something else than when they were scored."""
    hash_of = cache(sha256_of)
    found: dict[str, None] = {}
    for row in rows:
        files = files_of(row)
        for kind, digest in row.sha256.items():
            path = files.get(kind)
            owner = f"{row.method}'s output" if kind == "restored" else f"the {kind} image"
            if path is None:
                found[f"{owner} of {row.image} is missing"] = None
            elif hash_of(path) != digest:
                found[f"{owner} of {row.image} has changed: {path.name}"] = None
    return list(found)


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Attributes:
        recomputed: how many scores were computed again.
        given: how many there are.
        largest: the largest change of a score, in units of the tolerance; at most 1 holds.
        differences: what no longer holds, in sentences.
    """

    recomputed: int
    given: int
    largest: float
    differences: list[str]


def verify_scores(
    rows: Sequence[Row],
    judge_of: Callable[[Row], Judge | None],
    task_of: Callable[[Row], Task | None],
    sample: int = 20,
    device: str = "cpu",
) -> Verdict:
    """Compute a sample of scores again, drawn evenly over the metrics, the same at every call.

    Args:
        rows: with scores.
        judge_of, task_of: of a row, what it was made by and from; None where that is not there any more.
        sample: how many to compute.
        device: where to compute.
    """
    recomputed, largest, differences = 0, 0.0, []
    for row in _drawn(rows, sample):
        judge, task = judge_of(row), task_of(row)
        if judge is None:
            differences.append(f"{row.metric} cannot be computed again: there is no such metric")
            continue
        if task is None:
            differences.append(f"{row.method}'s output of {row.image} is missing")
            continue
        change, difference = _compared(row, judge, task, device)
        recomputed += 1
        largest = max(largest, change)
        differences += difference
    if not recomputed:
        differences.append("no score was computed again")
    return Verdict(recomputed, len(rows), largest, differences)


def _drawn(rows: Sequence[Row], count: int) -> list[Row]:
    """Rows drawn at random, in turns from the metrics."""
    shuffled = random.Random(0).sample(list(rows), len(rows))
    turns: dict[str, int] = {}
    numbered = []
    for row in shuffled:
        turns[row.signature] = turns.get(row.signature, 0) + 1
        numbered.append((turns[row.signature], row))
    return [row for _, row in sorted(numbered, key=lambda pair: pair[0])[:count]]


def _compared(row: Row, judge: Judge, task: Task, device: str) -> tuple[float, list[str]]:
    """The change of a score in units of the tolerance, and the sentence on it if that is more than 1."""
    assert row.score is not None
    what = f"{judge.label} of {row.method} on {row.image} was {row.score:.6g}"
    try:
        score = rescore(judge, task, device)
    except (Exception, SystemExit) as error:
        problem = error.problem if isinstance(error, DrmetricError) else f"{type(error).__name__}: {error}"
        return float("inf"), [f"{what}, and now fails: {problem}"]
    change = abs(score - row.score) / (TOLERANCE * max(1.0, abs(row.score)))
    return change, [] if change <= 1 else [f"{what}, and is now {score:.6g}"]
