"""Variants of a recipe."""

import pytest

pytest.importorskip("lightning")
from benchmarks.studies.variants import VARIANTS, toml, variant
from drmetric.config import read_toml
from drmetric.distill.recipe import Recipe
from tests.docs.blocks import ROOT


@pytest.mark.parametrize("metric", VARIANTS)
def test_variants_differ_from_their_recipe_where_they_say_so(metric, tmp_path) -> None:
    files = [*sorted(ROOT.glob("weights/*/recipe.toml")), ROOT / "benchmarks/recipes/ablations/nariqa-judged.toml"]
    recipes = [recipe for recipe in map(Recipe.read, files) if recipe.metric == metric]
    judged = [recipe for recipe in recipes if any(each.judge for each in recipe.data)]
    base = judged[0] if "no judge" in VARIANTS[metric] else recipes[0]
    tables = {name: variant(base, changes, 7) for name, changes in VARIANTS[metric].items()}
    assert all(table["train"]["steps"] == 7 for table in tables.values())
    assert len({str(table) for table in tables.values()}) == len(tables)
    if "no judge" in tables:
        assert not any(each["judge"] for each in tables["no judge"]["data"])
    for table in tables.values():
        (tmp_path / "recipe.toml").write_text(toml(table))
        assert read_toml(tmp_path / "recipe.toml")["metric"] == metric
