"""What the fusion is measured on, and the features of it, one JSONL file a photograph or rated set."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.reporting import keep_settings
from benchmarks.restorers import RESTORERS, load, names
from drmetric.data.make.building import write_records
from drmetric.data.make.labels import OWN_FEATURES, measure_all, signature_of
from drmetric.distortions.degrade import degrade
from drmetric.distortions.kadid.spatial import color_block, non_eccentricity_patch
from drmetric.distortions.kadid.types import KADID10K, distort, stretched
from drmetric.images import read_image, resize, rounded_to_8_bit

Row = dict[str, Any]

FEATURES = (*OWN_FEATURES, "mdsi", "lpips")

FAMILIES = {
    "traditional": ("bicubic",),
    "psnr": tuple(n for n in names("super_resolution", 4) if RESTORERS[n].training == "psnr" and n != "dncnn3_sr"),
    "gan": ("pcarn_m_x234", "fast_srgan_x4", "srgan_lt_x4", "lsdir_compact_c3_x4"),
}
"""Our x4 outputs that stand for PIPAL's families; Real-ESRGAN's models, made for noisy photographs, stand for none."""

SCALES = (2, 3, 4)
KADID_PIXELS = 512 * 384
"""Of an image of KADID-10k; the numbers of its patches and blocks are scaled to our crops' size."""


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The rows of JSONL files, in the order of their names."""
    return [json.loads(line) for path in sorted(paths) for line in path.read_text().splitlines()]


def measure(photographs: Path, human: Path, output: Path, count: int, side: int, workers: int) -> None:
    """Write one JSONL file a photograph and one for each rated set; features that are there already are kept.

    Exits where they were measured by others than these would be.
    """
    output.mkdir(parents=True, exist_ok=True)
    keep_settings(output / "settings.json", json.dumps({name: signature_of(name) for name in FEATURES}, indent=1))
    files = [p for p in sorted(photographs.glob("*.png")) if min(read_image(p, alpha="white").shape[-2:]) >= side]
    chosen = files[:: max(1, len(files) // count)][:count]
    opinions = human / "labels" / "kadid10k_by_type_level.csv"
    todo: dict[Path, Callable[[Sequence[str]], list[Row]]] = {}
    for seed, photograph in enumerate(chosen):
        todo[output / "kadid10k" / f"{photograph.stem}.jsonl"] = partial(_conditions, photograph, opinions, side, seed)
        todo[output / "restored" / f"{photograph.stem}.jsonl"] = partial(_restored, photograph, side)
    todo[output / "tid2013.jsonl"] = partial(_rated, human / "human" / "tid2013", _tid2013)
    todo[output / "srij.jsonl"] = partial(_rated, human / "human" / "srij", _srij)
    with ProcessPoolExecutor(workers) as pool:
        jobs = {}
        for path, rows_of in todo.items():
            known = read_rows([path]) if path.exists() else []
            missing = [name for name in FEATURES if not known or any(name not in row for row in known)]
            if missing:
                jobs[pool.submit(rows_of, missing)] = path, known
        for job in as_completed(jobs):
            path, known = jobs[job]
            rows = job.result()
            write_records(path, [old | new for old, new in zip(known or [{}] * len(rows), rows, strict=True)])


def _measured(images: Sequence[Tensor], pristine: Tensor, features: Sequence[str]) -> list[dict[str, float]]:
    """The named features of (1,3,H,W) images against one reference."""
    measured = [measure_all(features, image, pristine) for image in images]
    return [{name: round(float(value), 6) for name, value in row.items()} for row in measured]


def _centre(photograph: Path, side: int) -> Tensor:
    whole = read_image(photograph, alpha="white")[None]
    top, left = (whole.shape[-2] - side) // 2, (whole.shape[-1] - side) // 2
    return whole[..., top : top + side, left : left + side]


def _conditions(photograph: Path, opinions: Path, side: int, seed: int, features: Sequence[str]) -> list[Row]:
    """KADID-10k's conditions on the central crop of one photograph."""
    torch.set_num_threads(1)
    image, conditions = stretched(_centre(photograph, side)), read_csv(opinions)
    distorted = [rounded_to_8_bit(_condition(image, int(c["type_id"]), int(c["level"]), seed)) for c in conditions]
    return [
        {
            "content": photograph.stem,
            "type": c["type"],
            "level": int(c["level"]),
            "score": float(c["mean"]),
            "rating_std": float(c["mean_rating_std"]),
            **measured,
        }
        for c, measured in zip(conditions, _measured(distorted, image, features), strict=True)
    ]


def _condition(image: Tensor, number: int, level: int, seed: int) -> Tensor:
    function = KADID10K[number].function
    if function in (non_eccentricity_patch, color_block):
        share = image.shape[-2] * image.shape[-1] / KADID_PIXELS
        count = max(1, round(KADID10K[number].levels[level - 1] * share))
        return function(image, torch.Generator().manual_seed(seed), count)
    network = load("dncnn_gray_s25").network
    return distort(image, number, level, seed, denoiser=lambda noisy: network(noisy).clamp(0, 1))


def _restored(photograph: Path, side: int, features: Sequence[str]) -> list[Row]:
    """Enlargements of one photograph's centre, and its x4 restorations by every member of `FAMILIES`."""
    torch.set_num_threads(1)
    rows = []
    for method, scale, restored, pristine in _enlargements(_centre(photograph, side)):
        measured = _measured([rounded_to_8_bit(restored)], pristine, features)[0]
        rows.append({"content": photograph.stem, "method": method, "scale": scale, **measured})
    return rows


def _enlargements(image: Tensor) -> Iterator[tuple[str, int, Tensor, Tensor]]:
    for scale in SCALES:
        size = image.shape[-2] // scale * scale, image.shape[-1] // scale * scale
        pristine = image[..., : size[0], : size[1]]
        low = rounded_to_8_bit(degrade(pristine, [{"op": "downscale", "scale": scale}], 0))
        yield "nearest", scale, F.interpolate(low, size=size, mode="nearest-exact"), pristine
        yield "bicubic", scale, resize(low, size).clamp(0, 1), pristine
        if scale == 4:
            for name in (*FAMILIES["psnr"], *FAMILIES["gan"]):
                yield name, scale, load(name)(low, scale), pristine


def _rated(root: Path, row_of: Callable[[dict[str, str]], Row | None], features: Sequence[str]) -> list[Row]:
    torch.set_num_threads(1)
    rows = []
    for row in filter(None, map(row_of, read_csv(root / "labels.csv"))):
        image, pristine = (read_image(root / row.pop(key)).expand(3, -1, -1)[None] for key in ("image", "pristine"))
        rows.append({**row, **_measured([image], pristine, features)[0]})
    return rows


def _tid2013(row: dict[str, str]) -> Row:
    condition = f"{row['dist_name']}-{row['level']}"
    return {
        "content": row["ref"],
        "condition": condition,
        "score": float(row["mos"]),
        "image": row["img_path"],
        "pristine": row["ref_path"],
    }


def _srij(row: dict[str, str]) -> Row | None:
    if row["method"] == "HD":
        return None
    return {
        "content": row["scene"],
        "method": row["method"],
        "scale": int(row["scale"]),
        "score": float(row["score"]),
        "image": row["sr_path"],
        "pristine": row["gt_path"],
    }
