"""The proof that DRIQA can be trained with: a small restorer, trained with and without it, judged by others.

    python -m benchmarks.train_sr PHOTOGRAPHS TEST_IMAGES OUTPUT                   # super-resolution by 4
    python -m benchmarks.train_sr PHOTOGRAPHS TEST_IMAGES OUTPUT --task denoise    # or deblur

Six residual blocks learn from an L1 loss; then copies of them continue, each with another loss, all for as many steps,
ours in random views, as `drmetric.DRIQALoss` looks at images: L1 alone, L1 and LPIPS (which sees the truth), L1 and
DRIQA (which does not), and DRIQA beside nothing but consistency with the input, for inputs without truth. OUTPUT gets
results.csv (one row an image), summary.csv (means and differences from L1 alone with 95 % intervals over images, seeds
averaged), and, of the first seed, crops.png and spectrum.png. A seed that is done is kept there, and the same command
does not train it again.
"""

import argparse
import copy
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from benchmarks.reporting import keep_settings, mean_of, report, write
from drmetric import create
from drmetric.bench.tables import Column, Table
from drmetric.data.make.labels import bundled_fusion, measure
from drmetric.distortions.degrade import OPERATIONS, Step, degrade
from drmetric.images import list_images, read_image, resize, rounded_to_8_bit, save_image, to_8_bit
from drmetric.metrics.base import Metric
from drmetric.writing import write_whole

PATCH, BATCH, SIDE, RATE = 96, 8, 256, 5e-4
BLUR = 1.6
TASKS: dict[str, list[Step]] = {
    "x4": [{"op": "downscale", "scale": 4}],
    "denoise": [{"op": "gaussian_noise", "sigma": 0.1}],
    "deblur": [
        {"op": "anisotropic_blur", "sigma_x": BLUR, "sigma_y": BLUR, "angle": 0.0},
        {"op": "gaussian_noise", "sigma": 0.01},
    ],
}


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, 1, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.layers(features)
        return features + changed


class Restorer(nn.Module):
    """Six residual blocks on the small grid, or on one of 2 x 2 pixels, and pixel shuffle."""

    def __init__(self, scale: int, channels: int = 32) -> None:
        super().__init__()
        self.scale, fold = scale, 2 if scale == 1 else 1
        self.head = nn.Sequential(nn.PixelUnshuffle(fold), nn.Conv2d(3 * fold**2, channels, 3, 1, 1))
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(6)))
        self.tail = nn.Sequential(nn.Conv2d(channels, 3 * (fold * scale) ** 2, 3, 1, 1), nn.PixelShuffle(fold * scale))

    def forward(self, degraded: Tensor) -> Tensor:
        features = self.head(degraded)
        size = (degraded.shape[-2] * self.scale, degraded.shape[-1] * self.scale)
        restored: Tensor = resize(degraded, size) + self.tail(features + self.blocks(features))
        return restored


@dataclass(frozen=True)
class Arm:
    """One way to continue: a fidelity loss, and `weight` times the loss of a metric, if any."""

    name: str
    fidelity: Literal["l1", "consistency"] = "l1"
    metric: Metric | None = None
    weight: float = 0.0

    def loss(self, restored: Tensor, degraded: Tensor, truth: Tensor, task: str) -> Tensor:
        total = consistency(restored, degraded, task) if self.fidelity != "l1" else F.l1_loss(restored, truth)
        if self.metric is None:
            return total
        reference = {"fr": truth, "dr": degraded}.get(self.metric.mode)
        return total + self.metric.loss(restored, reference, weight=self.weight, random_view=True)


def consistency(restored: Tensor, degraded: Tensor, task: str) -> Tensor:
    """L1 distance from the input of what the input would be, for noise of coarse means."""
    if task == "denoise":
        return F.l1_loss(F.avg_pool2d(restored, 4), F.avg_pool2d(degraded, 4))
    return F.l1_loss(degrade_smoothly(restored, task), degraded)


def degrade_smoothly(image: Tensor, task: str) -> Tensor:
    """The degradation's first step, differentiable and without rounding."""
    return OPERATIONS[TASKS[task][0]["op"]](image, None, **{k: v for k, v in TASKS[task][0].items() if k != "op"})


def arms(driqa: Metric, weights: Sequence[float], others: Sequence[Metric]) -> list[Arm]:
    """All that are compared, L1 alone first; without truth, and of other metrics, the first weight."""
    return [
        Arm("L1"),
        Arm("L1 + .1 LPIPS", metric=create("lpips"), weight=0.1),
        *(Arm(f"L1 + {weight:g} DRIQA", metric=driqa, weight=weight) for weight in weights),
        Arm(f"consistency + {weights[0]:g} DRIQA", "consistency", driqa, weights[0]),
        *(Arm(f"L1 + {weights[0]:g} {other.name}", metric=other, weight=weights[0]) for other in others),
    ]


