"""Training of NRIQA("mobile"): a run of a few steps, a teacher, mixed batches, and weights that load."""

import json
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler

from tests.contract import photos
from tests.rated_set import write_biq2021, write_conditions

pytest.importorskip("lightning")
from drmetric import NRIQA
from drmetric.checkpoints import write_weights
from drmetric.data.rated import read_opinions
from drmetric.distill import trainer
from drmetric.distill.datasets.rated import RatedBatch
from drmetric.distill.loop import dealt_back, fitted_uncertainty, rated_loaders
from drmetric.distill.mobileiqa import MobileIQADistillation, MobileIQARecipe, half_replaced, local_order_loss
from drmetric.distill.recipe import Recipe, recipe_from, run_name
from drmetric.errors import InputError
from drmetric.images import read_image
from drmetric.networks.mobileiqa import MobileIQA

pytestmark = pytest.mark.filterwarnings("ignore:::lightning")

ROOT = Path(__file__).parents[2]
RECIPES = [*ROOT.glob("weights/nriqa-mobile*/recipe.toml"), *ROOT.glob("benchmarks/recipes/**/nriqa-mobile*.toml")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_biq2021(tmp_path_factory.mktemp("set") / "biq2021")


def write_recipe(path: Path, root: Path, **train: Any) -> Path:
    """A recipe for a small network; JSON values are TOML values here."""
    train = {"steps": 3, "warmup_steps": 1, "patch": 48, "validate_every": 3, "workers": 0, **train}
    path.write_text(
        'metric = "nriqa-mobile"\n'
        f'[[data]]\nkind = "biq2021"\nroot = {json.dumps(str(root))}\nbatch = 4\nvalidate = true\n'
        "[network]\nwidth = 8\nlocal_hidden = 8\ntokens = 16\nattention_width = 4\n[train]\n"
        + "\n".join(f"{key} = {json.dumps(value)}" for key, value in train.items())
    )
    return path


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Recipe and weights of a finished run; nobody may change them."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder / "small.toml", root, weight_norm=True)
    return recipe, trainer.train(recipe, output=folder / "run")


@pytest.mark.parametrize("path", RECIPES, ids=run_name)
def test_shipped_recipes_are_valid(path: Path) -> None:
    shipped = Recipe.read(path)
    assert isinstance(shipped, MobileIQARecipe)
    assert shipped.train.validate_every <= shipped.train.steps
    assert recipe_from(json.loads(json.dumps(shipped.as_dict()))) == shipped


def test_weights_load_and_score_as_the_trained_network(finished: tuple[Path, Path], root: Path) -> None:
    recipe, weights = finished
    image = read_image(read_opinions("biq2021", root, "test")[0].image)[None]
    metric = NRIQA(weights=weights)
    score, error = metric(image, return_uncertainty=True)
    assert error > 0

    trained = MobileIQADistillation(Recipe.read(recipe))
    saved = torch.load(weights.parent / "best.ckpt", map_location="cpu", weights_only=True)
    trained.load_state_dict(saved["state_dict"])
    with torch.no_grad():
        expected = trained.eval().network(image).scores.mean((1, 2, 3)).sigmoid()
    torch.testing.assert_close(score, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(metric.network.uncertainty, trained.network.uncertainty, atol=1e-3, rtol=1e-3)


def test_student_learns_from_a_teacher_and_from_where_it_stood(
    finished: tuple[Path, Path], root: Path, tmp_path: Path
) -> None:
    weights = str(finished[1])
    recipe = write_recipe(tmp_path / "r.toml", root, teacher_weights=weights, start_from=weights)
    taught = trainer.train(recipe, output=tmp_path / "run")
    assert NRIQA(weights=taught).network.config == NRIQA(weights=finished[1]).network.config


@torch.no_grad()
def test_a_teacher_of_fewer_stages_guides_as_many_local_features(root: Path, tmp_path: Path) -> None:
    text = write_recipe(tmp_path / "teacher.toml", root).read_text()
    (tmp_path / "teacher.toml").write_text(text.replace("[network]", '[network]\nbackbone = "resnet50v2"'))
    weights = tmp_path / "teacher.safetensors"
    taught_by = MobileIQADistillation(Recipe.read(tmp_path / "teacher.toml"))
    write_weights(weights, "nriqa-mobile", taught_by.recipe.network.as_dict(), taught_by.network.state_dict())

    student = MobileIQADistillation(Recipe.read(write_recipe(tmp_path / "s.toml", root, teacher_weights=str(weights))))
    settings = student.recipe.data[0]
    (teacher,) = student.teachers(settings)
    image = photos(48)
    score = torch.rand(len(image))
    assert teacher(image).local.shape[1] == 4
    losses = student.losses(RatedBatch(image, score), settings)
    assert losses["local distillation"] > 0
    half = student.losses(RatedBatch(image, score), replace(settings, distillation=0.5))
    torch.testing.assert_close(2 * half["local distillation"], losses["local distillation"])
    untaught = student.losses(RatedBatch(image, score), replace(settings, distillation=0.0))
    assert untaught.keys() == {name for name in losses if "distillation" not in name}

    for ours, theirs in zip(student.network.local_blocks, teacher.local_blocks, strict=False):
        ours.project.weight.zero_(), theirs.project.weight.zero_()
        ours.project.bias.copy_(theirs.project.bias)
    losses = student.losses(RatedBatch(image, score), settings)
    assert losses["local distillation"] == 0
    assert losses["opinion distillation"] > 0


@pytest.mark.parametrize("left", [True, False])
def test_the_pristine_half_is_to_have_the_higher_local_scores(left: bool) -> None:
    image, pristine = torch.zeros(2, 3, 8, 10), torch.ones(2, 3, 8, 10)
    halves = half_replaced(image, pristine, left=left)
    assert (halves[..., :5] == float(left)).all()
    assert (halves[..., 5:] == float(not left)).all()
    scores = torch.zeros(2, 1, 3, 5)
    scores[..., :2] = 4.0 if left else -4.0
    assert local_order_loss(scores, left=left) < 0.1 < local_order_loss(scores, left=not left)
    scores[..., 2] = 100.0  # the middle belongs to neither
    assert local_order_loss(scores, left=left) < 0.1


def test_local_order_is_learned_where_a_set_has_pristine_images(root: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(write_recipe(tmp_path / "r.toml", root, local_order=0.5))
    assert recipe.train.needs_pristine
    training = MobileIQADistillation(recipe)
    batch = RatedBatch(photos(48), torch.rand(len(photos(48))))
    assert "local order" not in training.losses(batch, recipe.data[0])
    losses = training.losses(batch._replace(pristine=photos(48).flip(0)), recipe.data[0])
    assert losses["local order"] > 0


def test_a_run_without_a_validation_has_no_uncertainty(root: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.toml", root, steps=1, validate_every=50)
    metric = NRIQA(weights=trainer.train(recipe, output=tmp_path / "run"))
    with pytest.raises(InputError, match="no calibrated uncertainty"):
        metric(photos(96), return_uncertainty=True)


def test_an_uncertainty_is_not_taken_over(finished: tuple[Path, Path], root: Path, tmp_path: Path) -> None:
    assert NRIQA(weights=finished[1]).network.uncertainty.any()
    recipe = write_recipe(tmp_path / "r.toml", root, steps=1, validate_every=50, start_from=str(finished[1]))
    assert not NRIQA(weights=trainer.train(recipe, output=tmp_path / "run")).network.uncertainty.any()


@pytest.mark.parametrize("count", [4, 5, 6])
def test_what_devices_validated_comes_back_in_the_order_of_its_items(count: int) -> None:
    items = torch.arange(count)
    shards = [
        torch.tensor(list(DistributedSampler(items, num_replicas=2, rank=rank, shuffle=False))) for rank in range(2)
    ]
    assert dealt_back(torch.stack(shards), count).tolist() == items.tolist()


@pytest.mark.slow
def test_two_processes_train_one_student_and_validate_on_all_images(root: Path, tmp_path: Path) -> None:
    write_recipe(tmp_path / "r.toml", root, steps=2, validate_every=2, devices=2)
    command = [shutil.which("drmetric"), "train", "r.toml", "--output", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metric = NRIQA(weights=tmp_path / "run/r.safetensors")
    rated = read_opinions("biq2021", root, "validation")
    with torch.no_grad():
        judged = [metric.score_and_spread(read_image(each.image)[None]) for each in rated]
    score, spread = (torch.cat(column) for column in zip(*judged, strict=True))
    expected = fitted_uncertainty(spread, score - torch.tensor([each.score for each in rated]))
    torch.testing.assert_close(metric.network.uncertainty, expected, atol=2e-3, rtol=2e-2)


def test_scores_that_are_no_numbers_calibrate_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MobileIQADistillation(Recipe.read(write_recipe(tmp_path / "r.toml", root)))
    logged: dict[str, float] = {}
    monkeypatch.setattr(training, "log", lambda name, value, **_: logged.update({name: float(value)}))
    training.validate(torch.rand(8), torch.full((8,), math.nan), torch.rand(8))
    assert math.isnan(logged["val/srcc"])
    assert not training.network.uncertainty.any()


def test_every_fourth_image_is_attacked_and_keeps_its_label(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.read(write_recipe(tmp_path / "r.toml", root, attack_steps=2, attack_psnr=[40.0, 40.0]))
    training = MobileIQADistillation(recipe)
    images = photos(48).repeat(3, 1, 1, 1)[:6]
    seen: list[torch.Tensor] = []
    forward = training.network.forward
    monkeypatch.setattr(training.network, "forward", lambda image: seen.append(image) or forward(image))
    training.losses(RatedBatch(images, torch.rand(6)), recipe.data[0])
    assert [len(each) for each in seen] in ([2, 6], [2, 2, 6])
    errors = (seen[-1] - images).square().mean((1, 2, 3))
    assert (errors > 0).tolist() == [True, False, False, False, True, False]
    assert errors.max() <= 10 ** (-40 / 10) * 1.001


def test_frozen_stages_stay_as_they_are(finished: tuple[Path, Path], root: Path, tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path / "r.toml", root, frozen_stages=2, start_from=str(finished[1]), weight_norm=True, rate=0.01
    )
    after = NRIQA(weights=trainer.train(recipe, output=tmp_path / "run")).network.state_dict()
    before = NRIQA(weights=finished[1]).network.state_dict()
    frozen = [key for key in before if key.startswith(("backbone.stages.0.", "backbone.stages.1."))]
    assert frozen
    assert all(torch.equal(before[key], after[key]) for key in frozen)
    assert not torch.equal(before["head.layers.1.weight"], after["head.layers.1.weight"])


def test_sets_are_mixed_in_every_batch(root: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(write_recipe(tmp_path / "r.toml", root))
    assert isinstance(recipe, MobileIQARecipe)
    training, validation = rated_loaders(recipe, MobileIQA(recipe.network))
    batch = next(iter(training))[0]
    assert batch["biq2021"].image.shape == (4, 3, 48, 48)
    assert next(iter(validation)).image.shape == (1, 3, 64, 64)


def test_a_set_in_groups_is_also_fitted_inside_them(tmp_path: Path) -> None:
    recipe_file = write_recipe(tmp_path / "r.toml", write_conditions(tmp_path / "conditions"))
    text = recipe_file.read_text().replace("biq2021", "conditions")
    recipe_file.write_text(text.replace("batch = 4", "batch = 4\ngroup = 2\nwithin = 0.5"))
    recipe = Recipe.read(recipe_file)
    assert isinstance(recipe, MobileIQARecipe)
    training = MobileIQADistillation(recipe)
    rated = next(iter(training.loaders()[0]))[0]["conditions"]
    assert rated.image.shape == (4, 3, 48, 48)
    assert {"correlation", "within"} <= training.losses(rated, recipe.data[0]).keys()
