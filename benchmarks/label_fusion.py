"""Full-reference features on human-rated images, and the fusion of them that labels a corpus.

    python -m benchmarks.label_fusion measure --photographs DIR --human ../shared/data --output runs/fusion
    python -m benchmarks.label_fusion fit --output runs/fusion      # writes drmetric/data/fusion.json, prints SRCC

`measure` makes KADID-10k's 25 types x 5 levels again on photographs of one's own (no KADID image is needed; the
label of a condition is its mean opinion over KADID's 81 contents) and measures TID2013's reference I01 and the
development scenes of SRIJ as they are. `fit` fits on the re-made conditions alone, a fold of contents left out at
a time, and prints how the fusion does there and on the two sets it has not seen.
"""

import argparse
import csv
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.restorers import load
from drmetric import create
from drmetric.bench.statistics import bootstrap_by_content, mean_within, srcc
from drmetric.data.corpus import write_records
from drmetric.data.labels import FUSION_FILE, fit_fusion, fused_score  # noqa
from drmetric.distortions.synthetic import KADID10K, distort, stretched
from drmetric.images import read_image
from drmetric.metrics.base import Metric

FEATURES = ("lpips", "vif", "haarpsi", "mdsi", "gmsd", "ms_ssim", "fsim", "ssim", "psnr")
FOLDS = 5


@cache
def _metric(name: str) -> Metric:
    return create(name)


def _measured(images: Tensor, reference: Tensor) -> list[dict[str, float]]:
    """Every feature of (N,3,H,W) images against one reference."""
    with torch.no_grad():
        columns = {
            name: [round(float(_metric(name)(image[None], reference)[0]), 6) for image in images] for name in FEATURES
        }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _kadid_content(photograph: Path, labels: Path, side: int, seed: int) -> list[dict[str, Any]]:
    """All conditions on the central crop of one photograph."""
    torch.set_num_threads(1)
    denoiser = load("dncnn_gray_s25")
    whole = read_image(photograph, alpha="white")[None]
    top, left = (whole.shape[-2] - side) // 2, (whole.shape[-1] - side) // 2
    image = stretched(whole[..., top : top + side, left : left + side])
    conditions = _rows(labels)
    distorted = torch.cat(
        [
            distort(
                image, int(c["type_id"]), int(c["level"]), seed, denoiser=lambda noisy: denoiser.network(noisy).clamp(0, 1)
            )
            for c in conditions
        ]
    )
    return [
        {
            "set": "kadid10k",
            "content": photograph.stem,
            "condition": f"{c['type']}-{c['level']}",
            "score": float(c["mean"]),
            "rating_std": float(c["mean_rating_std"]),
            **features,
        }
        for c, features in zip(conditions, _measured(distorted, image), strict=True)
    ]


def _rated_image(root: Path, entry: dict[str, str]) -> dict[str, Any]:
    torch.set_num_threads(1)
    image, reference = (read_image(root / entry.pop(key)).expand(3, -1, -1)[None] for key in ("image", "reference"))
    return {**entry, "score": float(entry["score"]), **_measured(image, reference)[0]}


def _rated(human: Path) -> Iterable[tuple[Path, dict[str, str]]]:
    for row in _rows(human / "tid2013" / "labels.csv"):
        yield (
            human / "tid2013",
            {
                "set": "tid2013-i01",
                "content": row["ref"],
                "condition": f"{row['dist_name']}-{row['level']}",
                "score": row["mos"],
                "image": row["img_path"],
                "reference": row["ref_path"],
            },
        )
    for row in _rows(human / "srij" / "labels.csv"):
        if row["method"] != "HD":
            yield (
                human / "srij",
                {
                    "set": "srij",
                    "content": row["scene"],
                    "condition": f"{row['method']}-x{row['scale']}",
                    "score": row["score"],
                    "image": row["sr_path"],
                    "reference": row["gt_path"],
                },
            )


def measure(photographs: Path, human: Path, output: Path, count: int, side: int, workers: int) -> None:
    """Write one JSONL file a photograph and one for each rated set; what is there already is kept."""
    files = [p for p in sorted(photographs.glob("*.png")) if min(read_image(p, alpha="white").shape[-2:]) >= side]
    chosen = files[:: max(1, len(files) // count)][:count]
    with ProcessPoolExecutor(workers) as pool:
        labels = human / "labels" / "kadid10k_by_type_level.csv"
        jobs = {
            path: pool.submit(_kadid_content, photograph, labels, side, seed)
            for seed, photograph in enumerate(chosen)
            if not (path := output / "kadid10k" / f"{photograph.stem}.jsonl").exists()
        }
        if not (rated := output / "rated.jsonl").exists():
            write_records(rated, pool.map(_rated_image, *zip(*_rated(human / "human"), strict=True)))
        for path, job in jobs.items():
            write_records(path, job.result())


def _read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(paths) for line in path.read_text().splitlines()]