def batch(photographs: Sequence[Tensor], task: str, rng: random.Random) -> tuple[Tensor, Tensor]:
    """(degraded, truth) of random crops."""
    crops = []
    for image in rng.choices(photographs, k=BATCH):
        top, left = (rng.randint(0, side - PATCH) for side in image.shape[-2:])
        crop = image[..., top : top + PATCH, left : left + PATCH] / 255
        crops.append(crop.flip(-1) if rng.random() < 0.5 else crop)
    truth = torch.cat(crops)
    return degraded_8_bit(truth, task, rng.getrandbits(31)), truth


def degraded_8_bit(truth: Tensor, task: str, seed: int) -> Tensor:
    return rounded_to_8_bit(degrade(truth, TASKS[task], seed))


def train(network: Restorer, arm: Arm, photographs: Sequence[Tensor], task: str, steps: int, seed: int) -> None:
    """Train in place; with one seed every arm sees the same crops."""
    rng = random.Random(seed)
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    for _ in range(steps):
        degraded, truth = batch(photographs, task, rng)
        loss = arm.loss(network(degraded), degraded, truth, task)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def dots(image: Tensor) -> float:
    """How much of a pattern with a period of two pixels is in (1,3,H,W): the root of its mean square, times 1e4.

    What the image minus its 3 x 3 mean has in common, in windows of 8 x 8 pixels, with stripes and chequers.
    """
    fine = image - F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)
    rows = 1 - 2 * (torch.arange(image.shape[-2]) % 2).view(-1, 1)
    columns = 1 - 2 * (torch.arange(image.shape[-1]) % 2).view(1, -1)
    patterns = [rows, columns, rows * columns]
    return 1e4 * float(torch.stack([F.avg_pool2d(fine * p, 8).square().mean() for p in patterns]).sum().sqrt())


def judge(restored: Tensor, degraded: Tensor, truth: Tensor, metrics: dict[str, Metric]) -> dict[str, float]:
    """All figures of one image."""
    with torch.no_grad():
        row = {
            name: float(metric(restored, {"fr": truth, "dr": degraded}.get(metric.mode)))
            for name, metric in metrics.items()
        }
    row["driqa uncalibrated"] = uncalibrated(row["driqa"], metrics["driqa"])
    fusion = bundled_fusion()
    label = fusion.label({name: float(measure(name, restored, truth)[0]) for name in fusion.features})
    return {**row, "label": label, "dots": dots(restored)}


def uncalibrated(score: float, driqa: Metric) -> float:
    """A score of DRIQA on the scale of its label, before calibration."""
    slope, offset = driqa.network.config.calibration
    return 1 / (1 + math.exp((offset - math.log(score / (1 - score))) / slope))


def judges(driqa: Metric, niqe: Path | None) -> dict[str, Metric]:
    """The metrics that judge; NIQE where there is a model of clean photographs."""
    names = ("lpips", "psnr", "vif", "fsim", "brisque", "nariqa")
    found = {"driqa": driqa} | {name: create(name) for name in names}
    return found | ({"niqe": create("niqe", weights=niqe)} if niqe else {})


def spectrum(images: Sequence[Tensor]) -> Tensor:
    """(H,W) mean power spectrum of the luma in decibels, the zero frequency in the middle."""
    power = [torch.fft.fft2(image.mean(1)[0]).abs().square() for image in images]
    return 10 * torch.fft.fftshift(torch.stack(power).mean(0).clamp_min(1e-6)).log10()


def save_pictures(outputs: dict[str, list[Tensor]], folder: Path, count: int = 4) -> None:
    """crops.png, one row an image and one column an arm; spectrum.png, the columns' spectra from 0 to 60 dB."""
    rows = [torch.cat([images[i] for images in outputs.values()], -1) for i in range(count)]
    spectra = torch.cat([spectrum(images) for images in outputs.values()], -1)
    for name, picture in (("crops", torch.cat(rows, -2)[0]), ("spectrum", (spectra / 60).clamp(0, 1)[None])):
        save_image(picture, folder / f"{name}.png")
        with Image.open(folder / f"{name}.png") as opened:
            titled(opened, list(outputs)).save(folder / f"{name}.png")


