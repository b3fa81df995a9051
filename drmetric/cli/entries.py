"""Metrics as an option of a command names them, of `drmetric score` and `drmetric bench methods`."""

import re
from typing import TYPE_CHECKING

from drmetric.errors import ConfigError, InputError, quoted

if TYPE_CHECKING:
    from drmetric.bench.judges import Entry


def metric_entry(text: str) -> "Entry":
    """The entry of a --metric.

    Raises:
        InputError: there is no such metric, or it has no such option or reference, with what was meant.
    """
    from drmetric.bench.judges import Entry

    entry = Entry.parse(text)
    check_name(entry.name, "--metric {}")
    _check_options(entry, text)
    try:
        entry.meets()
    except ConfigError as error:
        raise InputError(error.problem, f"--metric {entry.name}") from error
    return entry


def _check_options(entry: "Entry", text: str) -> None:
    """Raise an `InputError` unless the metric has all options by name."""
    from drmetric.metrics.registry import meant_option, metric_class, takes, unknown_options

    unknown = unknown_options(metric_class(entry.name), entry.options)
    if not unknown:
        return
    meant = {option: meant_option(option, known) for option, known in unknown.items()}
    if not all(meant.values()):
        text = entry.name
    for option, right in meant.items():
        text = re.sub(rf"(?<=[(,\s]){re.escape(option)}(?=\s*=)", right, text, count=1)
    raise InputError(f"{entry.name} has no option {next(iter(unknown))!r}{takes(unknown)}", quoted("--metric", text))


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
