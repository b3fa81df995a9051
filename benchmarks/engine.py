"""What `drmetric score` costs beyond the network, what it keeps in memory, and what kill -9 loses.

    python -m benchmarks.engine IMAGES runs/engine --pairs 10000 --kills 10

IMAGES is a folder of photographs of at least 512 pixels on both sides. Pairs are made once: middles of 512 x 512 pixels
as PNG, beside themselves at half the resolution and back, each a file of its own under its own name. Three runs follow:

* raw: the network alone on pairs that are in memory already, in turns with the engine in stretches of `--stretch`
  pairs, so that a busy moment of the machine hits both;
* memory: the engine over all pairs in one go, its peak after each tenth of them;
* kills: the command over the first `--killed` pairs, ended by SIGKILL at random moments and begun again until it is
  done; every pair must have one row, equal to that of the run before.

Prints a table of each; `--runs raw` measures that alone.
"""

import argparse
import json
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import torch
from kornia.geometry import center_crop

from benchmarks.reporting import report, stack
from drmetric import DRIQA
from drmetric.bench.judges import Judge
from drmetric.bench.scores.folder import score_folder
from drmetric.bench.scores.pairing import Pair, pair
from drmetric.bench.scores.run import Task, score_tasks
from drmetric.bench.scores.store import read_rows
from drmetric.bench.tables import Table
from drmetric.images import read_image, resize, save_image
from drmetric.images.files import list_images

SIDE = 512
DIFFERENT = 64
"""Photographs that are used; more pairs are copies of theirs."""


