"""Metrics as an option of a command names them, of `drmetric score` and `drmetric bench methods`."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from drmetric.errors import InputError

if TYPE_CHECKING:
    from drmetric.bench.judges import Entry


def metric_entry(text: str) -> "Entry":
    """The entry of a --metric; raises an `InputError` with the name that was meant where there is no such metric."""
    from drmetric.bench.judges import Entry
    from drmetric.metrics.registry import PYIQA, available, metric_class

    entry = Entry.parse(text)
    try:
        metric_class(entry.name)
    except InputError as error:
        if entry.name in available() or entry.name.startswith(PYIQA):
            raise
        raise InputError(error.problem, f"--metric {_meant(entry.name, available())}") from error
    return entry


def _meant(name: str, known: Sequence[str]) -> str:
    """The metric that an unknown name was probably meant to be."""
    by_form = {_form(each): each for each in known}
    near = get_close_matches(_form(name), by_form, 1, cutoff=0.75)
    return by_form[near[0]] if near else f"pyiqa:{name.lower()}  # if pyiqa has it; else see drmetric list"


def _form(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
