"""Training of NRIQA("akd"): a student learns from a full-reference teacher."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract import photos
from tests.rated_set import write_conditions

pytest.importorskip("lightning")
from drmetric.checkpoints import find_weights, read_weights
from drmetric.distill import trainer
from drmetric.distill.akdiqa import AKDIQADistillation, AKDIQARecipe
from drmetric.distill.datasets.rated import RatedBatch
from drmetric.distill.recipe import recipe_from
from drmetric.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:::lightning")


def write_recipe(path: Path, root: Path, depth: int, **train: Any) -> Path:
    train = {"steps": 2, "warmup_steps": 1, "patch": 56, "validate_every": 2, "workers": 0, **train}
    path.write_text(
        'metric = "nriqa-akd"\n'
        f'[[data]]\nkind = "conditions"\nroot = {json.dumps(str(root))}\nbatch = 4\nvalidate = true\n'
        f"[network]\nwidth = 8\nheads = 2\ndifference_depth = {depth}\nimage_depth = 1\n[train]\n"
        + "\n".join(f"{key} = {json.dumps(value)}" for key, value in train.items())
    )
    return path


def test_student_learns_from_a_full_reference_teacher(tmp_path: Path) -> None:
    root = write_conditions(tmp_path / "conditions")
    first = write_recipe(tmp_path / "teacher.toml", root, 4, full_reference=True, weight_norm=True)
    taught_by = trainer.train(first, output=tmp_path / "teacher")
    second = write_recipe(tmp_path / "student.toml", root, 2, teacher_weights=str(taught_by))
    student = trainer.train(second, output=tmp_path / "student")
    config, state = read_weights(find_weights("nriqa-akd", student), "nriqa-akd")
    assert config["difference_depth"] == 2
    assert not [key for key in state if "level" in key]
    alone = write_recipe(tmp_path / "alone.toml", root, 2)
    untaught = read_weights(find_weights("nriqa-akd", trainer.train(alone, output=tmp_path / "alone")), "nriqa-akd")[1]
    assert any(not torch.equal(value, untaught[key]) for key, value in state.items())


def test_full_reference_training_needs_pristine_images() -> None:
    table = {"metric": "nriqa-akd", "data": [{"kind": "biq2021", "root": "x", "validate": True}]}
    recipe = recipe_from({**table, "train": {"steps": 1, "full_reference": True}})
    assert isinstance(recipe, AKDIQARecipe)
    rated = RatedBatch(photos(64), torch.rand(3), torch.empty(3, 0))
    with pytest.raises(ConfigError, match="pristine"):
        AKDIQADistillation(recipe).losses(rated, recipe.data[0])
