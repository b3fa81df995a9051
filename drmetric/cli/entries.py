"""Metrics as an option of a command names them, of `drmetric score` and `drmetric bench methods`."""

from typing import TYPE_CHECKING

from drmetric.errors import InputError

if TYPE_CHECKING:
    from drmetric.bench.judges import Entry


def metric_entry(text: str) -> "Entry":
    """The entry of a --metric; raises an `InputError` with the name that was meant where there is no such metric."""
    from drmetric.bench.judges import Entry

    entry = Entry.parse(text)
    check_name(entry.name, "--metric {}")
    return entry


def check_name(name: str, words: str) -> None:
    """Raise an `InputError` unless a metric has the name; its fix are the words with the name that was meant."""
    from drmetric.metrics.registry import PYIQA, available, meant, metric_class

    try:
        metric_class(name)
    except InputError as error:
        if name in available() or name.startswith(PYIQA):
            raise
        found = meant(name)
        more = "  # if pyiqa has it; else see drmetric list" if found.startswith(PYIQA) else ""
        raise InputError(error.problem, words.format(found) + more) from error
