"""The command line; see the package."""

import argparse
import json
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import benchmarks.label_fusion as package
from benchmarks.label_fusion import tables
from benchmarks.label_fusion.fitting import POWERS, family_elo, fit_fusion, held_out_opinions
from benchmarks.label_fusion.images import measure, read_rows
from drmetric.cli.console import show
from drmetric.data.make.labels import Fusion

BUNDLED = Path(str(files("drmetric.data.make"))) / "fusion.json"


def fit(human: Path, output: Path, powers: dict[str, float]) -> Fusion:
    """Fit and print how the fusion does where it was not fitted."""
    kadid, restored = (read_rows((output / folder).glob("*.jsonl")) for folder in ("kadid10k", "restored"))
    tid, srij = (read_rows([output / f"{name}.jsonl"]) for name in ("tid2013", "srij"))
    elo = family_elo(human / "labels" / "pipal_by_category_variant.csv")

    def fitted(chosen: dict[str, float]) -> tuple[Fusion, list[float]]:
        return fit_fusion(kadid, restored, elo, chosen), held_out_opinions(kadid, restored, elo, chosen)

    fusion, held_out = fitted(powers)
    print(fusion)
    show(tables.agreement(fusion, held_out, kadid, tid, srij))
    show(tables.by_type(kadid, held_out))
    show(tables.families(fusion, restored, elo))
    show(tables.enlargements(fusion, restored))
    if powers == POWERS:
        show(tables.without_each_term(fitted, powers, kadid, tid, srij))
    return fusion


def main() -> None:
    """Measure, fit or bound."""
    parser = argparse.ArgumentParser(description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["measure", "fit", "try", "ceiling"])
    parser.add_argument("terms", nargs="*", metavar="FEATURE=POWER", help="to add, or another power; =0 takes one out")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--human", type=Path, default=Path("runs/human"), help="folder of labels/ and human/")
    parser.add_argument("--output", type=Path, default=Path("runs/fusion"))
    parser.add_argument("--contents", type=int, default=16)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if bool(options.terms) != (options.command == "try"):
        parser.error("terms belong to try: label_fusion try mdsi=2")
    if options.command == "fit":
        BUNDLED.write_text(json.dumps(asdict(fit(options.human, options.output, POWERS)), indent=1) + "\n")
    elif options.command == "try":
        given = {name: float(power) for name, _, power in (term.partition("=") for term in options.terms)}
        fit(options.human, options.output, {name: power for name, power in (POWERS | given).items() if power})
    elif options.command == "ceiling":
        show(tables.ceiling(read_rows([options.output / "srij.jsonl"]), list(POWERS)))
    elif options.photographs:
        measure(options.photographs, options.human, options.output, options.contents, options.side, options.workers)
    else:
        parser.error("measure needs --photographs")


if __name__ == "__main__":
    main()
