"""The boards of benchmarks/leaderboards are configurations that this version reads."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from drmetric.bench.agreement.board import run
from drmetric.bench.agreement.config import Config as RatedConfig
from drmetric.bench.methods.config import Config as MethodsConfig
from drmetric.config import read_toml
from tests.rated_set import write_sriqa_bench

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "benchmarks/leaderboards").glob("*.toml"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in re.findall(r"\$(DRMETRIC_\w+)", path.read_text(encoding="utf-8")):
        monkeypatch.setenv(variable, "nowhere")
    kind = MethodsConfig if "methods" in read_toml(path) else RatedConfig
    entries = kind.read(path).metrics
    assert len({entry.title for entry in entries}) == len(entries)
    assert all(entry.meets() for entry in entries)


@pytest.mark.slow
def test_the_board_of_sriqa_bench_runs_on_a_miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRMETRIC_SRIQA_BENCH", str(write_sriqa_bench(tmp_path / "set")))
    config = RatedConfig.read(ROOT / "benchmarks/leaderboards/sriqa-bench.toml")
    board = run(config, tmp_path / "out", n_bootstrap=20)
    lines = {line.metric: line for line in board.lines if line.part.startswith("all")}
    assert set(lines) | {error.metric for error in board.errors} == {entry.title for entry in config.metrics}
    for title in ("driqa", "nariqa", "nriqa", "psnr", "gmsd(reference=degraded)", "lr_psnr"):
        assert (lines[title].n_used, lines[title].n_given, lines[title].n_contents) == (12, 12, 3)
    assert lines["psnr"].srcc_content == pytest.approx(1)
    assert (lines["driqa"].reference, lines["psnr"].reference) == ("degraded", "truth")
    assert "subset generation" in {line.part for line in board.lines}


def test_the_script_of_all_boards_names_what_it_leaves_out_and_what_is_incomplete(tmp_path: Path) -> None:
    command = tmp_path / "drmetric"
    command.write_text('#!/bin/sh\necho "$@" >> "$LOG"\ncase "$*" in *live-itw*) exit 1;; esac\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRMETRIC_")}
    given = {"PATH": f"{tmp_path}:{kept['PATH']}", "LOG": str(tmp_path / "log"), "DRMETRIC_SRIJ": "a"}
    script = ["bash", str(ROOT / "benchmarks/boards.sh"), str(tmp_path / "out")]
    done = subprocess.run(script, env=kept | given, capture_output=True, text=True, check=True)
    assert "left out: nriqa-live-itw (DRMETRIC_LIVE_ITW is not set)" in done.stderr
    assert "left out: distortions (DRMETRIC_DATA is not set)" in done.stderr
    wanted = f"bench metrics benchmarks/leaderboards/srij.toml --output {tmp_path}/out/srij"
    assert (tmp_path / "log").read_text().splitlines() == [wanted]
    given |= {"DRMETRIC_LIVE_ITW": "b", "DRMETRIC_DATA": "c", "DRMETRIC_LABELS": "d", "DRMETRIC_RESTORERS": "e"}
    done = subprocess.run(script, env=kept | given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "incomplete, see above: nriqa-live-itw" in done.stderr
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["bench", "conditions", "bench", "bench"]


def test_the_script_runs_every_board_of_rated_images() -> None:
    script = (ROOT / "benchmarks/boards.sh").read_text(encoding="utf-8")
    named = set(re.findall(r"^board (\S+)", script, re.MULTILINE))
    rated = {path.stem for path in BOARDS if "methods" not in read_toml(path)}
    assert rated - named == {"distortions-alone", "driqa-restorers"}  # the same set again; a label, no opinions
    assert named <= rated
