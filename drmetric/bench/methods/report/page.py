"""A methods board as one HTML file that needs nothing else: no network, no fonts, no folder of images."""

from functools import cache
from typing import TYPE_CHECKING, Any

from drmetric.bench.methods.board import MethodBoard
from drmetric.bench.methods.report.places import Place, choose, encode
from drmetric.bench.methods.report.plots import agreements, courses, distributions
from drmetric.bench.methods.tables import failures, metrics, results
from drmetric.bench.tables import number
from drmetric.errors import optional

if TYPE_CHECKING:
    from jinja2 import Environment

METRICS_UNDER_A_CROP = 3


def to_html(board: MethodBoard, facts: dict[str, str]) -> str:
    """The page; `facts` (versions, device, seed, ...) are listed at its end."""
    places = choose(board)
    uris, image_format = encode(places)
    template = _environment().get_template("report.html.j2")
    return template.render(
        board=board,
        results=results(board),
        metrics=metrics(board),
        labels=[judge.label for judge in board.scores.judges],
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
    jinja2 = optional("jinja2", "bench", "the HTML report")
    environment: Environment = jinja2.Environment(
        loader=jinja2.PackageLoader("drmetric.bench.methods.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
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
        f"{board.scores.judges[metric].label} {number(board.scores.values[metric, method, image], '.3f') or 'none'}"
        for metric in metrics
    ]
    return " · ".join(texts)
