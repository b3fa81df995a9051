"""The boards of benchmarks/leaderboards are configurations that this version reads."""

from pathlib import Path

import pytest

from drmetric.bench.agreement.config import Config as RatedConfig
from drmetric.bench.methods.config import Config as MethodsConfig
from drmetric.config import read_toml

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "benchmarks/leaderboards").glob("*.toml"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DRMETRIC_BIQ2021", "DRMETRIC_LIVE_ITW"):
        monkeypatch.setenv(variable, "nowhere")
    kind = MethodsConfig if "methods" in read_toml(path) else RatedConfig
    entries = kind.read(path).metrics
    assert len({entry.title for entry in entries}) == len(entries)
    assert all(entry.meets() for entry in entries)
