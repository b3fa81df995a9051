import itertools
import math

import numpy as np
import pytest
from scipy import stats

from drmetric import statistics
from drmetric.errors import InputError
from drmetric.statistics import (
    bootstrap_by_content,
    bootstrap_mean,
    holm,
    krcc,
    logistic_fit,
    mean_within,
    pair_accuracy,
    paired_bootstrap,
    plcc,
    rmse,
    srcc,
    worst_for_missing,
)

STATISTICS = [srcc, krcc, plcc, pair_accuracy]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def noisy_pair(rng):
    labels = rng.uniform(size=60)
    return labels + rng.normal(0, 0.2, 60), labels


def test_three_contents_cannot_show_what_their_signs_cannot() -> None:
    second = np.array([0.1, 0.2, 0.3])
    assert paired_bootstrap(second + np.array([0.010, 0.011, 0.012]), second).p_value == 0.25
    eight = np.linspace(0.1, 0.8, 8)
    assert paired_bootstrap(eight + np.linspace(0.010, 0.012, 8), eight).p_value == 2**-7


def test_rank_correlations_are_scipys(noisy_pair):
    scores, labels = noisy_pair
    assert srcc(scores, labels) == pytest.approx(stats.spearmanr(scores, labels).statistic)
    assert krcc(scores, labels) == pytest.approx(stats.kendalltau(scores, labels).statistic)


def test_a_case_counted_by_hand():
    scores, labels = [1, 3, 2, 4], [1, 2, 3, 4]
    assert srcc(scores, labels) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert krcc(scores, labels) == pytest.approx((5 - 1) / 6)
    assert pair_accuracy(scores, labels) == pytest.approx(5 / 6)


def test_pair_accuracy_halves_ties_and_skips_equal_labels():
    # pairs: (0,1) tied score, (0,2) right, (1,2) equal labels
    assert pair_accuracy([1, 1, 2], [0, 1, 1]) == pytest.approx((0.5 + 1) / 2)


def test_pair_accuracy_without_ties_is_kendalls_tau(noisy_pair):
    scores, labels = noisy_pair
    assert pair_accuracy(scores, labels) == pytest.approx((krcc(scores, labels) + 1) / 2)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_sign_is_kept(statistic, noisy_pair):
    scores, labels = noisy_pair
    centre = 0.5 if statistic is pair_accuracy else 0.0
    up, down = statistic(scores, labels) - centre, statistic(-scores, labels) - centre
    assert up > 0.1
    assert down == pytest.approx(-up, abs=1e-4)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_constant_scores_count_as_nothing_and_constant_labels_as_undefined(statistic):
    assert statistic([2, 2, 2], [0, 1, 2]) == (0.5 if statistic is pair_accuracy else 0.0)
    assert math.isnan(statistic([0, 1, 2], [2, 2, 2]))
    assert math.isnan(statistic([1], [2]))


def test_logistic_recovers_a_curve_that_a_line_cannot(rng):
    scores = rng.uniform(-4, 4, 80)
    labels = 0.1 + 0.8 / (1 + np.exp(-(scores - 0.5) / 0.3))
    fit = logistic_fit(scores, labels)
    assert not fit.is_linear
    assert fit.direction == 1
    np.testing.assert_allclose(fit.predicted, labels, atol=1e-5)
    assert plcc(scores, labels) > 0.99999 > 0.97 > np.corrcoef(scores, labels)[0, 1]
    assert rmse(scores, labels) < 1e-5
    assert plcc(-scores, labels) == pytest.approx(-1, abs=1e-6)


def test_logistic_is_never_worse_than_the_line(rng):
    for _ in range(20):
        scores, labels = rng.normal(size=12), rng.uniform(size=12)
        assert abs(plcc(scores, labels)) >= abs(np.corrcoef(scores, labels)[0, 1]) - 0.02


def test_too_few_points_fall_back_to_the_line_and_say_so():
    fit = logistic_fit([0, 1, 2, 3], [0, 1, 4, 9])
    assert fit.is_linear
    assert plcc([0, 1, 2, 3], [0, 1, 4, 9]) == pytest.approx(np.corrcoef([0, 1, 2, 3], [0, 1, 4, 9])[0, 1])
    assert rmse([0, 1, 2, 3], [1, 3, 5, 7]) == pytest.approx(0, abs=1e-12)


