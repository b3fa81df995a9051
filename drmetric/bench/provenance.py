"""lock.json: what the figures of a report depend on, and `verify`, which says whether they still hold."""

import json
import os
import platform
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from drmetric.bench.methods.board import MethodBoard, make_judges
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.files import Picture, collect
from drmetric.bench.methods.scores import KEY, Judge
from drmetric.bench.methods.tasks import rescore
from drmetric.bench.scores.folder import sha256_of
from drmetric.bench.scores.score_file import Row, ScoreFile
from drmetric.errors import ConfigError, DrmetricError

FORMAT = 1
TOLERANCE = 1e-4
"""How far a score may move: this much, or this share of a score above 1, as other machines round otherwise."""
PACKAGES = ("drmetric", "torch", "kornia", "numpy", "scipy", "pillow", "piq", "lpips")


def facts(board: MethodBoard) -> dict[str, str]:
    """Versions and settings that are no secret of the machine, by name."""
    return {
        **versions(),
        "platform": platform.platform(),
        "device": board.device,
        "threads": str(torch.get_num_threads()),
        "seed": str(board.seed),
        "bootstraps": str(board.n_bootstrap),
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide scores, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_lock(board: MethodBoard, config: Config, output: Path, reports: Iterable[str]) -> Path:
    """Write lock.json for the files named in `reports`, which must be in the folder already."""
    lock = {
        "format": FORMAT,
        "facts": facts(board),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "config": {
            "name": config.name,
            "folder": os.path.relpath(config.folder.resolve(), output.resolve()),
            "text": config.text,
        },
        "metrics": [described(judge) for judge in board.scores.judges],
        "files": _folder_hashes(board.pictures, board.scores.methods),
        "reports": {name: sha256_of(output / name) for name in reports},
    }
    path = output / "lock.json"
    path.write_text(json.dumps(lock, indent=1) + "\n", encoding="utf-8")
    return path


def described(judge: Judge) -> dict[str, Any]:
    """What a metric was: label, reference, signature and weights."""
    weights = getattr(judge.metric, "weights_file", None)
    return {
        "label": judge.label,
        "reference": judge.reference,
        "signature": judge.metric.signature,
        "weights": None if weights is None else {"name": weights.name, "sha256": weights.sha256},
    }


def _folder_hashes(pictures: Sequence[Picture], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of the inputs, the truth and each method's outputs: how many files, and one hash of all names and contents."""
    folders: dict[str, list[tuple[str, Path]]] = {"degraded": [(each.name, each.degraded) for each in pictures]}
    folders["truth"] = [(each.name, each.truth) for each in pictures if each.truth is not None]
    for method in methods:
        folders[f"method {method}"] = [(p.name, p.restored[method]) for p in pictures if method in p.restored]
    return {
        role: {"count": len(files), "sha256": sha256("".join(map(_line, files)).encode()).hexdigest()}
        for role, files in folders.items()
    }


def _line(file: tuple[str, Path]) -> str:
    name, path = file
    return f"{sha256_of(path)} {name!a}\n"


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

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
    lock, folder = _read(lock_file), lock_file.parent
    differences = [
        f"{name} is not the file that was locked"
        for name, digest in lock["reports"].items()
        if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]
    described = lock["config"]
    config = Config.parse(described["text"], folder / described["folder"], described["name"], f"{lock_file}, config")
    judges, differences_of_metrics = _judges(lock, config)
    pictures = {each.name: each for each in collect(config.degraded, config.truth, config.methods).pictures}
    rows = _rows(folder / "scores.jsonl", lock)
    differences += differences_of_metrics
    if _folder_hashes(list(pictures.values()), [method.name for method in config.methods]) != lock["files"]:
        differences += _changed_files(rows, pictures) or ["files were added or removed since the report"]
    drawn = [row for row in _sample(rows, sample) if row["method"] in _restored(pictures, row)]
    largest = 0.0
    for row in drawn:
        label = _labels(lock)[row["signature"], row["reference"]]
        if label not in judges:
            continue
        change, difference = _compare(row, judges[label], pictures[row["image"]], device)
        largest = max(largest, change)
        differences += difference
    return Verdict(len(drawn), len(rows), largest, differences)


def _read(path: Path) -> dict[str, Any]:
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", "give the lock.json of a report") from error
    if not isinstance(lock, dict) or lock.get("format") != FORMAT:
        raise ConfigError(f"{path} is no lock file of format {FORMAT}", "drmetric bench methods CONFIG.toml  # again")
    return lock


def _labels(lock: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    return {(metric["signature"], metric["reference"]): metric["label"] for metric in lock["metrics"]}


def _judges(lock: Mapping[str, Any], config: Config) -> tuple[dict[str, Judge], list[str]]:
    """The metrics as they are now by label, and what is different about them."""
    made, _, failures = make_judges(config)
    judges = {judge.label: judge for judge in made}
    differences = [f"{failure.metric} cannot be made any more: {failure.error}" for failure in failures]
    for metric in lock["metrics"]:
        judge = judges.get(metric["label"])
        if judge is not None and described(judge) != metric:
            differences.append(f"{judge.label} was {metric['signature']}, and is now {judge.metric.signature}")
    return judges, differences


def _rows(path: Path, lock: Mapping[str, Any]) -> list[Row]:
    labels = _labels(lock)
    rows = ScoreFile(path, KEY).rows
    return [row for row in rows if row["score"] is not None and (row["signature"], row["reference"]) in labels]


def _restored(pictures: Mapping[str, Picture], row: Row) -> Mapping[str, Path]:
    return pictures[row["image"]].restored if row["image"] in pictures else {}


def _changed_files(rows: Iterable[Row], pictures: Mapping[str, Picture]) -> list[str]:
    """Sentences on the files that are missing or hold something else than when they were scored."""
    hash_of = cache(sha256_of)
    found: dict[str, None] = {}
    for row in rows:
        picture = pictures.get(row["image"])
        paths = {} if picture is None else {"degraded": picture.degraded, "truth": picture.truth}
        paths["restored"] = _restored(pictures, row).get(row["method"])
        for kind, digest in row["sha256"].items():
            path = paths.get(kind)
            owner = f"{row['method']}'s output" if kind == "restored" else f"the {kind} image"
            if path is None:
                found[f"{owner} of {row['image']} is missing"] = None
            elif hash_of(path) != digest:
                found[f"{owner} of {row['image']} has changed: {path.name}"] = None
    return list(found)


def _sample(rows: Sequence[Row], count: int) -> list[Row]:
    """Rows drawn at random, the same at every call, in turns from the metrics."""
    shuffled = random.Random(0).sample(list(rows), len(rows))
    turns: dict[str, int] = {}
    numbered = []
    for row in shuffled:
        turns[row["signature"]] = turns.get(row["signature"], 0) + 1
        numbered.append((turns[row["signature"]], row))
    return [row for _, row in sorted(numbered, key=lambda pair: pair[0])[:count]]


def _compare(row: Row, judge: Judge, picture: Picture, device: str) -> tuple[float, list[str]]:
    """The change of a score in units of the tolerance, and the sentence on it if that is more than 1."""
    what = f"{judge.label} of {row['method']} on {row['image']}"
    try:
        score = rescore(judge, picture, row["method"], device)
    except DrmetricError as error:
        return float("inf"), [f"{what} was {row['score']:.6g}, and now fails: {error.problem}"]
    change = abs(score - row["score"]) / (TOLERANCE * max(1.0, abs(row["score"])))
    return change, [f"{what} was {row['score']:.6g}, and is now {score:.6g}"] if not change <= 1 else []
