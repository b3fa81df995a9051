"""Variants of a recipe."""

import pytest

pytest.importorskip("lightning")
from benchmarks.studies.variants import VARIANTS, toml, variant
from drmetric.config import read_toml
from drmetric.distill.recipe import Recipe
from tests.docs.blocks import ROOT


@pytest.mark.parametrize("metric", VARIANTS)
def test_variants_differ_from_the_shipped_recipe_where_they_say_so(metric, tmp_path) -> None:
    base = next(
        recipe for recipe in map(Recipe.read, sorted(ROOT.glob("weights/*/recipe.toml"))) if recipe.metric == metric
    )
    tables = {name: variant(base, changes, 7) for name, changes in VARIANTS[metric].items()}
    assert all(table["train"]["steps"] == 7 for table in tables.values())
    assert len({str(table) for table in tables.values()}) == len(tables)
    if "no judge" in tables:
        assert any(each.judge for each in base.data)
        assert not any(each["judge"] for each in tables["no judge"]["data"])
    for table in tables.values():
        (tmp_path / "recipe.toml").write_text(toml(table))
        assert read_toml(tmp_path / "recipe.toml")["metric"] == metric
