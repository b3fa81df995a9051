"""How the fusion does: agreement with people, type by type, families, enlargements, and an upper bound."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.label_fusion.fitting import distances, of_family
from benchmarks.label_fusion.images import FAMILIES, FEATURES, SCALES, Row
from benchmarks.reporting import mean_of
from drmetric.bench.tables import Cell, Table
from drmetric.data.make.labels import Fusion, higher_is_better
from drmetric.statistics import bootstrap_by_content, srcc

Scores = Sequence[float]


def agreement(fusion: Fusion, held_out: Scores, kadid: Sequence[Row], tid: Sequence[Row], srij: Sequence[Row]) -> Table:
    """SRCC of the fusion and of every feature on the three sets; on KADID's conditions the contents are held out."""
    columns: dict[str, tuple[Scores, Scores, Scores]] = {
        "fusion": (held_out, [fusion.opinion(row) for row in tid], [fusion.opinion(row) for row in srij])
    }
    for name in _known(kadid, tid, srij):
        sign = 1 if higher_is_better(name) else -1
        of_kadid, of_tid, of_srij = ([sign * row[name] for row in rows] for rows in (kadid, tid, srij))
        columns[name] = of_kadid, of_tid, of_srij
    heads = (
        f"KADID-10k re-made, {_count(kadid)} contents, {len(kadid)} images",
        f"TID2013 I01, {len(tid)} images (over conditions)",
        f"SRIJ within scene and scale, {_count(srij)} scenes, {len(srij)} images",
    )
    rows = []
    for name, (first, second, third) in columns.items():
        cells = _pooled(kadid, first, "content"), _pooled(tid, second, "condition"), _within(srij, third)
        rows.append({"feature": name, **dict(zip(heads, cells, strict=True))})
    return Table.of(rows, "SRCC [95 %]", ".3f")


def by_type(kadid: Sequence[Row], held_out: Scores) -> Table:
    """Mean opinion of every type and level, people's / the fusion's with contents held out."""
    pairs: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for row, opinion in zip(kadid, held_out, strict=True):
        pairs.setdefault(row["type"], {}).setdefault(row["level"], []).append((row["score"], opinion))
    rows = []
    for name, levels in pairs.items():
        means = {level: [fmean(column) for column in zip(*of, strict=True)] for level, of in sorted(levels.items())}
        error = fmean(abs(people - predicted) for people, predicted in means.values())
        cells = {f"level {level}": f"{people:.1f} / {own:.1f}" for level, (people, own) in means.items()}
        rows.append({"type": name, **cells, "mean error": error})
    return Table.of(rows, "mean opinion, 1 to 5: people / fusion, contents held out", ".2f")


def families(fusion: Fusion, restored: Sequence[Row], elo: Mapping[str, float]) -> Table:
    """PIPAL's families of super-resolvers at x4, by Elo and by label."""
    rows = []
    for family in FAMILIES:
        members = of_family(restored, family)
        means = {name: fmean(row[name] for row in members) for name in _known(restored)}
        rows.append(
            {
                "family at x4": family,
                "PIPAL, mean Elo": f"{elo[family]:.0f}",
                "label x 1000, mean": f"{1000 * fmean(map(fusion.label, members)):.0f}",
                **means,
            }
        )
    return Table.of(rows, f"{_count(restored)} contents", ".3f")


def enlargements(fusion: Fusion, restored: Sequence[Row]) -> Table:
    """Nearest neighbour against bicubic: mean labels, and the share of contents on which bicubic is above."""
    rows = []
    for scale in SCALES:
        nearest, bicubic = (
            [fusion.label(row) for row in restored if (row["method"], row["scale"]) == (method, scale)]
            for method in ("nearest", "bicubic")
        )
        above = [float(b > a) for a, b in zip(nearest, bicubic, strict=True)]
        rows.append(
            {
                "scale": f"x{scale}",
                "nearest, label": fmean(nearest),
                "bicubic, label": fmean(bicubic),
                "bicubic above nearest": fmean(above),
            }
        )
    return Table.of(rows, f"{_count(restored)} contents", ".3f")


