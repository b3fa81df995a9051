"""Kills, rivals and deletions: a long command loses nothing, and its output has one writer.

    python -m benchmarks.checks.kills --kills 20 --seed 0

Each command runs undisturbed once. Then it is started again and again in an empty folder and killed (SIGKILL) at a
moment drawn between its start and its end, and after every fifth kill it runs to its end: rows, tables and images must
be those of the undisturbed run, and nothing else may be left. Then two of it start on one output: one must be refused,
or find all done, and the rows be right. Then the output is deleted at a drawn moment: the command must not end as if
all were well. Prints a line for each command and exits with 1 if anything was lost, left or said wrongly. Processes are
forked after the imports, so that kills meet work and not imports.
"""

import argparse
import hashlib
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.reporting import add_output, report
from drmetric import example
from drmetric.bench.scores.store import parts_of, read_rows
from drmetric.bench.tables import Table
from drmetric.cli.app import app
from drmetric.distortions.kadid.types import KADID10K
from drmetric.images import resize, save_image

FORK = multiprocessing.get_context("fork")
KILLS_BETWEEN_ENDS = 5
REFUSED = 2
BOARD = """
[data]
degraded = "degraded"
truth = "truth"
[[methods]]
name = "A"
folder = "restored"
[[methods]]
name = "B"
folder = "truth"
[[metrics]]
name = "ssim"
[[metrics]]
name = "psnr"
"""
RATED = '[data]\nset = "corpus"\nroot = "corpus"\n[[metrics]]\nname = "ssim"\n[[metrics]]\nname = "colour_difference"\n'
SOURCES = """
[[sources]]
name = "photos"
folder = "some"
split = "train"
[[sources]]
name = "held"
folder = "few"
split = "validation"
"""
BUILDING = "crop = 32\ndegraded_per_content = 1\nrestored_per_degraded = 3\n" + SOURCES
CONDITIONS = 'opinions = "opinions.csv"\ndenoiser = "torch:clone"\ncrop = 48\nconditions_per_content = 6\n' + SOURCES
RECIPE = """
metric = "driqa"
[data]
kind = "corpus"
root = "corpus"
[network]
head_stages = 1
hidden = [16]
[train]
steps = 8
warmup_steps = 1
batch = 2
patch = 32
validate_every = 2
workers = 0
"""
SIZES = {"few": 3, "some": 6}
"""Folders of the first photographs alone, for what is slow."""


@dataclass(frozen=True)
class Long:
    """A long command: its words, which write below `out`, and what it must have made, by name."""

    name: str
    words: Sequence[str]
    made: Callable[[Path], Mapping[str, object]]
    target: str


def rows_of(name: str) -> Callable[[Path], Mapping[str, object]]:
    """The rows of a score file, without what differs from run to run."""

    def read(folder: Path) -> Mapping[str, object]:
        rows = read_rows(folder / name)
        if parts_of(folder / name).exists():
            return {"parts": "left"}
        return {f"{row.key}": replace(row, seconds=None) for row in rows}

    return read


def board_of(folder: Path) -> Mapping[str, object]:
    """The rows of a board and its table."""
    return {**rows_of("scores.jsonl")(folder), "table": (folder / "table.md").read_bytes()}


def files_of(pattern: str) -> Callable[[Path], Mapping[str, object]]:
    """The files that a pattern finds, by their hashes."""

    def read(folder: Path) -> Mapping[str, object]:
        files = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return read


def commands() -> list[Long]:
    """All long commands that are compared row by row."""
    score = ("score", "restored", "--degraded", "degraded", "--metric", "ssim", "--device", "cpu", "-o")
    attacked = ("--images", "few", "--degraded", "few", "--witness", "ssim", "--psnr", "40", "--steps", "1")
    board = ("--bootstrap", "50", "--device", "cpu", "-o", "out")
    return [
        *(
            Long(f"score, {suffix}", (*score, f"out/s.{suffix}"), rows_of(f"s.{suffix}"), f"s.{suffix}")
            for suffix in ("jsonl", "csv", "parquet")
        ),
        Long("bench methods", ("bench", "methods", "board.toml", *board), board_of, "scores.jsonl"),
        Long("bench metrics", ("bench", "metrics", "rated.toml", *board), rows_of("scores.jsonl"), "scores.jsonl"),
        Long(
            "bench gaming",
            ("bench", "gaming", "psnr(reference=degraded)", *attacked, *board),
            rows_of("gaming.jsonl"),
            "gaming.jsonl",
        ),
        Long(
            "bench fidelity",
            ("bench", "fidelity", "psnr", "--images", "few", "--truth", "few", *board),
            rows_of("fidelity.jsonl"),
            "fidelity.jsonl",
        ),
        Long(
            "corpus",
            ("corpus", "corpus.toml", "--output", "out", "--workers", "2", "--fusion", "fusion.json"),
            files_of("**/*"),
            "manifest.jsonl",
        ),
        Long(
            "conditions",
            ("conditions", "conditions.toml", "--output", "out", "--workers", "2"),
            files_of("**/*"),
            "manifest.jsonl",
        ),
        Long(
            "train",
            ("train", "small.toml", "--output", "out", "--resume"),
            files_of("*.safetensors"),
            "small.safetensors",
        ),
        Long(
            "fit-niqe",
            ("fit-niqe", "clean", "-o", "out/niqe.safetensors"),
            files_of("*.safetensors"),
            "niqe.safetensors",
        ),
    ]


