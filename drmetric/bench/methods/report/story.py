"""What a board found, in sentences: the head of its page."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from drmetric.bench.composites import Composite
from drmetric.bench.methods.board import FEW, MethodBoard
from drmetric.bench.methods.ranking import Standing
from drmetric.bench.methods.tables import decimals, doubts, listed, loss, losses
from drmetric.bench.tables import number
from drmetric.metrics.consistency import DOUBTFUL, GUARDS


def headline(board: MethodBoard) -> str:
    """Which method is best, of how many, by what, and what is tied with it."""
    metric, best = board.scores.judges[board.ranking.lead].head, _best(board)
    if not best.has_mean:
        return f"No method has a mean by {metric}"
    count = len(board.scores.methods)
    if count == 1:
        return f"{best.method} scores {_figure(board, best)} by {metric}"
    if not any(each.has_mean for each in _in_order(board)[1:]):
        return f"Only {best.method} of {count} methods has a mean by {metric}"
    tied = [each.method for each in _in_order(board)[1:] if each.tied]
    if len(tied) == count - 1:
        return f"{best.method} is best of {count} methods by {metric}, but none differs from it significantly"
    with_it = listed(tied) if len(tied) < 3 else f"{len(tied)} others"
    return f"{best.method} is best of {count} methods by {metric}" + (f", tied with {with_it}" if tied else "")


def subject(board: MethodBoard) -> str:
    """How much was compared, on what, and when."""
    return f"{board.name}: {board.title}. {board.made.day} {board.made:%B} {board.made.year}"


def findings(board: MethodBoard) -> list[str]:
    """Figures of the best, what other metrics prefer, where they agree, and what casts doubt on it."""
    count = len(board.pictures)
    few = [f"With {count} image{'s' if count > 1 else ''} intervals and tests say little."] if count < FEW else []
    return [*_lead(board), *_preferences(board), *_extremes(board), *_consistency(board), *losses(board), *few]


def _in_order(board: MethodBoard) -> list[Standing]:
    return [board.ranking.leading[method] for method in board.ranking.order]


def _best(board: MethodBoard) -> Standing:
    return _in_order(board)[0]


def _figure(board: MethodBoard, standing: Standing) -> str:
    """Mean, interval and failures by the leading metric."""
    form = f".{decimals(board.ranking.leading)}f"
    low, high = (number(end, form) for end in (standing.low, standing.high))
    failed = loss(board.scores.judges[board.ranking.lead].metric, standing)
    return number(standing.mean, form) + (f" [{low}, {high}]" if low else "") + (f" ({failed})" if failed else "")


def _lead(board: MethodBoard) -> list[str]:
    """The figures of the best method, and of the next that is not tied with it."""
    best, *others = _in_order(board)
    if not best.has_mean or not others:
        return []
    metric = board.scores.judges[board.ranking.lead].head
    behind = next((each for each in others if not each.tied and each.has_mean), None)
    which = "the best that is not tied with it" if others[0].tied else "the second"
    then = f"; {which}, {behind.method}, has {_figure(board, behind)}" if behind else ""
    return [f"On average {metric} gives {best.method} {_figure(board, best)}{then}."]


def _preferences(board: MethodBoard) -> list[str]:
    """Which methods the other metrics of quality put first."""
    firsts: defaultdict[str, list[str]] = defaultdict(list)
    for number_of in _of_quality(board):
        standings = board.ranking.standings[number_of]
        first, *others = sorted(standings, key=lambda each: each.rank)
        if number_of != board.ranking.lead and any(each.has_mean for each in others):
            firsts[first.method].append(board.scores.judges[number_of].head)
    if not firsts:
        return []
    best = _best(board).method
    agree = firsts.pop(best, [])
    texts = [f"{listed(agree)} {_verb(agree, 'prefer')} {best} too"] if agree else []
    texts += [f"{listed(labels)} {_verb(labels, 'prefer')} {method}" for method, labels in firsts.items()]
    return [f"{'; '.join(texts)}."]


def _extremes(board: MethodBoard) -> list[str]:
    """The two metrics of quality whose orders of the methods agree most on single images, and the two that do least."""
    pairs = [pair for pair in combinations(_of_quality(board), 2) if np.isfinite(board.ranking.agreement[pair])]
    if len(pairs) < 2:
        return []
    by_tau = sorted(pairs, key=lambda pair: float(board.ranking.agreement[pair]))
    most, least = (f"{board.ranking.agreement[pair]:.2f}" for pair in (by_tau[-1], by_tau[0]))
    if most == least:
        return [f"Image by image any two metrics agree alike on the order of the methods (Kendall's tau {most})."]
    alike, unlike = (listed([board.scores.judges[each].head for each in pair]) for pair in (by_tau[-1], by_tau[0]))
    return [
        f"Image by image {alike} agree most on the order of the methods (Kendall's tau {most}), {unlike} least "
        f"({least})."
    ]


def _consistency(board: MethodBoard) -> list[str]:
    """Whether the outputs reduce to their inputs, where that was looked at."""
    if found := doubts(board):
        return found
    known = {name: values[np.isfinite(values)] for name, values in board.scores.consistency.items() if name in DOUBTFUL}
    lowest = {name: float(values.min()) for name, values in known.items() if values.size}
    if not lowest:
        return []
    texts = [f"no {GUARDS[name].title.partition(',')[0]} is below {value:.1f} dB" for name, value in lowest.items()]
    figures = [values for name, values in board.scores.consistency.items() if name in DOUBTFUL]
    compared, total = int(np.isfinite(figures).any(0).sum()), sum(len(picture.restored) for picture in board.pictures)
    which = (
        "Every output reduces to its input"
        if compared == total
        else (f"{compared} of {total} outputs could be compared with their inputs, and reduce to them")
    )
    return [f"{which}: {listed(texts)}."]


def _of_quality(board: MethodBoard) -> list[int]:
    judges = board.scores.judges
    return [n for n, judge in enumerate(judges) if judge.judges_quality and not isinstance(judge.metric, Composite)]


def _verb(subjects: Sequence[str], verb: str) -> str:
    return verb if len(subjects) > 1 else f"{verb}s"
