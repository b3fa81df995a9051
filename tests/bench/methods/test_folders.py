"""Boards without a file: the configuration that folders stand for, and what the command refuses."""

import json
import re
import shutil
import sys

import pytest
from typer.testing import CliRunner

from drmetric.bench.judges import Entry
from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.lock import verify
from drmetric.cli.app import app
from drmetric.errors import ConfigError
from drmetric.images import read_image, save_image
from tests.boards import PHOTOS, write_images

Y = {"channel": "y"}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The working folder: lr/, hr/ and the outputs of two methods, of which one lies deeper."""
    write_images(tmp_path, photos=PHOTOS[:2])
    for path in tmp_path.glob("all/*"):
        photo, tag = path.stem.split("_")
        (tmp_path / "out put" / tag).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "out put" / tag / f"{photo}.png")
    (tmp_path / "degraded").rename(tmp_path / "lr")
    (tmp_path / "truth").rename(tmp_path / "hr")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def methods(*arguments):
    return CliRunner().invoke(app, ["bench", "methods", *map(str, arguments)])


def test_folders_are_the_board_that_their_text_describes(folders):
    outputs = [folders / "blend", folders / "out put/noise"]
    metrics = [Entry("driqa"), Entry("psnr", "PSNR-Y", options={"channel": "y", "shave": 4})]
    config = Config.of_folders(outputs, folders / "lr", folders / "hr", metrics)
    assert [method.name for method in config.methods] == ["blend", "noise"]
    assert (config.name, config.degraded, config.truth) == ("lr", folders / "lr", folders / "hr")
    (folders / "board.toml").write_text(config.text)
    read = Config.read(folders / "board.toml")
    assert (read.methods, read.metrics, read.degraded) == (config.methods, config.metrics, config.degraded)
    assert list(read.metrics) == metrics


def test_the_default_metrics_are_those_that_can_be_had(folders, monkeypatch):
    outputs = [folders / "blend"]
    titles = [entry.title for entry in Config.of_folders(outputs, folders / "lr").metrics]
    assert titles == ["driqa"]
    titles = [entry.title for entry in Config.of_folders(outputs, folders / "lr", folders / "hr").metrics]
    assert titles == ["driqa", "lpips", "PSNR-Y"]
    preset = Config.of_folders(outputs, folders / "lr", preset="dr")
    assert [entry.title for entry in preset.metrics][:2] == ["driqa", "nriqa"]


def test_the_command_reports_goes_on_and_its_lock_holds(folders):
    arguments = ("--degraded", "lr", "--truth", "hr", "blend", "out put/noise", "--metric", "psnr(channel=y)")
    first = methods(*arguments, "--metric", "lr_psnr", "--bootstrap", 20)
    assert first.exit_code == 0, first.output
    assert "2 methods, 2 images, 2 metrics" in first.stdout
    output = folders / "runs/lr"
    assert (output / "report.html").is_file()
    again = methods(*arguments, "--metric", "ssim", "--bootstrap", 20)
    assert "note: 4 scores were kept" in again.stderr
    assert verify(output / "lock.json", sample=4).differences == []
    rows = [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]
    assert {row["method"] for row in rows} == {"blend", "noise"}


def test_methods_are_ranked_by_the_truth_alone(folders):
    arguments = ("--truth", "hr", "blend", "out put/noise", "--bootstrap", 20)
    done = methods(*arguments, "--metric", "psnr(channel=y)", "--metric", "nriqa")
    assert done.exit_code == 0, done.output
    output = folders / "runs/hr"
    assert (
        "Without degraded inputs nothing says whether outputs are restorations" in (output / "report.html").read_text()
    )
    assert verify(output / "lock.json", sample=4).differences == []
    rows = [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]
    alone = {(row["method"], row["image"]): row["score"] for row in rows if row["metric"] == "psnr(channel=y)"}
    beside = run(
        Config.of_folders(
            [folders / "blend", folders / "out put/noise"], folders / "lr", folders / "hr", [Entry("psnr", options=Y)]
        ),
        folders / "beside",
        n_bootstrap=20,
    ).scores
    assert {image for _, image in alone} == {"astronaut.png", "cat.png"}
    for (method, image), score in alone.items():
        place = beside.methods.index(method), beside.images.index(image.replace(".png", "x2.png"))
        assert score == pytest.approx(beside.values[0][place])
    usual = Config.of_folders([folders / "blend"], truth=folders / "hr")
    assert [entry.title for entry in usual.metrics] == ["lpips", "PSNR-Y"]


def test_methods_are_ranked_without_anything_to_compare_with(folders):
    for path in folders.glob("out put/noise/*.png"):
        path.rename(path.with_suffix(".PNG"))
    done = methods("blend", "out put/noise", "--metric", "nriqa", "--bootstrap", 20, "-o", "report")
    assert done.exit_code == 0, done.output
    assert "2 methods, 2 images, 1 metric" in done.stdout
    assert verify(folders / "report/lock.json", sample=4).differences == []
    (folders / "out put/noise/cat.PNG").unlink()
    lacking = methods("blend", "out put/noise", "--metric", "nriqa", "--bootstrap", 20, "-o", "report")
    assert lacking.exit_code == 1
    assert (
        "failed: noise, cat.png: there is no output of this image" in lacking.stderr.replace("\n", " ") + lacking.stdout
    )
    usual = methods("blend", "--metric", "nriqa", "--bootstrap", 20)
    assert (usual.exit_code, (folders / "runs" / folders.name / "table.md").is_file()) == (0, True)


def test_outputs_of_several_sizes_are_named_where_no_input_says_which_is_right(folders):
    small = read_image(folders / "blend/cat.png")[:, :48, :48]
    save_image(small, folders / "out put/noise/cat.png")
    said = "Of 1 of 2 images, such as 'cat.png', outputs differ in size"
    config = Config.of_folders([folders / "blend", folders / "out put/noise"], metrics=[Entry("nriqa")])
    assert any(note.startswith(said) for note in run(config, folders / "a", n_bootstrap=20).notes)
    config = Config.of_folders([folders / "out put/noise"], truth=folders / "hr", metrics=[Entry("nriqa")])
    assert any(note.startswith(said) for note in run(config, folders / "b", n_bootstrap=20).notes)


def test_metrics_that_need_inputs_are_left_out_of_a_file_without_them(folders):
    config = Config.of_folders([folders / "blend"], truth=folders / "hr", metrics=[Entry("psnr"), Entry("driqa")])
    board = run(config, folders / "out", n_bootstrap=20)
    assert [judge.label for judge in board.scores.judges] == ["psnr"]
    assert 'is compared with the degraded image, and there is none (reference = "truth"' in board.skipped["driqa"]


def test_outputs_without_a_name_in_common_are_refused(folders):
    for path in folders.glob("out put/noise/*.png"):
        path.rename(path.with_stem(f"{path.stem}_noise"))
    done = methods("blend", "out put/noise", "--metric", "nriqa")
    assert done.exit_code == 2
    assert "'astronaut.png' has none by 'noise'" in done.stderr
    strays = methods("blend", "--truth", "out put/noise", "--metric", "nriqa")
    assert (strays.exit_code, "has the name of a ground truth in" in strays.stderr) == (2, True)


def test_the_report_of_another_board_is_not_replaced(folders):
    for data in ("Set5", "Set14", "old/Set14"):
        shutil.copytree(folders / "lr", folders / data / "lr")
    outputs = ("blend", "--metric", "lr_psnr", "--bootstrap", 20)
    assert methods("--degraded", "Set5/lr", *outputs).exit_code == 0
    lock = folders / "runs/lr/lock.json"
    before = lock.read_bytes()
    refused = methods("--degraded", "Set14/lr", *outputs)
    assert refused.exit_code == 2
    assert f"inputs in '{folders / 'Set5/lr'}'" in refused.stderr
    assert refused.stderr.splitlines()[-1] == "fix: -o runs/Set14-lr"
    assert lock.read_bytes() == before
    assert methods("--degraded", "Set14/lr", *outputs, "-o", "runs/Set14-lr").exit_code == 0
    assert methods("--degraded", "Set14/lr", *outputs).stderr.splitlines()[-1] == "fix: -o runs/Set14-lr"
    assert methods("--degraded", "old/Set14/lr", *outputs).stderr.splitlines()[-1] == "fix: -o runs/Set14-lr-2"
    assert "scores were kept" in methods("--degraded", folders / "Set5/lr", *outputs).stderr


def test_without_inputs_a_board_is_known_by_its_methods(folders):
    for name in ("other", "another"):
        shutil.copytree(folders / "blend", folders / name)
    rest = ("--metric", "nriqa", "--bootstrap", 20)
    assert methods("blend", *rest).exit_code == 0
    refused = methods("other", "another", *rest)
    assert (refused.exit_code, "holds the report of another board" in refused.stderr) == (2, True)
    assert methods("other", "blend", *rest).exit_code == 0


def test_configurations_of_one_name_have_folders_of_their_own(folders):
    text = Config.of_folders([folders / "blend"], folders / "lr", metrics=[Entry("lr_psnr")]).text
    for name in ("a", "b c"):
        (folders / name).mkdir()
        (folders / name / "board.toml").write_text(text)
    assert methods("a/board.toml", "--bootstrap", 20).exit_code == 0
    refused = methods("b c/board.toml", "--bootstrap", 20)
    assert (refused.exit_code, refused.stderr.splitlines()[-1]) == (2, "fix: -o 'runs/b c-board'")
    (folders / "runs/board/lock.json").write_text("{}")
    assert methods("b c/board.toml", "--bootstrap", 20).exit_code == 0


def test_latex_goes_without_intervals(folders):
    arguments = ("--degraded", "lr", "--truth", "hr", "blend", "out put/noise", "--metric", "psnr(channel=y)")
    assert methods(*arguments, "--bootstrap", 20).exit_code == 0
    latex = folders / "runs/lr/table.tex"
    assert "scriptsize [" in latex.read_text()
    assert methods(*arguments, "--bootstrap", 20, "--no-latex-intervals").exit_code == 0
    rows = [line for line in latex.read_text().splitlines() if line.endswith(r"\\")]
    assert rows[0] == r"\# & Method & PSNR-Y $\uparrow$ \\"
    assert re.fullmatch(r"1 & blend & \\textbf\{\d\d\.\d\d\} \\\\", rows[1])
    assert verify(folders / "runs/lr/lock.json", sample=1).differences == []


def test_consistency_stands_beside_driqa(folders):
    config = Config.of_folders([folders / "blend", folders / "out put/bicubic"], folders / "lr")
    found = run(config, folders / "out", n_bootstrap=20).scores.consistency
    assert (found["lr_psnr"] > 30).all()


def test_methods_of_one_name_are_refused(folders):
    (folders / "other/noise").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"several are called 'noise': .*out put/noise, .*other/noise\n  fix: rename"):
        Config.of_folders([folders / "out put/noise", folders / "other/noise"], folders / "lr")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("blend",), "error: 'blend' is no TOML file.*fix: --degraded INPUTS"),
        (("blend", "--truth", "hr", "--metric", "driqa"), "driqa compares .* degraded input.*fix: --degraded FOLDER$"),
        (
            ("blend", "--metric", "driqa", "--metric", "psnr"),
            "2 things are missing.*fix: --degraded FOLDER --truth FOL",
        ),
        (("blend", "--degraded", "lr", "--metric", "drika"), "unknown metric 'drika'.*fix: --metric driqa"),
        (("board.toml", "--degraded", "lr"), "board.toml is a configuration.*--degraded came beside it"),
        (("board.toml", "blend"), "2 paths came beside it.*fix: drmetric bench methods board.toml"),
        (("gone", "away", "--degraded", "no"), "3 things are missing: the degraded path .*/no' .*/gone' .*/away'"),
        (("blend", "--degraded", "lr", "--preset", "no"), "unknown preset 'no'.*fix: --preset dr$"),
        (("blend", "--degraded", "lr", "--metric", "psnr"), "psnr compares .* ground truth.*fix: --truth FOLDER$"),
        (("blend", "--degraded", "lr", "--metric", "psnr(chanel=y)"), "no option 'chanel'.*fix: --metric 'psnr"),
        (("blend", "--degraded", "lr", "--metric", "ssim", "--metric", "psnr"), "2 things.*none was given fix: --tr"),
        (("blend", "--degraded", "lr", "--metric", "driqa", "--metric", "driqa"), "two metrics are called 'driqa'"),
        (("blend", "--degraded", "lr", "--preset", "fr"), "no metric can be used.*fix: --metric nriqa$"),
    ],
)
def test_what_does_not_belong_together_is_refused_with_what_mends_it(folders, arguments, message):
    done = methods(*arguments)
    assert done.exit_code == 2, done.output
    assert re.search(message, done.stderr.strip().replace("\n", " ")), done.stderr
    assert not (folders / "runs").exists() or not list((folders / "runs").rglob("*.jsonl"))


def test_a_package_that_the_report_needs_is_missed_before_the_first_image(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = methods("blend", "--degraded", "lr", "--metric", "lr_psnr")
    assert done.exit_code == 2
    assert "the HTML report needs the package jinja2" in done.stderr
    assert not (folders / "runs").exists()


def test_a_metric_without_its_weights_is_named_before_the_first_image(folders, monkeypatch):
    monkeypatch.setenv("DRMETRIC_LPIPS_BACKBONE", str(folders / "gone.safetensors"))
    done = methods("blend", "--degraded", "lr", "--truth", "hr", "--bootstrap", 20)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].startswith("lpips will not score: WeightsError: LPIPS with net='squeeze'")
