"""Peak memory of scoring one large image, file to score.

    OMP_NUM_THREADS=1 python -m benchmarks.checks.memory --megapixels 12 50 100

Each image (the bundled photograph, tiled, with noise, so that its PNG is as large as one of a photograph) is scored in
a process of its own with itself as its degraded input, or with `--scale` with an input so much smaller. Printed is the
largest resident set of the process beside that of one that imports and scores 64 x 64 pixels, in MiB. A size that fails
has its error in place of a number. 100 megapixels take minutes.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from math import isqrt
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reporting import add_output, report
from drmetric import example
from drmetric.bench.tables import Table

SMALLEST = 64
ALLOCATOR = ("MALLOC_", "GLIBC_TUNABLES")
"""Variables by which the C library keeps more than it would; the processes do not see them."""


def write_image(path: Path, side: int) -> None:
    """A square photograph of this side, by tiling the bundled one and adding noise of 16 codes."""
    with Image.open(example.FOLDER / "restored/coffee_sharp.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    times = -(-side // min(pixels.shape[:2]))
    tiled = np.tile(pixels // 16 * 15, (times, times, 1))[:side, :side]
    tiled += np.random.default_rng(0).integers(0, 16, tiled.shape, np.uint8)
    Image.fromarray(tiled).save(path, compress_level=1)


def score(metric: str, path: Path, degraded: Path) -> None:
    """Score an image with an input, and print the largest resident set in MiB (Linux)."""
    from drmetric.bench.scores.folder import score_folder
    from drmetric.metrics.registry import create

    scores = score_folder(create(metric), path, degraded)
    for row in scores.failed:
        sys.exit(f"{row.error_type}: {row.error}")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def side(megapixels: float, scale: int) -> int:
    """Of a square of about that size, a multiple of the scale."""
    return isqrt(round(megapixels * 1e6)) // scale * scale


def measured(metric: str, side: int, scale: int, folder: Path) -> str:
    """Mebibytes, or why there are none."""
    paths = [folder / str(each) / "image.png" for each in (side, side // scale)]
    for path in paths:
        if not path.exists():
            path.parent.mkdir()
            write_image(path, int(path.parent.name))
    files = [str(path) for path in paths]
    command = [sys.executable, "-m", "benchmarks.checks.memory", "--metrics", metric, "--score", *files]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ALLOCATOR)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = (done.stdout if done.returncode == 0 else done.stderr).strip()
    return said.splitlines()[-1] if said else f"killed by signal {-done.returncode}"


def main() -> None:
    """Print a line for each metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=(1, 4, 12))
    parser.add_argument("--metrics", nargs="+", default=("driqa", "nariqa", "nriqa", "nriqa_akd"))
    parser.add_argument("--scale", type=int, default=1, help="how many times as large as its input the image is")
    parser.add_argument("--score", type=Path, nargs=2, help=argparse.SUPPRESS)
    add_output(parser)
    options = parser.parse_args()
    if options.score:
        score(options.metrics[0], *options.score)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for metric in options.metrics:
            row = {"metric": metric, "imports": measured(metric, SMALLEST, 1, Path(folder))}
            for size in options.megapixels:
                row[f"{size:g} MP"] = measured(metric, side(size, options.scale), options.scale, Path(folder))
            rows.append(row)
            print(row, flush=True)
    report(Table.of(rows, "Peak resident set in MiB, one image of each size"), options.output)


if __name__ == "__main__":
    main()
