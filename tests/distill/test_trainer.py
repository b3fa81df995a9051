"""Training: runs of a few steps, weights that load, and interrupted runs that continue."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from skimage import data

pytest.importorskip("lightning")
from drmetric import DRIQA
from drmetric.checkpoints import find_weights, read_weights, write_weights
from drmetric.data.make.building import write_records
from drmetric.distill import trainer
from drmetric.distill.ckdn import CKDNDistillation
from drmetric.distill.recipe import Recipe
from drmetric.errors import ConfigError, OutputError
from drmetric.images import read_image, save_image
from drmetric.writing import sole_writer

LABELS = (0.2, 0.5, 0.8)

pytestmark = pytest.mark.filterwarnings("ignore:::lightning")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training and two validation contents of 64 px, each restored three times, labelled."""
    root = tmp_path_factory.mktemp("corpus")
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    records = []
    for index, split in enumerate(("train", "train", "validation", "validation")):
        folder = root / "images" / str(index)
        folder.mkdir(parents=True)
        pristine = photo[:, 60 + 64 * index : 124 + 64 * index, 160:224]
        noise = torch.randn(pristine.shape, generator=torch.Generator().manual_seed(index))
        degraded = (pristine + 0.15 * noise).clamp(0, 1)
        save_image(pristine, folder / "pristine.png")
        save_image(degraded, folder / "d0.png")
        for r, label in enumerate(LABELS):
            save_image(degraded + label * (pristine - degraded), folder / f"d0_r{r}.png")
            files = {"pristine": "pristine", "degraded": "d0", "restored": f"d0_r{r}"}
            paths = {kind: f"images/{index}/{name}.png" for kind, name in files.items()}
            records.append({"content": str(index), "split": split, "label": label, **paths})
    write_records(root / "manifest.jsonl", records)
    return root


