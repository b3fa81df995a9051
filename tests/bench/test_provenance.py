"""The lock file of a report, and what `drmetric bench verify` finds when something is no longer as it was."""

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from drmetric import __version__
from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.files import write_report
from drmetric.bench.methods.report.lock import verify
from drmetric.bench.scores.store import sha256_of
from drmetric.checkpoints import find_weights
from drmetric.cli.bench import commands
from drmetric.errors import ConfigError
from drmetric.images import read_image, save_image
from tests.boards import METHODS, metrics, write_board


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board with its report, not to be changed."""
    folder = tmp_path_factory.mktemp("board")
    config = Config.read(write_board(folder, metrics("driqa", "psnr", "low_band_psnr"), photos=("cat", "coffee")))
    write_report(run(config, folder / "out", n_bootstrap=20, seed=4), config, folder / "out")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, elsewhere."""
    return shutil.copytree(made, tmp_path / "moved")


def edit(path, change):
    lock = json.loads(path.read_text())
    change(lock)
    path.write_text(json.dumps(lock))


def test_it_names_everything_that_the_figures_depend_on(made):
    lock = json.loads((made / "out/lock.json").read_text())
    assert lock["facts"]["drmetric"] == __version__
    assert lock["facts"]["torch"] == torch.__version__ or lock["facts"]["torch"] in torch.__version__
    assert {"python", "platform", "device", "seed", "numpy"} <= set(lock["facts"])
    assert lock["facts"]["seed"] == "4"
    assert lock["config"]["text"] == (made / "board.toml").read_text()
    assert lock["config"]["folder"] == ".."
    assert lock["command"]
    driqa, psnr, _ = lock["metrics"]
    assert driqa["weights"]["sha256"] == find_weights("driqa").sha256
    assert driqa["weights"]["name"] in driqa["signature"]
    assert (psnr["reference"], psnr["weights"]) == ("truth", None)
    assert {role: entry["count"] for role, entry in lock["files"].items()} == {
        "degraded": 2, "truth": 2, **{f"method {name}": 2 for name in METHODS}
    }  # fmt: skip
    for name, digest in lock["reports"].items():
        assert sha256_of(made / "out" / name) == digest
    assert set(lock["reports"]) == {each.name for each in (made / "out").iterdir()} - {"lock.json"}


def test_a_report_that_was_moved_with_its_data_still_holds(folder):
    verdict = verify(folder / "out/lock.json", sample=7)
    assert (verdict.recomputed, verdict.given, verdict.differences) == (7, 18, [])
    assert verdict.largest <= 1


def test_the_sample_takes_turns_between_metrics(folder, monkeypatch):
    seen = []
    monkeypatch.setattr("drmetric.bench.provenance.rescore", lambda judge, *rest: seen.append(judge.label) or 0.0)
    verify(folder / "out/lock.json", sample=6)
    assert sorted(seen) == sorted(["driqa", "psnr", "low_band_psnr"] * 2)


def test_a_changed_file_is_named(folder):
    (folder / "blend/cat.png").write_bytes((folder / "all/cat_bicubic.png").read_bytes())
    (folder / "truth/coffee.png").write_bytes((folder / "truth/cat.png").read_bytes())
    differences = verify(folder / "out/lock.json", sample=18).differences
    assert "blend's output of catx2.png has changed: cat.png" in differences
    assert "the truth image of coffeex2.png has changed: coffee.png" in differences
    assert any(each.startswith("psnr of blend on catx2.png was ") for each in differences)
    assert not any("driqa of noise" in each for each in differences)


def test_missing_and_added_files_are_named(folder):
    (folder / "all/cat_noise.png").unlink()
    assert verify(folder / "out/lock.json").differences == ["noise's output of catx2.png is missing"]
    shutil.copyfile(folder / "all/cat_bicubic.png", folder / "all/cat_noise.png")
    for name in ("degraded/dogx2.png", "blend/dog.png"):
        shutil.copyfile(folder / "blend/cat.png", folder / name)
    assert "noise's output of catx2.png has changed: cat_noise.png" in verify(folder / "out/lock.json").differences


def test_an_added_image_is_a_difference(folder):
    for name in ("degraded/dogx2.png", "blend/dog.png"):
        shutil.copyfile(folder / "blend/cat.png", folder / name)
    assert verify(folder / "out/lock.json").differences == ["files were added or removed since the report"]


def test_edited_figures_are_found(folder):
    table = folder / "out/table.csv"
    table.write_text(table.read_text().replace("0.", "0.9", 1))
    assert verify(folder / "out/lock.json").differences == ["table.csv is not the file that was locked"]


def test_an_edited_score_is_found_beyond_the_tolerance_only(folder):
    scores = folder / "out/scores.jsonl"
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    for row in rows:
        row["score"] *= 1 + (1e-3 if row["metric"] == "psnr" else 1e-5)
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))
    verdict = verify(folder / "out/lock.json", sample=18)
    assert verdict.differences[0] == "scores.jsonl is not the file that was locked"
    assert len(verdict.differences) == 1 + 6
    assert all(each.startswith("psnr of ") for each in verdict.differences[1:])
    assert verdict.largest == pytest.approx(10, rel=0.01)


