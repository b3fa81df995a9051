"""Training of NARIQA: a teacher, its student, references of other contents, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract import photos
from tests.rated_set import write_biq2021, write_conditions

pytest.importorskip("lightning")
from drmetric import NARIQA, NRIQA
from drmetric.checkpoints import find_weights
from drmetric.distill import trainer
from drmetric.distill.cvrkd import CVRKDDistillation, CVRKDRecipe
from drmetric.distill.datasets.rated import RatedBatch
from drmetric.distill.loop import rated_loaders
from drmetric.distill.recipe import Recipe, recipe_from
from drmetric.errors import ConfigError
from drmetric.images import save_image
from drmetric.metrics.nariqa import write_bank
from drmetric.networks.cvrkd import CVRKD

pytestmark = pytest.mark.filterwarnings("ignore:::lightning")

NETWORK: dict[str, Any] = {"width": 8, "mixer_width": 8, "difference_depth": 2, "image_depth": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conditions(tmp_path_factory.mktemp("set") / "conditions")


def write_recipe(path: Path, root: Path, more: str = "", **train: Any) -> Path:
    """A recipe for a small network; JSON values are TOML values here."""
    train = {"steps": 2, "warmup_steps": 1, "patch": 48, "validate_every": 2, "workers": 0, **train}
    tables = {"network": NETWORK, "train": train}
    path.write_text(
        'metric = "nariqa"\n'
        f'[[data]]\nkind = "conditions"\nroot = {json.dumps(str(root))}\nbatch = 4\nvalidate = true\n{more}\n'
        + "\n".join(
            f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
            for name, table in tables.items()
        )
    )
    return path


def logged(run: Path) -> str:
    [log] = run.rglob("metrics.csv")
    return log.read_text()


@pytest.fixture(scope="module")
def teacher(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    recipe = write_recipe(folder / "teacher.toml", root, full_reference=True, weight_norm=True)
    return trainer.train(recipe, output=folder / "run")


def test_a_teacher_learns_and_its_student_from_it_beside_images_without_a_pristine_one(
    root: Path, teacher: Path, tmp_path: Path
) -> None:
    rated = write_biq2021(tmp_path / "biq2021")
    good = tmp_path / "good"
    good.mkdir()
    for index, photo in enumerate(photos(64)):
        save_image(photo, good / f"{index}.png")
    more = f'[[data]]\nkind = "biq2021"\nroot = {json.dumps(str(rated))}\nbatch = 4'
    recipe = write_recipe(tmp_path / "s.toml", root, more, teacher_weights=str(teacher), references=str(good))
    weights = trainer.train(recipe, output=tmp_path / "run")
    assert NARIQA(weights)(photos(64), photos(96)).shape == (3,)
    assert "val/srcc" in logged(tmp_path / "run")


def module(**train: Any) -> CVRKDDistillation:
    data = [{"kind": "conditions", "root": "x", "validate": True}]
    recipe = recipe_from({"metric": "nariqa", "data": data, "network": NETWORK, "train": {"steps": 1, **train}})
    assert isinstance(recipe, CVRKDRecipe)
    assert recipe_from(json.loads(json.dumps(recipe.as_dict()))) == recipe
    return CVRKDDistillation(recipe)


def batch(*, pristine: bool = True) -> RatedBatch:
    images = photos(64)
    return RatedBatch(images, torch.rand(3), images if pristine else torch.empty(3, 0), images.roll(1, 0))


def test_the_teacher_is_silent_where_there_is_no_pristine_image(teacher: Path) -> None:
    student = module(teacher_weights=str(teacher))
    settings = student.recipe.data[0]
    assert set(student.losses(batch(), settings)) == {"correlation", "regression", "distillation"}
    losses = student.losses(batch(pristine=False), settings)
    assert set(losses) == {"correlation", "regression"}


def test_distillation_is_nothing_for_a_student_like_its_teacher_that_sees_the_pristine_image(teacher: Path) -> None:
    twin = module(teacher_weights=str(teacher), start_from=str(teacher), full_reference=True)
    losses = twin.losses(batch(), twin.recipe.data[0])
    assert losses["distillation"] < 1e-10
    student = module(teacher_weights=str(teacher), start_from=str(teacher))
    assert student.losses(batch(), student.recipe.data[0])["distillation"] > 1e-7


def test_a_teacher_of_another_depth_is_refused(teacher: Path) -> None:
    student = module(teacher_weights=str(teacher))
    deeper = recipe_from({**student.recipe.as_dict(), "network": {**NETWORK, "difference_depth": 3}})
    other = CVRKDDistillation(deeper)
    with pytest.raises(ConfigError, match="2 blocks"):
        other.losses(batch(), other.recipe.data[0])


@pytest.mark.parametrize(("share", "count"), [(0.0, 3), (1.0, 1)])
def test_references_are_shared_in_some_steps_and_never_in_validation(share: float, count: int) -> None:
    student = module(bank_share=share)
    assert len(student.reference_features_of(batch())) == count
    together, spread = student.eval().prediction(batch())
    apart = [student.prediction(RatedBatch(*(part[index : index + 1] for part in batch())))[0] for index in range(3)]
    torch.testing.assert_close(together, torch.cat(apart))
    torch.testing.assert_close(spread, together * (1 - together))


def test_training_from_weights_with_a_bank_forgets_the_bank(teacher: Path, tmp_path: Path) -> None:
    write_bank(teacher, [("coffee", photos(64)[1:2])], tmp_path / "banked.safetensors")
    student = module(start_from=str(tmp_path / "banked.safetensors"))
    assert not student.network.bank.any()


def test_training_may_start_from_the_backbone_of_nriqa() -> None:
    file = find_weights("nriqa-mobile")
    judge = NRIQA(weights=file.name).network.backbone.state_dict()
    ours = module(backbone_from=file.name).network.backbone.state_dict()
    assert ours.keys() == judge.keys()
    assert all(torch.equal(ours[key], judge[key]) for key in judge)


def test_the_backbone_of_nriqa_does_not_fit_another_one() -> None:
    other = {"metric": "nariqa", "data": [{"kind": "conditions", "root": "x", "validate": True}]}
    network = {**NETWORK, "backbone": "patches", "taps": [1, 2, 3]}
    recipe = recipe_from({**other, "network": network, "train": {"steps": 1, "backbone_from": "default"}})
    with pytest.raises(ConfigError, match=r"backbone_from = .default..*.patches."):
        CVRKDDistillation(recipe)  # type: ignore[arg-type]


def test_full_reference_training_needs_pristine_images() -> None:
    full = module(full_reference=True)
    with pytest.raises(ConfigError, match="pristine"):
        full.losses(batch(pristine=False), full.recipe.data[0])


def test_loaders_give_references_to_students_alone(root: Path, tmp_path: Path) -> None:
    for full_reference in (False, True):
        recipe = Recipe.read(write_recipe(tmp_path / "r.toml", root, full_reference=full_reference))
        assert isinstance(recipe, CVRKDRecipe)
        training, validation = rated_loaders(recipe, CVRKD(recipe.network))
        trained, validated = next(iter(training))[0]["conditions"], next(iter(validation))
        assert bool(trained.pristine.numel()) == full_reference
        assert validated.pristine.shape == validated.image.shape
        assert all(bool(rated.reference.numel()) != full_reference for rated in (trained, validated))
