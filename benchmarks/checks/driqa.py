"""What DRIQA must get right beyond a correlation: SRIJ's opinions, twins of one network, order and monotony.

    python -m benchmarks.checks.driqa srij DIR                       # the layout is in drmetric/data/sets/srij.py
    python -m benchmarks.checks.driqa twins runs/corpus-unfaithful      # needs DRMETRIC_RESTORERS
    python -m benchmarks.checks.driqa sanity runs/corpus-unfaithful     # needs DRMETRIC_RESTORERS
    python -m benchmarks.checks.driqa spread runs/corpus-unfaithful     # where restorations are of nearly one quality

Every table gives n and a 95 % interval from a bootstrap over contents (scenes). `--weights` judges another file.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from benchmarks.reporting import mean_of
from benchmarks.restorers import load
from drmetric import create
from drmetric.bench.tables import Table
from drmetric.cli.console import show
from drmetric.data.make.building import read_manifest
from drmetric.data.make.labels import bundled_fusion, measure
from drmetric.data.make.restorers import SPOILERS
from drmetric.data.rated import read_opinions
from drmetric.data.splits import SPLITS
from drmetric.distortions.degrade import Step, degrade
from drmetric.images import read_image, resize, rounded_to_8_bit
from drmetric.metrics.base import Metric
from drmetric.statistics import srcc

Scores = dict[str, list[float]]


def _score(metric: Metric, image: Tensor, reference: Tensor | None) -> float:
    with torch.no_grad():
        value = metric(image, reference)
    assert isinstance(value, Tensor)
    return float(value[0]) if metric.higher_is_better else -float(value[0])


def tenengrad(image: Tensor) -> float:
    """Mean squared Sobel gradient: how sharp, whatever the reference."""
    kernel = image.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    gradients = torch.nn.functional.conv2d(image.mean(1, keepdim=True), torch.stack([kernel, kernel.T])[:, None])
    return float(gradients.square().sum(1).mean())


def srij(root: Path, driqa: Metric, beside: Mapping[str, Metric]) -> None:
    """Mean SRCC within scene and within scene and scale, for DRIQA and for what else can be had.

    Of weights `beside`, their mean with DRIQA's is judged, too.
    """
    rated = read_opinions("srij", root)
    truth = {name: create(name) for name in ("vif", "lpips", "psnr", "fsim", "gmsd", "ssim")}
    enlarged = {name: create(name) for name in ("gmsd", "lpips", "psnr")}
    columns: Scores = {}
    for each in rated:
        image, pristine, low = (read_image(file).expand(3, -1, -1)[None] for file in each.files)
        up = resize(low, (image.shape[-2], image.shape[-1]))
        values = {
            "driqa": _score(driqa, image, low),
            "driqa, ground truth as reference": _score(driqa, image, pristine),
        }
        others = {f"driqa, {name}": _score(metric, image, low) for name, metric in beside.items()}
        if others:
            values |= {**others, "driqa, mean of these weights": fmean([values["driqa"], *others.values()])}
        values |= {f"{name}, ground truth": _score(metric, image, pristine) for name, metric in truth.items()}
        values |= {f"{name}, enlarged input": _score(metric, image, up) for name, metric in enlarged.items()}
        values |= {"gmsd, enlarged input, negated": -values["gmsd, enlarged input"]}
        values |= {"tenengrad": tenengrad(image), "minus the scale": -float(each.subset[1:])}
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    opinions = np.array([each.score for each in rated])
    scenes = np.array([each.content for each in rated])
    scales = np.array([each.subset for each in rated])
    table = []
    for name, column in columns.items():
        scores = np.array(column)
        whole, parts = [], []
        for scene in sorted(set(scenes)):
            here = scenes == scene
            whole.append(srcc(scores[here], opinions[here]))
            groups = [here & (scales == scale) for scale in sorted(set(scales))]
            parts.append(float(np.mean([srcc(scores[group], opinions[group]) for group in groups])))
        table.append({"metric": name, "SRCC within scene": mean_of(whole), "within scene and scale": mean_of(parts)})
    show(Table.of(table, f"SRIJ: {len(set(scenes))} scenes, {len(rated)} images", ".3f"))


def _contents(corpus: Path, split: str, every: int) -> list[Path]:
    pristine = {r["content"]: r["pristine"] for r in read_manifest(corpus / "manifest.jsonl") if r["split"] == split}
    return [corpus / path for _, path in sorted(pristine.items())][::every]


def twins(corpus: Path, driqa: Metric, split: str, every: int) -> None:
    """How often DRIQA and LPIPS (which sees the pristine image) prefer PCARN trained adversarially to its L1 twin."""
    gan, psnr, lpips = load("pcarn_m_x234"), load("pcarn_m_l1_x234"), create("lpips")
    contents = _contents(corpus, split, every)
    heads = ("LPIPS prefers the GAN", "DRIQA prefers the GAN", "DRIQA agrees with LPIPS")
    table = []
    for scale in (4, 3, 2):
        votes = []
        for path in contents:
            pristine = read_image(path)[None]
            low = rounded_to_8_bit(degrade(pristine, [{"op": "downscale", "scale": scale}], 0))
            images = [rounded_to_8_bit(network(low, scale)) for network in (gan, psnr)]
            first, second = (_score(driqa, image, low) for image in images)
            near, far = (_score(lpips, image, pristine) for image in images)
            votes.append((near > far, first > second, (near > far) == (first > second)))
        shares = [mean_of([float(vote) for vote in column]) for column in zip(*votes, strict=True)]
        table.append({"scale": f"x{scale}", **dict(zip(heads, shares, strict=True))})
    show(Table.of(table, f"n = {len(contents)}", ".3f"))


def _blurred(image: Tensor, sigma: float) -> Tensor:
    return degrade(image, [{"op": "anisotropic_blur", "sigma_x": sigma, "sigma_y": sigma, "angle": 0.0}], 0)


def _sharpened(image: Tensor, amount: float) -> Tensor:
    return (image + amount * (image - _blurred(image, 1.5))).clamp(0, 1)


LADDERS: dict[str, list[Step]] = {
    "blur": [
        {"op": "anisotropic_blur", "sigma_x": s, "sigma_y": s, "angle": 0.0} for s in (0.6, 0.9, 1.3, 1.8, 2.5, 3.5)
    ],
    "noise": [{"op": "gaussian_noise", "sigma": s} for s in (0.01, 0.02, 0.04, 0.07, 0.11, 0.16)],
    "jpeg": [{"op": "jpeg", "quality": q} for q in (80, 60, 40, 25, 15, 8)],
}


def _label(image: Tensor, pristine: Tensor) -> float:
    fusion = bundled_fusion()
    return fusion.label({name: float(measure(name, image, pristine)[0]) for name in fusion.features})


def _falls(scores: list[float]) -> float:
    return srcc(scores, list(range(len(scores), 0, -1)))


def sanity(corpus: Path, driqa: Metric, split: str, every: int, label: bool) -> None:
    """The order of restorations that nobody doubts, and Spearman's rho of the score along ladders of added faults."""
    network = load("pcarn_m_l1_x234")
    contents = _contents(corpus, split, every)
    judges = ("DRIQA", "the label") if label else ("DRIQA",)
    ladders: dict[str, Scores] = {name: {judge: [] for judge in judges} for name in LADDERS}
    orders: dict[int, list[tuple[float, ...]]] = {}
    for path in contents:
        pristine = read_image(path)[None]
        for scale in (2, 3, 4):
            low = rounded_to_8_bit(degrade(pristine, [{"op": "downscale", "scale": scale}], 0))
            good, bicubic = network(low, scale), resize(low, (pristine.shape[-2], pristine.shape[-1]))
            images = (pristine, good, bicubic, _blurred(bicubic, 1.5), _sharpened(good, 4.0))
            best, restored, interpolated, smooth, sharp = (_score(driqa, image, low) for image in images)
            orders.setdefault(scale, []).append(
                tuple(
                    float(b)
                    for b in (best > restored, restored > interpolated, interpolated > smooth, restored > sharp)
                )
            )
            if scale == 2:
                for name, steps in LADDERS.items():
                    rungs = [good, *(degrade(good, [step], 0) for step in steps)]
                    ladders[name]["DRIQA"].append(_falls([_score(driqa, image, low) for image in rungs]))
                    if label:
                        ladders[name]["the label"].append(_falls([_label(image, pristine) for image in rungs]))
    heads = ("pristine > restored", "restored > bicubic", "bicubic > smoothed", "restored > over-sharpened")
    table = [
        {
            "scale": f"x{scale}",
            **{head: mean_of(column) for head, column in zip(heads, zip(*rows, strict=True), strict=True)},
            "all four": mean_of([float(all(row)) for row in rows]),
        }
        for scale, rows in orders.items()
    ]
    show(Table.of(table, f"share of n = {len(contents)} contents", ".3f"))
    title = f"Spearman with the strength of what is added to a x2 restoration, n = {len(contents)} contents"
    falls = [{"added": name, **{judge: mean_of(of) for judge, of in rhos.items()}} for name, rhos in ladders.items()]
    show(Table.of(falls, title, ".3f"))


