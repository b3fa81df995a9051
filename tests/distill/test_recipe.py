"""Recipes: what a TOML file may say, and the schedule that follows from it."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from drmetric.distill.ckdn import CKDNRecipe
from drmetric.distill.recipe import Recipe, recipe_from, run_name
from drmetric.errors import ConfigError

ROOT = Path(__file__).parents[2]
RECIPES = [*ROOT.glob("weights/driqa*/recipe.toml"), *ROOT.glob("benchmarks/recipes/**/driqa*.toml")]
MINIMAL: dict[str, Any] = {"metric": "driqa", "data": {"kind": "corpus", "root": "corpus"}, "train": {"steps": 110}}


def recipe(**train: Any) -> CKDNRecipe:
    return CKDNRecipe.from_dict({**MINIMAL, "train": {"steps": 110, **train}})


@pytest.mark.parametrize("path", RECIPES, ids=run_name)
def test_shipped_recipes_are_valid(path: Path) -> None:
    shipped = Recipe.read(path)
    assert shipped.metric == "driqa"
    assert 0 <= shipped.train.relative_steps < shipped.train.steps
    assert 0 <= shipped.train.warmup_steps < shipped.train.steps
    assert shipped.train.optimiser in ("adamw", "sgd")
    assert shipped.network.pool in ("scores", "features")
    assert shipped.train.validate_every <= shipped.train.steps
    assert recipe_from(shipped.as_dict()) == shipped


def test_a_recipe_trains_what_it_or_its_folder_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_name(Path("recipes/mine.toml")) == "mine"
    assert run_name(Path("weights/mine-2/recipe.toml")) == "mine-2"
    assert run_name(Path("recipe.toml")) == tmp_path.name


def test_file_is_read_into_all_three_sections(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'metric = "driqa"\n[data]\nkind = "pipal"\nroot = "somewhere"\n'
        "[train]\nsteps = 30\nrate = 0.002\nweight_norm = true\n[network]\nhidden = [8, 4]\nhead_stages = 1\n"
    )
    read = Recipe.read(tmp_path / "r.toml")
    assert [(each.kind, each.folder) for each in read.data] == [("pipal", Path("somewhere"))]
    assert (read.train.steps, read.train.rate, read.train.weight_norm) == (30, 0.002, True)
    assert (read.network.hidden, read.network.head_stages) == ((8, 4), 1)


def test_several_data_sets_count_as_one(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'metric = "driqa"\n[[data]]\nkind = "corpus"\nroot = "one"\n[[data]]\nkind = "corpus"\nroot = "two"\n'
        "[train]\nsteps = 30\n"
    )
    read = Recipe.read(tmp_path / "r.toml")
    assert [each.root for each in read.data] == ["one", "two"]
    assert recipe_from(json.loads(json.dumps(read.as_dict()))) == read


def test_dictionaries_survive_json_as_checkpoints_keep_them() -> None:
    original = recipe_from({**MINIMAL, "network": {"hidden": [8, 4], "pool": "features", "dropout": 0.5}})
    assert recipe_from(original.as_dict()) == original
    assert recipe_from(json.loads(json.dumps(original.as_dict()))) == original


def test_environment_variables_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_TEST_ROOT", "/somewhere")
    read = recipe_from(
        {
            "metric": "driqa",
            "data": {"kind": "corpus", "root": "$DRMETRIC_TEST_ROOT/corpus"},
            "train": {"steps": 1, "backbone_weights": "${DRMETRIC_TEST_ROOT}/b.safetensors"},
        }
    )
    assert read.data[0].folder == Path("/somewhere/corpus")
    assert read.train.initial_weights == Path("/somewhere/b.safetensors")


@pytest.mark.parametrize(
    ("change", "quoted"),
    [
        ({"metric": "psnr"}, ("'psnr'", 'metric = "driqa"')),
        ({"metric": None}, ("None",)),
        ({"optimizer": {}}, ("'optimizer'", "[train], [data], [network]")),
        ({"train": {"steps": 1, "epochs": 3}}, ("[train]", "'epochs'", "relative_steps", "weight_decay")),
        ({"train": {}}, ("[train]", "steps")),
        ({"data": {"kind": "corpus"}}, ("[data]", "root")),
        ({"data": {}}, ("[data]", "kind")),
        ({"data": []}, ("[data]", '[[data]]\nkind = "corpus"')),
        ({"data": "corpus"}, ("[data]", "kind")),
        ({"network": {"stages": 3}}, ("[network]", "'stages'", "embedding_stages")),
    ],
)
def test_wrong_entries_are_refused_with_the_known_ones(change: dict[str, Any], quoted: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe_from({**MINIMAL, **change}, "mine.toml")
    assert all(part in str(caught.value) for part in ("mine.toml", *quoted)), str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("ranking_range", 0.0), ("steps", 0), ("rate", -1.0)])
def test_impossible_numbers_are_quoted(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"\[train\]: {name} is {value}; wanted"):
        recipe_from({**MINIMAL, "train": {"steps": 1, name: value}})


OPINIONS = {"data": [{"kind": "biq2021", "root": "x", "validate": True}], "train": {"steps": 10}}
TABLES: dict[str, dict[str, Any]] = {
    "driqa": {**MINIMAL, "network": {}, "self_play": {}},
    **{metric: {"metric": metric, "network": {}, **OPINIONS} for metric in ("nriqa-mobile", "nriqa-akd", "nariqa")},
}


LISTS = ("attack_psnr", "calibration", "hidden", "taps", "weights")


def numbers(metric: str) -> list[tuple[str, str]]:
    """The tables of a metric's recipe and their entries that are numbers or lists of them."""
    read = recipe_from(TABLES[metric])
    sections = {name: getattr(read, name) for name in TABLES[metric] if name != "metric"}
    if metric == "driqa":
        del sections["data"]
    else:
        sections["data"] = read.data[0]  # type: ignore[attr-defined]
    return [
        (table, entry.name)
        for table, section in sections.items()
        for entry in dataclasses.fields(section)
        if entry.type in (int, float, tuple[int, ...], tuple[float, ...])
    ]


