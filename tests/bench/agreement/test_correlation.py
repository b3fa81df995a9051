"""Agreement of metrics with scores of images: figures against scipy, pooled, within contents and within inputs."""

import numpy as np
import pytest
from scipy import stats

from drmetric.bench.agreement.board import Board
from drmetric.bench.agreement.correlation import COLUMNS, Agreement, MetricScores, Opinions
from drmetric.bench.agreement.correlation import compare as compare_opinions
from drmetric.bench.tables import to_markdown


def scores_of(name: str, values: np.ndarray, *, higher: bool = True) -> MetricScores:
    return MetricScores(name, "none", name, higher, values, np.ones(len(values)))


def compare(
    part: str, scores: list[MetricScores], rows: np.ndarray, labels: np.ndarray, contents: list[str], n: int = 1000
) -> list[Agreement]:
    return compare_opinions(part, scores, rows, Opinions(labels, contents), n)


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
    text = to_markdown(Board("title", "note", COLUMNS, lines, []).tables())
    assert "pairs" in text
    assert "in content" not in text


def test_within_inputs_is_a_mean_over_degraded_inputs_and_restorations_rank_within_contents() -> None:
    rng = np.random.default_rng(4)
    labels, values = rng.random(24), rng.random(24)
    inputs, contents = [str(i // 4) for i in range(24)], [str(i // 8) for i in range(24)]
    opinions = Opinions(labels, contents, inputs)
    (line,) = compare_opinions("x", [scores_of("a", values)], np.arange(24), opinions, n=200)
    expected = [stats.spearmanr(values[i : i + 4], labels[i : i + 4])[0] for i in range(0, 24, 4)]
    assert line.srcc_input == pytest.approx(np.mean(expected))
    assert line.srcc_input_interval[0] < line.srcc_input < line.srcc_input_interval[1]
    assert line.rank_by == line.srcc_content != line.srcc
    (photographs,) = compare_opinions("x", [scores_of("a", values)], np.arange(24), Opinions(labels, contents), n=20)
    assert np.isnan(photographs.srcc_input)
    assert photographs.rank_by == photographs.srcc


def test_a_failure_costs_the_metric() -> None:
    labels = np.arange(10) / 10
    spoilt = np.where(labels == 0.9, np.nan, labels)
    good, bad = compare("x", [scores_of("a", labels), scores_of("b", spoilt)], np.arange(10), labels, ["c"] * 10, n=20)
    assert (good.srcc, good.n_used, bad.n_used, bad.n_given) == (pytest.approx(1), 10, 9, 10)
    assert bad.srcc < 0.6
