"""What teacher, judge, reference and adaptive weights are worth: variants of a recipe, trained and judged alike.

    python -m benchmarks.studies.variants weights/nriqa-akd-3/recipe.toml runs/variants conditions=runs/conditions
        biq2021=$DRMETRIC_BIQ2021 live_itw=$DRMETRIC_LIVE_ITW:all

Each set is KIND=FOLDER, its test split, or all of it behind ":all". Prints the SRCC of each variant on each set, and by
how much the recipe's own exceeds it, with 95 % intervals over contents, the difference paired. A variant that is
trained already is not trained again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.reporting import add_output, keep_settings, write
from benchmarks.studies.comparison import COLUMNS, compare
from drmetric import NARIQA, NRIQA
from drmetric.bench.tables import Column, Table
from drmetric.data.rated import RatedImage, read_opinions
from drmetric.distill.recipe import Recipe
from drmetric.distill.trainer import train
from drmetric.images import read_image
from drmetric.images.files import list_images
from drmetric.metrics.base import Metric

Changes = dict[str, dict[str, Any]]
ALONE: dict[str, Any] = {"teacher_weights": ""}
UNJUDGED: Changes = {"data": {"judge": ""}}
VARIANTS: dict[str, dict[str, Changes]] = {
    "nariqa": {
        "distilled": {},
        "no distillation": {"train": ALONE},
        "no reference, no distillation": {"network": {"blind": True}, "train": ALONE},
        "no judge": UNJUDGED,
    },
    "nriqa-akd": {
        "adaptive level weights": {},
        "fixed level weights": {"train": {"level_floor": 1.0}},
        "no distillation": {"train": ALONE},
        "no judge": UNJUDGED,
    },
    "nriqa-mobile": {"distilled": {}, "no distillation": {"train": ALONE}},
}


def toml(recipe: dict[str, Any]) -> str:
    """A recipe's nested dictionary as TOML; JSON's scalars and lists are TOML's."""
    lines = [f'metric = "{recipe["metric"]}"']
    tables = [("[[data]]", each) for each in recipe["data"]]
    for header, table in [*tables, ("[network]", recipe["network"]), ("[train]", recipe["train"])]:
        lines += [header, *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def variant(base: Recipe, changes: Changes, steps: int) -> dict[str, Any]:
    """The recipe with its changes, shortened to `steps`; without a validation, so that the last state is judged."""
    table = base.as_dict()
    for section, values in changes.items():
        parts = table[section]
        for each in parts if isinstance(parts, tuple) else [parts]:
            each.update(values)
    table["train"].update(steps=steps, validate_every=steps + 1)
    return table


def trained(recipe: dict[str, Any], name: str, output: Path) -> Path:
    """The weights of a recipe, trained below `output` unless they are there; exits where these are of another one."""
    stem = name.replace(",", "").replace(" ", "-")
    weights, file = output / stem / f"{stem}.safetensors", output / f"{stem}.toml"
    keep_settings(file, toml(recipe))
    if not weights.exists():
        train(file, output=output / stem, resume=True)
    return weights


def load(metric: str, weights: Path, bank: Path | None) -> Metric:
    """The metric of a recipe with these weights, NARIQA beside the references of a folder."""
    if metric != "nariqa":
        return NRIQA(metric.removeprefix("nriqa-"), weights)  # type: ignore[arg-type]
    return NARIQA(weights).set_references([read_image(file)[None] for file in list_images(bank)] if bank else None)


def scores(metric: Metric, rated: list[RatedImage]) -> list[float]:
    """Of each image."""
    with torch.no_grad():
        return [float(metric(read_image(each.image)[None])[0]) for each in rated]


def main() -> None:
    """Train the variants and judge them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("runs", type=Path, help="folder of the trainings")
    parser.add_argument("sets", nargs="+", metavar="KIND=FOLDER")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--only", nargs="*", help="some of the variants; the first one is what the others differ from")
    parser.add_argument("--bank", type=Path, help="folder of references, for nariqa")
    add_output(parser)
    options = parser.parse_args()
    base = Recipe.read(options.recipe)
    options.runs.mkdir(parents=True, exist_ok=True)
    metrics: dict[str, Metric] = {}
    for name in options.only or VARIANTS[base.metric]:
        recipe = variant(base, VARIANTS[base.metric][name], options.steps)
        weights = trained(recipe, f"{base.metric}-{name}", options.runs)
        metrics[name] = load(base.metric, weights, options.bank)
    rows = []
    for given in options.sets:
        kind, _, place = given.partition("=")
        folder, _, whole = place.partition(":")
        rated = read_opinions(kind, Path(folder), None if whole == "all" else "test")
        columns = {name: scores(metric, rated) for name, metric in metrics.items()}
        opinions, contents = [each.score for each in rated], [each.content for each in rated]
        compared = compare(f"{kind}, {options.steps} steps each", columns, opinions, contents)
        rows += [{"set": kind, "n": len(rated), **row} for row in compared]
    write(Table([Column("set"), Column("n"), *COLUMNS], rows), options.output)


if __name__ == "__main__":
    main()
