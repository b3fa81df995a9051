"""Time metrics side by side: milliseconds for a score and for a score with its gradient.

    python benchmarks/speed.py          # driqa on both weights, lpips, ssim, psnr at 256, 512 px and 1080p
    python benchmarks/speed.py --metrics driqa,lpips --repeats 9

Metrics take turns within every repeat, so that a busy moment of the machine hits them all; the median is reported.
Results go to results/speed-<stack>.csv.
"""

import argparse
import csv
import platform
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from drmetric import create
from drmetric.metrics.base import Metric

SIZES = {"256": (256, 256), "512": (512, 512), "1080p": (1080, 1920)}


def _images(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, reference = torch.rand(2, 1, 3, *size, generator=generator)
    return image, reference


def _milliseconds(metric: Metric, size: tuple[int, int], backward: bool) -> float:
    image, reference = _images(size)
    start = time.perf_counter()
    if backward:
        metric.loss(image.requires_grad_(), reference).backward()
    else:
        with torch.no_grad():
            metric(image, reference)
    return 1e3 * (time.perf_counter() - start)


def _create(given: str) -> Metric:
    name, _, weights = given.partition(":")
    return create(name, weights=weights) if weights else create(name)


def main() -> None:
    """Measure, print a table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", default="driqa,driqa:driqa-patches-1,lpips,ssim,psnr")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()

    metrics = {given: _create(given) for given in options.metrics.split(",")}
    rows = []
    for size in options.sizes.split(","):
        times: dict[tuple[str, bool], list[float]] = {(n, b): [] for n in metrics for b in (False, True)}
        for repeat in range(options.repeats + 1):
            for (name, backward), measured in times.items():
                elapsed = _milliseconds(metrics[name], SIZES[size], backward)
                if repeat:
                    measured.append(elapsed)
        for name in metrics:
            forward, both = (statistics.median(times[name, backward]) for backward in (False, True))
            rows.append([name, size, f"{forward:.1f}", f"{both:.1f}"])

    header = ["metric", "size", "score_ms", "score_and_gradient_ms"]
    table = Table(*header, title=f"{torch.get_num_threads()} threads, torch {torch.__version__}, n = {options.repeats}")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    stack = f"torch{torch.__version__.split('+')[0]}-{platform.machine()}-{torch.get_num_threads()}threads"
    path = Path(__file__).resolve().parent / "results" / f"speed-{stack}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    print(path)


if __name__ == "__main__":
    main()
