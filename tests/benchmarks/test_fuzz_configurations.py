"""A small part of the fuzz of configurations, and the mistakes that users make most, one by one."""

from pathlib import Path

import pytest

from benchmarks.checks.fuzz_configurations import kinds, outcomes, text_of, variant, write_data
from tests.cli.commands import run

pytest.importorskip("lightning", reason="lightning is not installed")

KINDS = {kind.name: kind for kind in kinds()}


@pytest.mark.slow
def test_valid_files_run_and_mistakes_are_two_lines_before_any_work() -> None:
    found = list(outcomes(30, seed=7))
    assert [outcome.what for outcome in found[: len(KINDS)]] == ["ran"] * len(KINDS)
    assert not [outcome for outcome in found if outcome.what not in ("ran", "typed error")]


def test_a_seed_draws_the_same_variants() -> None:
    import random

    table = KINDS["methods"].table
    first, again = ([variant(table, random.Random(f"0 {n}")) for n in range(20)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 10


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda board: board.update(metrics={"name": "psnr"}), "metrics is {'name': 'psnr'}; wanted tables in double"),
        (lambda board: board.update(metrics=[]), "has no [[metrics]]"),
        (lambda board: board.pop("methods"), "has no [[methods]]"),
        (lambda board: board.update(data="degraded"), "[data] is 'degraded'; wanted a table"),
        (lambda board: board["metrics"][0].update(options="x"), "options is 'x'; wanted a table"),
        (lambda board: board["methods"][0].update(name=" "), "has no name"),
        (lambda board: board["methods"][0].update(folder=""), "a path is ''"),
        (lambda board: board["data"].update(scale=float("nan")), "scale is nan; wanted a number"),
        (lambda board: board["data"].update(scale="4"), "scale is '4'; wanted a number"),
    ],
)
def test_a_mistake_in_a_board_is_named_before_any_score(data: Path, change: object, problem: str) -> None:
    import copy

    board = copy.deepcopy(KINDS["methods"].table)
    change(board)  # type: ignore[operator]
    Path("config.toml").write_text(text_of(board))
    result = run("bench", "methods", "config.toml", "-o", "out", "--device", "cpu")
    error, fix = result.stderr.splitlines()
    assert (result.exit_code, error[:7], fix[:5]) == (2, "error: ", "fix: ")
    assert problem in error
    assert not Path("out/scores.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"pattern": ""}, "has the pattern ''"),
        ({"pattern": "/**"}, "has the pattern '/**'"),
        ({"pattern": "../*"}, "has the pattern '../*'"),
        ({"name": "../.."}, "cannot be part of a file name"),
        ({"folder": " "}, "a path is ' '"),
        ({"shrink_to": -1}, "shrink_to is -1; wanted 0 or more"),
    ],
)
def test_a_mistake_in_a_source_is_named_before_any_image(data: Path, change: dict[str, object], problem: str) -> None:
    table = KINDS["corpus"].table
    Path("config.toml").write_text(text_of({**table, "sources": [{**table["sources"][0], **change}]}))
    result = run("corpus", "config.toml", "--output", "out", "--fusion", "fusion.json")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 2)
    assert problem in result.stderr
    assert not Path("out/records").exists()


@pytest.mark.parametrize(
    "options",
    [["--seed", "-1"], ["-o", ""], ["--output="], ["--bootstrap", "0"], ["--device", ""], ["--seed", str(2**70)]],
)
def test_an_impossible_option_is_refused_before_any_score(data: Path, options: list[str]) -> None:
    Path("config.toml").write_text(text_of(KINDS["methods"].table))
    before = sorted(Path().iterdir())
    result = run("bench", "methods", "config.toml", *options)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert sorted(Path().iterdir()) == before
