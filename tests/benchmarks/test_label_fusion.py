"""The fit of the label: it finds the weights behind opinions, holds contents out, and never goes below 0."""

import math
import random

import pytest

from benchmarks.label_fusion import tables
from benchmarks.label_fusion.fitting import fit_fusion, held_out_opinions
from benchmarks.label_fusion.images import FAMILIES, SCALES, Row
from drmetric.data.make.labels import Fusion, Term

POWERS = {"blocking": 1.0, "worst_region": 0.5}
TRUE = Fusion({"blocking": Term(1.5, 1.0), "worst_region": Term(0.7, 0.5)}, elo_per_point=250)
METHODS = {"nearest": 0.7, "bicubic": 0.0, FAMILIES["psnr"][0]: 0.0, FAMILIES["gan"][0]: 0.1}
"""And how much each blocks."""


def kadid(noise: float = 0.0) -> list[Row]:
    rng = random.Random(0)
    rows = []
    for content in "abcdefgh":
        for level in (1, 2, 3, 4, 5):
            features = {"blocking": rng.random() * level / 5, "worst_region": rng.random() * level / 5}
            score = TRUE.opinion(features) + rng.gauss(0, noise)
            row = {"content": content, "type": "jpeg", "level": level, "score": score, "rating_std": 0.7}
            rows.append(row | features)
    return rows


def restored() -> list[Row]:
    """Enlargements and families whose mean opinions differ as those of `TRUE` do."""
    rng = random.Random(1)
    return [
        {"content": content, "method": method, "scale": scale, "blocking": blocking, "worst_region": rng.random()}
        for content in "abcdefgh"
        for scale in SCALES
        for method, blocking in METHODS.items()
    ]


def elo(rows: list[Row]) -> dict[str, float]:
    """Of the families, so that `TRUE` is exact on them."""
    means = {
        family: sum(map(TRUE.opinion, of)) / len(of)
        for family in FAMILIES
        for of in ([r for r in rows if r["method"] in FAMILIES[family] and r["scale"] == 4],)
    }
    points = 400 * 1.702 / (math.log(10) * 0.7 * 2**0.5)
    return {family: mean * points for family, mean in means.items()}


def test_the_fit_finds_the_weights_behind_the_opinions() -> None:
    rows = restored()
    fusion = fit_fusion(kadid(), rows, elo(rows), POWERS)
    for name, term in TRUE.terms.items():
        assert fusion.terms[name].weight == pytest.approx(term.weight, abs=0.01)
        assert fusion.terms[name].power == term.power


def test_features_that_people_do_not_mind_get_no_negative_weight() -> None:
    rows = restored()
    liked = [row | {"score": 1 + 4 * row["blocking"]} for row in kadid()]
    assert fit_fusion(liked, rows, elo(rows), POWERS).terms["blocking"].weight == 0


def test_held_out_opinions_do_not_see_their_content() -> None:
    rows, people = restored(), kadid(noise=0.3)
    before = held_out_opinions(people, rows, elo(rows), POWERS)
    others = [row | {"score": 1.0} if row["content"] == "a" else row for row in people]
    after = held_out_opinions(others, rows, elo(rows), POWERS)
    same = [a == b for a, b, row in zip(before, after, people, strict=True) if row["content"] == "a"]
    assert all(same)
    assert before != after


def test_tables_show_people_beside_the_fusion() -> None:
    rows, people = restored(), kadid()
    lines = tables.by_type(people, [row["score"] for row in people]).to_lines()
    assert any("jpeg" in line and "0.00" in line for line in lines)
    enlarged = tables.enlargements(TRUE, rows).rows
    assert [row["scale"] for row in enlarged] == ["x2", "x3", "x4"]
    assert all(row["nearest, label"] < row["bicubic, label"] for row in enlarged)