def titled(picture: Image.Image, names: Sequence[str]) -> Image.Image:
    """A picture of equally wide columns below their names."""
    font, height = ImageFont.load_default(15), 26
    above = Image.new("RGB", (picture.width, picture.height + height), "white")
    above.paste(picture, (0, height))
    draw, width = ImageDraw.Draw(above), picture.width / len(names)
    for column, name in enumerate(names):
        draw.text(((column + 0.5) * width, height / 2), name, "black", font, anchor="mm")
    return above


KEYS = ("arm", "seed", "image")
COLUMNS = (
    Column("arm", "arm"),
    Column("figure", "figure"),
    Column("mean", "mean", ".4f"),
    Column("difference", "difference from the first", "+.4f", "shown"),
)


def summary(rows: Sequence[dict[str, Any]]) -> Table:
    """For each arm and figure: the mean, and the difference from the first arm with its interval over images."""
    figures = [name for name in rows[0] if name not in KEYS]
    means: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        for name in figures:
            means.setdefault((row["arm"], name), {}).setdefault(row["image"], []).append(row[name])
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        for name in figures:
            own, first = (np.array([np.mean(v) for v in means[key, name].values()]) for key in (arm, rows[0]["arm"]))
            difference = mean_of((own - first).tolist(), 1000)
            lines.append({"arm": arm, "figure": name, "mean": float(own.mean()), "difference": difference})
    return Table(COLUMNS, lines)


def centre(path: Path) -> Tensor:
    """(1,3,SIDE,SIDE) from the middle of an image."""
    image = read_image(path, alpha="white")[None]
    top, left = ((side - SIDE) // 2 for side in image.shape[-2:])
    return image[..., top : top + SIDE, left : left + SIDE]


def main() -> None:
    """Train all arms with all seeds, judge them and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder to train on")
    parser.add_argument("images", type=Path, help="folder to judge on; nothing in it was trained on")
    parser.add_argument("output", type=Path)
    parser.add_argument("--task", choices=list(TASKS), default="x4")
    parser.add_argument("--driqa", default="default", help="DRIQA's weights")
    parser.add_argument("--niqe", type=Path, help="a model of clean photographs, see drmetric.metrics.niqe.fit_niqe")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.03, 0.1], help="of DRIQA beside L1")
    parser.add_argument("--beside", nargs="*", default=[], metavar="METRIC", help="others as losses, such as nriqa")
    parser.add_argument("--pretraining", type=int, default=600)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images-judged", type=int, default=12)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if (options.output / "results.csv").exists():
        raise SystemExit(f"{options.output} holds results: take another folder, or remove its tables for more seeds")
    settings = {name: str(value) for name, value in vars(options).items() if name not in ("output", "seeds")}
    keep_settings(options.output / "settings.json", json.dumps(settings, indent=1))
    read = (read_image(path, alpha="white")[None] for path in list_images(options.photographs))
    photographs = [to_8_bit(image) for image in read if min(image.shape[-2:]) >= PATCH]
    driqa = create("driqa", weights=options.driqa)
    metrics = judges(driqa, options.niqe)
    truths = [centre(path) for path in list_images(options.images)[: options.images_judged]]
    inputs = [degraded_8_bit(truth, options.task, seed) for seed, truth in enumerate(truths)]
    others = [create(name) for name in options.beside]
    metrics |= {other.name: other for other in others}
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        done = options.output / f"seed-{seed}.json"
        if done.is_file():
            rows += json.loads(done.read_text(encoding="utf-8"))
            continue
        torch.manual_seed(seed)
        start = Restorer(4 if options.task == "x4" else 1)
        train(start, Arm("L1"), photographs, options.task, options.pretraining, seed)
        outputs = {"input": [resize(image, (SIDE, SIDE)) for image in inputs]}
        for arm in arms(driqa, options.weights, others):
            network = copy.deepcopy(start)
            train(network, arm, photographs, options.task, options.steps, 1000 + seed)
            with torch.no_grad():
                outputs[arm.name] = [rounded_to_8_bit(network(image)) for image in inputs]
            for image, triple in enumerate(zip(outputs[arm.name], inputs, truths, strict=True)):
                rows.append({"arm": arm.name, "seed": seed, "image": image, **judge(*triple, metrics)})
            means = {name: fmean(row[name] for row in rows[-len(inputs) :]) for name in rows[-1] if name not in KEYS}
            print(f"seed {seed}, {arm.name}:", *(f"{name} {mean:.4f}" for name, mean in means.items()), flush=True)
        if seed == 0:
            save_pictures({**outputs, "truth": truths}, options.output)
        write_whole(done, json.dumps([row for row in rows if row["seed"] == seed]).encode())
    write(Table.of(rows), options.output / "results.csv")
    report(summary(rows), options.output / "summary.csv")


if __name__ == "__main__":
    main()