def test_another_version_of_a_metric_is_named(folder):
    lock = folder / "out/lock.json"
    edit(lock, lambda content: content["metrics"][0]["weights"].update(sha256="0" * 64))
    (difference,) = verify(lock).differences
    assert difference.startswith("driqa was driqa|weights:")


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}'])
def test_what_is_no_lock_file_is_refused(tmp_path, text):
    path = tmp_path / "lock.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="lock"):
        verify(path)


def test_the_command_says_whether_the_numbers_hold(folder):
    arguments = ["verify", str(folder / "out/lock.json"), "--sample", "3"]
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 0, result.output
    assert "3 of 18 scores computed again" in result.stdout
    assert "1e-04" in result.stdout
    assert result.stdout.endswith("the numbers hold\n")
    (folder / "degraded/catx2.png").write_bytes((folder / "degraded/coffeex2.png").read_bytes())
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 1
    assert "differs: the degraded image of catx2.png has changed: catx2.png" in result.stderr


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda lock: lock["metrics"].pop(1), "psnr has scores, and is not in the lock"),
        (lambda lock: lock["metrics"].clear(), "no score was computed again"),
        (lambda lock: lock["metrics"][1].update(label="p"), "p is in the lock, and not in the configuration"),
        (lambda lock: lock["metrics"][1].update(label="p"), "cannot be computed again: there is no such metric"),
        (lambda lock: lock["reports"].pop("table.csv"), "table.csv is not in the lock"),
        (lambda lock: lock["reports"].clear(), "scores.jsonl is not in the lock"),
        (lambda lock: lock["files"].pop("truth"), "files were added or removed since the report"),
    ],
)
def test_what_an_edited_lock_leaves_out_is_a_difference(folder, change, difference):
    lock = folder / "out/lock.json"
    edit(lock, change)
    assert any(difference in each for each in verify(lock, sample=18).differences)


@pytest.mark.parametrize("key", ["config", "metrics", "files", "reports"])
@pytest.mark.parametrize("value", [None, 3, "x", [3], {"x": 3}])
def test_a_lock_with_entries_of_another_kind_is_refused(folder, key, value):
    if (key, value) == ("files", {"x": 3}):
        pytest.skip("is compared as it is")
    lock = folder / "out/lock.json"
    edit(lock, lambda content: content.update({key: value}))
    with pytest.raises(ConfigError, match="lacks entries that a lock file has"):
        verify(lock)


def test_a_report_without_its_scores_does_not_hold(folder):
    (folder / "out/scores.jsonl").unlink()
    verdict = verify(folder / "out/lock.json")
    assert verdict.recomputed == 0
    assert verdict.differences == ["scores.jsonl is not the file that was locked", "no score was computed again"]


def fewer_methods(folder):
    config = folder / "board.toml"
    config.write_text(
        config.read_text().replace('[[methods]]\nname = "noise"\nfolder = "all"\nsuffix = "_noise"\n', "")
    )


def fewer_images(folder):
    (folder / "degraded/catx2.png").unlink()


def fewer_outputs(folder):
    (folder / "all/cat_noise.png").unlink()


def less_truth(folder):
    (folder / "truth/cat.png").unlink()


def a_smaller_output(folder):
    save_image(read_image(folder / "all/cat_noise.png")[:, ::2, ::2], folder / "all/cat_noise.png")


@pytest.mark.parametrize(
    ("change", "left"),
    [(fewer_methods, 12), (fewer_images, 9), (fewer_outputs, 15), (less_truth, 15), (a_smaller_output, 15)],
)
def test_scores_that_the_board_no_longer_has_do_not_count(folder, change, left):
    change(folder)
    config = Config.read(folder / "board.toml")
    write_report(run(config, folder / "out", n_bootstrap=20), config, folder / "out")
    assert len((folder / "out/scores.jsonl").read_text().splitlines()) == 18
    verdict = verify(folder / "out/lock.json", sample=18)
    assert (verdict.recomputed, verdict.given, verdict.differences) == (left, left, [])


def test_a_changed_file_of_a_smaller_board_is_named_alone(folder):
    fewer_methods(folder)
    config = Config.read(folder / "board.toml")
    write_report(run(config, folder / "out", n_bootstrap=20), config, folder / "out")
    shutil.copyfile(folder / "blend/coffee.png", folder / "all/cat_bicubic.png")
    differences = verify(folder / "out/lock.json", sample=1).differences
    assert "bicubic's output of catx2.png has changed: cat_bicubic.png" in differences
    assert not any("noise" in each for each in differences)


def test_a_metric_that_cannot_be_made_is_named_if_the_board_had_it(folder, tmp_path, monkeypatch):
    config = folder / "board.toml"
    config.write_text(config.read_text() + metrics("lpips"))
    monkeypatch.setenv("DRMETRIC_LPIPS_BACKBONE", str(tmp_path / "gone.safetensors"))
    settings = Config.read(config)
    board = run(settings, folder / "out", n_bootstrap=20)
    assert [each.metric for each in board.errors] == ["lpips"]
    write_report(board, settings, folder / "out")
    assert verify(folder / "out/lock.json", sample=3).differences == []
    edit(
        folder / "out/lock.json",
        lambda lock: lock["metrics"].append({"label": "lpips", "reference": "truth", "signature": "lpips|1"}),
    )
    first, *_ = verify(folder / "out/lock.json", sample=3).differences
    assert first.startswith("lpips cannot be made any more: WeightsError: ")
