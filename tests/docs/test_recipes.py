"""The recipes of the documents train as they stand, here for one step on miniatures."""

from pathlib import Path

import pytest

pytest.importorskip("lightning")
from drmetric import DRIQA, NRIQA
from tests.cli.commands import run
from tests.distill import test_mobileiqa, test_trainer
from tests.docs.blocks import ROOT, blocks

corpus, root = test_trainer.corpus, test_mobileiqa.root
pytestmark = pytest.mark.filterwarnings("ignore:::lightning")
RECIPES = {
    block.code.split('"')[1]: block.code for block in blocks(ROOT / "docs/retrain.md") if block.language == "toml"
}
SMALLER = {
    "steps = 500": "steps = 1",
    "batch = 8": "batch = 2",
    "patch = 192": "patch = 48",
    "patch = 352": "patch = 48",
}


@pytest.mark.parametrize("metric", ["driqa", "nriqa-mobile"])
def test_fine_tuning_starts_from_what_ships(metric: str, corpus: Path, root: Path, tmp_path: Path) -> None:
    recipe = RECIPES[metric].replace("runs/corpus", str(corpus)).replace("data/biq2021", str(root))
    for whole, smaller in SMALLER.items():
        recipe = recipe.replace(whole, smaller)
    (tmp_path / "mine.toml").write_text(recipe)
    result = run("train", tmp_path / "mine.toml", "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    weights = tmp_path / "run/mine.safetensors"
    fine, shipped = (DRIQA(weights), DRIQA()) if metric == "driqa" else (NRIQA(weights=weights), NRIQA())
    assert fine.network.config == shipped.network.config
