"""How benchmarks report: means over contents with their intervals, tables on the terminal and as CSV."""

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from drmetric.bench.tables import Cell, Table
from drmetric.cli.console import show
from drmetric.statistics import bootstrap_by_content


def mean_of(values: Sequence[float], n: int = 5000) -> Cell:
    """The mean of one value a content and its 95 % interval, from `n` bootstraps over contents; blank for none."""
    return Cell(fmean(values), *bootstrap_by_content(list(values), fmean, n)) if values else Cell()


def stack() -> str:
    """What measured times depend on, as results' files are named."""
    return f"torch{torch.__version__.split('+')[0]}-{platform.machine()}-{torch.get_num_threads()}threads"


def add_output(parser: argparse.ArgumentParser) -> None:
    """The option that `report` takes; a file that is there is refused before anything is measured."""
    parser.add_argument("-o", "--output", type=_new_file, metavar="CSV", help="also write the table to a new file")


def report(table: Table, output: Path | None) -> None:
    """Print a table and, where a file is given, write it."""
    show(table)
    write(table, output)


def write(table: Table, output: Path | None) -> None:
    """Write a table at full precision where a file is given, which must be new."""
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("x", encoding="utf-8") as file:
            file.write(table.to_csv())
        print(output)


def _new_file(given: str) -> Path:
    if Path(given).exists():
        raise argparse.ArgumentTypeError(f"{given} is there already: give a new name")
    return Path(given)


def keep_settings(file: Path, settings: str) -> None:
    """Write down what the results beside the file are made with; exit where they were made with something else."""
    if file.exists() and file.read_text(encoding="utf-8") != settings:
        raise SystemExit(f"what lies beside {file} was made with other settings, which it holds: take another folder")
    file.write_text(settings, encoding="utf-8")
