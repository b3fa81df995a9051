"""Configurations with mistakes: every one runs, or ends in an error of two lines before anything is made.

    python -m benchmarks.checks.fuzz_configurations --variants 500 --seed 0

Valid files of `drmetric bench methods`, `bench metrics`, `corpus`, `conditions` and of a recipe are changed at random,
one to three changes each (values of other types and impossible ones, missing, unknown and doubled entries, single
brackets for double ones, torn text, other encodings), and given to the command, on images of 48 pixels. Prints how many
gave a typed error, ran, or gave a traceback, and exits with 1 if any gave a traceback, an error after scores were made,
or one without a line that mends it. A recipe is read and its network and data are made; nothing is trained.
"""

import argparse
import copy
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from math import isinf, isnan
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner

from drmetric import example
from drmetric.cli.app import app
from drmetric.data.make.building import write_records
from drmetric.distill.recipe import Recipe
from drmetric.distill.trainer import prepare
from drmetric.errors import DrmetricError
from drmetric.images import resize, save_image

Table = dict[str, Any]
ODD: tuple[Any, ...] = (
    *("", " ", "x", "../..", "a/b", "$NOT_SET", "\u00e9\n\x1b[31m", "**", "[", "truth", "none"),
    *(0, -1, 1, 3, 2.5, -0.5, 1e300, float("nan"), float("inf"), True, False),
    *([], [""], ["x"], [1], [[1]], [{}], {}, {"x": 1}),
)
"""Values that an entry may be given."""


@dataclass(frozen=True)
class Kind:
    """A kind of configuration: a valid one, the command that reads it, and what that makes."""

    name: str
    table: Table
    run: Callable[[Path], tuple[int, str]]
    made: str


@dataclass(frozen=True)
class Outcome:
    """What became of a variant: "typed error", "ran", "traceback", "late error" or "no mend"; and what was said."""

    kind: str
    what: str
    said: str
    text: bytes


def command(*words: str) -> Callable[[Path], tuple[int, str]]:
    """A command of drmetric; CONFIG stands for the file."""

    def run(path: Path) -> tuple[int, str]:
        logging.getLogger().handlers.clear()  # they write to the streams of the command before
        result = CliRunner().invoke(app, [str(path) if word == "CONFIG" else word for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return -1, repr(result.exception)
        return result.exit_code, result.stderr

    return run


def make_parts_of_a_training(path: Path) -> tuple[int, str]:
    """Read a recipe and make its network and its data, as `drmetric train` does before the first step."""
    try:
        prepare(Recipe.read(path))
    except DrmetricError as error:
        return 2, f"error: {error.problem}\n" + (f"fix: {error.fix}\n" if error.fix else "")
    except Exception as error:
        return -1, repr(error)
    return 0, ""


def write_data(folder: Path) -> None:
    """Photographs, inputs, outputs of two methods, a corpus with labels and a table of opinions, as small as may be."""
    records = []
    for number, name in enumerate(("astronaut", "chelsea", "coffee")):
        photograph = resize(example.image(f"restored/{name}_sharp"), (96, 96))
        truth = photograph[..., :48, :48]
        for place, image in {
            f"photographs/{name}.png": photograph,
            f"truth/{name}.png": truth,
            f"degraded/{name}.png": resize(truth, (24, 24)),
            f"first/{name}.png": resize(resize(truth, (24, 24)), (48, 48)),
            f"second/{name}_b.png": (truth + 0.02).clamp(0, 1),
        }.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            save_image(image[0].clamp(0, 1), folder / place)
        for method, file in (("first", f"first/{name}.png"), ("second", f"second/{name}_b.png")):
            record = {"id": f"{name}/{method}", "content": name, "source": "x", "label": 0.2 + 0.1 * number}
            record |= {"split": "train" if number else "validation", "pristine": f"truth/{name}.png"}
            record |= {"degraded": f"degraded/{name}.png", "restored": file}
            records.append(record | {"restorer": {"name": method}, "degradation": {"family": "blur", "steps": []}})
    save_image(photograph[0].clamp(0, 1), folder / "photographs/x.png")  # excluded
    write_records(folder / "manifest.jsonl", records)
    (folder / "opinions.csv").write_text("type_id,level,mean,sd_over_contents\n" + "1,1,4.5,0.2\n1,5,1.5,0.3\n")
    fusion = {"terms": {"gmsd": {"weight": 1.0, "power": 0.5}}, "elo_per_point": 250}
    (folder / "fusion.json").write_text(json.dumps(fusion))
    (folder / "own.py").write_text("def denoiser(image):\n    return image\n\ndef networks(steps):\n    return {}\n")


def kinds() -> list[Kind]:
    """The valid configurations; all run where `write_data` wrote."""
    metrics = [{"name": "psnr", "label": "P"}, {"name": "psnr", "reference": "degraded", "options": {"crop": "none"}}]
    methods = [{"name": "A", "folder": "first"}, {"name": "B", "folder": "second", "suffix": "_b"}]
    source = {"name": "photos", "folder": "photographs", "split": "train", "pattern": "*.png", "exclude": ["x.png"]}
    rated = {"set": "corpus", "root": ".", "split": "all", "parts": False, "unshared": False, "reference": "default"}
    building: Table = {"seed": 1, "crop": 32, "validation_share": 0.1, "sources": [source | {"shrink_to": 0}]}
    corpus: Table = {"degraded_per_content": 1, "restored_per_degraded": 2, "networks": "own:networks"}
    corpus |= {"families": {"jpeg": 1.0}, "networks_per_degraded": 1}
    corpus |= {"spoiled_per_degraded": 1, "unfaithful_per_degraded": 1}
    opinions = {"opinions": "opinions.csv", "denoiser": "own:denoiser", "conditions_per_content": 2, "feature": "gmsd"}
    train = {"steps": 2, "warmup_steps": 1, "batch": 2, "patch": 32, "optimiser": "adamw", "rate": 1e-4, "workers": 0}
    recipe = {"metric": "driqa", "data": [{"kind": "corpus", "root": "."}], "network": {"hidden": [8]}, "train": train}
    resamples = ("--bootstrap", "10", "--device", "cpu")
    data = {"degraded": "degraded", "truth": "truth", "scale": 2.0}
    board = {"data": data, "methods": methods, "metrics": metrics}
    return [
        Kind("methods", board, command("bench", "methods", "CONFIG", "-o", "out", *resamples), "out/scores.jsonl"),
        Kind(
            "metrics",
            {"data": rated, "metrics": metrics},
            command("bench", "metrics", "CONFIG", "-o", "out", *resamples),
            "out/scores.jsonl",
        ),
        Kind(
            "corpus",
            building | corpus,
            command("corpus", "CONFIG", "--output", "out", "--fusion", "fusion.json"),
            "out/records",
        ),
        Kind("conditions", building | opinions, command("conditions", "CONFIG", "--output", "out"), "out/records"),
        Kind("recipe", recipe, make_parts_of_a_training, "out"),
    ]


def toml(value: Any) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float) and (isnan(value) or isinf(value)):
        return "nan" if isnan(value) else "inf"
    return json.dumps(value)


def text_of(table: Table) -> str:
    """A table as a TOML file."""
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in table.items())


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry in nested tables and lists: what holds it, and its key."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from places(each)