def write_recipe(path: Path, corpus: Path, **train: Any) -> Path:
    """A recipe for a small network; JSON values are TOML values here."""
    train = {"steps": 4, "warmup_steps": 1, "batch": 2, "patch": 48, "validate_every": 2, "workers": 0, **train}
    lines = [
        'metric = "driqa"',
        f'[data]\nkind = "corpus"\nroot = {json.dumps(str(corpus))}',
        "[network]\nhead_stages = 1\nhidden = [16]",
        "[train]",
        *(f"{key} = {json.dumps(value)}" for key, value in train.items()),
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Recipe, output and weights of a finished run; nobody may change them."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder / "small.toml", corpus, weight_norm=True)
    weights = trainer.train(recipe, output=folder / "run")
    return recipe, folder / "run", weights


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The optimiser steps that were trained, as they happen."""
    taken: list[int] = []
    original = CKDNDistillation.training_step

    def recorded(self: CKDNDistillation, *arguments: Any) -> torch.Tensor:
        taken.append(self.global_step)
        return original(self, *arguments)

    monkeypatch.setattr(CKDNDistillation, "training_step", recorded)
    return taken


def checkpoint(output: Path, name: str = "last") -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(output / f"{name}.ckpt", map_location="cpu", weights_only=True)
    return loaded


def optimiser_steps(saved: dict[str, Any]) -> set[int]:
    """AdamW's own count of the updates of each parameter."""
    return {int(state["step"]) for state in saved["optimizer_states"][0]["state"].values()}


def test_run_leaves_checkpoints_metrics_and_weights(finished: tuple[Path, Path, Path]) -> None:
    _, output, weights = finished
    assert weights == output / "small.safetensors"
    assert (output / "best.ckpt").is_file()
    last = checkpoint(output)
    assert last["global_step"] == 4
    assert optimiser_steps(last) == {4}
    assert last["lr_schedulers"][0]["last_epoch"] == 4
    [table] = output.rglob("metrics.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    validated = [row for row in rows if row["val/student_srcc"]]
    assert [int(row["step"]) + 1 for row in validated] == [2, 4]
    for row in validated:
        assert -1 <= float(row["val/student_srcc"]) <= 1
        assert -1 <= float(row["val/teacher_srcc"]) <= 1


def test_a_stage_of_self_play_starts_from_weights_and_goes_on_where_it_stopped(
    finished: tuple[Path, Path, Path], corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "fusion.json").write_text('{"terms": {"softening": {"weight": 1, "power": 1}}, "elo_per_point": 250}')
    start = {"start_from": str(finished[2]), "validate_every": 1, "teacher": 0.0, "distillation": 0.0, "ranking": 0.1}
    recipe = write_recipe(tmp_path / "play.toml", corpus, steps=1, **start)
    play = {"photographs": [str(corpus / "images")], "label": str(tmp_path / "fusion.json"), "patch": 48}
    play |= {"contents": 2, "images": 2, "players": 1, "pretraining": 1}
    table = "\n".join(["", "[self_play]", *(f"{key} = {json.dumps(value)}" for key, value in play.items())])
    recipe.write_text(recipe.read_text() + table)
    trainer.train(recipe, output=tmp_path / "run")
    recipe.write_text(recipe.read_text().replace("\nsteps = 1", "\nsteps = 2"))
    weights = trainer.train(recipe, output=tmp_path / "run", resume=True)
    assert optimiser_steps(checkpoint(tmp_path / "run")) == {2}
    [before, after] = (load_file(file) for file in (finished[2], weights))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("shape", ["", "[network]\nhead_stages = 1\nhidden = [16]\n"], ids=["theirs", "as written"])
def test_fine_tuned_weights_keep_the_calibration_that_training_does_without(
    finished: tuple[Path, Path, Path], corpus: Path, tmp_path: Path, shape: str
) -> None:
    file = find_weights("driqa", finished[2])
    config, state = read_weights(file, "driqa")
    write_weights(tmp_path / "start.safetensors", "driqa", {**config, "calibration": [1.5, 2.5]}, state)
    recipe = write_recipe(
        tmp_path / "fine.toml", corpus, steps=1, rate=1e-12, start_from=str(tmp_path / "start.safetensors")
    )
    written = recipe.read_text().replace("[network]\nhead_stages = 1\nhidden = [16]\n", shape)
    recipe.write_text(written)
    fine = DRIQA(weights=trainer.train(recipe, output=tmp_path / "run"))
    assert fine.network.config.calibration == (1.5, 2.5)
    image, degraded = (read_image(corpus / f"images/0/{name}.png")[None] for name in ("d0_r1", "d0"))
    expected = DRIQA(weights=tmp_path / "start.safetensors")(image, degraded)
    torch.testing.assert_close(fine(image, degraded), expected, atol=1e-4, rtol=0)
    again = trainer.export(tmp_path / "run/last.ckpt", tmp_path / "again.safetensors")
    assert DRIQA(weights=again).network.config.calibration == (1.5, 2.5)


def test_a_new_mlp_has_no_calibration(finished: tuple[Path, Path, Path], corpus: Path, tmp_path: Path) -> None:
    config, state = read_weights(find_weights("driqa", finished[2]), "driqa")
    write_weights(tmp_path / "start.safetensors", "driqa", {**config, "calibration": [1.5, 2.5]}, state)
    recipe = write_recipe(tmp_path / "deep.toml", corpus, steps=1, start_from=str(tmp_path / "start.safetensors"))
    recipe.write_text(recipe.read_text().replace("head_stages = 1", "head_stages = 2"))
    weights = trainer.train(recipe, output=tmp_path / "run")
    assert DRIQA(weights=weights).network.config.calibration == (1.0, 0.0)


def test_weights_load_and_score_as_the_student_of_the_best_checkpoint(
    finished: tuple[Path, Path, Path], corpus: Path
) -> None:
    recipe, output, weights = finished
    restored = torch.stack([read_image(corpus / f"images/2/d0_r{r}.png") for r in range(3)])
    degraded = read_image(corpus / "images/2/d0.png")[None]
    scores = DRIQA(weights=weights)(restored, degraded)

    trained = CKDNDistillation(Recipe.read(recipe))
    trained.load_state_dict(checkpoint(output, "best")["state_dict"])
    trained.eval()
    with torch.no_grad():
        expected = trained.network(restored, degraded).mean((1, 2, 3)).sigmoid()
    assert scores.shape == (3,)
    torch.testing.assert_close(scores, expected, atol=1e-3, rtol=0)  # weights are kept in half precision
    assert str(weights.stem) in DRIQA(weights=weights).signature


def test_weights_are_of_the_highest_validation_not_of_the_last(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    correlations = {0: -1.0, 1: 0.2, 2: 0.9, 3: 0.5}

    def validated(self: CKDNDistillation) -> None:
        self._validated.clear()
        self.log("val/student_srcc", correlations[self.global_step])

    monkeypatch.setattr(CKDNDistillation, "on_validation_epoch_end", validated)
    recipe = write_recipe(tmp_path / "r.toml", corpus, steps=3, validate_every=1)
    kept = load_file(trainer.train(recipe, output=tmp_path / "run"))
    best = checkpoint(tmp_path / "run", "best")
    assert best["global_step"] == 2
    assert checkpoint(tmp_path / "run")["global_step"] == 3
    for key, value in kept.items():
        assert torch.equal(value, best["state_dict"][f"network.{key}"].half())


def test_weights_hold_the_student_alone_in_half_precision(finished: tuple[Path, Path, Path]) -> None:
    state = load_file(finished[2])
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert not [key for key in state if "relative_head" in key or "parametrizations" in key]


def test_same_seed_trains_the_same_weights_and_another_seed_others(
    finished: tuple[Path, Path, Path], corpus: Path, tmp_path: Path
) -> None:
    first = load_file(finished[2])
    again = load_file(trainer.train(finished[0], output=tmp_path / "again"))
    assert all(torch.equal(first[key], again[key]) for key in first)
    recipe = write_recipe(tmp_path / "other.toml", corpus, weight_norm=True, seed=1)
    other = load_file(trainer.train(recipe, output=tmp_path / "other"))
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_output_in_use_is_refused_and_left_alone(finished: tuple[Path, Path, Path]) -> None:
    recipe, output, _ = finished
    before = {file: file.stat().st_mtime_ns for file in output.rglob("*")}
    with pytest.raises(ConfigError, match=r"(?s)already holds a run.*--resume"):
        trainer.train(recipe, output=output)
    assert {file: file.stat().st_mtime_ns for file in output.rglob("*")} == before


@pytest.mark.parametrize("name", ["best", "last"])
def test_folder_with_a_checkpoint_of_any_name_is_refused(
    finished: tuple[Path, Path, Path], tmp_path: Path, name: str
) -> None:
    recipe, output, _ = finished
    (tmp_path / "run").mkdir()
    shutil.copyfile(output / f"{name}.ckpt", tmp_path / f"run/{name}.ckpt")
    with pytest.raises(ConfigError, match=rf"(?s)already holds a run \({name}\.ckpt\).*--resume"):
        trainer.train(recipe, output=tmp_path / "run")


@pytest.mark.parametrize("name", ["best", "last"])
def test_resuming_a_run_of_another_recipe_is_refused(
    finished: tuple[Path, Path, Path], corpus: Path, tmp_path: Path, name: str
) -> None:
    _, output, _ = finished
    (tmp_path / "run").mkdir()
    shutil.copyfile(output / f"{name}.ckpt", tmp_path / f"run/{name}.ckpt")
    other = write_recipe(tmp_path / "other.toml", corpus, weight_norm=True, rate=0.5)
    with pytest.raises(ConfigError, match=rf"(?s){name}\.ckpt is of a run with another recipe.*in \[train\] rate\n"):
        trainer.train(other, output=tmp_path / "run", resume=True)
    assert [file.name for file in (tmp_path / "run").iterdir()] == [f"{name}.ckpt"]


def test_resumed_run_goes_on_from_its_step(corpus: Path, tmp_path: Path, steps_taken: list[int]) -> None:
    output = tmp_path / "run"
    trainer.train(write_recipe(tmp_path / "r.toml", corpus, steps=3), output=output)
    assert steps_taken == [0, 1, 2]
    halfway = checkpoint(output)
    assert halfway["global_step"] == 3

    steps_taken.clear()
    weights = trainer.train(write_recipe(tmp_path / "r.toml", corpus, steps=5), output=output, resume=True)
    assert steps_taken == [3, 4]
    last = checkpoint(output)
    assert last["global_step"] == 5
    assert optimiser_steps(last) == {5}
    assert last["lr_schedulers"][0]["last_epoch"] == 5
    assert any(not torch.equal(last["state_dict"][k], halfway["state_dict"][k]) for k in last["state_dict"])
    assert DRIQA(weights=weights)(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)).shape == (1,)


def test_a_resumed_run_draws_other_images_and_crops(corpus: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(write_recipe(tmp_path / "r.toml", corpus))

    def first_images(done: int) -> torch.Tensor:
        _, training, _ = trainer.prepare(recipe, done=done)
        return next(iter(training)).a

    start, again, resumed = first_images(0), first_images(0), first_images(3)
    assert torch.equal(start, again)
    assert not torch.equal(start, resumed)


def test_resuming_a_finished_run_trains_no_further(finished: tuple[Path, Path, Path], steps_taken: list[int]) -> None:
    recipe, output, weights = finished
    before = load_file(weights)
    assert trainer.train(recipe, output=output, resume=True) == weights
    assert steps_taken == []
    after = load_file(weights)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert checkpoint(output)["global_step"] == 4


def test_resume_in_an_empty_folder_starts_the_run(corpus: Path, tmp_path: Path, steps_taken: list[int]) -> None:
    recipe = write_recipe(tmp_path / "r.toml", corpus, steps=1, validate_every=1)
    trainer.train(recipe, output=tmp_path / "new", resume=True)
    assert steps_taken == [0]


def test_run_without_a_validation_keeps_its_last_state(corpus: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.toml", corpus, steps=2, validate_every=50)
    weights = trainer.train(recipe, output=tmp_path / "run")
    kept, last = load_file(weights), checkpoint(tmp_path / "run")["state_dict"]
    for key, value in kept.items():
        torch.testing.assert_close(value.float(), last[f"network.{key}"], atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_killed_run_goes_on_from_its_last_checkpoint(corpus: Path, tmp_path: Path, steps_taken: list[int]) -> None:
    recipe = write_recipe(tmp_path / "r.toml", corpus, steps=100_000, validate_every=1000)
    code = (
        "from datetime import timedelta; from pathlib import Path; from drmetric.distill import trainer\n"
        "trainer.timedelta = lambda minutes: timedelta(0)  # a checkpoint every step\n"
        "trainer.train(Path('r.toml'), output=Path('run'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    last = tmp_path / "run" / "last.ckpt"
    try:
        deadline = time.monotonic() + 90
        while not last.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        assert process.poll() is None, "ended before it was killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    reached = checkpoint(tmp_path / "run")["global_step"]
    assert reached > 0

    write_recipe(recipe, corpus, steps=reached + 2, validate_every=2)
    trainer.train(recipe, output=tmp_path / "run", resume=True)
    assert steps_taken == [reached, reached + 1]
    assert optimiser_steps(checkpoint(tmp_path / "run")) == {reached + 2}


def test_max_time_is_of_this_run_not_of_all_together(corpus: Path, tmp_path: Path, steps_taken: list[int]) -> None:
    recipe = write_recipe(tmp_path / "r.toml", corpus, steps=100_000, validate_every=1000)
    trainer.train(recipe, output=tmp_path / "run", max_time="00:00:00:01")
    reached = len(steps_taken)
    assert reached > 0
    trainer.train(recipe, output=tmp_path / "run", resume=True, max_time="00:00:00:01")
    assert len(steps_taken) > reached


class OnlyAtFirst(timedelta):
    """An interval between checkpoints that is over at the first step and never again."""

    asked = 0

    def total_seconds(self) -> float:
        OnlyAtFirst.asked += 1
        return 0.0 if OnlyAtFirst.asked == 1 else 1e9


def test_last_checkpoint_is_the_end_of_a_long_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "timedelta", OnlyAtFirst)
    monkeypatch.setattr(OnlyAtFirst, "asked", 0)
    trainer.train(write_recipe(tmp_path / "r.toml", corpus), output=tmp_path / "run")
    assert OnlyAtFirst.asked > 1
    assert checkpoint(tmp_path / "run")["global_step"] == 4


def test_run_goes_on_in_a_folder_that_was_moved(corpus: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.toml", corpus, steps=2)
    trainer.train(recipe, output=tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert trainer.train(recipe, output=tmp_path / "moved", resume=True).is_file()


def test_a_moved_run_still_knows_its_best_state(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    correlations = {0: -1.0, 1: 0.9, 2: 0.5}

    def validated(self: CKDNDistillation) -> None:
        self._validated.clear()
        self.log("val/student_srcc", correlations[self.global_step])

    monkeypatch.setattr(CKDNDistillation, "on_validation_epoch_end", validated)
    trainer.train(write_recipe(tmp_path / "r.toml", corpus, steps=1, validate_every=1), output=tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    recipe = write_recipe(tmp_path / "r.toml", corpus, steps=2, validate_every=1)
    trainer.train(recipe, output=tmp_path / "moved", resume=True)
    assert checkpoint(tmp_path / "moved", "best")["global_step"] == 1


def test_a_time_limit_that_is_none_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_time is '2h'"):
        trainer.train(tmp_path / "none.toml", max_time="2h")


def test_batch_larger_than_the_data_is_refused(corpus: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.toml", corpus, batch=3)
    with pytest.raises(ConfigError, match="batch"):
        trainer.train(recipe, output=tmp_path / "run")


def test_one_run_writes_in_a_folder_at_a_time(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, output = write_recipe(tmp_path / "small.toml", corpus), tmp_path / "run"
    with sole_writer(output):
        with pytest.raises(OutputError, match="another run is writing"):
            trainer.train(recipe, output=output)
        assert list(output.iterdir()) == []
        monkeypatch.setattr(trainer, "_train", lambda *given: output / "done")
        monkeypatch.setattr(trainer.rank.rank_zero_only, "rank", 1)  # a further process of the run that holds it
        assert trainer.train(recipe, output=output) == output / "done"


def test_weights_that_go_before_the_end_are_missed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = trainer.write_weights

    def lost(path: Path, *given: Any, **notes: Any) -> None:
        written(path, *given, **notes)
        path.unlink()

    monkeypatch.setattr(trainer, "write_weights", lost)
    recipe = write_recipe(tmp_path / "small.toml", corpus, steps=1, validate_every=1)
    with pytest.raises(OutputError, match=r"small\.safetensors.*deleted or changed"):
        trainer.train(recipe, output=tmp_path / "run")
