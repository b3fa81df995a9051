"""The boards of benchmarks/leaderboards are configurations that this version reads."""

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
    for variable in ("DRMETRIC_BIQ2021", "DRMETRIC_LIVE_ITW", "DRMETRIC_SRIQA_BENCH"):
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