def changed(metric: str, table: str, entry: str, value: Any) -> dict[str, Any]:
    """A recipe of a metric with another value."""
    own = TABLES[metric][table]
    new = [{**own[0], entry: value}] if isinstance(own, list) else {**own, entry: value}
    return {**TABLES[metric], table: new}


@pytest.mark.parametrize(
    ("metric", "table", "entry"), [(metric, *each) for metric in TABLES for each in numbers(metric)], ids=str
)
def test_no_number_is_below_its_range(metric: str, table: str, entry: str) -> None:
    value = [-1, -1] if entry in LISTS else -1
    with pytest.raises(ConfigError, match=rf"\b{entry} is \[?-1"):
        recipe_from(changed(metric, table, entry, value))


@pytest.mark.parametrize(
    ("metric", "table", "entry", "value"),
    [
        ("driqa", "train", "grey_share", 3.0),
        ("driqa", "train", "patch", 3),
        ("driqa", "train", "relative_steps", 111),
        ("driqa", "train", "reduced_share", 1.5),
        ("driqa", "train", "seed", 2**32),
        ("driqa", "train", "workers", 10**6),
        ("driqa", "network", "head_stages", 30),
        ("driqa", "network", "hidden", [64, 0]),
        ("driqa", "network", "dropout", 1.0),
        ("driqa", "self_play", "judge_share", 1.5),
        ("driqa", "self_play", "changes", 4),
        ("driqa", "self_play", "origins", 97),
        ("nriqa-mobile", "data", "batch", 0),
        ("nriqa-mobile", "data", "patch", 16),
        ("nriqa-akd", "train", "level_floor", 1.5),
        ("nriqa-akd", "network", "taps", [1, 5]),
        ("nariqa", "train", "bank_share", 2.0),
    ],
)
def test_other_impossible_numbers_are_quoted(metric: str, table: str, entry: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe_from(changed(metric, table, entry, value))
    assert f"{entry} is {json.dumps(value)}; wanted" in str(caught.value)


def test_a_network_without_a_table_is_that_of_the_weights_to_start_from() -> None:
    read = recipe(start_from="driqa-mobilenetv2-12")
    assert (read.network.backbone, read.network.head_stages, read.network.beside) == ("mobilenetv2", 3, True)
    assert recipe_from(read.as_dict()) == read


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("metric = ")
    for path in (tmp_path / "r.toml", tmp_path / "absent.toml"):
        with pytest.raises(ConfigError, match=f"cannot read .*{path.name}"):
            Recipe.read(path)


def test_relative_loss_is_alone_in_its_steps() -> None:
    mixed = recipe(relative_steps=40, student=1.0, teacher=0.5, relative=0.25, distillation=2.0, ranking=0.5, noise=0.3)
    together = {"student": 1.0, "teacher": 0.5, "relative": 0.25, "distillation": 2.0, "ranking": 0.5, "noise": 0.3}
    alone = dict.fromkeys(together, 0.0) | {"relative": 1.0}
    assert mixed.train.loss_weights(0) == mixed.train.loss_weights(39) == alone
    assert mixed.train.loss_weights(40) == mixed.train.loss_weights(109) == together


def test_without_relative_steps_the_paper_s_three_losses_start_at_once() -> None:
    counted = {name for name, weight in recipe().train.loss_weights(0).items() if weight}
    assert counted == {"student", "teacher", "distillation"}


def test_rate_warms_up_and_falls_as_half_a_cosine_to_a_hundredth() -> None:
    factor = recipe(warmup_steps=10).rate_factor
    assert [factor(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert factor(10) == pytest.approx(1.0)
    assert factor(35) == pytest.approx(0.01 + 0.99 * (1 + math.sqrt(0.5)) / 2)
    assert factor(60) == pytest.approx(0.505)
    assert factor(110) == factor(111) == factor(10_000) == pytest.approx(0.01)
    falling = [factor(step) for step in range(10, 111)]
    assert falling == sorted(falling, reverse=True)


def test_rate_without_warm_up_starts_at_full() -> None:
    assert recipe(warmup_steps=0).rate_factor(0) == 1.0


def test_rate_warms_up_anew_after_the_relative_steps() -> None:
    plain, relative = (recipe(warmup_steps=10, relative_steps=steps).rate_factor for steps in (0, 40))
    assert [relative(step) for step in (0, 9, 39)] == [plain(step) for step in (0, 9, 39)]
    assert [relative(step) / plain(step) for step in (40, 44, 49, 50)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_optimisers_are_the_named_ones_over_all_parameters() -> None:
    network = nn.Conv2d(3, 4, 1)
    adamw = recipe(rate=0.003, weight_decay=0.02).optimiser(network.parameters())
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.defaults["lr"], adamw.defaults["weight_decay"]) == (0.003, 0.02)
    sgd = recipe(optimiser="sgd", rate=0.1).optimiser(network.parameters())
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.9, True)
    for optimiser in (adamw, sgd):
        assert {id(p) for group in optimiser.param_groups for p in group["params"]} == {
            id(p) for p in network.parameters()
        }


def test_recipes_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe().train.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"steps": 10, "optimiser": "adam"}},
        {"train": {"steps": 0}},
        {"train": {"steps": 10, "batch": "16"}},
        {"network": {"pool": "feature"}},
        {"network": {"hidden": 128}},
    ],
    ids=str,
)
def test_impossible_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        recipe_from({**MINIMAL, **change})


