"""The command as users run it: output, exit codes, errors with their fix, and kill -9."""

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

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from drmetric import __version__
from drmetric.checkpoints import write_weights
from drmetric.cli import app as cli
from drmetric.data.make.labels import Fusion, Term
from drmetric.metrics.base import Metric
from drmetric.networks.ckdn import CKDN, CKDNConfig

COMMAND = [sys.executable, "-c", "from drmetric.cli.app import app; app()"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
EXAMPLE = Path(str(files("drmetric"))) / "example"
SCORE_PSNR = ("--metric", "psnr", "--device", "cpu")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])


def write_image(file: Path, seed: int, size: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(file)


def write_folders(folder: Path, count: int, size: int) -> tuple[Path, Path]:
    for i in range(count):
        write_image(folder / "restored" / f"{i:02}_net.png", i, size)
        write_image(folder / "degraded" / f"{i:02}.png", 1000 + i, size // 2)
    return folder / "restored", folder / "degraded"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return write_folders(tmp_path, 4, 32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of the shipped shape."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    config = CKDNConfig()
    write_weights(path, "driqa", config.as_dict(), CKDN(config).state_dict())
    return path


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_do_not_import_torch(option: str) -> None:
    code = (
        "import sys; from drmetric.cli.app import app\n"
        f"try: app([{option!r}])\n"
        "finally: assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (__version__ if option == "--version" else "drmetric score") in done.stdout


COMMANDS = ["score", "example", "doctor", "list", "train", "corpus", "bench"]
COMMANDS += [f"bench {each}" for each in ("metrics", "methods", "demo", "verify")]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_scores_are_printed_as_lines_when_piped(folders: tuple[Path, Path]) -> None:
    result = run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR)
    assert result.exit_code == 0
    header, *lines, last = [line.split("\t") for line in result.stdout.splitlines()]
    assert (header, last[0]) == (["file", "score"], "mean")
    assert [name for name, _ in lines] == ["00_net.png", "01_net.png", "02_net.png", "03_net.png"]
    assert float(last[1]) == pytest.approx(np.mean([float(score) for _, score in lines]), abs=1e-5)


def test_without_a_terminal_stderr_holds_notes_only(folders: tuple[Path, Path]) -> None:
    result = run("score", folders[0], "--degraded", folders[1], *SCORE_PSNR)
    assert result.stderr == "note: 4 images are paired by name and tag, such as '00_net.png' with '00.png'\n"


def test_terminals_get_a_table_and_a_bar(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    arguments = ["score", str(folders[0]), "--degraded", str(folders[1]), *SCORE_PSNR]
    assert cli.app(arguments, standalone_mode=False) in (None, 0)
    printed = capsys.readouterr()
    assert "───" in printed.out
    assert "mean" in printed.out
    assert "4/4" in printed.err


def test_csv_and_jsonl_agree_and_resume(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        arguments = ("score", folders[0], "--degraded", folders[1], *SCORE_PSNR, "-o", tmp_path / name)
        first, second = run(*arguments), run(*arguments)
        assert (first.exit_code, second.exit_code) == (0, 0)
        assert first.stdout == second.stdout
        assert f"of 4 images in {tmp_path / name}" in first.stdout
        assert "note: 4 scores were kept" in second.stderr
    with (tmp_path / "a.csv").open(newline="") as file:
        from_csv = {row["file"]: float(row["score"]) for row in csv.DictReader(file)}
    from_jsonl = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert from_csv == {record["file"]: record["score"] for record in from_jsonl}


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


def test_odd_file_names_are_printed_on_one_line(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\t1\n.png")
    write_image(tmp_path / "restored" / name, 1, 32)
    write_image(tmp_path / "degraded" / name, 2, 32)
    result = run("score", tmp_path / "restored", "--degraded", tmp_path / "degraded", *SCORE_PSNR)
    assert result.exit_code == 0
    assert "caf\\udce9\\t1\\n.png\t" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["{restored}"], "driqa compares each restored image", "--degraded FOLDER"),
        (["{restored}", "--degraded", "nowhere"], "the degraded path 'nowhere' does not exist", "give a folder"),
        (["{restored}", "--degraded", "{degraded}", "--metric", "psnrr"], "'psnrr'", "fix: "),
        (["{restored}", "--degraded", "{degraded}", "-o", "scores.xls"], "'scores.xls' ends in '.xls'", "scores.jsonl"),
        (["{restored}", "--degraded", "{degraded}", "--weights", "nothing"], "no weights 'nothing'", "fix: "),
    ],
)  # fmt: skip
def test_errors_quote_what_came_and_give_the_fix(
    arguments: list[str], problem: str, fix: str, folders: tuple[Path, Path], weights: Path
) -> None:
    filled = [each.format(restored=folders[0], degraded=folders[1]) for each in arguments]
    if not {"--metric", "--weights"} & set(filled):
        filled += ["--weights", str(weights)]
    result = run("score", *filled)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert fix in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_a_device_that_is_not_there_is_refused(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run("score", folders[0], "--degraded", folders[1], "--metric", "psnr", "--device", "cuda")
    assert result.exit_code == 2
    assert "'cuda' is not usable" in result.stderr
    assert "fix: --device auto" in result.stderr


def test_debug_variable_keeps_the_traceback(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_DEBUG", "1")
    result = run("score", folders[0], "--metric", "psnr")
    assert type(result.exception).__name__ == "InputError"


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


def test_train_and_corpus_hand_their_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning")
    calls: list[object] = []

    def fake_train(recipe: Path, **options: object) -> Path:
        calls.append((recipe, options))
        return tmp_path / "weights.safetensors"

    def fake_build(config: Path, output: Path, workers: int, splits: list[str]) -> Path:
        calls.append((config, output, workers, splits))
        return output / "manifest.jsonl"

    def fake_label(corpus: Path, fusion: Fusion | None, workers: int) -> Path:
        calls.append((corpus, fusion, workers))
        return corpus / "manifest.jsonl"

    monkeypatch.setattr("drmetric.distill.trainer.train", fake_train)
    monkeypatch.setattr("drmetric.data.make.corpus.build", fake_build)
    monkeypatch.setattr("drmetric.data.make.labels.label", fake_label)
    assert run("train", "a.toml", "--resume", "--max-time", "00:01:00:00").stdout.endswith("weights.safetensors\n")
    (tmp_path / "f.json").write_text('{"terms": {"mdsi": {"weight": 2, "power": 1}}, "elo_per_point": 250}')
    corpus = ("corpus", "b.toml", "--output", tmp_path, "--workers", 2)
    assert run(*corpus, "--fusion", tmp_path / "f.json").stdout.endswith("manifest.jsonl\n")
    assert run(*corpus, "--split", "test", "--split", "validation").stdout.endswith("manifest.jsonl\n")
    refused = run(*corpus, "--split", "tset")
    assert (refused.exit_code, "tset" in refused.stderr) == (2, True)
    options = {"resume": True, "output": None, "max_time": "00:01:00:00"}
    fusion = Fusion({"mdsi": Term(2.0, 1.0)}, 250.0)
    whole = [(Path("b.toml"), tmp_path, 2, ["train", "validation", "test"]), (tmp_path, fusion, 2)]
    parts = [(Path("b.toml"), tmp_path, 2, ["test", "validation"]), (tmp_path, None, 2)]
    assert calls == [(Path("a.toml"), options), *whole, *parts]


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


def test_nothing_is_lost_or_doubled_by_kill_9(tmp_path: Path, weights: Path) -> None:
    restored, degraded = write_folders(tmp_path, 40, 192)
    command = [*COMMAND, "score", str(restored), "--degraded", str(degraded)]
    command += ["--weights", str(weights), "--device", "cpu", "-o"]
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    assert subprocess.run([*command, str(whole)], env=ONE_THREAD, capture_output=True).returncode == 0

    seen = b""
    for target in sorted(random.sample(range(1, 38), 3)):
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
    assert sorted(record["file"] for record in first) == sorted(path.name for path in restored.iterdir())
    assert {r["file"]: r["score"] for r in first} == {r["file"]: r["score"] for r in second}
