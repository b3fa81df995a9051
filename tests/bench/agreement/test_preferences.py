"""Pairs of images and the people's choice: BAPPS' layout in miniature, its 2AFC score by hand, and boards."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from drmetric.bench.agreement.board import run
from drmetric.bench.agreement.config import Config
from drmetric.bench.agreement.correlation import MetricScores
from drmetric.bench.agreement.preferences import compare, credits
from drmetric.cli.app import app
from drmetric.data.sets.bapps import read_preferences
from drmetric.errors import ConfigError
from tests.rated_set import write_bapps


def scores_of(name: str, values: list[float], *, higher: bool = True) -> MetricScores:
    return MetricScores(name, "truth", name, higher, np.array(values, dtype=float), np.ones(len(values)))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bapps(tmp_path_factory.mktemp("set") / "dataset")


def test_pairs_and_shares_are_those_of_the_layout(root: Path) -> None:
    pairs = read_preferences("bapps", root)
    assert len(pairs) == 12
    pair, folder = pairs[7], root / "2afc/val/superres"
    assert (pair.first, pair.second, pair.reference) == tuple(folder / f"{k}/000001.png" for k in ("p0", "p1", "ref"))
    assert (pair.share, pair.subset, pair.degraded) == (0.25, "superres", None)
    assert pairs == read_preferences("bapps", root, "validation") == read_preferences("bapps", root / "2afc/val")


def test_splits_follow_the_folders_and_other_tasks_are_left_out(tmp_path: Path) -> None:
    root = write_bapps(tmp_path / "dataset", degraded=True)
    (root / "jnd/val/cnn/p0").mkdir(parents=True)
    (root / "2afc/val/cnn").rename(root / "2afc/cnn")
    (root / "2afc/train").mkdir()
    (root / "2afc/val/superres").rename(root / "2afc/train/superres")
    assert {pair.subset for pair in read_preferences("bapps", root, "train")} == {"superres"}
    test = read_preferences("bapps", root, "test")
    assert {pair.subset for pair in test} == {"cnn"}
    assert test[0].degraded == root / "2afc/cnn/degraded/000000.png"
    with pytest.raises(ConfigError, match=r"no validation pairs \(folders ref/, p0/, p1/ and judge/\)"):
        read_preferences("bapps", root, "validation")


@pytest.mark.parametrize(
    ("judgement", "problem"),
    [
        (np.array([0.2, 0.4]), r"holds \[0\.2, 0\.4\]; wanted one share of 0\.\.1"),
        (np.array([1.5]), r"holds \[1\.5\]"),
        (np.array([np.nan]), "holds"),
        (np.array(["a"]), "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_judgements_that_are_no_shares_are_quoted(tmp_path: Path, judgement: np.ndarray | None, problem: str) -> None:
    root = write_bapps(tmp_path / "dataset", pairs=2)
    file = root / "2afc/val/cnn/judge/000001.npy"
    if judgement is None:
        file.write_bytes(b"nothing of the kind")
    else:
        np.save(file, judgement)
    with pytest.raises(ConfigError, match=rf"000001\.npy {problem}"):
        read_preferences("bapps", root)


def test_missing_images_and_unknown_sets_are_named(tmp_path: Path) -> None:
    root = write_bapps(tmp_path / "dataset", pairs=2)
    (root / "2afc/val/cnn/p1/000000.png").unlink()
    with pytest.raises(ConfigError, match=r"1 of the 12 bapps images are missing.*: 2afc/val/cnn/p1/000000\.png"):
        read_preferences("bapps", root)
    with pytest.raises(ConfigError, match=r"(?s)'babs'.*one of: bapps"):
        read_preferences("babs", root)
    with pytest.raises(ConfigError, match=r"(?s)'val'.*one of: train"):
        read_preferences("bapps", root, "val")  # type: ignore[arg-type]


def test_credits_by_hand() -> None:
    # preferring the second; the first; a tie; a failure on one; on the other; on both
    values = [1, 2, 3, 2, 4, 4, np.nan, 1, 1, np.nan, np.nan, np.nan]
    shares = np.array([0.8, 0.8, 0.8, 0.8, 0.8, 0.2])
    expected = [0.8, 0.2, 0.5, 0.2, 0.2, 0.2]
    np.testing.assert_allclose(credits(scores_of("a", values), shares), expected)
    np.testing.assert_allclose(credits(scores_of("a", [-v for v in values], higher=False), shares), expected)


def test_a_better_metric_is_told_apart_and_no_metric_beats_the_majority() -> None:
    rng = np.random.default_rng(0)
    shares = rng.integers(0, 6, 200) / 5
    right, wrong = np.stack([1 - shares, shares], 1).ravel(), rng.random(400)
    first, second = compare("all", [scores_of("a", right), scores_of("b", wrong)], np.arange(200), shares, n=500)
    assert first.score == pytest.approx(np.maximum(shares, 1 - shares).mean()) == pytest.approx(first.majority)
    assert first.person == pytest.approx((shares**2 + (1 - shares) ** 2).mean())
    assert second.score_interval[0] < second.score < second.score_interval[1] < first.score
    assert second.difference == pytest.approx(first.score - second.score)
    assert second.difference_interval[0] > 0
    assert second.p_holm < 0.01
    part = compare("some", [scores_of("a", right)], np.arange(0, 200, 2), shares, n=20)[0]
    assert (part.n_given, part.score) == (100, pytest.approx(np.maximum(shares, 1 - shares)[::2].mean()))


def write_config(folder: Path, root: Path, *metrics: str, data: str = "parts = true") -> Path:
    tables = "".join(f"[[metrics]]\n{metric}\n" for metric in metrics)
    (folder / "pairs.toml").write_text(f'[data]\nset = "bapps"\nroot = {json.dumps(str(root))}\n{data}\n{tables}')
    return folder / "pairs.toml"


def test_command_ranks_metrics_and_goes_on(root: Path, tmp_path: Path) -> None:
    config = write_config(
        tmp_path, root, 'name = "psnr"', 'name = "nriqa"', 'name = "nriqa"\noptions = {weights = "no"}'
    )
    command = ["bench", "metrics", str(config), "-o", str(tmp_path / "out"), "--bootstrap", "20"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 1
    assert "failed: nriqa(weights=no) on 24 images" in first.output
    table = list(csv.DictReader((tmp_path / "out/table.csv").open()))
    assert [row["part"] for row in table] == [part for part in (
        "all 12 pairs", "subset cnn", "subset superres") for _ in range(3)]  # fmt: skip
    best = table[0]
    assert (best["metric"], best["reference"], best["n_used"], best["n_given"]) == ("psnr", "truth", "12", "12")
    assert (float(best["score"]), float(best["majority"]), float(best["person"])) == (0.75, 0.75, 0.625)
    failed = next(row for row in table if row["n_used"] == "0")
    assert float(failed["score"]) == 0.25
    kept = (tmp_path / "out/scores.jsonl").read_text()
    assert CliRunner().invoke(app, command).exit_code == 1
    assert (tmp_path / "out/scores.jsonl").read_text() == kept
    assert "| psnr | truth | 12/12 | 0.750 [0.750, 0.750] |" in (tmp_path / "out/table.md").read_text()


def test_degraded_inputs_are_references_where_there_are_some(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)driqa: it is compared with the degraded image, and there is none.*truth"
    ):
        run(Config.read(write_config(tmp_path, root, 'name = "driqa"')), tmp_path / "out")
    own = write_bapps(tmp_path / "own", pairs=2, degraded=True)
    config = Config.read(write_config(tmp_path, own, 'name = "driqa"', data='split = "validation"'))
    (line,) = run(config, tmp_path / "out", n_bootstrap=20).lines
    assert (line.reference, line.n_used, line.part) == ("degraded", 4, "all 4 pairs")


@pytest.mark.parametrize(
    ("data", "message"), [('split = "val"', "split is 'val'"), ("unshared = true", "bapps names no contents")]
)
def test_wrong_entries_are_named(root: Path, tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.read(write_config(tmp_path, root, 'name = "psnr"', data=data))