def spoil(table: Table, rng: random.Random) -> None:
    """One mistake in a table."""
    holder, key = rng.choice(list(places(table)))
    mistake = rng.choice(("odd", "odd", "odd", "gone", "twice", "unknown", "single", "wrapped"))
    if mistake == "gone":
        del holder[key]
    elif mistake == "twice" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif mistake == "unknown" and isinstance(holder, dict):
        holder[rng.choice(("x", "", f"{key}s", key.upper(), "name.x"))] = copy.deepcopy(holder[key])
    elif mistake == "single" and isinstance(holder[key], list) and holder[key]:
        holder[key] = holder[key][0]
    elif mistake == "wrapped":
        holder[key] = [holder[key]]
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD))


def spoil_text(content: bytes, rng: random.Random) -> bytes:
    """One mistake in the bytes of a file."""
    at = rng.randrange(len(content))
    return rng.choice(
        (
            content[:at],
            b"",
            content.decode().encode("utf-16"),
            b"\xef\xbb\xbf" + content,
            content[:at] + bytes([rng.randrange(256)]) + content[at:],
            content[:at] + content[at + 1 :],
            content + content,
            content.replace(b'"', b"'"),
            content + "# caf\u00e9".encode("cp1252"),
        )
    )


def variant(table: Table, rng: random.Random) -> bytes:
    """The bytes of a file with one to three mistakes."""
    table = copy.deepcopy(table)
    if rng.random() < 0.15:
        return spoil_text(text_of(table).encode(), rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        spoil(table, rng)
        if not table:
            break
    return text_of(table).encode()


def judged(code: int, said: str, made: bool) -> str:
    """What a variant is: see `Outcome`."""
    if code not in (0, 1, 2) or "Traceback" in said:
        return "traceback"
    if code != 2:
        return "ran"
    if made:
        return "late error"
    lines = [line for line in said.splitlines() if line.startswith(("error: ", "fix: "))]
    return "typed error" if len(lines) == 2 else "no mend"


def outcomes(variants: int, seed: int, only: Sequence[str] = ()) -> Iterator[Outcome]:
    """Each variant in a folder of its own, in turns from the kinds."""
    used = [kind for kind in kinds() if not only or kind.name in only]
    torch.set_num_threads(1)
    for number in range(variants):
        kind, rng = used[number % len(used)], random.Random(f"{seed} {number}")
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            write_data(Path())
            path = Path("config.toml")
            path.write_bytes(text_of(kind.table).encode() if number < len(used) else variant(kind.table, rng))
            code, said = kind.run(path)
            made = Path(kind.made)
            has_made = any(made.iterdir()) if made.is_dir() else made.exists()
            yield Outcome(kind.name, judged(code, said, has_made), said, path.read_bytes())


def main() -> None:
    """Print how many gave what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=(), choices=[kind.name for kind in kinds()])
    options = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes(options.variants, options.seed, options.only):
        counts[outcome.kind, outcome.what] += 1
        if outcome.what not in ("typed error", "ran"):
            print(f"{outcome.kind}: {outcome.what}: {outcome.said.strip()!r}\n  {outcome.text!r}")
    for (kind, what), count in sorted(counts.items()):
        print(f"{kind}: {what}: {count}")
    found = Counter({what: sum(n for (_, each), n in counts.items() if each == what) for _, what in counts})
    print(f"{options.variants} variants, seed {options.seed}: " + ", ".join(f"{n} {what}" for what, n in found.items()))
    sys.exit(any(what not in ("typed error", "ran") for what in found))


if __name__ == "__main__":
    main()
