"""Lines for a training: its folder, its backbone, what it keeps."""

import json
import shlex
from pathlib import Path

import pytest

pytest.importorskip("lightning")
from drmetric.data.make.building import write_records
from drmetric.data.make.conditions import build
from drmetric.data.rated import read_opinions
from drmetric.distill.recipe import Recipe
from tests.cli.commands import run
from tests.data.make import test_conditions
from tests.distill import test_features, test_trainer
from tests.fixes import command_mends, covers, filled, fix_of, pasted
from tests.fixes.test_configurations import AKD

corpus, opinions, root = test_trainer.corpus, test_conditions.opinions, test_features.root
pytestmark = pytest.mark.filterwarnings("ignore:::lightning")
covers("distill/trainer.py: '--max-time")
covers("distill/recipe.py: 'judge", "distill/recipe.py: 'judged")
covers("distill/trainer.py: '--resume", 'distill/trainer.py: f"--output', "distill/loop.py")


def test_a_folder_with_a_run_is_resumed_or_left(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = test_trainer.write_recipe(tmp_path / "small.toml", corpus, steps=1, validate_every=1)
    assert run("train", recipe, "--output", "run").exit_code == 0
    before = (tmp_path / "run/small.safetensors").read_bytes()
    command_mends("distill/trainer.py: '--resume", ["train", recipe, "--output", "run"])
    test_trainer.write_recipe(recipe, corpus, steps=1, validate_every=1, seed=1)
    command_mends('distill/trainer.py: f"--output', ["train", recipe, "--resume", "--output", "run"])
    assert (tmp_path / "run/small.safetensors").read_bytes() == before
    assert (tmp_path / "run-2/small.safetensors").read_bytes() != before


def test_a_time_limit_is_written_as_one(corpus: Path, tmp_path: Path) -> None:
    recipe = test_trainer.write_recipe(tmp_path / "small.toml", corpus, steps=1, validate_every=1)
    command_mends(
        "distill/trainer.py: '--max-time", ["train", recipe, "--output", tmp_path / "run", "--max-time", "2h"]
    )


def test_conditions_that_lost_their_labels_get_them_again(
    opinions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    config = test_conditions.write_config(tmp_path, opinions, conditions_per_content=2, feature="")
    manifest = build(config, tmp_path / "out")
    labelled = manifest.read_text()
    rows = [json.loads(line) for line in labelled.splitlines()]
    write_records(manifest, [{name: value for name, value in row.items() if name != "label"} for row in rows])
    fix = fix_of("data/make/building.py: f'drmetric", lambda: read_opinions("conditions", tmp_path / "out"))
    assert run(*shlex.split(filled(fix, {"CONFIG.toml": config}))[1:]).exit_code == 0
    assert manifest.read_text() == labelled


def test_backbone_from_a_network_with_another(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = AKD.replace('"mobilenetv2"', '"timm:resnet18"').replace(
        "[train]", '[train]\nbackbone_from = "nriqa-mobile-5"'
    )
    recipe.write_text(text)
    fix = fix_of("distill/loop.py: 'backbone", lambda: Recipe.read(recipe).module())
    recipe.write_text(pasted(text, fix, 'backbone = "timm:resnet18"'))
    assert Recipe.read(recipe).module().network.config.backbone == "mobilenetv2"


def test_a_judge_whose_scores_are_not_kept(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    judge = 'judge = "nriqa-mobile-5"'
    text = AKD.replace("[[data]]", f"[[data]]\n{judge}", 1)
    recipe.write_text(text)
    fix = fix_of("distill/recipe.py: 'judge", lambda: Recipe.read(recipe))
    recipe.write_text(pasted(text, fix, judge))
    assert not Recipe.read(recipe).data[0].judge  # type: ignore[attr-defined]


def test_a_judge_has_a_share(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = AKD.replace("[[data]]", "[[data]]\njudged = 50", 1)
    recipe.write_text(text)
    fix = fix_of("distill/recipe.py: 'judged", lambda: Recipe.read(recipe))
    recipe.write_text(pasted(text, fix, "judged = 50"))
    assert Recipe.read(recipe).data[0].judged == 0.5  # type: ignore[attr-defined]


def test_features_of_another_backbone_than_the_teachers(root: Path, tmp_path: Path) -> None:
    first = test_features.write_recipe(tmp_path / "t.toml", "nariqa", root, seed=1)
    teacher = run("train", first, "--output", tmp_path / "teacher").stdout.strip().splitlines()[-1]
    kept = {"teacher_weights": teacher, "features": str(tmp_path / "features"), "seed": 2}
    recipe = test_features.write_recipe(tmp_path / "s.toml", "nariqa", root, **kept)
    fix = fix_of("distill/loop.py: 'features", lambda: Recipe.read(recipe).module())
    text = recipe.read_text()
    recipe.write_text(pasted(text, fix, next(line for line in text.splitlines() if line.startswith("features"))))
    assert run("train", recipe, "--output", tmp_path / "student").exit_code == 0
