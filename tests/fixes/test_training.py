"""Lines for a training: its folder, its backbone, what it keeps."""

import json
import shlex
from pathlib import Path

import pytest

pytest.importorskip("lightning")
from drmetric.data.make.building import write_records
from drmetric.data.make.conditions import build
from drmetric.data.rated import read_opinions
from drmetric.distill import trainer
from drmetric.distill.recipe import Recipe
from tests.cli.commands import run
from tests.data.make import test_conditions
from tests.distill import test_features, test_trainer
from tests.fixes import command_mends, covers, filled, fix_of, pasted
from tests.fixes.test_configurations import AKD, DRIQA

corpus, opinions, root = test_trainer.corpus, test_conditions.opinions, test_features.root
pytestmark = pytest.mark.filterwarnings("ignore:::lightning")
covers("distill/trainer.py: '--max-time")
covers(
    "distill/recipe.py: 'judge",
    'distill/recipe.py: f"{entry}',
    "distill/recipe.py: '\\n'",
    "distill/trainer.py: f'devices",
)
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


@pytest.mark.parametrize(
    ("site", "text", "wrong"),
    [
        ('distill/recipe.py: f"{entry}', DRIQA, 'start_from = "driqa-mobilenet"'),
        ('distill/recipe.py: f"{entry}', DRIQA, 'start_from = "nriqa-mobile-5"'),
        ('distill/recipe.py: f"{entry}', DRIQA, 'start_from = "gone/away.safetensors"'),
        ('distill/recipe.py: f"{entry}', AKD, 'teacher_weights = "nriqa-akd"'),
        ('distill/recipe.py: f"{entry}', AKD, 'backbone_from = "nriqa-akd-3"'),
        ("distill/loop.py: 'backbone_weights", DRIQA, 'backbone_weights = "gone.safetensors"'),
        ("distill/loop.py: 'backbone_weights", AKD, 'backbone_weights = "gone.safetensors"'),
        ("config.py: f'{name} = {as_toml(usual)}'", AKD, "frozen_stages = 99"),
    ],
)
def test_entries_that_only_the_start_of_a_training_can_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, text: str, wrong: str
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.toml"
    text = text.partition("[network]")[0].replace("[train]", f"[train]\n{wrong}")
    recipe.write_text(text)
    fix = fix_of(site, lambda: Recipe.read(recipe).module())
    recipe.write_text(pasted(text, fix, wrong))
    Recipe.read(recipe).module()


def test_a_judge_of_self_play_is_one_of_a_list(corpus: Path, tmp_path: Path) -> None:
    recipe = test_trainer.write_recipe(tmp_path / "r.toml", corpus)
    wrong = 'judges = ["driqa-mobilenet"]'
    play = f"[self_play]\nphotographs = [{json.dumps(str(corpus / 'images'))}]\npatch = 48\ncontents = 2\n{wrong}"
    text = f"{recipe.read_text()}\n{play}"
    recipe.write_text(text)
    fix = fix_of('distill/recipe.py: f"{entry}', lambda: Recipe.read(recipe).module().loaders())
    recipe.write_text(pasted(text, fix, wrong))
    assert Recipe.read(recipe).module().loaders()


def test_a_network_is_made_like_that_of_the_weights_to_start_from(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    start = '[train]\nstart_from = "driqa-mobilenetv2-12"'
    text = DRIQA.replace("[train]", start).replace("[network]", "[network]\nhead_stages = 1")
    recipe.write_text(text)
    fix = fix_of("distill/recipe.py: '\\n'", lambda: Recipe.read(recipe).module())
    recipe.write_text(pasted(text, fix, "head_stages = 1"))
    assert Recipe.read(recipe).module().network.config.head_stages == 3


def test_more_devices_than_there_are_are_refused_before_anything_starts(corpus: Path, tmp_path: Path) -> None:
    recipe = test_trainer.write_recipe(tmp_path / "r.toml", corpus, devices=10**6)
    fix = fix_of("distill/trainer.py: f'devices", lambda: trainer.train(recipe, output=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    recipe.write_text(pasted(recipe.read_text(), fix, "devices = 1000000"))
    assert 1 <= Recipe.read(recipe).train.devices < 10**6


def test_features_of_another_backbone_than_the_teachers(root: Path, tmp_path: Path) -> None:
    first = test_features.write_recipe(tmp_path / "t.toml", "nariqa", root, seed=1)
    teacher = run("train", first, "--output", tmp_path / "teacher").stdout.strip().splitlines()[-1]
    kept = {"teacher_weights": teacher, "features": str(tmp_path / "features"), "seed": 2}
    recipe = test_features.write_recipe(tmp_path / "s.toml", "nariqa", root, **kept)
    fix = fix_of("distill/loop.py: 'features", lambda: Recipe.read(recipe).module())
    text = recipe.read_text()
    recipe.write_text(pasted(text, fix, next(line for line in text.splitlines() if line.startswith("features"))))
    assert run("train", recipe, "--output", tmp_path / "student").exit_code == 0
