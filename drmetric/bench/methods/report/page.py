"""A methods board as one HTML file that needs nothing else: no network, no fonts, no folder of images."""

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.files import DEGRADED, TRUTH
from drmetric.bench.methods.ranking import Standing
from drmetric.bench.methods.report.places import Place, choose, encode
from drmetric.bench.methods.report.plots import agreements, courses, distributions
from drmetric.bench.methods.tables import decimals, failures, interval, is_best, is_tied, number, remarks, shortfall
from drmetric.errors import MissingDependencyError

if TYPE_CHECKING:
    from jinja2 import Environment

METRICS_UNDER_A_CROP = 3


@dataclass(frozen=True)
class Cell:
    """A figure of the table: what to show, and what to sort by (None sorts last)."""

    text: str
    interval: str
    shortfall: str
    mark: str
    value: float | None


@dataclass(frozen=True)
class Column:
    """A metric's column: its label and the direction of its figures."""

    label: str
    higher_is_better: bool


def to_html(board: MethodBoard, facts: dict[str, str]) -> str:
    """The page; `facts` (versions, device, seed, ...) are listed at its end."""
    places = choose(board)
    uris, image_format = encode(places)
    template = _environment().get_template("report.html.j2")
    return template.render(
        board=board,
        columns=[Column(judge.label, judge.metric.higher_is_better) for judge in board.scores.judges],
        rows=_rows(board),
        metrics=_metrics(board),
        remarks=remarks(board),
        distributions=distributions(board),
        courses=courses(board),
        agreements=agreements(board),
        places=[_place(board, place, of) for place, of in zip(places, uris, strict=True)],
        image_format=image_format,
        failures=failures(board),
        facts=facts,
    )


@cache
def _environment() -> "Environment":
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingDependencyError("the HTML report needs jinja2", "pip install 'drmetric[bench]'") from error
    environment = Environment(
        loader=PackageLoader("drmetric.bench.methods.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shortened"] = shortened
    return environment


def shortened(name: str, length: int) -> str:
    """At most `length` characters: of longer names the beginning and the end, where those of one family differ.

    >>> shortened("realesr_general_wdn_x4v3", 18)
    'realesr_g…wdn_x4v3'
    """
    if len(name) <= length:
        return name
    end = (length - 1) // 2
    return f"{name[: length - 1 - end]}…{name[-end:]}"


def _rows(board: MethodBoard) -> list[tuple[str, float, list[Cell]]]:
    """Method, mean rank and cells, best mean rank first."""
    ranking = board.ranking
    return [
        (
            board.scores.methods[method],
            float(ranking.mean_ranks[method]),
            [_cell(standings[method], decimals(standings)) for standings in ranking.standings],
        )
        for method in ranking.order
    ]


def _cell(standing: Standing, places: int) -> Cell:
    return Cell(
        text=number(standing.mean, places) or "–",
        interval=interval(standing, places),
        shortfall=shortfall(standing),
        mark="best" if is_best(standing) else "tied" if is_tied(standing) else "",
        value=standing.mean if math.isfinite(standing.mean) else None,
    )


def _metrics(board: MethodBoard) -> list[dict[str, str]]:
    """What each metric is, compares with and costs."""
    rows = []
    for judge, standings in zip(board.scores.judges, board.ranking.standings, strict=True):
        timed = sorted(standing.seconds for standing in standings if math.isfinite(standing.seconds))
        rows.append(
            {
                "label": judge.label,
                "reference": {"degraded": DEGRADED, "truth": TRUTH, "none": "nothing"}[judge.reference],
                "better": "higher" if judge.metric.higher_is_better else "lower",
                "seconds": f"{timed[len(timed) // 2]:.3g}" if timed else "",
                "signature": judge.metric.signature,
            }
        )
    return rows


def _place(board: MethodBoard, place: Place, uris: dict[str, str]) -> dict[str, Any]:
    """What the script of the page needs to show a place."""
    judges, found = board.scores.judges, place.disagreement
    shown = list(found.metrics) if found else list(range(min(len(judges), METRICS_UNDER_A_CROP)))
    return {
        "image": board.scores.images[place.image],
        "kind": "metrics" if found else "methods",
        "why": _why(board, place),
        "method": board.scores.methods[found.methods[0]] if found else None,
        "height": place.size[0],
        "width": place.size[1],
        "panels": [
            {
                "name": name,
                "role": "method" if name in board.scores.methods else "reference",
                "uri": uri,
                "scores": _scores_of(board, name, place.image, shown),
            }
            for name, uri in uris.items()
        ],
    }


def _why(board: MethodBoard, place: Place) -> str:
    if place.disagreement is None:
        return "the outputs differ most here"
    first, second = (board.scores.judges[metric].label for metric in place.disagreement.metrics)
    better, other = (board.scores.methods[method] for method in place.disagreement.methods)
    return f"{first} prefers {better}, {second} prefers {other}"


def _scores_of(board: MethodBoard, name: str, image: int, metrics: list[int]) -> str:
    if name not in board.scores.methods:
        return ""
    method = board.scores.methods.index(name)
    texts = [
        f"{board.scores.judges[metric].label} {number(float(board.scores.values[metric, method, image]), 3) or 'none'}"
        for metric in metrics
    ]
    return " · ".join(texts)