def test_missing_scores_rank_below_the_worst():
    filled = worst_for_missing([0.5, np.nan, 0.2, -np.inf])
    assert filled[1] == filled[3] < 0.2
    assert filled[1] == pytest.approx(0.2)
    assert worst_for_missing([np.nan, np.nan]).tolist() == [0, 0]


def test_an_infinite_score_ranks_above_the_best():
    assert srcc(worst_for_missing([np.inf, 30, 20, np.nan]), [4, 3, 2, 1]) == pytest.approx(1)


def test_mean_within_is_not_the_pooled_value():
    # inside each content the order is right; between them it is wrong
    scores, labels = [1, 2, 3, -3, -2, -1], [0, 1, 2, 3, 4, 5]
    contents = ["a"] * 3 + ["b"] * 3
    assert mean_within(srcc, scores, labels, contents).mean == pytest.approx(1)
    assert srcc(scores, labels) < 0


def test_mean_within_counts_constant_scores_and_reports_undefined_groups():
    within = mean_within(srcc, [1, 2, 5, 5, 1, 2], [1, 2, 1, 2, 3, 3], list("aabbcc"))
    assert within.values["a"] == pytest.approx(1)
    assert within.values["b"] == 0
    assert math.isnan(within.values["c"])
    assert (within.mean, within.n_used, within.n_given) == (pytest.approx(0.5), 2, 3)


def test_bootstrap_interval_covers_the_mean_as_theory_says(rng):
    values = rng.normal(2, 1, 200)
    low, high = bootstrap_by_content(list(values), lambda drawn: float(np.mean(drawn)), n=1000)
    half_width = 1.96 * values.std() / math.sqrt(200)
    assert low == pytest.approx(values.mean() - half_width, abs=0.02)
    assert high == pytest.approx(values.mean() + half_width, abs=0.02)


def test_bootstrap_of_a_mean_is_that_of_contents_of_one_value(rng):
    values = rng.normal(2, 1, 50)
    by_content = bootstrap_by_content(list(values), lambda drawn: float(np.mean(drawn)), n=400, seed=2)
    assert bootstrap_mean(values, n=400, seed=2) == pytest.approx(by_content)
    assert all(math.isnan(end) for end in bootstrap_mean([1.0]))


def test_blocks_of_resamples_are_one_draw(rng, monkeypatch):
    values = rng.normal(size=30)
    whole = bootstrap_mean(values, n=100), paired_bootstrap(values, np.zeros(30), n=100)
    monkeypatch.setattr(statistics, "DRAWS_AT_ONCE", 70)
    assert (bootstrap_mean(values, n=100), paired_bootstrap(values, np.zeros(30), n=100)) == whole


def test_bootstrap_resamples_contents_whole_and_repeats_with_its_seed():
    contents = [(0, 0), (1, 1), (2, 2)]

    def whole(drawn):
        assert set(drawn) <= set(contents)
        return float(np.mean(drawn))

    assert bootstrap_by_content(contents, whole, n=50, seed=3) == bootstrap_by_content(contents, whole, n=50, seed=3)


def test_one_content_has_no_interval():
    assert all(math.isnan(end) for end in bootstrap_by_content([1.0], lambda drawn: drawn[0]))
    test = paired_bootstrap([0.5], [0.4])
    assert test.difference == pytest.approx(0.1)
    assert test.p_value == 1
    assert math.isnan(test.low)


def test_paired_test_sees_a_small_steady_difference_and_no_more(rng):
    second = rng.uniform(0, 1, 40)
    steady = paired_bootstrap(second + 0.02 + rng.normal(0, 0.01, 40), second)
    assert steady.p_value < 0.001
    assert 0 < steady.low < steady.difference < steady.high
    nothing = paired_bootstrap(second + rng.normal(0, 0.1, 40), second)
    assert nothing.p_value > 0.05
    assert paired_bootstrap(second, second).p_value == 1


