"""Peak memory of scoring one large image, file to score.

    OMP_NUM_THREADS=1 python -m benchmarks.checks.memory --megapixels 1 4 12 --metrics driqa nariqa nriqa nriqa_akd

Each image (the bundled photograph, tiled; the degraded input of the same size) is scored in a process of its own, whose
largest resident set is printed beside that of a process that imports and scores 64 x 64 pixels. A size that fails has
its error in place of a number. 100 megapixels take minutes and gigabytes: measure them alone.
"""

import argparse
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


def write_image(path: Path, side: int) -> None:
    """A square photograph of this side, by tiling the bundled one."""
    with Image.open(example.FOLDER / "restored/coffee_sharp.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    times = -(-side // min(pixels.shape[:2]))
    Image.fromarray(np.tile(pixels, (times, times, 1))[:side, :side]).save(path, compress_level=1)


def score(metric: str, path: Path) -> None:
    """Score an image with itself as its input, and print the largest resident set in megabytes (Linux)."""
    from drmetric.bench.scores.folder import score_folder
    from drmetric.metrics.registry import create

    scores = score_folder(create(metric), path, path)
    for row in scores.failed:
        sys.exit(f"{row.error_type}: {row.error}")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def measured(metric: str, side: int, folder: Path) -> str:
    """Megabytes, or why there are none."""
    path = folder / f"{side}.png"
    if not path.exists():
        write_image(path, side)
    command = [sys.executable, "-m", "benchmarks.checks.memory", "--metrics", metric, "--score", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout if done.returncode == 0 else done.stderr).strip()
    return said.splitlines()[-1] if said else f"killed by signal {-done.returncode}"


def main() -> None:
    """Print a line for each metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=(1, 4, 12))
    parser.add_argument("--metrics", nargs="+", default=("driqa", "nariqa", "nriqa", "nriqa_akd"))
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    add_output(parser)
    options = parser.parse_args()
    if options.score:
        score(options.metrics[0], options.score)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for metric in options.metrics:
            row = {"metric": metric, "imports": measured(metric, SMALLEST, Path(folder))}
            for size in options.megapixels:
                row[f"{size:g} MP"] = measured(metric, isqrt(round(size * 1e6)), Path(folder))
            rows.append(row)
            print(row, flush=True)
    report(Table.of(rows, "Peak resident set in MB, one image of each size"), options.output)


if __name__ == "__main__":
    main()