def make_pairs(photographs: Path, folder: Path, count: int) -> list[Pair]:
    """Folders restored/ and degraded/ of `count` files each."""
    sources = list(islice((file for file in list_images(photographs) if _large_enough(file)), DIFFERENT))
    for name in ("restored", "degraded"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        files = [folder / name / f"{number:05d}.png" for name in ("restored", "degraded")]
        if all(file.exists() for file in files):
            continue
        if number < len(sources):
            image = center_crop(read_image(sources[number])[None], (SIDE, SIDE))
            save_image(image[0], files[0])
            save_image(resize(resize(image, (SIDE // 2, SIDE // 2)), (SIDE, SIDE))[0], files[1])
            continue
        for file in files:
            shutil.copy(file.with_name(f"{number % len(sources):05d}.png"), file)
    return list(pair(folder / "restored", folder / "degraded").pairs)[:count]


def _large_enough(file: Path) -> bool:
    return min(read_image(file).shape[-2:]) >= SIDE


def throughput(
    metric: DRIQA, pairs: list[Pair], stretch: int, turns: int, batch: int
) -> tuple[list[float], list[float]]:
    """Pairs a second of the network alone and of the engine, of each turn; the first turn warms up."""
    loaded = [(read_image(each.restored), read_image(each.degraded)) for each in pairs[:16] if each.degraded]
    groups = [[torch.stack(images) for images in zip(*loaded[i : i + batch], strict=True)] for i in range(0, 16, batch)]
    judge = Judge(metric.name, "degraded", metric)
    tasks = [Task(each.name, {"restored": each.restored, "degraded": each.degraded}) for each in pairs if each.degraded]
    raw, engine = [], []
    for turn in range(turns + 1):
        start = time.perf_counter()
        with torch.no_grad():
            for number in range(stretch // batch):
                metric(*groups[number % len(groups)])
        middle = time.perf_counter()
        done = list(score_tasks([judge], tasks[turn * stretch : (turn + 1) * stretch], batch=batch))
        end = time.perf_counter()
        if turn:
            raw.append(stretch // batch * batch / (middle - start))
            engine.append(len(done) / (end - middle))
    return raw, engine


def peaks(metric: DRIQA, folder: Path, output: Path) -> list[float]:
    """MiB that the process has held at most, after each tenth of the pairs."""
    found: list[float] = []

    def note(done: int, total: int) -> None:
        if done * 10 // total > len(found):
            found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    score_folder(metric, folder / "restored", folder / "degraded", output=output, overwrite=True, progress=note)
    return found


def kills(folder: Path, output: Path, count: int, longest: float) -> int:
    """Rows after `count` kills at random moments, `longest` seconds after each start at most, and a last run."""
    output.unlink(missing_ok=True)
    arguments = ["score", folder / "restored", "--degraded", folder / "degraded", "--metric", "driqa", "-o", output]
    command = [str(Path(sys.executable).with_name("drmetric")), *map(str, arguments)]
    moments = random.Random(0)
    for _ in range(count):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moments.uniform(0, longest))
            raise SystemExit("the command was done before it could be killed: give more pairs with --killed")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        print(f"killed with {len(read_rows(output)) if output.exists() else 0} rows", flush=True)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return len(read_rows(output))


def compared(whole: Path, killed: Path, pairs: list[Pair]) -> list[str]:
    """Pairs that do not have one row in both outputs, or whose scores differ."""
    found: list[dict[str, list[float | None]]] = [{}, {}]
    for scores, path in zip(found, (whole, killed), strict=True):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            scores.setdefault(row["image"], []).append(row.get("score"))
    one, other = found
    return [
        each.name
        for each in pairs
        if len(one[each.name]) != 1 or None in one[each.name] or one[each.name] != other.get(each.name)
    ]


Row = dict[str, float]


def measured_throughput(metric: DRIQA, pairs: list[Pair], options: argparse.Namespace) -> list[Row]:
    """The row of "raw": medians over the turns, and the share of the network's speed that the engine keeps."""
    raw, engine = throughput(metric, pairs, options.stretch, options.turns, options.batch)
    shares = [ours / alone for ours, alone in zip(engine, raw, strict=True)]
    row = {
        "pairs_at_once": options.batch,
        "turns": options.turns,
        "network_pairs_per_second": statistics.median(raw),
        "engine_pairs_per_second": statistics.median(engine),
        "engine_share": statistics.median(shares),
        "engine_share_least": min(shares),
        "engine_share_greatest": max(shares),
    }
    return [row]


def measured_memory(metric: DRIQA, pairs: list[Pair], options: argparse.Namespace) -> list[Row]:
    """The rows of "memory": the peak after each tenth of the pairs."""
    held = peaks(metric, options.folder, options.folder / "whole.jsonl")
    return [{"pairs": len(pairs) * tenth // 10, "peak_mib": mib} for tenth, mib in enumerate(held, start=1)]


def measured_kills(metric: DRIQA, pairs: list[Pair], options: argparse.Namespace) -> list[Row]:
    """The row of "kills"; exits if a row is lost, doubled or another one."""
    few = make_pairs(options.photographs, options.folder / "few", options.killed)
    whole, killed = options.folder / "few.jsonl", options.folder / "killed.jsonl"
    score_folder(metric, options.folder / "few/restored", options.folder / "few/degraded", output=whole, overwrite=True)
    count = kills(options.folder / "few", killed, options.kills, options.longest)
    if different := compared(whole, killed, few):
        raise SystemExit(f"not one row, or another score: {different}")
    return [{"pairs": len(few), "kills": options.kills, "records": count, "lost_or_different": 0}]


MEASURED = {"raw": measured_throughput, "memory": measured_memory, "kills": measured_kills}


def main() -> None:
    """Measure and print a table of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--runs", default=",".join(MEASURED))
    parser.add_argument("--stretch", type=int, default=100)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--batch", type=int, default=1, help="pairs at once, at most 16")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--killed", type=int, default=1000, help="pairs of that run")
    parser.add_argument("--results", type=Path, metavar="DIR", help="also write engine-<run>/<stack>.csv there")
    parser.add_argument("--longest", type=float, default=20.0, help="seconds before a kill")
    options = parser.parse_args()
    metric = DRIQA()
    pairs = make_pairs(options.photographs, options.folder, options.pairs)
    for run in options.runs.split(","):
        table = Table.of(MEASURED[run](metric, pairs, options), f"{run}: {stack()}", ".3f")
        report(table, options.results and options.results / f"engine-{run}" / f"{stack()}.csv")


if __name__ == "__main__":
    main()
