"""A methods board as one HTML file that needs nothing else: no network, no fonts, no folder of images."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.report.places import Place, choose, encode
from drmetric.bench.methods.report.plots import agreements, courses, distributions
from drmetric.bench.methods.report.story import findings, headline, subject
from drmetric.bench.methods.tables import consistency, decimals, failures, metrics, results
from drmetric.bench.tables import number
from drmetric.errors import optional
from drmetric.metrics.consistency import GUARDS
from drmetric.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def to_html(board: MethodBoard, facts: dict[str, str]) -> str:
    """The page; `facts` (versions, device, seed, ...) are listed at its end."""
    places = choose(board)
    uris, image_format = encode(places)
    template = _environment().get_template("report.html.j2")
    return template.render(
        board=board,
        headline=headline(board),
        subject=subject(board),
        findings=findings(board),
        results=results(board),
        lead=2 + board.ranking.lead,
        metrics=metrics(board),
        labels=[judge.head for judge in board.scores.judges],
        distributions=distributions(board),
        courses=courses(board),
        agreements=agreements(board),
        places=[_printed(_place(board, place, of)) for place, of in zip(places, uris, strict=True)],
        image_format=image_format,
        failures=failures(board),
        facts=facts,
    )


@cache
def _environment() -> "Environment":
    jinja2 = optional("jinja2", "bench", "the HTML report")
    environment: Environment = jinja2.Environment(
        loader=jinja2.PackageLoader("drmetric.bench.methods.report"),
        autoescape=True,
        finalize=_plain,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shortened"] = shortened
    return environment


def _plain(value: Any) -> Any:
    """What a template is given, without line ends, escapes and other directions; what it made itself as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value)
    return value


def shortened(name: str, length: int) -> str:
    """At most `length` characters: of longer names the beginning and the end, where those of one family differ.

    >>> shortened("realesr_general_wdn_x4v3", 18)
    'realesr_g…wdn_x4v3'
    """
    if len(name) <= length:
        return name
    end = (length - 1) // 2
    return f"{name[: length - 1 - end]}…{name[-end:]}"


def _printed(value: Any) -> Any:
    """Every text of nested lists and dictionaries on one line."""
    if isinstance(value, dict):
        return {key: _printed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_printed(each) for each in value]
    return _plain(value)


def _place(board: MethodBoard, place: Place, uris: dict[str, str]) -> dict[str, Any]:
    """What the script of the page needs to show a place; `pair` is what it shows first."""
    methods, found = board.scores.methods, place.disagreement
    pair = [name for name in uris if name not in methods][:1] + [name for name in uris if name in methods]
    if found:
        preferred = [methods[method] for method in found.methods]
        pair = [name for name in preferred if name in uris] + pair
    return {
        "image": board.scores.images[place.image],
        "kind": "metrics" if found else "methods",
        "why": _why(board, place),
        "pair": pair[:2],
        "height": place.size[0],
        "width": place.size[1],
        "panels": [
            {
                "name": name,
                "role": "method" if name in methods else "reference",
                "uri": uri,
                "scores": _scores_of(board, methods.index(name), place.image) if name in methods else [],
            }
            for name, uri in uris.items()
        ],
    }


def _why(board: MethodBoard, place: Place) -> str:
    if place.disagreement is None:
        return "the outputs differ most here"
    first, second = (board.scores.judges[metric].head for metric in place.disagreement.metrics)
    better, other = (board.scores.methods[method] for method in place.disagreement.methods)
    return f"{first}: {better} over {other}; {second}: {other} over {better}"


def _scores_of(board: MethodBoard, method: int, image: int) -> list[tuple[str, str, bool]]:
    """Metric, score, and whether no method has a better one, by all metrics and guards."""
    scores = []
    for judge, values, turned, standings in zip(
        board.scores.judges, board.scores.values, board.ranking.values, board.ranking.standings, strict=True
    ):
        text = number(float(values[method, image]), f".{decimals(standings)}f") or "none"
        best = bool(np.isfinite(turned[:, image]).any() and turned[method, image] == np.nanmax(turned[:, image]))
        scores.append((judge.head, text, best and judge.judges_quality))
    for name in consistency(board):
        text = number(float(board.scores.consistency[name][method, image]), ".2f") or "none"
        scores.append((GUARDS[name].title, text, False))
    return scores
