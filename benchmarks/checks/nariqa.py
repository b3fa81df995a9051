"""What NARIQA is measured by beyond a leaderboard: TID2013's opinions beside its teacher, and what references do.

    python -m benchmarks.checks.nariqa tid2013 DIR --teacher WEIGHTS
    python -m benchmarks.checks.nariqa variants DIR distilled=WEIGHTS blind=WEIGHTS
    python -m benchmarks.checks.nariqa references DIR $DRMETRIC_DATA/cid22-validation

DIR holds labels.csv with the columns img_path, ref_path and mos. The images show one scene, so intervals are over
images. `references` scores them beside one reference at a time. `--weights` judges another file.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from benchmarks.reporting import mean_of
from benchmarks.studies.comparison import compare
from drmetric import NARIQA, NRIQA, create
from drmetric.bench.tables import Table
from drmetric.cli.console import show
from drmetric.distortions.degrade import Step, degrade
from drmetric.images import read_image
from drmetric.images.files import list_images
from drmetric.metrics.base import Metric

SPOILED: dict[str, list[Step]] = {
    "blurred": [{"op": "anisotropic_blur", "sigma_x": 3.0, "sigma_y": 3.0, "angle": 0.0}],
    "noisy": [{"op": "gaussian_noise", "sigma": 40 / 255}],
    "compressed": [{"op": "jpeg", "quality": 10}],
}
"""What makes a reference a poor one."""


@torch.no_grad()
def _value(metric: Callable[..., Tensor], *images: Tensor) -> float:
    return float(metric(*images)[0])


def aligned(metric: NARIQA, image: Tensor, pristine: Tensor) -> Tensor:
    """Scores of a network as the teacher is used: beside the pristine image, tile by tile."""
    logits: Tensor = metric.network.score(image, metric.network.tokens(pristine))
    return logits.mean((1, 2, 3)).sigmoid()


def _signed(metric: Metric) -> Callable[..., Tensor]:
    return metric if metric.higher_is_better else lambda *images: -metric(*images)


def _labels(root: Path) -> list[dict[str, str]]:
    with (root / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tid2013(root: Path, nariqa: NARIQA, teacher: str) -> None:
    """SRCC with the opinions on TID2013's first scene, and the student's paired difference from all others."""
    rows = _labels(root)
    alone = {"nariqa": nariqa, "nriqa": NRIQA(), "brisque": _signed(create("brisque"))}
    beside_truth = {name: _signed(create(name)) for name in ("mdsi", "haarpsi", "lpips", "psnr")}
    if teacher:
        beside_truth = {"teacher": partial(aligned, NARIQA(teacher)), **beside_truth}
    columns: dict[str, list[float]] = {}
    for row in rows:
        image, pristine = (read_image(root / row[key])[None] for key in ("img_path", "ref_path"))
        for name, metric in alone.items():
            columns.setdefault(name, []).append(_value(metric, image))
        for name, metric in beside_truth.items():
            columns.setdefault(f"{name}, beside the truth", []).append(_value(metric, image, pristine))
    opinions = [float(row["mos"]) for row in rows]
    compare("TID2013, scene I01", columns, opinions)
    if teacher:
        compare("TID2013, scene I01", columns, opinions, first="teacher, beside the truth")


def variants(root: Path, given: Sequence[str]) -> None:
    """SRCC on TID2013's first scene of variants, NAME=WEIGHTS with a bank each, and the first one's differences."""
    rows = _labels(root)
    images = [read_image(root / row["img_path"])[None] for row in rows]
    metrics = {name: NARIQA(weights) for name, _, weights in (each.partition("=") for each in given)}
    columns = {name: [_value(metric, image) for image in images] for name, metric in metrics.items()}
    compare("TID2013, scene I01", columns, [float(row["mos"]) for row in rows])


@torch.no_grad()
def references(root: Path, folder: Path, nariqa: NARIQA, count: int) -> None:
    """How far a score moves with the reference: another good one, a poor one, one of the same content."""
    network = nariqa.network
    good = [read_image(file)[None] for file in list_images(folder)[:count]]
    rows = _labels(root)
    kinds = {"good": good} | {name: [degrade(each, steps, seed=0) for each in good] for name, steps in SPOILED.items()}
    features = {name: [network.reference_features(each) for each in images] for name, images in kinds.items()}
    spread: list[float] = []
    drops: dict[str, list[float]] = {name: [] for name in SPOILED}
    scores: dict[str, list[float]] = {"another part of its own scene": [], "one random reference": []}
    for number, row in enumerate(rows):
        tokens = network.tokens(read_image(root / row["img_path"])[None])

        def beside(reference: Tensor, tokens: Tensor = tokens) -> float:
            return float(network.compare(tokens, reference).logits.mean().sigmoid())

        own = read_image(root / row["ref_path"])[None]
        part = own[..., : own.shape[-2] // 2, : own.shape[-1] // 2]
        scores["another part of its own scene"].append(beside(network.reference_features(part)))
        values = {name: [beside(each) for each in given] for name, given in features.items()}
        scores["one random reference"].append(values["good"][number % count])
        spread.append(float(np.std(values["good"], ddof=1)))
        for name, drop in drops.items():
            drop.append(fmean(values["good"]) - fmean(values[name]))
    title = f"{len(rows)} images of TID2013 I01 beside {count} references of {folder.name}, one at a time"
    table = [{"what": "standard deviation over the references", "mean over images": mean_of(spread)}]
    table += [
        {"what": f"score beside good minus beside {name} references", "mean over images": mean_of(drop)}
        for name, drop in drops.items()
    ]
    show(Table.of(table, title, ".4f"))
    compare("TID2013, scene I01", scores, [float(row["mos"]) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="default")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("tid2013")
    command.add_argument("root", type=Path)
    command.add_argument("--teacher", default="")
    command = commands.add_parser("variants")
    command.add_argument("root", type=Path)
    command.add_argument("given", nargs="+", metavar="NAME=WEIGHTS")
    command = commands.add_parser("references")
    command.add_argument("root", type=Path)
    command.add_argument("folder", type=Path)
    command.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    if options.command == "variants":
        variants(options.root, options.given)
    elif options.command == "tid2013":
        tid2013(options.root, NARIQA(options.weights), options.teacher)
    else:
        references(options.root, options.folder, NARIQA(options.weights), options.count)


if __name__ == "__main__":
    main()
