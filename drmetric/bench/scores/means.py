"""What the scores of a folder come to: a mean for each method, with its interval, and how many outputs are doubtful.

Outputs are of several methods where sub folders restore the same inputs (``edsr/0001.png``, ``rcan/0001.png``) or where
one folder has several outputs of an input (``0001_edsr.png``, ``0001_rcan.png``). A mean over methods says nothing, so
there is none.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from statistics import fmean

from drmetric.bench.scores.folder import FolderScores
from drmetric.bench.scores.pairing import Pair, added, fold
from drmetric.bench.tables import Cell, Column, Table
from drmetric.metrics.base import Metric
from drmetric.metrics.consistency import GUARDS, doubt
from drmetric.statistics import bootstrap_by_content, bootstrap_mean


@dataclass(frozen=True)
class _Figure:
    """A column of the table, with the values of the images that have one, and what stands for those of others.

    A mean of standard errors would pass for that of the mean: they have none.
    """

    column: Column
    of: Mapping[str, float]
    missing: str = ""
    has_mean: bool = True


def table(scores: FolderScores, *, with_images: bool) -> Table:
    """A line an image, unless they are left out, and one a mean; a column a metric and a figure of consistency."""
    figures, inputs = _figures(scores), _inputs(scores)
    rows: list[dict[str, object]] = []
    for image in dict.fromkeys(row.image for row in scores.rows) if with_images else ():
        rows.append({"image": image} | {f.column.key: f.of.get(image, f.missing) for f in figures})
    for title, images in _titled(scores).items():
        rows.append({"image": title} | {f.column.key: _mean(f, images, inputs) if f.has_mean else "" for f in figures})
    columns = [Column("image", "image"), *(replace(f.column, cell=partial(_cell, f.column.key)) for f in figures)]
    return Table(columns, rows)


def _cell(key: str, row: Mapping[str, Cell | float | str]) -> Cell:
    value = row[key]
    return value if isinstance(value, Cell) else Cell(value)


def doubts(scores: FolderScores) -> list[str]:
    """Sentences on the outputs of each method that do not reduce to their inputs."""
    consistency = {row.image: row.consistency for row in scores.rows if row.consistency}
    groups = methods(list(_pairs(scores).values()))
    found = []
    for method, images in groups.items():
        known = [consistency[image] for image in images if image in consistency]
        if sentence := doubt(known):
            found.append(f"{method}: {sentence}" if method and len(groups) > 1 else sentence)
    return found


def methods(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """Names of images by what made them: their sub folder and, where one input has several outputs there, their tag."""
    folders: dict[str, list[Pair]] = defaultdict(list)
    for each in pairs:
        folders[each.name.rpartition("/")[0]].append(each)
    found: dict[str, list[str]] = defaultdict(list)
    for folder, members in folders.items():
        inputs = [each.degraded_name for each in members if each.degraded_name is not None]
        is_mixed = len(set(inputs)) < len(inputs)
        for tag, names in _by_tag(members).items() if is_mixed else {"": [each.name for each in members]}.items():
            found[f"{folder}/{tag}".strip("/")] += names
    return dict(found)


def _by_tag(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """Names by what they add to their input's, as a pattern.

    The case of a tag, input tags before it, and the file's suffix count only where an input has outputs that differ by
    nothing else. An image without an input is of the longest tag in which its name ends.
    """
    paired = [each for each in pairs if each.degraded_name is not None]
    first, last = ([added(each)[index] for each in paired] for index in (0, -1))
    with_suffix = [tag + PurePosixPath(each.name).suffix for tag, each in zip(last, paired, strict=True)]
    ways = [(first, [fold(tag) for tag in first]), (last, last), (with_suffix, with_suffix)]
    apart = (len({(each.degraded_name, key) for each, key in zip(paired, keys, strict=True)}) for _, keys in ways)
    tags, keys = next((way for way, count in zip(ways, apart, strict=True) if count == len(paired)), ways[-1])
    titles: dict[str, str] = {}
    found: dict[str, list[str]] = defaultdict(list)
    for each, tag, key in zip(paired, tags, keys, strict=True):
        found[f"*{titles.setdefault(key, tag)}"].append(each.name)
    for each in pairs:
        if each.degraded_name is None:
            name = PurePosixPath(each.name)
            text = name.name if tags is with_suffix else name.stem
            ends = [tag for tag in titles.values() if tag and fold(text).endswith(fold(tag))]
            found[f"*{max(ends, key=len, default=text)}"].append(each.name)
    return found


def _pairs(scores: FolderScores) -> dict[str, Pair]:
    """One an image, with its input where a judge meets that."""
    found: dict[str, Pair] = {}
    for kind in ("none", "truth", "degraded"):
        if kind in scores.pairings:
            found |= {each.name: each for each in scores.pairings[kind].pairs}
    return found


def _inputs(scores: FolderScores) -> dict[str, str]:
    """What each image was made from; where no judge meets that, images of one name are of one input."""
    return {name: each.degraded_name or name.rpartition("/")[2] for name, each in _pairs(scores).items()}


def _titled(scores: FolderScores) -> dict[str, list[str]]:
    """The images of each mean by its title; a mean over all only where no two methods share an input."""
    groups, inputs = methods(list(_pairs(scores).values())), _inputs(scores)
    strays = sorted({name for pairing in scores.pairings.values() for name in pairing.missing} - inputs.keys())
    if len(groups) == 1:
        return {"mean": [*next(iter(groups.values())), *strays]}
    titled = {
        f"mean of {method or '.'}": images + [name for name in strays if name.rpartition("/")[0] == method]
        for method, images in groups.items()
    }
    shared = [inputs[image] for images in groups.values() for image in images]
    return titled if len(set(shared)) < len(shared) else titled | {"mean": [*inputs, *strays]}


def _figures(scores: FolderScores) -> list[_Figure]:
    found: list[_Figure] = []
    for judge in scores.judges:
        of = {row.image: row.score for row in scores.rows if row.metric == judge.label and row.score is not None}
        found.append(_Figure(_column(len(found), judge.label, judge.metric, ".6f"), of, "failed"))
        if judge.uncertain:
            errors = {row.image: row.standard_error for row in scores.rows if row.metric == judge.label}
            known = {image: error for image, error in errors.items() if error is not None}
            head = f"{judge.label}, standard error"
            found.append(_Figure(Column(str(len(found)), head, ".3f"), known, has_mean=False))
    named = {judge.metric.name for judge in scores.judges}
    for name, guard in GUARDS.items() if any(judge.is_guarded for judge in scores.judges) else ():
        beside = {row.image: row.consistency[name] for row in scores.rows if name in row.consistency}
        if beside and name not in named:
            found.append(_Figure(_column(len(found), guard.title, guard, ".2f"), beside))
    return found


def _column(number: int, head: str, metric: Metric, form: str) -> Column:
    return Column(str(number), head, form, "shown", "higher" if metric.higher_is_better else "lower")


def _mean(figure: _Figure, images: Sequence[str], inputs: Mapping[str, str]) -> Cell:
    """The mean over images and its interval, over inputs; with n used/n given where these differ."""
    by_input: dict[str, list[float]] = defaultdict(list)
    for image in images:
        if image in figure.of:
            by_input[inputs[image]].append(figure.of[image])
    values = [value for of_input in by_input.values() for value in of_input]
    if not values:
        return Cell()
    if len(values) == len(by_input):
        low, high = bootstrap_mean(values)
    else:
        low, high = bootstrap_by_content(list(by_input.values()), lambda drawn: fmean(chain.from_iterable(drawn)))
    return Cell(fmean(values), low, high, note=f"{len(values)}/{len(images)}" if len(values) < len(images) else "")