def test_paired_test_agrees_with_all_sign_free_resamples():
    differences = np.array([0.3, -0.1, 0.2])
    means = np.array([np.mean(draw) for draw in itertools.product(differences, repeat=3)])
    exact = np.mean(np.abs(means - differences.mean()) >= abs(differences.mean()) - 1e-12)
    assert paired_bootstrap(differences, np.zeros(3), n=20_000).p_value == pytest.approx(exact, abs=0.01)


def test_paired_test_leaves_out_undefined_contents():
    test = paired_bootstrap([0.5, np.nan, 0.7], [0.1, 0.2, 0.3])
    assert test.difference == pytest.approx(0.4)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1, 1])
    assert holm([]).size == 0


def test_wrong_input_is_named():
    with pytest.raises(InputError, match="one length"):
        srcc([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="finite"):
        srcc([1, np.nan], [1, 2])
    with pytest.raises(InputError, match="one group an image"):
        mean_within(srcc, [1, 2], [1, 2], ["a"])


def test_plcc_keeps_the_sign_of_the_scores_beside_identical_images_of_100_db():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = rng.normal(size=40)
        scores = 30 + 2 * labels + rng.normal(scale=3, size=40)
        scores[:2] = 100
        assert np.sign(plcc(scores, labels)) == np.sign(srcc(scores, labels))


def test_labels_and_scores_that_are_not_finite_are_mended_each_in_its_way():
    scores, labels = np.arange(6.0), np.array([1.0, 2, 3, 4, 5, 6])
    for spoilt in ("scores", "labels"):
        names = {"np": np, "worst_for_missing": worst_for_missing, "scores": scores.copy(), "labels": labels.copy()}
        names[spoilt][2] = np.nan
        with pytest.raises(InputError) as caught:
            srcc(names["scores"], names["labels"])
        exec(caught.value.fix, names)
        assert srcc(names["scores"], names["labels"]) == pytest.approx(1.0 if spoilt == "labels" else 0.829, abs=1e-3)
        assert len(names["labels"]) == (5 if spoilt == "labels" else 6)


def test_auc_is_the_share_of_pairs_in_order_and_ties_count_one_half():
    values, is_positive = [0.1, 0.4, 0.4, 0.8, 0.3], [0, 1, 0, 1, 0]
    pairs = [(p > n) + 0.5 * (p == n) for p in (0.4, 0.8) for n in (0.1, 0.4, 0.3)]
    assert statistics.auc(values, is_positive) == pytest.approx(np.mean(pairs))
    assert math.isnan(statistics.auc(values, [0] * 5))


@pytest.mark.parametrize("far", [1e6, -1e6, 1e3])
def test_plcc_keeps_the_sign_of_the_scores_beside_one_that_is_far_off(far):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels = rng.normal(size=40)
        scores = 30 + 2 * labels + rng.normal(scale=2, size=40)
        near = plcc(scores, labels)
        scores[0] = far
        assert plcc(scores, labels) > near - 0.3


def test_what_a_masked_array_hides_does_not_count():
    scores = np.ma.masked_greater([1.0, 99.0, 3.0, 4.0], 50)
    with pytest.raises(InputError, match="scores must be finite"):
        srcc(scores, [1, 2, 3, 4])
    np.testing.assert_allclose(worst_for_missing(scores), [1, 1, 3, 4])


@pytest.mark.parametrize(
    "call",
    [
        lambda: srcc(["good", "bad"], [1, 2]),
        lambda: srcc([1j, 2], [1, 2]),
        lambda: statistics.auc([1, 2, 3], [0, 1, 2]),
        lambda: holm([0.1, 1.5]),
        lambda: holm([[0.1, 0.5]]),
        lambda: paired_bootstrap([1, np.inf, 2], [1, 2, 3]),
        *(lambda n=n: bootstrap_mean([1, 2, 3], n=n) for n in (0, -1)),
        lambda: bootstrap_by_content([1, 2], lambda drawn: 1.0, n=0),
        lambda: paired_bootstrap([1, 2], [1, 2], n=0),
    ],
)
def test_what_gave_a_wrong_figure_or_an_error_of_numpy_is_refused(call):
    with pytest.raises(InputError):
        call()
