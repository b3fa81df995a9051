"""Do changes of the input guard DRIQA against ten gradient steps, without training it anew?

    python -m benchmarks.checks.gaming_guards runs/gaming-images runs/corpus-restorers -o runs/gaming-guards.csv

Each guard is a way to ask the metric: as it is, blurred or halved first, the lesser of whole and halved, or the mean
over noisy copies. Prints what it costs (SRCC within content on some contents of the corpus' validation split) and what
the attack still gains (PSNR 40 dB, on the images of benchmarks/pictures/board_images.py, in the standard deviation of
the guarded scores on that split), with 95 % intervals over contents.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from benchmarks.reporting import add_output, mean_of, report
from drmetric import DRIQA
from drmetric.bench.gaming.attacks import iterated
from drmetric.bench.tables import Column, Table
from drmetric.data.rated import RatedTriplet, read_triplets
from drmetric.images import read_image, resize
from drmetric.images.files import list_images
from drmetric.statistics import srcc

Guard = Callable[[Tensor, Tensor], Tensor]
PSNR, STEPS = 40.0, 10
COLUMNS = (
    Column("guard", "guard"),
    Column("srcc_within_content", "SRCC within content", ".3f", "shown"),
    Column("gain_in_spreads", "gain of the attack, spreads", ".3f", "shown"),
)


def blurred(metric: Guard, sigma: float) -> Guard:
    """Ask about a blurred image."""
    return lambda image, degraded: metric(gaussian_blur2d(image, (7, 7), (sigma, sigma)).clamp(0, 1), degraded)


def halved(metric: Guard) -> Guard:
    """Ask about the image at half its size."""
    return lambda image, degraded: metric(resize(image, (image.shape[-2] // 2, image.shape[-1] // 2)), degraded)


def smoothed(metric: Guard, copies: int, sigma: float) -> Guard:
    """Ask about copies with white noise, always the same, and average (Cohen, Rosenfeld, Kolter, ICML 2019)."""

    def mean(image: Tensor, degraded: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = [sigma * torch.randn(image.shape, generator=generator) for _ in range(copies)]
        return torch.stack([metric((image + each).clamp(0, 1), degraded) for each in noise]).mean(0)

    return mean


def pair(restored: Path, degraded: Path) -> tuple[Tensor, Tensor]:
    """(1,3,H,W) each."""
    return read_image(restored)[None], read_image(degraded)[None]


@torch.no_grad()
def scores(guard: Guard, triplets: list[RatedTriplet]) -> list[list[tuple[float, float]]]:
    """Score and label of the images of every content."""
    contents: dict[str, list[tuple[float, float]]] = {}
    for each in triplets:
        score = float(guard(*pair(each.restored, each.degraded)))
        contents.setdefault(each.content, []).append((score, each.score))
    return list(contents.values())


def gain(guard: Guard, restored: Path, degraded: Path) -> float:
    """What the score of one image gains."""
    image, reference = pair(restored, degraded)
    attacked = iterated(lambda at: guard(at, reference), image, PSNR, STEPS)
    with torch.no_grad():
        return float(guard(attacked, reference) - guard(image, reference))


def lesser(metric: Guard, other: Guard, triplets: list[RatedTriplet]) -> Guard:
    """The lesser score, the other one's brought to the same mean and spread on these images first."""
    ours, theirs = (
        torch.tensor([score for each in scores(one, triplets) for score, _ in each]) for one in (metric, other)
    )
    factor = float(ours.std() / theirs.std())
    offset = float(ours.mean() - factor * theirs.mean())
    return lambda image, degraded: torch.minimum(metric(image, degraded), factor * other(image, degraded) + offset)


def guards(triplets: list[RatedTriplet]) -> dict[str, Guard]:
    """What is compared; scales are matched on these images."""
    default = DRIQA()
    return {
        "none": default,
        "blurred, sigma 1": blurred(default, 1.0),
        "half size": halved(default),
        "the lesser of whole and half size": lesser(default, halved(default), triplets),
        "4 noisy copies, sigma .02": smoothed(default, 4, 0.02),
    }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of restored/ and degraded/")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--contents", type=int, default=12)
    add_output(parser)
    options = parser.parse_args()
    triplets = read_triplets("corpus", options.corpus, "validation")
    contents = sorted({each.content for each in triplets})[: 2 * options.contents]
    judged, matched = contents[: options.contents], contents[options.contents :]
    made = guards([each for each in triplets if each.content in matched])
    triplets = [each for each in triplets if each.content in judged]
    restored, degraded = (list_images(options.images / name) for name in ("restored", "degraded"))
    title = f"{len(triplets)} images of {len(judged)} contents, {len(restored)} attacked"
    rows = []
    for name, guard in made.items():
        scored = scores(guard, triplets)
        spread = float(np.std([score for content in scored for score, _ in content]))
        agreement = [srcc(*np.array(content).T) for content in scored]
        gains = [gain(guard, *files) / spread for files in zip(restored, degraded, strict=True)]
        rows.append({"guard": name, "srcc_within_content": mean_of(agreement), "gain_in_spreads": mean_of(gains)})
    report(Table(COLUMNS, rows, title), options.output)


if __name__ == "__main__":
    main()
