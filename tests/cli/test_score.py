"""Scoring as users run it: output, exit codes, what is resumed, and kill -9."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from drmetric.metrics.base import Metric
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
        assert f"of 4 images in {tmp_path / name}" in first.stdout
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
    assert "failed: 01_net.png: " in result.stderr
    assert "failed: 02_net.png: no degraded input" in result.stderr
    assert "note: no restored image uses 'lonely.png'" in result.stderr
    assert result.stderr.endswith("2 of 4 images have no score\n")


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

    monkeypatch.setattr("drmetric.metrics.registry.create", lambda name, **options: Mean())
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
    assert run("doctor", folders[0]).exit_code == 0
    (folders[0] / "01_net.png").write_bytes(b"broken")
    result = run("doctor", folders[0])
    assert result.exit_code == 1
    assert f"error\t{folders[0] / '01_net.png'}\tunreadable\t" in result.stdout
    assert "error: 1" in result.stderr


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
    scores = dict(line.split("\t") for line in result.stdout.splitlines()[1:-1])
    for scene in ("astronaut", "chelsea", "coffee"):
        sharp = float(scores[f"{scene}_sharp.png"])
        assert sharp > float(scores[f"{scene}_blurred.png"])
        assert sharp > float(scores[f"{scene}_oversharpened.png"])
    assert names[1:-1] == sorted(path.name for path in (EXAMPLE / "restored").iterdir())
    assert "drmetric score RESTORED --degraded DEGRADED" in result.stderr
    assert {path.name for path in (tmp_path / "restored").iterdir()} == set(names[1:-1])
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
    assert "mean\t100.000000" in equal.stdout
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
