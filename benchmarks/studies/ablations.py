"""What each part of the distillation is worth, and the search for what to train: variants of one recipe, trained alike.

    python -m benchmarks.studies.ablations RECIPE runs/ablations --steps 700 --judged-on runs/corpus-restorers
    python -m benchmarks.studies.ablations RECIPE runs/search --steps 300 --search

RECIPE is driqa-ablations.toml, or driqa-search.toml for the search, of benchmarks/recipes/ablations.

Prints the mean SRCC within content of each variant and its difference from the recipe's own, with 95 % intervals
from a bootstrap over contents, the difference paired.
The parts are judged on test contents, the search on validation contents, of the recipe's own data or of another corpus.
"--faithful" leaves those out that were made unfaithful. A variant that is trained already is not trained again.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.reporting import add_output, mean_of, report
from benchmarks.studies.variants import Changes, trained, variant
from drmetric import create
from drmetric.bench.tables import Column, Table
from drmetric.data.make.building import read_manifest
from drmetric.data.rated import RatedTriplet, read_triplets
from drmetric.distill.datasets.triplets import triplets_of
from drmetric.distill.recipe import Recipe
from drmetric.images import read_image
from drmetric.statistics import srcc

ALONE = {"teacher": 0.0, "distillation": 0.0}
VARIANTS: dict[str, Changes] = {
    "distillation": {},
    "degraded reference, no teacher": {"train": ALONE},
    "distillation after relative pre-training": {"train": {"relative_steps": 100}},
    "no reference": {"network": {"blind": True}, "train": ALONE},
    "pristine reference": {"train": {"student": 0.0, "distillation": 0.0}},
}
SEARCH: dict[str, Changes] = {
    "as it is": {},
    "rate 1.5e-3": {"train": {"rate": 1.5e-3}},
    "batch norm": {"train": {"batch_norm": True, "weight_norm": False}},
    "head to stride 32": {"network": {"head_stages": 3}},
    "one embedding for image and reference": {"network": {"shared_embedding": True}},
    "no ranking loss": {"train": {"ranking": 0.0}},
    "patches of 96": {"train": {"patch": 96}},
    "noise loss": {"train": {"noise": 0.3}},
    "degraded images of other sizes": {"train": {"reduced_share": 0.5}},
    "restored image beside the residual": {"network": {"beside": True}},
    "all scales of the head": {"network": {"multi_scale": True}},
    "ranking of near images": {"train": {"ranking_range": 3000.0}},
}


def within_content(weights: Path, triplets: list[RatedTriplet], pristine: bool) -> list[float]:
    """SRCC within each content, in the contents' order of name."""
    metric = create("driqa", weights=weights)
    contents: dict[str, tuple[list[float], list[float]]] = {}
    for triplet in sorted(triplets, key=lambda t: t.content):
        reference = read_image(triplet.pristine if pristine else triplet.degraded)[None]
        with torch.no_grad():
            score = float(metric(read_image(triplet.restored)[None], reference)[0])
        scores, labels = contents.setdefault(triplet.content, ([], []))
        scores.append(score)
        labels.append(triplet.score)
    return [srcc(*pair) for pair in contents.values()]


def unfaithful(corpus: Path) -> set[Path]:
    """The images of a corpus that were made into restorations of something else."""
    records = read_manifest(corpus / "manifest.jsonl")
    return {corpus / record["restored"] for record in records if record["restorer"]["name"] == "unfaithful"}


COLUMNS = (
    Column("variant", "variant"),
    Column("srcc", "SRCC within content", "+.3f", "shown"),
    Column("difference", "difference", "+.3f", "shown"),
)


def compared_within(judged: dict[str, np.ndarray], title: str) -> Table:
    """Each one's mean SRCC within content and its paired difference from the first one."""
    first = next(iter(judged.values()))
    rows = [
        {"variant": name, "srcc": mean_of(values.tolist()), "difference": mean_of((values - first).tolist())}
        for name, values in judged.items()
    ]
    return Table(COLUMNS, rows, title)


def main() -> None:
    """Train the variants and judge them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("runs", type=Path, help="folder of the trainings")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--only", nargs="*", help="some of the variants; the first one is what the others differ from")
    parser.add_argument("--judged-on", type=Path, metavar="CORPUS", help="in place of the recipe's own data")
    parser.add_argument(
        "--faithful", action="store_true", help="judge on the images there that were not made unfaithful"
    )
    add_output(parser)
    options = parser.parse_args()
    base = Recipe.read(options.recipe)
    variants, split = (SEARCH, "validation") if options.search else (VARIANTS, "test")
    chosen = options.only or list(variants)
    judges = options.judged_on
    triplets = read_triplets("corpus", judges, split) if judges else triplets_of(base.data, split)
    if options.faithful:
        if not judges:
            parser.error("--faithful wants --judged-on CORPUS")
        out = unfaithful(judges)
        triplets = [triplet for triplet in triplets if triplet.restored not in out]
    options.runs.mkdir(parents=True, exist_ok=True)
    judged = {}
    for name in chosen:
        weights = trained(variant(base, variants[name], options.steps), name, options.runs)
        judged[name] = np.array(within_content(weights, triplets, name == "pristine reference"))
    contents = len({t.content for t in triplets})
    title = f"{options.steps} steps each; {len(triplets)} images of {contents} {split} contents"
    report(compared_within(judged, title), options.output)


if __name__ == "__main__":
    main()
