"""The leaderboard's table: a line of statistics a metric, for the terminal, as Markdown and as CSV."""

import csv
import io
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from rich.table import Table

from drmetric.statistics import (
    Array,
    Within,
    bootstrap_by_content,
    holm,
    krcc,
    logistic_fit,
    mean_within,
    pair_accuracy,
    paired_bootstrap,
    plcc,
    rmse,
    srcc,
    worst_for_missing,
)

Interval = tuple[float, float]


@dataclass
class Scores:
    """One metric's scores of all images, in their order; NaN where it failed.

    Attributes:
        metric: its name and options.
        reference: "pristine", "degraded" or "none".
        signature: of the metric; empty where it could not be made.
        higher_is_better: direction of `values`.
        values: (n,) scores as the metric gives them.
        milliseconds: (n,) time of each, without reading the files.
        errors: {image id: what went wrong}.
    """

    metric: str
    reference: str
    signature: str
    higher_is_better: bool
    values: Array
    milliseconds: Array
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Images:
    """What the scores are compared with: (n,) labels, and of each image its content and its degraded input."""

    labels: Array
    contents: list[str]
    inputs: list[str]


@dataclass(frozen=True)
class Line:
    """One metric's agreement with the labels, and its difference from the first metric of the list.

    `srcc`, `krcc` and `pair_accuracy` are means over contents, `srcc_input` is a mean over degraded inputs,
    and `plcc` and `rmse` are pooled, after `logistic_fit`. `difference` is the first metric's `srcc` minus
    this one's. Intervals are 95 % bootstraps over contents.
    """

    metric: str
    reference: str
    n_used: int
    n_given: int
    n_contents: int
    srcc: float
    srcc_interval: Interval
    srcc_input: float
    srcc_input_interval: Interval
    srcc_pooled: float
    srcc_pooled_interval: Interval
    krcc: float
    plcc: float
    plcc_is_linear: bool
    rmse: float
    pair_accuracy: float
    milliseconds: float
    difference: float
    difference_interval: Interval
    p_holm: float
    signature: str