def write_data(folder: Path, count: int) -> None:
    """Small photographs with their inputs and outputs, and the configurations."""
    photograph = resize(example.image("restored/coffee_sharp"), (160, 160))
    for number in range(count):
        top, left = divmod(number * 7, 96)
        truth = photograph[..., top : top + 64, left : left + 64]
        lower = resize(truth, (32, 32))
        places = {"truth": truth, "degraded": lower, "restored": resize(lower, (64, 64))}
        places |= dict.fromkeys((place for place, most in SIZES.items() if number < most), truth)
        for place, image in places.items():
            (folder / place).mkdir(exist_ok=True)
            save_image(image[0], folder / place / f"{number:03}.png")
    (folder / "board.toml").write_text(BOARD)
    (folder / "rated.toml").write_text(RATED)
    (folder / "corpus.toml").write_text(BUILDING)
    (folder / "conditions.toml").write_text(CONDITIONS)
    (folder / "small.toml").write_text(RECIPE)
    lines = [f"{n},{KADID10K[n].name},{level},{5.2 - 0.8 * level},0.4" for n in KADID10K for level in range(1, 6)]
    (folder / "opinions.csv").write_text("\n".join(["type_id,type,level,mean,sd_over_contents", *lines]))
    (folder / "clean").mkdir()
    for number in range(3):
        image = torch.rand(3, 384, 384, generator=torch.Generator().manual_seed(number))
        save_image(image, folder / f"clean/{number}.png")
    (folder / "fusion.json").write_text('{"terms": {"gmsd": {"weight": 1, "power": 0.5}}, "elo_per_point": 250}')


def start(words: Sequence[str]) -> multiprocessing.process.BaseProcess:
    """A command in a process of its own, which writes to output.txt and errors.txt."""

    def run() -> None:
        for number, name in ((1, "output.txt"), (2, "errors.txt")):
            with open(name, "ab") as log:
                os.dup2(log.fileno(), number)
        torch.set_num_threads(1)
        logging.getLogger().handlers.clear()
        app(list(words))

    process = FORK.Process(target=run)
    process.start()
    return process


def end_of(words: Sequence[str]) -> int:
    """The exit code of a command that is left alone."""
    process = start(words)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def settle(words: Sequence[str]) -> int:
    """As `end_of`, once the workers of a killed command have gone."""
    for _ in range(50):
        if (code := end_of(words)) != REFUSED:
            return code
        time.sleep(0.1)
    return REFUSED


def killed(long: Long, kills: int, seconds: float, wanted: Mapping[str, object], rng: random.Random) -> tuple[int, int]:
    """How many kills met the command at work, and how many of the outputs at the end were wrong."""
    met = wrong = 0
    for number in range(1, kills + 1):
        process = start(long.words)
        time.sleep(rng.uniform(0, seconds))
        process.kill()
        process.join()
        met += process.exitcode == -signal.SIGKILL
        if number % KILLS_BETWEEN_ENDS == 0 or number == kills:
            code = settle(long.words)
            wrong += code != 0 or bool(list(Path("out").rglob("*.tmp"))) or long.made(Path("out")) != wanted
            shutil.rmtree("out")
    return met, wrong


def rivalled(long: Long, rounds: int, seconds: float, wanted: Mapping[str, object], rng: random.Random) -> int:
    """Of how many pairs on one output something was wrong."""
    wrong = 0
    for _ in range(rounds):
        first = start(long.words)
        time.sleep(rng.uniform(0, seconds / 2))
        second = start(long.words)
        first.join()
        second.join()
        codes = {first.exitcode, second.exitcode}
        wrong += not (0 in codes and codes <= {0, REFUSED} and long.made(Path("out")) == wanted)
        shutil.rmtree("out")
    return wrong


def deleted(long: Long, rounds: int, seconds: float, rng: random.Random) -> int:
    """How many runs whose file was deleted ended as if all were well, without the file."""
    wrong = 0
    for _ in range(rounds):
        Path("output.txt").write_bytes(b"")
        process = start(long.words)
        time.sleep(rng.uniform(0, seconds))
        at_work = process.is_alive() and not Path("output.txt").stat().st_size  # it speaks when all is written
        if at_work:
            (Path("out") / long.target).unlink(missing_ok=True)
        process.join()
        wrong += at_work and process.exitcode == 0 and not (Path("out") / long.target).exists()
        shutil.rmtree("out", ignore_errors=True)
    return wrong


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--rivals", type=int, default=5, help="pairs on one output, and deletions, of each command")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=(), help="commands, such as corpus")
    add_output(parser)
    options = parser.parse_args()
    lines, output = [], options.output and options.output.absolute()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        write_data(Path(), options.images)
        assert end_of(("corpus", "corpus.toml", "--output", "corpus", "--fusion", "fusion.json")) == 0
        for long in commands():
            if options.only and long.name not in options.only:
                continue
            rng, begin = random.Random(f"{options.seed} {long.name}"), time.monotonic()
            if (code := end_of(long.words)) != 0:
                sys.exit(f"{long.name} ends with {code}: {Path('errors.txt').read_text()[-2000:]}")
            seconds, wanted = time.monotonic() - begin, long.made(Path("out"))
            shutil.rmtree("out")
            met, wrong = killed(long, options.kills, seconds, wanted, rng)
            line = {"command": long.name, "rows": len(wanted), "kills": options.kills, "at work": met, "wrong": wrong}
            line |= {"pairs": options.rivals, "pairs wrong": rivalled(long, options.rivals, seconds, wanted, rng)}
            lines.append(line | {"deletions unnoticed": deleted(long, options.rivals, seconds, rng)})
            print(lines[-1], flush=True)
    report(Table.of(lines, f"SIGKILL at random moments, {options.images} images, seed {options.seed}"), output)
    sys.exit(any(line["wrong"] or line["pairs wrong"] or line["deletions unnoticed"] for line in lines))


if __name__ == "__main__":
    main()
