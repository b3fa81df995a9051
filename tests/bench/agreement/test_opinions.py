"""Leaderboards on human opinions: figures against scipy, parts, failures that cost, and runs that go on."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from drmetric.bench.agreement import opinions
from drmetric.bench.agreement.opinions import Config, compare, run
from drmetric.bench.agreement.table import Scores
from drmetric.bench.tables import to_markdown
from drmetric.cli.app import app
from drmetric.data.rated import read_opinions
from drmetric.errors import ConfigError
from drmetric.images import read_image
from drmetric.metrics.registry import create
from tests.rated_set import write_biq2021, write_sriqa_bench


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


def test_within_contents_the_order_between_them_does_not_count() -> None:
    rng = np.random.default_rng(3)
    contents = [str(i // 5) for i in range(100)]
    labels = np.tile(np.arange(5) / 4, 20)
    offsets = np.repeat(rng.normal(0, 10, 20), 5)
    good, bad = labels + offsets, rng.permuted(labels.reshape(20, 5), axis=1).ravel() + offsets
    first, second = compare("x", [scores_of("a", good), scores_of("b", bad)], np.arange(100), labels, contents, n=500)
    assert first.srcc < 0.5
    assert (first.n_contents, first.srcc_content, first.krcc_content) == (20, pytest.approx(1), pytest.approx(1))
    assert first.pair_accuracy_content == 1
    expected = [stats.spearmanr(bad[i : i + 5], labels[i : i + 5])[0] for i in range(0, 100, 5)]
    assert second.srcc_content == pytest.approx(np.mean(expected))
    assert second.srcc_content_interval[0] < second.srcc_content < second.srcc_content_interval[1]
    assert second.difference_content == pytest.approx(1 - np.mean(expected))
    assert second.difference_content_interval[0] > 0
    assert second.p_holm_content < 0.01
    assert np.isnan(first.p_holm_content)


def test_pairs_are_those_in_the_right_order() -> None:
    labels, values = np.array([0.1, 0.2, 0.3, 0.3]), np.array([1.0, 3.0, 2.0, 9.0])
    line = compare("x", [scores_of("a", values)], np.arange(4), labels, list("abcd"), n=20)[0]
    assert line.pair_accuracy == pytest.approx(4 / 5)  # of the five pairs with unequal labels, only (1, 2) is wrong


def test_photographs_have_no_figures_within_contents_and_no_columns_for_them() -> None:
    labels = np.arange(8) / 8
    lines = compare("x", [scores_of("a", labels)] * 2, np.arange(8), labels, list("abcdefgh"), n=20)
    assert lines[0].n_contents == 0
    assert all(np.isnan(getattr(line, name)) for line in lines for name in ("srcc_content", "p_holm_content"))
    text = to_markdown(opinions.OpinionBoard("title", "note", lines, []).tables())
    assert "pairs" in text
    assert "in content" not in text


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sriqa_bench(tmp_path_factory.mktemp("set") / "sriqa")


def board_of(folder: Path, root: Path, metrics: str, data: str = "", kind: str = "sriqa_bench") -> Config:
    table = f'[data]\nopinions = "{kind}"\nroot = {json.dumps(str(root))}\n{data}\n'
    (folder / "board.toml").write_text(table + metrics)
    return Config.read(folder / "board.toml")


PSNR = '[[metrics]]\nname = "psnr"\n'


@pytest.mark.parametrize(
    ("data", "metric", "folder", "reference"),
    [
        ("", PSNR, "images/Original", "pristine"),
        ('reference = "degraded"', PSNR, "LRImages", "degraded"),
        ('reference = "degraded"', PSNR + 'reference = "pristine"\n', "images/Original", "pristine"),
        ("", '[[metrics]]\nname = "driqa"\n', "LRImages", "degraded"),
        ('reference = "pristine"', '[[metrics]]\nname = "driqa"\n', "images/Original", "pristine"),
    ],
)
def test_the_reference_is_that_of_metric_data_or_mode(
    restored: Path, tmp_path: Path, data: str, metric: str, folder: str, reference: str
) -> None:
    board = run(board_of(tmp_path, restored, metric, data), tmp_path / "out", n_bootstrap=20)
    (line,) = board.lines
    assert (line.reference, line.n_used, line.n_given, line.n_contents) == (reference, 12, 12, 3)
    rows = [json.loads(text) for text in (tmp_path / "out/scores.jsonl").read_text().splitlines()]
    made = create(line.metric)
    for row in rows[:2]:
        scene = row["id"].rpartition("/")[2].split("_")[0]
        images = (read_image(restored / file)[None] for file in (row["id"], f"{folder}/{scene}_Original.png"))
        assert row["score"] == pytest.approx(float(made(*images).detach()), abs=1e-4)
    if reference == "pristine" and line.metric == "psnr":
        assert (line.srcc_content, line.pair_accuracy_content) == (pytest.approx(1), 1)
    assert f"| {reference} |" in to_markdown(board.tables())


def test_no_reference_is_wanted_of_metrics_that_need_none(restored: Path, tmp_path: Path) -> None:
    config = board_of(tmp_path, restored, '[[metrics]]\nname = "nriqa"\n', 'reference = "degraded"')
    (line,) = run(config, tmp_path / "out", n_bootstrap=20).lines
    assert (line.reference, line.n_used) == ("none", 12)


def test_a_reference_that_the_set_lacks_is_named(root: Path, tmp_path: Path) -> None:
    for metric, wanted in (("driqa", "degraded"), ("psnr", "pristine")):
        config = board_of(tmp_path, root, f'[[metrics]]\nname = "{metric}"\n', kind="biq2021")
        with pytest.raises(ConfigError, match=f"{metric} is to be compared with the {wanted} image, and biq2021"):
            run(config, tmp_path / "out")
    (write_sriqa_bench(tmp_path / "set") / "LRImages").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="3 of the 18 sriqa_bench images are missing"):
        run(board_of(tmp_path, tmp_path / "set", PSNR), tmp_path / "out")


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
