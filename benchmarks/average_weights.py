"""The mean of several weights of one network that were trained on from the same ones, judged on a validation split.

    python -m benchmarks.average_weights nriqa-mobile averaged.safetensors biq2021=$DRMETRIC_BIQ2021 FILE FILE ...
    python -m benchmarks.average_weights driqa averaged.safetensors corpus=runs/corpus-restorers FILE FILE ...

Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482. Prints the SRCC (of driqa within contents) of the mean and
of each file on the validation split, with 95 % intervals over contents; which one to keep is then chosen there. A file
may be a checkpoint (.ckpt) of `drmetric train`, whose weights are written beside it. The mean has neither
the calibration nor the uncertainty of its files: `benchmarks.calibrate` and `benchmarks.calibrate_uncertainty` give it
its own.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.studies.ablations import compared_within, within_content
from benchmarks.studies.comparison import compare
from benchmarks.studies.variants import load, scores
from drmetric.checkpoints import find_weights, read_weights, write_weights
from drmetric.cli.console import show
from drmetric.data.rated import read_opinions, read_triplets
from drmetric.distill.trainer import export


def average(metric: str, files: list[str], output: Path) -> Path:
    """Write the mean of the states of these weights, which are of one network."""
    read = [read_weights(find_weights(metric, file), metric) for file in files]
    networks = [{key: value for key, value in config.items() if key != "calibration"} for config, _ in read]
    network = networks[0]
    for file, other in zip(files, networks, strict=True):
        if other != network:
            raise SystemExit(f"{file} holds another network than {files[0]}: {other}")
    state = {key: torch.stack([each[key] for _, each in read]).mean(0) for key in read[0][1]}
    if "uncertainty" in state:
        state["uncertainty"] = torch.zeros(2)
    write_weights(output, metric, network, state, {"mean of": " ".join(Path(file).stem for file in files)})
    return output


def main() -> None:
    """Average the files and judge all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metric")
    parser.add_argument("output", type=Path)
    parser.add_argument("set", metavar="KIND=FOLDER")
    parser.add_argument("files", nargs="+", metavar="FILE")
    options = parser.parse_args()
    kind, _, folder = options.set.partition("=")
    files = [
        str(export(Path(f), Path(f).with_suffix(".safetensors"))) if f.endswith(".ckpt") else f for f in options.files
    ]
    judged_files = [str(average(options.metric, files, options.output)), *files]
    stems = [Path(file).stem for file in judged_files]
    judged = {s if stems.count(s) == 1 else f: Path(f) for s, f in zip(stems, judged_files, strict=True)}
    if kind == "corpus":
        triplets = read_triplets(kind, Path(folder), "validation")
        within = {name: np.array(within_content(file, triplets, pristine=False)) for name, file in judged.items()}
        contents = len({t.content for t in triplets})
        show(compared_within(within, f"{len(triplets)} images of {contents} validation contents"))
        return
    rated = read_opinions(kind, Path(folder), "validation")
    columns = {name: scores(load(options.metric, file, None), rated) for name, file in judged.items()}
    compare(f"{kind}, validation", columns, [each.score for each in rated], [each.content for each in rated])


if __name__ == "__main__":
    main()