def _mean_of_all(contents: Iterable[list[float]]) -> float:
    values = [value for content in contents for value in content if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")


def _values_by_content(inputs: Within, content_of: dict[Hashable, str]) -> list[list[float]]:
    values: dict[str, list[float]] = {}
    for name, value in inputs.values.items():
        values.setdefault(content_of[name], []).append(value)
    return list(values.values())


def _line(scores: Scores, images: Images, first: Array | None, n_bootstrap: int) -> tuple[Line, Array]:
    """A metric's line, its p value not yet corrected, and its SRCC of each content, as `first` is."""
    labels = images.labels
    values = worst_for_missing(scores.values if scores.higher_is_better else -scores.values)
    contents = mean_within(srcc, values, labels, images.contents)
    by_content = np.array(list(contents.values.values()))
    inputs = mean_within(srcc, values, labels, images.inputs)
    input_values = _values_by_content(inputs, dict(zip(images.inputs, images.contents, strict=True)))
    names = np.array(images.contents)
    rows: list[Any] = [np.flatnonzero(names == content) for content in contents.values]

    def pooled(drawn: list[Any]) -> float:
        chosen = np.concatenate(drawn)
        return srcc(values[chosen], labels[chosen])

    test = paired_bootstrap(by_content if first is None else first, by_content)
    timed = scores.milliseconds[np.isfinite(scores.milliseconds)]
    line = Line(
        metric=scores.metric,
        reference=scores.reference,
        n_used=int(np.isfinite(scores.values).sum()),
        n_given=len(labels),
        n_contents=contents.n_used,
        srcc=contents.mean,
        srcc_interval=bootstrap_by_content([[v] for v in by_content.tolist()], _mean_of_all, n_bootstrap),
        srcc_input=inputs.mean,
        srcc_input_interval=bootstrap_by_content(input_values, _mean_of_all, n_bootstrap),
        srcc_pooled=srcc(values, labels),
        srcc_pooled_interval=bootstrap_by_content(rows, pooled, n_bootstrap),
        krcc=mean_within(krcc, values, labels, images.contents).mean,
        plcc=plcc(values, labels),
        plcc_is_linear=logistic_fit(values, labels).is_linear,
        rmse=rmse(values, labels),
        pair_accuracy=mean_within(pair_accuracy, values, labels, images.contents).mean,
        milliseconds=float(np.median(timed)) if timed.size else float("nan"),
        difference=test.difference,
        difference_interval=(test.low, test.high),
        p_holm=test.p_value,
        signature=scores.signature,
    )
    return line, by_content


def compare(scores: Sequence[Scores], images: Images, n_bootstrap: int = 1000) -> list[Line]:
    """The lines of the table, in the order of `scores`; all but the first are tested against the first."""
    first, first_by_content = _line(scores[0], images, None, n_bootstrap)
    others = [_line(each, images, first_by_content, n_bootstrap)[0] for each in scores[1:]]
    corrected = holm([line.p_holm for line in others]).tolist()
    nan = float("nan")
    first = replace(first, difference=nan, difference_interval=(nan, nan), p_holm=nan)
    return [first, *(replace(line, p_holm=p) for line, p in zip(others, corrected, strict=True))]


def _number(value: float, form: str = ".3f") -> str:
    return "" if np.isnan(value) else format(value, form)


def _with_interval(value: float, interval: Interval) -> str:
    low, high = (_number(end) for end in interval)
    return f"{_number(value)} [{low}, {high}]" if low else _number(value)


COLUMNS: dict[str, Callable[[Line], str]] = {
    "metric": lambda line: line.metric,
    "reference": lambda line: line.reference,
    "n used/given": lambda line: f"{line.n_used}/{line.n_given}",
    "contents": lambda line: str(line.n_contents),
    "SRCC in content [95 %]": lambda line: _with_interval(line.srcc, line.srcc_interval),
    "SRCC in input": lambda line: _number(line.srcc_input),
    "SRCC pooled": lambda line: _number(line.srcc_pooled),
    "KRCC in content": lambda line: _number(line.krcc),
    "PLCC pooled": lambda line: _number(line.plcc) + ("*" if line.plcc_is_linear else ""),
    "pairs in content": lambda line: _number(line.pair_accuracy),
    "ms/image": lambda line: _number(line.milliseconds, ".1f"),
    "difference from first [95 %]": lambda line: _with_interval(line.difference, line.difference_interval),
    "p (Holm)": lambda line: _number(line.p_holm, ".4f"),
}


@dataclass(frozen=True)
class Board:
    """A finished leaderboard.

    Attributes:
        title: data set, split and numbers of images and contents, in words.
        note: how the figures were made.
        lines: in the order of the list of metrics.
        errors: (metric, image id, what went wrong).
    """

    title: str
    note: str
    lines: list[Line]
    errors: list[tuple[str, str, str]]

    @property
    def ranked(self) -> list[Line]:
        """Best SRCC within contents first, undefined ones last."""
        return sorted(self.lines, key=lambda line: (np.isnan(line.srcc), -line.srcc))

    def to_rich(self) -> Table:
        """The table for a terminal."""
        table = Table(*COLUMNS, title=self.title, caption=self.note)
        for line in self.ranked:
            table.add_row(*(cell(line) for cell in COLUMNS.values()))
        return table

    def to_markdown(self) -> str:
        """Title, table and note."""
        rows = [list(COLUMNS), ["---"] * len(COLUMNS)]
        rows += [[cell(line) for cell in COLUMNS.values()] for line in self.ranked]
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        return f"{self.title}\n\n{table}\n\n{self.note}\n"

    def to_csv(self) -> str:
        """Every field of every line, at full precision; an interval makes two columns, _low and _high."""
        text = io.StringIO()
        rows = [_flat(line) for line in self.ranked]
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def _flat(line: Line) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in asdict(line).items():
        if key.endswith("_interval"):
            stem = key.removesuffix("_interval")
            row[f"{stem}_low"], row[f"{stem}_high"] = value
        else:
            row[key] = value
    return row
