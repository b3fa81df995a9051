"""Leaderboards on human opinions: figures against scipy, parts, failures that cost, and runs that go on."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from rated_set import write_biq2021
from scipy import stats
from typer.testing import CliRunner

from drmetric.bench import opinions
from drmetric.bench.opinions import Config, compare, run
from drmetric.bench.table import Scores
from drmetric.cli import app
from drmetric.data.opinions import read_opinions
from drmetric.errors import ConfigError


def scores_of(name: str, values: np.ndarray, *, higher: bool = True) -> Scores:
    return Scores(name, "none", name, higher, values, np.ones(len(values)))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_biq2021(tmp_path_factory.mktemp("set") / "biq2021")


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(
        f'[data]\nopinions = "biq2021"\nroot = {json.dumps(str(root))}\nsplit = "test"\nparts = true\n'
        'unshared = true\n[[metrics]]\nname = "nriqa"\n[[metrics]]\nname = "nriqa"\noptions = {weights = "absent"}\n'
    )
    return path


def test_figures_are_scipy_s_and_a_worse_metric_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(80)
    good, bad = labels + 0.1 * rng.standard_normal(80), -(labels + 2 * rng.standard_normal(80))
    contents = [str(i) for i in range(80)]
    board = compare(
        "all", [scores_of("good", good), scores_of("bad", bad, higher=False)], np.arange(80), labels, contents
    )
    first, second = board
    assert first.srcc == pytest.approx(stats.spearmanr(good, labels)[0])
    assert first.krcc == pytest.approx(stats.kendalltau(good, labels)[0])
    assert first.srcc_interval[0] < first.srcc < first.srcc_interval[1]
    assert first.plcc_interval[0] < first.plcc < first.plcc_interval[1]
    assert second.srcc == pytest.approx(stats.spearmanr(-bad, labels)[0])
    assert second.difference == pytest.approx(first.srcc - second.srcc)
    assert second.difference_interval[0] > 0
    assert second.p_holm < 0.01
    assert np.isnan(first.difference)


def test_same_scores_do_not_differ_and_a_part_uses_its_rows_alone() -> None:
    rng = np.random.default_rng(1)
    labels, values = rng.random(40), rng.random(40)
    rows = np.arange(0, 40, 2)
    first, second = compare(
        "even", [scores_of("a", values), scores_of("b", values)], rows, labels, [str(i) for i in range(40)], n=200
    )
    assert (first.n_given, first.srcc) == (20, pytest.approx(stats.spearmanr(values[rows], labels[rows])[0]))
    assert (second.difference, second.p_holm) == (0, 1)


def test_images_of_one_content_are_drawn_together() -> None:
    """Twenty copies of four contents say no more than the four: the interval stays wide."""
    rng = np.random.default_rng(2)
    labels, values = np.repeat(rng.random(4), 20), np.repeat(rng.random(4), 20)
    together = compare("x", [scores_of("a", values)], np.arange(80), labels, [str(i // 20) for i in range(80)])[0]
    apart = compare("x", [scores_of("a", values)], np.arange(80), labels, [str(i) for i in range(80)])[0]
    assert np.subtract(*together.srcc_interval[::-1]) > 2 * np.subtract(*apart.srcc_interval[::-1])


def test_run_writes_tables_of_the_whole_set_and_its_parts(config: Path, root: Path, tmp_path: Path) -> None:
    read = Config.read(config)
    board = run(opinions.Config(read.data, read.metrics[:1]), tmp_path / "out", n_bootstrap=50)
    rated = read_opinions("biq2021", root, "test")
    assert [line.part for line in board.lines] == [
        "all 12 images", "subset ss01", "subset ss02", "12 images whose content no other split has"
    ]  # fmt: skip
    assert [line.n_given for line in board.lines] == [12, 6, 6, 12]
    rows = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    scores = {row["id"]: row["score"] for row in rows}
    values = [scores[f"Images/{image.image.name}"] for image in rated]
    assert board.lines[0].srcc == pytest.approx(stats.spearmanr(values, [image.score for image in rated])[0])
    assert board.lines[0].srcc > 0.5
    table = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert [float(row["srcc"]) for row in table] == [line.srcc for line in board.lines]
    assert "subset ss01" in (tmp_path / "out" / "table.md").read_text()


def test_command_goes_on_and_fails_where_a_metric_has_no_weights(config: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = CliRunner().invoke(app, ["bench", "metrics", str(config), "-o", str(output), "--bootstrap", "20"])
    assert first.exit_code == 1
    assert "failed: nriqa" in first.output
    kept = (output / "scores.jsonl").read_text()
    with (output / "scores.jsonl").open("a") as file:
        file.write('{"torn')
    again = CliRunner().invoke(app, ["bench", "metrics", str(config), "-o", str(output), "--bootstrap", "20"])
    assert again.exit_code == 1
    assert (output / "scores.jsonl").read_text() == kept
    assert "0/12" in (output / "table.md").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[data]\nopinions = "biq2021"\nroot = "x"', r"no \[\[metrics\]\]"),
        ('[data]\nopinions = "biq2021"\n[[metrics]]\nname = "brisque"', "root"),
        ('[data]\nopinions = "biq2021"\nroot = "x"\nsplits = "test"\n[[metrics]]\nname = "brisque"', "'splits'"),
        ('[data]\nopinions = "biq2021"\nroot = "x"\n[[metrics]]\nnme = "brisque"', "'nme'"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "board.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Config.read(tmp_path / "board.toml")