def without_each_term(fit: Callable[[dict[str, float]], tuple[Fusion, Scores]], powers: Mapping[str, float],
                      kadid: Sequence[Row], tid: Sequence[Row], srij: Sequence[Row]) -> Table:  # fmt: skip
    """What each term is worth: the three figures of a fusion fitted without it."""
    rows = []
    for name in ("", *powers):
        fusion, held_out = fit({feature: power for feature, power in powers.items() if feature != name})
        rows.append(
            {
                "without": name or "(all terms)",
                "KADID-10k": _pooled(kadid, held_out, "content"),
                "TID2013 I01": _pooled(tid, [fusion.opinion(row) for row in tid], "condition"),
                "SRIJ within scene and scale": _within(srij, [fusion.opinion(row) for row in srij]),
            }
        )
    return Table.of(rows, "SRCC [95 %] without one term, the others fitted again", ".3f")


def ceiling(srij: Sequence[Row], terms: Sequence[str]) -> Table:
    """What fusions fitted to SRIJ itself reach within scene and scale on scenes of other families."""
    choices = {"all features": _known(srij), "the terms of the fusion": terms}
    rows = [
        {
            "fitted to SRIJ, a family of scenes left out": f"{name}, with the ground truth",
            "SRCC within scene and scale": _within(srij, _left_out(distances(srij, features), srij)),
        }
        for name, features in choices.items()
    ]
    conditions = sorted({(row["method"], row["scale"]) for row in srij})
    methods = np.array([[float((row["method"], row["scale"]) == each) for each in conditions] for row in srij])
    named = _within(srij, _left_out(methods, srij, 1.0))
    rows.append(dict(zip(rows[0], ("the name of the method, no image", named), strict=True)))
    return Table.of(rows, "", ".3f")


def _known(*sets: Sequence[Row]) -> list[str]:
    """The features that all rows have."""
    return [name for name in FEATURES if all(name in row for rows in sets for row in rows)]


def _count(rows: Sequence[Row]) -> int:
    return len({row["content"] for row in rows})


def _pooled(rows: Sequence[Row], scores: Scores, by: str) -> Cell:
    """SRCC over all rows, its interval from a bootstrap over the groups that `by` names."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for row, score in zip(rows, scores, strict=True):
        groups.setdefault(row[by], []).append((score, row["score"]))

    def pooled(drawn: list[list[tuple[float, float]]]) -> float:
        return srcc(*zip(*(pair for group in drawn for pair in group), strict=True))

    contents = [groups[name] for name in sorted(groups)]
    return Cell(pooled(contents), *bootstrap_by_content(contents, pooled))


def _groups(rows: Sequence[Row]) -> dict[tuple[str, int], list[int]]:
    """The numbers of the rows of each scene and scale."""
    groups: dict[tuple[str, int], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row["content"], row["scale"]), []).append(index)
    return groups


def _within(rows: Sequence[Row], scores: Scores) -> Cell:
    """Mean over scenes of the mean SRCC within a scale."""
    by_scene: dict[str, list[float]] = {}
    for (scene, _), part in _groups(rows).items():
        found = srcc([scores[i] for i in part], [rows[i]["score"] for i in part])
        by_scene.setdefault(scene, []).append(found)
    return mean_of([fmean(by_scene[scene]) for scene in sorted(by_scene)])


def _left_out(columns: NDArray[Any], rows: Sequence[Row], penalty: float = 10.0) -> list[float]:
    """Ridge regression of opinions on columns, both centred within scene and scale, each family of scenes left out."""
    columns = columns / columns.std(0).clip(1e-9)
    inputs, targets = _centred(columns, rows), _centred(np.array([row["score"] for row in rows]), rows)
    family = np.array([row["content"].rstrip("0123456789") for row in rows])
    predicted = np.zeros(len(rows))
    for name in np.unique(family):
        kept = family != name
        x, y = inputs[kept], targets[kept]
        predicted[~kept] = columns[~kept] @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return predicted.tolist()


def _centred(values: NDArray[Any], rows: Sequence[Row]) -> NDArray[Any]:
    """Values less their mean within scene and scale."""
    centred = values.astype(float)
    for group in _groups(rows).values():
        centred[group] -= centred[group].mean(0)
    return centred
