"""Scores of images whose quality is known: the marks by which other scores are read (docs/number.md).

    python -m benchmarks.checks.anchors PHOTOGRAPHS
    python -m benchmarks.checks.anchors PHOTOGRAPHS --tasks x4 denoise

Every photograph is degraded to 8 bits and restored again. "x2", "x3", "x4": made smaller (bicubic, anti-aliased) and
enlarged by the nearest pixel, bicubically, by a network trained for PSNR and by the same network trained adversarially
(PCARN-M, arXiv:1903.02240). "denoise": Gaussian noise (sigma 25 of 255), left as it is, blurred (Gaussian, 1 px), and
removed by a network trained for PSNR (CDnCNN, arXiv:1608.03981). "deblur": a Gaussian blur of 1.6 px and noise (sigma
2.5 of 255), left as it is, and undone by 10 and by 60 steps of Richardson and Lucy's method, the latter with the rings
of an overdone one. Prints mean scores with 95 % intervals over the photographs as a Markdown table. Needs
DRMETRIC_RESTORERS.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from skimage.restoration import richardson_lucy
from torch import Tensor

from benchmarks.reporting import mean_of
from benchmarks.restorers.loading import load
from benchmarks.restorers.outputs import interpolated
from drmetric import create
from drmetric.bench.tables import Table
from drmetric.distortions.degrade import Step, degrade
from drmetric.images import list_images, read_image, rounded_to_8_bit
from drmetric.metrics.base import Metric

Way = Callable[[Tensor], Tensor]
PRISTINE = "pristine photograph"
BLUR = 1.6
SCALES = {"x2": 2, "x3": 3, "x4": 4}
STEPS: dict[str, list[Step]] = {
    **{task: [{"op": "downscale", "scale": scale}] for task, scale in SCALES.items()},
    "denoise": [{"op": "gaussian_noise", "sigma": 25 / 255}],
    "deblur": [
        {"op": "anisotropic_blur", "sigma_x": BLUR, "sigma_y": BLUR, "angle": 0.0},
        {"op": "gaussian_noise", "sigma": 2.5 / 255},
    ],
}


def load_enlargers(scale: int) -> dict[str, Way]:
    """What enlarges by `scale`, from worst to best as people see it."""
    networks = {"network trained for PSNR": "pcarn_m_l1_x234", "the same, adversarially": "pcarn_m_x234"}
    filters = {name: partial(interpolated, scale=scale, method=name) for name in ("nearest", "bicubic")}
    return filters | {what: partial(load(name), scale=scale) for what, name in networks.items()}


def load_ways(task: str) -> dict[str, Way]:
    """What makes an image of the degraded one."""
    if task in SCALES:
        return load_enlargers(SCALES[task])
    if task == "denoise":
        return {
            "noisy, as it came": lambda noisy: noisy,
            "blurred": partial(gaussian_blur2d, kernel_size=7, sigma=(1.0, 1.0)),
            "network trained for PSNR": load("cdncnn_color_s25"),
        }
    return {
        "blurred, as it came": lambda blurred: blurred,
        "Richardson-Lucy, 10 steps": partial(sharpened, steps=10),
        "Richardson-Lucy, 60 steps": partial(sharpened, steps=60),
    }


def sharpened(blurred: Tensor, steps: int) -> Tensor:
    """(1,3,h,w) after deconvolution with the blur that "deblur" has."""
    offset = np.arange(-6, 7)
    line = np.exp(-(offset**2) / (2 * BLUR**2))
    kernel = np.outer(line, line) / line.sum() ** 2
    channels = [richardson_lucy(np.pad(c, 12, "reflect"), kernel, steps)[12:-12, 12:-12] for c in blurred[0].numpy()]
    return torch.from_numpy(np.stack(channels)).float().clamp(0, 1)[None]


def scores_of(
    photograph: Tensor, task: str, ways: dict[str, Way], metrics: list[Metric], seed: int
) -> Iterator[tuple[str, list[float]]]:
    """For each anchor of one photograph (1, 3, H, W) its score by every metric."""
    scale = SCALES.get(task, 1)
    height, width = (side // scale * scale for side in photograph.shape[-2:])
    truth = photograph[..., :height, :width]
    degraded = rounded_to_8_bit(degrade(truth, STEPS[task], seed))
    restored = {name: rounded_to_8_bit(way(degraded)) for name, way in ways.items()}
    references = {"dr": (degraded,), "fr": (truth,), "nar": (), "nr": ()}
    for name, image in {**restored, PRISTINE: truth}.items():
        yield name, [float(metric(image, *references[metric.mode])) for metric in metrics]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of pristine photographs that no metric was trained on")
    parser.add_argument("--tasks", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--metrics", nargs="+", default=("driqa", "nariqa", "nriqa", "nriqa_akd"))
    options = parser.parse_args()
    metrics = [create(name) for name in options.metrics]
    photographs = list_images(options.photographs)
    print(f"{len(photographs)} photographs")
    rows = []
    for task in options.tasks:
        ways = load_ways(task)
        found: dict[str, list[list[float]]] = {}
        for seed, path in enumerate(photographs):
            with torch.no_grad():
                for name, scores in scores_of(read_image(path, alpha="white")[None], task, ways, metrics, seed):
                    found.setdefault(name, []).append(scores)
        for name, values in found.items():
            by_metric = {
                f"`{m.name}`": mean_of(of, 1000) for m, of in zip(metrics, zip(*values, strict=True), strict=True)
            }
            rows.append({"task": task, "image": name, **by_metric})
    print(Table.of(rows, form=".3f").to_markdown())


if __name__ == "__main__":
    main()
