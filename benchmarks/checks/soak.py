"""Does a long run keep its memory? Small images scored as `drmetric score` does it, with what the process holds.

    OMP_NUM_THREADS=1 python -m benchmarks.checks.soak --scores 50000 --weights driqa-patches-3

Cuttings of the bundled photographs, of 48 to 96 pixels, and the same at half the size are written to a scratch folder;
then as many scores as wanted are made of them by the one scoring loop, into a score file. Prints the memory that is
held after each tenth, and how many scores differ from the first of their image: none should.
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path

import torch

from benchmarks.reporting import add_output, report, stack
from drmetric import DRIQA, example, read_image
from drmetric.bench.judges import Judge
from drmetric.bench.scores.rows import Row
from drmetric.bench.scores.run import Task, run
from drmetric.bench.scores.store import ScoreFile
from drmetric.bench.tables import Column, Table
from drmetric.images import resize, save_image
from drmetric.images.files import list_images

PAIRS = 96
COLUMNS = (
    Column("scores", "scores", ","),
    Column("held", "memory held, MiB", ".0f"),
    Column("most", "most so far, MiB", ".0f"),
)


def write_pairs(folder: Path, seed: int = 0) -> list[dict[str, Path]]:
    """Restored and degraded files of cuttings whose place and size are drawn."""
    generator = torch.Generator().manual_seed(seed)
    photographs = [read_image(path) for path in list_images(example.FOLDER / "restored")]
    files = []
    for number in range(PAIRS):
        photograph = photographs[number % len(photographs)]
        height, width = (2 * int(half) for half in torch.randint(24, 49, (2,), generator=generator))
        top = int(torch.randint(photograph.shape[1] - height + 1, (), generator=generator))
        left = int(torch.randint(photograph.shape[2] - width + 1, (), generator=generator))
        restored = photograph[:, top : top + height, left : left + width]
        degraded = resize(restored[None], (height // 2, width // 2))[0].clamp(0, 1)
        files.append({kind: folder / f"{number:02d}_{kind}.png" for kind in ("restored", "degraded")})
        for image, path in zip((restored, degraded), files[-1].values(), strict=True):
            save_image(image, path)
    return files


def held() -> float:
    """MiB of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def unequal(rows: list[Row]) -> int:
    """How many scores differ from the first of the same image, or are missing."""
    first: dict[str, float | None] = {}
    return sum(row.score is None or row.score != first.setdefault(row.image[:2], row.score) for row in rows)


def main() -> None:
    """Score, watch and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=50_000)
    parser.add_argument("--weights", default=None, help="of DRIQA; by default its own")
    add_output(parser)
    options = parser.parse_args()
    metric = DRIQA() if options.weights is None else DRIQA(options.weights)
    found = []

    def watch(done: int, total: int) -> None:
        if done and done % max(1, total // 10) == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            found.append({"scores": done, "held": held(), "most": peak})
            print(done, round(held()), flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = write_pairs(folder)
        tasks = [Task(f"{n % PAIRS:02d}-{n:06d}", files[n % PAIRS], degraded="d") for n in range(options.scores)]
        scored = run([Judge("driqa", "degraded", metric)], tasks, ScoreFile(folder / "scores.jsonl"), progress=watch)
    title = f"{len(scored.rows)} scores of {PAIRS} pairs, {metric.signature}, {stack()}"
    report(
        Table(COLUMNS, found, title, [f"scores that differ from the first of their image: {unequal(scored.rows)}"]),
        options.output,
    )


if __name__ == "__main__":
    main()