MADE_FOR_TRAINING = {*SPOILERS, "pristine", "pristine_blend"}


ELO_BINS = (0, 10, 30, 100, 1000)


def _ordered(pairs: Sequence[tuple[float, float]]) -> list[float | None]:
    """Of (score, label) pairs, by bin of the labels' distance in Elo points: the share that the score orders alike."""
    shares: list[float | None] = []
    for low, high in pairwise(ELO_BINS):
        alike = [
            (a[0] > b[0]) == (a[1] > b[1]) for a, b in combinations(pairs, 2) if low < 1000 * abs(a[1] - b[1]) <= high
        ]
        shares.append(fmean(alike) if alike else None)
    return shares


def spread(corpus: Path, driqa: Metric, split: str, every: int) -> None:
    """Agreement with the label among the restorations of one input, by how far apart their labels are.

    Restorations made unfaithful do not count, and of training contents only the kinds that other contents have.
    """
    manifest = [r for r in read_manifest(corpus / "manifest.jsonl") if r["split"] == split and "unfaithful" not in r]
    chosen = set(sorted({r["content"] for r in manifest})[::every])
    inputs: dict[str, list[tuple[float, float]]] = {}
    contents: dict[str, list[tuple[float, float]]] = {}
    errors = []
    for record in manifest:
        if record["content"] in chosen and record["restorer"]["name"] not in MADE_FOR_TRAINING:
            image, low = (read_image(corpus / record[key])[None] for key in ("restored", "degraded"))
            pair = _score(driqa, image, low), record["label"]
            inputs.setdefault(record["degraded"], []).append(pair)
            contents.setdefault(record["content"], []).append(pair)
            errors.append((pair[0] - pair[1]) ** 2)
    table = []
    kind = "spread (standard deviation) of the labels of one input"
    rated = [tuple(zip(*pairs, strict=True)) for pairs in inputs.values() if len(pairs) > 1]
    for part in np.array_split(sorted((float(np.std(labels)), srcc(scores, labels)) for scores, labels in rated), 5):
        spread_of_part = f"{part[0, 0]:.3f} to {part[-1, 0]:.3f}"
        table.append({kind: spread_of_part, "inputs": len(part), "SRCC": mean_of(part[:, 1].tolist())})
    within = [srcc(*zip(*pairs, strict=True)) for pairs in contents.values()]
    table.append({kind: "all restorations of a content", "inputs": len(inputs), "SRCC": mean_of(within)})
    show(Table.of(table, f"{len(errors)} images of {len(inputs)} inputs of {len(contents)} contents, {split}", ".3f"))
    table = []
    for (low, high), shares in zip(pairwise(ELO_BINS), zip(*map(_ordered, inputs.values()), strict=True), strict=True):
        known = [share for share in shares if share is not None]
        table.append(
            {
                "two restorations of one input, Elo points apart": f"{low} to {high}",
                "inputs with such": len(known),
                "ordered as by the label": mean_of(known),
            }
        )
    show(Table.of(table, form=".3f"))
    print(f"mean squared error {fmean(errors):.5f}")


def main() -> None:
    """Run one check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=["srij", "twins", "sanity", "spread"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--beside", nargs="*", default=[], metavar="WEIGHTS", help="srij: others, and the mean of all")
    parser.add_argument("--every", type=int, default=1, help="take every n-th content only")
    parser.add_argument("--label", action="store_true", help="sanity: along the ladders also the label, which is slow")
    parser.add_argument("--split", choices=SPLITS, default="test", help="of contents; default: test")
    options = parser.parse_args()
    driqa = create("driqa", weights=options.weights)
    if options.check == "srij":
        srij(options.folder, driqa, {name: create("driqa", weights=name) for name in options.beside})
    elif options.check == "twins":
        twins(options.folder, driqa, options.split, options.every)
    elif options.check == "spread":
        spread(options.folder, driqa, options.split, options.every)
    else:
        sanity(options.folder, driqa, options.split, options.every, options.label)


if __name__ == "__main__":
    main()