def test_two_sets_of_one_kind_are_refused() -> None:
    data = [{"kind": "biq2021", "root": root, "validate": root == "x"} for root in ("x", "y")]
    with pytest.raises(ConfigError, match="occurs twice in biq2021, biq2021"):
        recipe_from({"metric": "nriqa-mobile", "data": data, "train": {"steps": 1}})


@pytest.mark.parametrize(
    ("change", "quoted"),
    [
        ({"batch": 6, "group": 4}, "batch is 6, group is 4"),
        ({"within": 0.5}, "within is 0.5"),
        ({"group": 0}, "group is 0"),
    ],
    ids=str,
)
def test_groups_fill_a_batch(change: dict[str, Any], quoted: str) -> None:
    data = [{"kind": "biq2021", "root": "x", "validate": True, **change}]
    with pytest.raises(ConfigError, match=quoted):
        recipe_from({"metric": "nriqa-mobile", "data": data, "train": {"steps": 1}})


def test_sets_of_opinions_have_batches_of_their_own() -> None:
    data = [{"kind": "biq2021", "root": "x", "validate": True}]
    with pytest.raises(ConfigError, match=r"\[train\]: unknown entry 'batch'"):
        recipe_from({"metric": "nriqa-mobile", "data": data, "train": {"steps": 1, "batch": 8}})


def test_groups_are_not_mixed_with_other_contents() -> None:
    data = [{"kind": "biq2021", "root": "x", "validate": True, "batch": 8, "group": 4}]
    with pytest.raises(ConfigError, match="mixup mixes contents"):
        recipe_from({"metric": "nriqa-mobile", "data": data, "train": {"steps": 1, "mixup": 0.2}})


@pytest.mark.parametrize("validate", ["", "validate = true\n[[data]]\nkind = 'live'\nroot = 'y'\nvalidate = true"])
def test_one_set_is_validated_on(tmp_path: Path, validate: str) -> None:
    (tmp_path / "r.toml").write_text(
        f"metric = 'nriqa-mobile'\n[[data]]\nkind = 'biq2021'\nroot = 'x'\n{validate}\n[train]\nsteps = 1"
    )
    with pytest.raises(ConfigError, match="validate"):
        Recipe.read(tmp_path / "r.toml")
