"""Scoring as users run it: output, exit codes, what is resumed, and kill -9."""

import csv
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from drmetric.bench.scores.store import read_rows
from drmetric.images import read_image, save_image
from drmetric.metrics import registry
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create
from tests.cli.commands import SCORE_PSNR, run, write_folders, write_image

COMMAND = [sys.executable, "-c", "from drmetric.cli.app import app; app()"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
EXAMPLE = Path(str(files("drmetric"))) / "example"


def test_csv_and_jsonl_agree_and_resume(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        arguments = ("score", folders[0], "--degraded", folders[1], *SCORE_PSNR, "-o", tmp_path / name)
        first, second = run(*arguments), run(*arguments)
        assert (first.exit_code, second.exit_code) == (0, 0)
        assert first.stdout == second.stdout
        assert f"4 scores in {tmp_path / name}" in first.stdout
        assert "note: 4 scores were kept" in second.stderr
    with (tmp_path / "a.csv").open(newline="") as file:
        from_csv = {row["image"]: float(row["score"]) for row in csv.DictReader(file)}
    from_jsonl = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert from_csv == {record["image"]: record["score"] for record in from_jsonl}


def test_broken_and_missing_files_are_named_at_the_end(folders: tuple[Path, Path]) -> None:
    (folders[0] / "01_net.png").write_bytes(b"broken")
    (folders[1] / "02.png").rename(folders[1] / "lonely.png")
    result = run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR)
    assert result.exit_code == 1
    assert "01_net.png\tfailed\n" in result.stdout
    assert result.stdout.rstrip().endswith(" 2/4")
    assert "failed: 01_net.png: " in result.stderr
    assert "failed: 02_net.png: no degraded input" in result.stderr
    assert "note: no restored image uses 'lonely.png'" in result.stderr
    *_, count, fix = result.stderr.splitlines()
    assert count == "2 of 4 images have no score"
    mended = run(*shlex.split(fix.removeprefix("fix: drmetric "), comments=True))
    assert mended.exit_code == 1
    assert "01_net.png" in mended.stdout


def test_extra_degraded_inputs_are_a_note_only(folders: tuple[Path, Path]) -> None:
    write_image(folders[1] / "lonely.png", 1, 32)
    result = run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR)
    assert result.exit_code == 0
    assert "'lonely.png'" in result.stderr


def test_a_device_that_is_not_there_is_refused(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run("score", folders[0], "--degraded", folders[1], "--metric", "psnr", "--device", "cuda")
    assert result.exit_code == 2
    assert "'cuda' is not usable" in result.stderr
    assert "fix: --device auto" in result.stderr


def test_degraded_inputs_of_a_no_reference_metric_are_not_used(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mean(Metric):
        name = "mean"
        mode = "nr"
        signature = "mean"

        def _score(self, image: torch.Tensor, reference: torch.Tensor | None) -> torch.Tensor:
            return image.mean((1, 2, 3))

    monkeypatch.setattr(registry, "_METRICS", {"mean": "mean"})
    monkeypatch.setattr(registry, "metric_class", lambda name: Mean)
    monkeypatch.setattr("drmetric.bench.judges.metric_class", lambda name: Mean)
    result = run("score", folders[0], "--degraded", folders[1], "--metric", "mean")
    assert result.exit_code == 0
    assert result.stderr == "note: mean needs no degraded inputs; --degraded is not used\n"


def test_interrupt_says_how_to_go_on(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scores.jsonl"
    arguments = ("score", folders[0], "--degraded", folders[1], *SCORE_PSNR, "-o", output)

    def interrupted(*images: torch.Tensor) -> torch.Tensor:
        if output.read_text().count("\n") == 2:
            raise KeyboardInterrupt
        return torch.zeros(1)

    with monkeypatch.context() as patch:
        patch.setattr("drmetric.metrics.pixel.PSNR._score", lambda self, *images: interrupted(*images))
        result = run(*arguments)
    assert result.exit_code == 130
    assert "interrupted; the scores so far are in" in result.stderr
    assert "note: 2 scores were kept" in run(*arguments).stderr


def test_doctor_names_broken_files(folders: tuple[Path, Path]) -> None:
    sound = run("doctor", folders[0])
    assert sound.exit_code == 0
    assert f"findings on {len(list(folders[0].iterdir()))} files: ok: " in sound.stderr
    assert " files and their pairs: ok: " in run("doctor", *folders).stderr
    assert run("doctor", folders[0], "--degraded", folders[1]).stderr == run("doctor", *folders).stderr
    (folders[0] / "01_net.png").write_bytes(b"broken")
    result = run("doctor", folders[0])
    assert result.exit_code == 1
    assert f"error\t{folders[0] / '01_net.png'}\tunreadable\t" in result.stdout
    assert "error: 1" in result.stderr


def test_doctor_finds_no_fault_in_small_inputs(tmp_path: Path) -> None:
    small = write_folders(tmp_path, 2, 48)
    assert run("score", small[0], "--degraded", small[1], "--metric", "lr_psnr", "--device", "cpu").exit_code == 0
    for words in (small, (small[0], "--degraded", small[1])):
        result = run("doctor", *words)
        assert result.exit_code == 0, result.output
    assert "24 x 24 pixels; at least 32 x 32 are needed" in run("doctor", small[1]).stdout


def test_list_says_what_each_metric_is() -> None:
    result = run("list")
    header, *lines = [line.split("\t") for line in result.stdout.splitlines()]
    rows = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert (rows["driqa"]["mode"], rows["driqa"]["range"]) == ("dr", "0..1")
    assert (rows["lpips"]["better"], rows["psnr"]["available"]) == ("lower", "yes")
    missing = [name for name, row in rows.items() if row["available"] == "no"]
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [f"to have {name}" for name in missing]


def test_example_scores_the_bundled_images_and_copies_them(tmp_path: Path) -> None:
    result = run("example", "--copy", str(tmp_path))
    assert result.exit_code == 0
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    scores = dict(line.split("\t")[:2] for line in result.stdout.splitlines()[1:])
    for scene in ("astronaut", "chelsea", "coffee"):
        sharp = float(scores[f"{scene}_sharp.png"])
        assert sharp > float(scores[f"{scene}_blurred.png"])
        assert sharp > float(scores[f"{scene}_oversharpened.png"])
    images = names[1:-3]
    assert images == sorted(path.name for path in (EXAMPLE / "restored").iterdir())
    assert names[-3:] == ["mean of *_blurred", "mean of *_oversharpened", "mean of *_sharp"]
    assert "drmetric score RESTORED --degraded DEGRADED" in result.stderr
    assert {path.name for path in (tmp_path / "restored").iterdir()} == set(images)
    assert {path.stem for path in (tmp_path / "degraded").iterdir()} == {"astronaut", "chelsea", "coffee"}


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_kill_9(tmp_path: Path, weights: Path) -> None:
    restored, degraded = write_folders(tmp_path, 40, 192)
    command = [*COMMAND, "score", str(restored), "--degraded", str(degraded)]
    command += ["--weights", str(weights), "--device", "cpu", "-o"]
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    assert subprocess.run([*command, str(whole)], env=ONE_THREAD, capture_output=True).returncode == 0

    seen = b""
    for target in sorted(random.Random(0).sample(range(1, 38), 3)):
        process = subprocess.Popen([*command, str(killed)], env=ONE_THREAD, stderr=subprocess.DEVNULL)
        while lines_of(killed) < target and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = killed.read_bytes()
        assert content.startswith(seen)
        seen = content[: content.rindex(b"\n") + 1]
    killed.write_bytes(seen[:-5])
    assert subprocess.run([*command, str(killed)], env=ONE_THREAD, capture_output=True).returncode == 0

    first, second = ([json.loads(line) for line in path.read_text().splitlines()] for path in (killed, whole))
    assert sorted(record["image"] for record in first) == sorted(path.name for path in restored.iterdir())
    assert {r["image"]: r["score"] for r in first} == {r["image"]: r["score"] for r in second}


def test_full_reference_metrics_ask_for_truth_and_take_it(folders: tuple[Path, Path]) -> None:
    refused = run("score", folders[0], *SCORE_PSNR)
    assert refused.exit_code == 2
    assert "--truth FOLDER" in refused.stderr
    equal = run("score", folders[0], "--truth", folders[0], *SCORE_PSNR)
    assert "mean\t100.000000 [100.000000, 100.000000]" in equal.stdout
    unequal = run("score", folders[0], "--truth", folders[1], *SCORE_PSNR)
    assert unequal.exit_code == 1
    assert "wanted one size" in unequal.stderr
    assert "enlarged where they are smaller" in run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR).stderr


def test_swapped_folders_are_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    write_image(tmp_path / "lr/0.png", 0, 32)
    write_image(tmp_path / "hr/0.png", 0, 64)
    result = run("score", tmp_path / "lr", "--degraded", tmp_path / "hr", *SCORE_PSNR)
    assert result.exit_code == 2
    assert f"fix: drmetric score {tmp_path / 'hr'} --degraded {tmp_path / 'lr'}" in result.stderr


@pytest.mark.parametrize(
    ("wrong", "right"), [("DRIQA", "driqa"), ("PSNR", "psnr"), ("ms-ssim", "ms_ssim"), ("musiq", "pyiqa:musiq")]
)
def test_an_unknown_metric_is_mended_on_the_command_line(folders: tuple[Path, Path], wrong: str, right: str) -> None:
    result = run("score", folders[0], "--metric", wrong)
    assert result.exit_code == 2
    assert f"fix: --metric {right}" in result.stderr


def test_cropped_outputs_are_named_once(tmp_path: Path) -> None:
    for number in range(2):
        write_image(tmp_path / f"restored/{number}.png", number, 190)
        write_image(tmp_path / f"degraded/{number}.png", number, 96)
    result = run("score", tmp_path / "restored", "--degraded", tmp_path / "degraded", "--metric", "lr_psnr")
    assert result.exit_code == 0
    assert "warning: 2 of 2 outputs may have been cropped, such as '0.png': degraded is 96 x 96" in result.stderr
    assert "ScaleWarning" not in result.stderr


def test_a_second_path_is_named_as_the_inputs(folders: tuple[Path, Path]) -> None:
    result = run("score", *folders, *SCORE_PSNR)
    assert result.exit_code == 2
    assert f"fix: drmetric score {folders[0]} --degraded {folders[1]}\n" in result.stderr
    more = run("score", folders[0], folders[0], "--degraded", folders[1], *SCORE_PSNR)
    assert more.exit_code == 2
    assert "fix: name the folder" in more.stderr


def test_mistakes_of_an_export_are_mended_on_the_command_line(tmp_path: Path) -> None:
    unknown = run("export", "driq", "--onnx", tmp_path / "a.onnx")
    assert f"fix: drmetric export driqa --onnx {tmp_path / 'a.onnx'}\n" in unknown.stderr
    other = run("export", "driqa", "--onnx", tmp_path / "a.pt")
    assert f"fix: --onnx {tmp_path / 'a.onnx'}\n" in other.stderr
    assert unknown.exit_code == other.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_methods_in_sub_folders_have_a_mean_each(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for method in ("a", "b"):
        for i in range(2):
            write_image(tmp_path / "out" / method / f"{i:02}.png", i, 32)
    result = run("score", tmp_path / "out", "--degraded", folders[1], *SCORE_PSNR)
    means = [line.split("\t")[0] for line in result.stdout.splitlines() if line.startswith("mean")]
    assert means == ["mean of a", "mean of b"]


@pytest.mark.parametrize("command", [("bench", "methods"), ("bench", "metrics"), ("score",)])
def test_help_is_text(command: tuple[str, ...]) -> None:
    shown = " ".join(run(*command, "--help").stdout.split())
    assert ("[[metrics]]" in shown) == (command[0] == "bench")
    assert ("Images pair by name" in shown) == (command[0] == "score")


@pytest.fixture
def faithful(folders: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Outputs that reduce to their inputs, save for the last, which is a picture of something else."""
    restored = tmp_path / "faithful"
    for i in range(4):
        write_image(restored / f"{i:02}_net.png", 1000 + i if i < 3 else 7, 64)
    return restored, folders[1]


def test_consistency_stands_beside_driqa(faithful: tuple[Path, Path], tmp_path: Path, weights: Path) -> None:
    command = ("score", faithful[0], "--degraded", faithful[1], "--weights", weights)
    shown = run(*command)
    head, *lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert head == ["image", "driqa(weights=untrained.safetensors) ↑", "LR-PSNR, dB ↑", "colour difference, ΔE ↓"]
    assert min(float(line[2]) for line in lines[:3]) > 30 > 16 > float(lines[3][2])
    assert "warning: 1 of 4 outputs does not reduce to its input: LR-PSNR below 16 dB" in shown.stderr
    run(*command, "-o", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"{float(row['lr_psnr']):.2f}" for row in rows] == [line[2] for line in lines[:4]]
    assert [row["low_band_psnr"] for row in rows] == [""] * 4
    assert "4 scores were kept" in run(*command, "-o", tmp_path / "s.csv").stderr


def test_consistency_is_left_out_on_demand_and_computed_when_it_is_wanted(
    faithful: tuple[Path, Path], tmp_path: Path, weights: Path
) -> None:
    command = ("score", faithful[0], "--degraded", faithful[1], "--weights", weights, "-o", tmp_path / "s.jsonl")
    without = run(*command, "--no-consistency")
    assert without.stdout.splitlines()[0] == "image\tdriqa(weights=untrained.safetensors) ↑"
    assert "lr_psnr" not in (tmp_path / "s.jsonl").read_text()
    assert "reduce to" not in without.stderr
    wanted = run(*command)
    assert "kept" not in wanted.stderr
    assert (tmp_path / "s.jsonl").read_text().count('"lr_psnr": ') == 4


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_standard_errors_stand_beside_scores_on_demand(folders: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    output = tmp_path / f"s.{suffix}"
    command = ("score", folders[0], "--metric", "nriqa", "--metric", "psnr", "--truth", folders[0], "-o", output)
    assert run(*command).exit_code == 0
    assert {row.standard_error for row in read_rows(output)} == {None}
    wanted = run(*command, "--uncertainty")
    assert "4 scores were kept" in wanted.stderr  # of the metric that has no standard errors
    metric = create("nriqa")
    rows = {row.image: row for row in read_rows(output) if row.metric == "nriqa"}
    assert len(rows) == 4
    for name, row in rows.items():
        score, error = metric(read_image(folders[0] / name)[None], return_uncertainty=True)
        assert (row.score, row.standard_error) == (float(score), float(error))
    assert "8 scores were kept" in run(*command, "--uncertainty").stderr
    assert "8 scores were kept" in run(*command).stderr
    mean = wanted.stdout.splitlines()[1].split("\t")
    assert mean[0] == "mean"
    assert mean[2] == ""


def test_standard_errors_are_printed_image_by_image_and_refused_where_there_are_none(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    head, first, *_ = run("score", folders[0], "--metric", "nriqa", "--uncertainty").stdout.splitlines()
    assert head.split("\t")[1:] == ["nriqa ↑", "nriqa, standard error"]
    assert 0 < float(first.split("\t")[2]) < 0.5
    refused = run("score", folders[0], "--degraded", folders[1], "--uncertainty", "-o", tmp_path / "s.csv")
    assert refused.exit_code == 2
    assert "driqa cannot say how far its scores may be off\nfix: --metric nriqa" in refused.stderr
    assert not (tmp_path / "s.csv").exists()


def test_several_metrics_have_a_column_and_a_row_each(folders: tuple[Path, Path], tmp_path: Path) -> None:
    command = ("score", folders[0], "--degraded", folders[1], "--truth", folders[0], "-o", tmp_path / "s.jsonl")
    metrics = ("--metric", "psnr", "--metric", "ssim(channel=y)", "--metric", "colour_difference")
    shown = run(*command, *metrics)
    head = "image\tpsnr ↑\tssim(channel=y) ↑\tcolour_difference ↓"
    assert shown.stdout.splitlines()[0] == head
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert {(row["metric"], row["reference"]) for row in rows} == {
        ("psnr", "truth"),
        ("ssim(channel=y)", "truth"),
        ("colour_difference", "degraded"),
    }
    assert len(rows) == 12
    assert "12 scores were kept" in run(*command, *metrics).stderr


def test_all_that_is_missing_is_named_before_the_first_image(folders: tuple[Path, Path]) -> None:
    result = run("score", folders[0], "--metric", "driqa", "--metric", "psnr", "--metric", "niqe", "--references", "no")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 3 things are missing: driqa compares")
    assert "--degraded FOLDER" in result.stderr
    assert "--truth FOLDER" in result.stderr
    assert "drmetric fit-niqe" in result.stderr


def test_weights_are_for_one_metric(folders: tuple[Path, Path]) -> None:
    result = run("score", folders[0], "--metric", "nriqa", "--metric", "niqe", "--weights", "w.safetensors")
    assert result.exit_code == 2
    assert "fix: --metric 'nriqa(weights=w.safetensors)'" in result.stderr


def test_sequences_have_a_mean_each_and_one_over_all(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / f"out/{number % 2}/{number // 2:02}.png", number, 32)
        write_image(tmp_path / f"in/{number % 2}/{number // 2:02}.png", number, 16)
    shown = run("score", tmp_path / "out", "--degraded", tmp_path / "in", *SCORE_PSNR).stdout
    lines = [line.split("\t") for line in shown.splitlines() if line.startswith("mean")]
    assert [line[0] for line in lines] == ["mean of 0", "mean of 1", "mean"]
    means = [float(line[1].split()[0]) for line in lines]
    assert means[2] == pytest.approx((means[0] + means[1]) / 2, abs=1e-5)


def run_bare(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command with only what the core requires: none of the extras' packages imports."""
    blocked = "scipy", "skimage", "piq", "pyarrow", "lpips", "jinja2", "openpyxl", "pywt", "lightning", "timm", "ray"
    blocked += "torchvision", "pyiqa"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); sys.argv[0] = 'drmetric'; "
        "from drmetric.cli.app import app; app()"
    )
    words = [sys.executable, "-c", code, *command]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | environment)


def test_a_bare_installation_scores_and_prints_means(tmp_path: Path) -> None:
    example = Path(str(files("drmetric.example")))
    command = [
        "score",
        str(example / "restored"),
        "--degraded",
        str(example / "degraded"),
        "-o",
        str(tmp_path / "s.csv"),
    ]
    done = run_bare(*command)
    assert done.returncode == 0, done.stderr
    assert "mean" in done.stdout


def test_a_bare_installation_is_told_first_of_the_packages_that_bring_the_others(tmp_path: Path) -> None:
    home = {"DRMETRIC_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    listed = run_bare("list", **home, DRMETRIC_LPIPS_BACKBONE="", DRMETRIC_DISTS_BACKBONE="")
    fixes = dict(line.removeprefix("to have ").split(": ", 1) for line in listed.stderr.splitlines())
    assert {fixes[name] for name in ("lpips", "dists", "vif")} == {"pip install 'drmetric[bench]'"}


def test_outputs_that_are_the_very_files_they_are_compared_with_are_named(folders: tuple[Path, Path]) -> None:
    restored, _ = folders
    shutil.copytree(restored, restored / "truth")
    write_image(restored / "truth/01_net.png", 99, 32)
    result = run("score", restored, "--truth", restored / "truth", *SCORE_PSNR)
    assert "warning: 7 of 8 outputs are byte for byte their ground truth, such as '00_net.png'" in result.stderr
    result = run("score", restored / "00_net.png", "--degraded", restored / "00_net.png", *SCORE_PSNR)
    assert "warning: 1 of 1 outputs is byte for byte its degraded input, such as '00_net.png'" in result.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_outputs_of_one_colour_are_named(folders: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    restored, _ = folders
    for name in ("00_net.png", "02_net.png"):
        save_image(torch.zeros(3, 32, 32), restored / name)
    for _ in range(2):  # as they are scored, and as they are kept
        result = run("score", restored, "--metric", "nriqa", "-o", tmp_path / f"s.{suffix}")
        assert "warning: 2 of 4 outputs are of one colour throughout, such as '00_net.png'" in result.stderr


def test_a_link_to_a_score_file_leads_to_the_scores(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for suffix in ("jsonl", "csv"):
        target, link = tmp_path / "store" / f"s.{suffix}", tmp_path / f"s.{suffix}"
        link.symlink_to(target)
        for kept in (0, 4):
            result = run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR, "-o", link)
            assert result.exit_code == 0
            assert ("note: 4 scores were kept" in result.stderr) is bool(kept)
            assert link.is_symlink()
            assert len(read_rows(target)) == 4
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["s.csv", "s.jsonl"]


def test_two_metrics_of_one_name_are_refused(folders: tuple[Path, Path]) -> None:
    metrics = ("--metric", "psnr", "--metric", "psnr(label=psnr, channel=y)")
    result = run("score", folders[0], "--degraded", folders[1], *metrics)
    assert result.exit_code == 2
    assert "two metrics are called 'psnr'" in result.stderr


def test_a_device_may_have_a_number(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run("score", folders[0], "--degraded", folders[1], "--metric", "psnr", "--device", "cuda:1")
    assert "'cuda:1' is not usable" in result.stderr
