"""Methods boards: what is scored, what a failure costs, statistics against scipy and by hand, kill -9."""

import json
import multiprocessing
import random
import time
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.demo import write_demo
from drmetric.bench.methods.disagreement import disagreements, spreads
from drmetric.bench.methods.ranking import agreement, resampled_means
from drmetric.bench.methods.tables import records, results
from drmetric.bench.scores import run as scoring
from drmetric.bench.scores.pairing import pair
from drmetric.cli.bench import commands
from drmetric.errors import ConfigError, InputError, PairingError, WeightsError
from drmetric.images import read_image, save_image
from drmetric.metrics import registry
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create
from drmetric.statistics import bootstrap_by_content, holm, paired_bootstrap
from tests.boards import CONFIG, ENOUGH, METHODS, PHOTOS, metrics, write_board


class Sharpness(Metric):
    """No reference; counts its calls and refuses what `fails` names."""

    name, mode, signature = "sharpness", "nr", "sharpness|1"
    calls = 0
    fails = staticmethod(lambda image: False)

    def _score(self, image, reference):
        Sharpness.calls += 1
        if self.fails(image):
            raise RuntimeError("no idea")
        return (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))


class Encoding(Metric):
    """Degraded reference; counts how often it gets one."""

    name, mode, signature = "encoding", "dr", "encoding|1"
    encoded = 0

    def set_reference(self, reference):
        Encoding.encoded += reference is not None
        return super().set_reference(reference)

    def _score(self, image, reference):
        return (image.mean((1, 2, 3)) - reference.mean((1, 2, 3))).abs()


class Boundless(Sharpness):
    name, signature = "boundless", "boundless|1"
    score_range = (-np.inf, np.inf)


class NoWeights(Sharpness):
    name = "no_weights"

    def __init__(self):
        raise WeightsError("its weights are elsewhere", "look there")


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch):
    for metric in (Sharpness, Boundless, Encoding, NoWeights):
        monkeypatch.setitem(registry._METRICS, metric.name, f"{__name__}:{metric.__name__}")
    monkeypatch.setattr(Sharpness, "calls", 0)
    monkeypatch.setattr(Encoding, "encoded", 0)
    monkeypatch.setattr(Sharpness, "fails", staticmethod(lambda image: False))


@pytest.fixture
def board(tmp_path):
    """Writes the images and a configuration and reads it."""
    return lambda text="", **options: Config.read(write_board(tmp_path, text, **options))


def rows_of(output):
    return [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]


def by_method(result, metric):
    labels = [judge.label for judge in result.scores.judges]
    return {standing.method: standing for standing in result.ranking.standings[labels.index(metric)]}


def test_scores_are_those_of_the_metrics_and_the_better_method_wins(board, tmp_path):
    result = run(board(), tmp_path / "out", n_bootstrap=200)
    standings = by_method(result, "psnr")
    assert [standings[name].rank for name in METHODS] == [1, 2, 3]
    psnr = create("psnr")
    expected = [
        psnr(read_image(tmp_path / f"all/{photo}_noise.png")[None], read_image(tmp_path / f"truth/{photo}.png")[None])
        for photo in PHOTOS
    ]
    assert standings["noise"].mean == pytest.approx(np.mean([score.item() for score in expected]))
    assert (standings["noise"].n_used, standings["noise"].n_given) == (4, 4)
    assert result.scores.methods[result.ranking.order[0]] == "blend"
    assert not result.errors
    assert not result.skipped
    by_low_band = by_method(result, "low_band_psnr")
    assert by_low_band["bicubic"].rank < by_low_band["noise"].rank


def test_driqa_scores_a_board(board, tmp_path):
    result = run(board(metrics("driqa"), photos=("cat", "chelsea")), tmp_path / "out", n_bootstrap=50)
    image, degraded = read_image(tmp_path / "blend/cat.png"), read_image(tmp_path / "degraded/catx2.png")
    expected = create("driqa")(image[None], degraded[None]).item()
    assert result.scores.values[0, 0, 0] == pytest.approx(expected, abs=1e-5)


def test_consistency_stands_beside_what_knows_the_input_alone(board, tmp_path):
    result = run(board(metrics("encoding", "psnr")), tmp_path / "out", n_bootstrap=50)
    guards = [column.title for column in results(result).shown][5:]
    assert guards == ["LR-PSNR, dB ↑", "colour difference, ΔE ↓"]
    metric, files = create("lr_psnr"), [(f"all/{photo}_noise.png", f"degraded/{photo}x2.png") for photo in PHOTOS]
    figures = [metric(*(read_image(tmp_path / path)[None] for path in pair)).item() for pair in files]
    rows = [row for row in records(result).records if row["method"] == "noise"]
    assert [row["lr_psnr"] for row in rows] == [pytest.approx(np.mean(figures), abs=1e-4)] * 2
    assert len(result.ranking.standings) == 2
    without = CONFIG.replace("[data]", "[data]\nconsistency = false")
    plain = run(board(metrics("encoding", "psnr"), config=without), tmp_path / "plain", n_bootstrap=50)
    assert len(results(plain).shown) == 5
    np.testing.assert_array_equal(plain.ranking.mean_ranks, result.ranking.mean_ranks)


def test_outputs_of_something_else_are_counted_in_words(board, tmp_path):
    config = board(metrics("encoding"))
    for photo, other in (("cat", "coffee"), ("coffee", "cat")):
        save_image(read_image(tmp_path / f"truth/{other}.png"), tmp_path / f"blend/{photo}.png")
    result = run(config, tmp_path / "out", n_bootstrap=50)
    assert "blend: 2 of 4 outputs do not reduce to their inputs: LR-PSNR below 16 dB." in results(result).notes


def test_every_score_is_one_line_and_none_is_made_twice(board, tmp_path):
    config, output = board(metrics("sharpness", "psnr")), tmp_path / "out"
    first = run(config, output, n_bootstrap=50)
    assert Sharpness.calls == 12
    keys = Counter((row["method"], row["image"], row["metric"]) for row in rows_of(output))
    assert len(keys) == 24
    assert set(keys.values()) == {1}
    second = run(config, output, n_bootstrap=50)
    assert Sharpness.calls == 12
    assert second.scores.kept == 24
    np.testing.assert_array_equal(first.scores.values, second.scores.values)


def test_an_image_is_decoded_and_a_reference_encoded_once(board, tmp_path, monkeypatch):
    decoded = Counter()
    read = scoring.read_pixels
    monkeypatch.setattr(scoring, "read_pixels", lambda data, path, *_: decoded.update([path]) or read(data, path))
    run(board(metrics("encoding", "sharpness", "psnr", "gmsd")), tmp_path / "out", n_bootstrap=10)
    assert set(decoded.values()) == {1}
    assert len(decoded) == 4 * (1 + 1 + 3)
    assert Encoding.encoded == 4


def test_changed_files_are_scored_again_and_replace_their_line(board, tmp_path):
    config, output = board(metrics("sharpness", "psnr")), tmp_path / "out"
    run(config, output, n_bootstrap=10)
    (tmp_path / "blend/cat.png").write_bytes((tmp_path / "all/cat_bicubic.png").read_bytes())
    result = run(config, output, n_bootstrap=10)
    assert Sharpness.calls == 13
    assert len(rows_of(output)) == 24
    image = result.scores.images.index("catx2.png")
    assert result.scores.values[0, 0, image] == result.scores.values[0, 1, image]
    (tmp_path / "truth/cat.png").write_bytes((tmp_path / "truth/coffee.png").read_bytes())
    assert run(config, output, n_bootstrap=10).scores.kept == 24 - 3
    assert Sharpness.calls == 13


def test_a_torn_line_is_cut_and_damage_is_named(board, tmp_path):
    config, output = board(metrics("sharpness")), tmp_path / "out"
    run(config, output, n_bootstrap=10)
    scores = output / "scores.jsonl"
    scores.write_text(scores.read_text()[:-40])
    assert run(config, output, n_bootstrap=10).scores.kept == 11
    assert len(rows_of(output)) == 12
    scores.write_text(scores.read_text() + "something else\n")
    with pytest.raises(InputError, match=r"line 13 of .*is not a row of scores: 'something else'"):
        run(config, output, n_bootstrap=10)


def test_failures_rank_last_are_counted_and_are_tried_again(board, tmp_path, monkeypatch):
    config, output = board(metrics("sharpness")), tmp_path / "out"
    truth = run(config, output, n_bootstrap=10).scores.values
    (output / "scores.jsonl").unlink()
    monkeypatch.setattr(Sharpness, "calls", 0)
    monkeypatch.setattr(Sharpness, "fails", staticmethod(lambda image: Sharpness.calls == 3))  # noise of the first
    result = run(config, output, n_bootstrap=10)
    noise = by_method(result, "sharpness")["noise"]
    assert (noise.n_used, noise.n_given) == (3, 4)
    assert noise.mean == pytest.approx(truth[0, 2, 1:].sum() / 4, rel=1e-6)  # its scores end at 0
    assert [(f.metric, f.method, f.image, f.error) for f in result.errors] == [
        ("sharpness", "noise", "astronautx2.png", "RuntimeError: no idea")
    ]
    assert sum("error" in row for row in rows_of(output)) == 1
    mended = run(config, output, n_bootstrap=10)
    assert not mended.errors
    np.testing.assert_array_equal(mended.scores.values, truth)
    assert len(rows_of(output)) == 12


def test_broken_and_missing_outputs_cost_their_method_only(board, tmp_path):
    config = board(metrics("psnr", "sharpness"))
    (tmp_path / "blend/cat.png").write_bytes(b"broken")
    (tmp_path / "all/coffee_noise.png").rename(tmp_path / "blend/tea.png")
    result = run(config, tmp_path / "out", n_bootstrap=10)
    standings = by_method(result, "psnr")
    assert [standings[name].n_used for name in METHODS] == [3, 4, 3]
    lost = ["2 outputs lack scores, which count as the worst.", "1 output without an input is left out."]
    assert results(result).notes[1:3] == lost
    known = result.scores.values[0]
    assert standings["blend"].mean == pytest.approx(np.nansum(known[0]) / 4)  # PSNR ends at 0 dB
    stray, missing, *broken = result.errors
    assert stray[1:3] == ("blend", "tea.png")
    assert missing[1:] == ("noise", "coffeex2.png", "there is no output of this image")
    assert [failure.metric for failure in broken] == ["psnr", "sharpness"]
    assert all(str(tmp_path) not in failure.error and "cat.png" in failure.error for failure in broken)


def test_a_broken_input_fails_every_method_but_not_metrics_that_do_not_need_it(board, tmp_path):
    config = board(metrics("encoding", "psnr"))
    (tmp_path / "degraded/catx2.png").write_bytes(b"broken")
    result = run(config, tmp_path / "out", n_bootstrap=10)
    assert [(f.metric, f.method, f.image) for f in result.errors] == [("encoding", m, "catx2.png") for m in METHODS]


def test_metrics_without_ground_truth_are_skipped_with_the_reason(board, tmp_path):
    text = metrics("psnr", "ssim", "sharpness") + 'reference = "none"\n[[metrics]]\nname="psnr"\nreference="degraded"\n'
    result = run(board(text, config=CONFIG.replace('truth = "truth"', "")), tmp_path / "out", n_bootstrap=10)
    assert list(result.skipped) == ["psnr", "ssim"]
    assert "it is compared with the truth image, and there is none" in result.skipped["ssim"]
    assert 'reference = "degraded"' in result.skipped["ssim"]
    assert [judge.label for judge in result.scores.judges] == ["sharpness", "psnr(reference=degraded)"]
    with pytest.raises(ConfigError, match="no metric can be used: psnr: it is compared with the truth"):
        run(board(metrics("psnr"), config=CONFIG.replace('truth = "truth"', "")), tmp_path / "out")


def test_images_without_truth_are_left_out_of_what_needs_it(board, tmp_path):
    config = board(metrics("psnr", "sharpness"))
    (tmp_path / "truth/cat.png").unlink()
    result = run(config, tmp_path / "out", n_bootstrap=10)
    assert {standing.n_given for standing in by_method(result, "psnr").values()} == {3}
    assert {standing.n_given for standing in by_method(result, "sharpness").values()} == {4}
    assert not result.errors
    assert result.notes == ["1 of 4 images have no ground truth, such as 'catx2.png'."]


def test_lr_psnr_is_skipped_where_no_input_is_smaller(board, tmp_path):
    config = CONFIG.replace('degraded = "degraded"', 'degraded = "truth"')
    result = run(board(metrics("lr_psnr", "low_band_psnr"), config=config), tmp_path / "out", n_bootstrap=10)
    assert result.skipped == {"lr_psnr": "it applies to no image"}
    assert not result.errors
    again = run(board(metrics("lr_psnr", "low_band_psnr"), config=config), tmp_path / "out", n_bootstrap=10)
    assert again.scores.kept == 12


def test_a_metric_without_weights_is_a_failure_and_the_others_go_on(board, tmp_path):
    result = run(board(metrics("no_weights", "sharpness")), tmp_path / "out", n_bootstrap=10)
    (failure,) = result.errors
    assert failure.metric == "no_weights"
    (sentence,) = [text for text in results(result).notes if "no_weights" in text]
    assert sentence.startswith("no_weights is missing: WeightsError: its weights are elsewhere")
    assert not any("failed" in text for text in results(result).notes[1:])
    assert "its weights are elsewhere" in failure.error
    assert [judge.label for judge in result.scores.judges] == ["sharpness"]


def test_consistency_does_not_count_in_the_mean_rank(board, tmp_path):
    both = run(board(metrics("psnr", "colour_difference")), tmp_path / "out", n_bootstrap=10)
    assert both.ranking.mean_ranks.tolist() == [s.rank for s in both.ranking.standings[0]]
    alone = run(board(metrics("colour_difference")), tmp_path / "out", n_bootstrap=10)
    assert alone.ranking.mean_ranks.tolist() == [s.rank for s in alone.ranking.standings[0]]


def test_paths_are_relative_to_the_file_and_variables_are_expanded(board, tmp_path, monkeypatch):
    monkeypatch.setenv("OUTPUTS", str(tmp_path / "all"))
    monkeypatch.delenv("NOWHERE", raising=False)
    config = board(config=CONFIG.replace('"all"', '"$OUTPUTS"'))
    assert config.degraded == tmp_path / "degraded"
    assert config.methods[1].folder == tmp_path / "all"
    with pytest.raises(ConfigError, match="names a variable that is not set"):
        board(config=CONFIG.replace('"all"', '"$NOWHERE"'))


def test_methods_are_not_called_as_the_images_beside_them(board):
    with pytest.raises(ConfigError, match="'ground truth' occurs more than once"):
        board(config=CONFIG.replace('"blend"', '"ground truth"', 1))


def test_options_name_files_beside_the_configuration(board, tmp_path):
    (tmp_path / "mine.safetensors").touch()
    entry = board(metrics("driqa") + 'options = { weights = "mine.safetensors" }').metrics[0]
    assert entry.options == {"weights": str(tmp_path / "mine.safetensors")}
    assert entry.title == "driqa(weights=mine.safetensors)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (metrics("psnr").replace("name", "nmae"), "unknown entry 'nmae'"),
        (metrics("psnr") + 'reference = "clean"\n', "'clean'; wanted 'default' or 'degraded' or 'truth' or 'none'"),
        (metrics("sharpness") + 'reference = "degraded"\n', "cannot use the reference 'degraded'"),
        (metrics("psnr", "psnr"), r"two metrics are called 'psnr'\n  fix: label ="),
        (metrics("psnr", "psnr") + 'label = "PSNR"\n', "'psnr' and 'PSNR' are the same metric"),
        ("# nothing", "at least one"),
        ("[extra]\n" + metrics("psnr"), "unknown table 'extra'"),
        ("metrics = [", "cannot read"),
    ],
)
def test_bad_configurations_are_named(board, tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        run(board(text), tmp_path / "out")


def test_names_that_do_not_pair_are_named(board, tmp_path):
    several = CONFIG.replace('suffix = "_noise"\n', "")
    with pytest.raises(ConfigError, match=r"'noise' has several outputs of 'astronautx2.png'(.|\n)*suffix ="):
        run(board(config=several), tmp_path / "out")
    with pytest.raises(PairingError, match=r"no image of .* has a name that ends in '_EDSR'"):
        run(board(config=CONFIG.replace("_noise", "_EDSR")), tmp_path / "out")
    (tmp_path / "other").mkdir()
    for tag in ("bicubic", "noise"):
        (tmp_path / f"other/zebra_{tag}.png").write_bytes((tmp_path / "truth/cat.png").read_bytes())
    other = board(config=CONFIG.replace('folder = "blend"', 'folder = "other"').replace('"all"', '"other"'))
    with pytest.raises(PairingError, match="no output of any method has the name of a degraded input"):
        run(other, tmp_path / "out")


def test_a_folder_of_methods_is_mended_to_its_sub_folders(board, tmp_path):
    config = board(config=CONFIG.replace('folder = "blend"', 'folder = "nested"'))
    for method in ("a", "b"):
        (tmp_path / "nested" / method).mkdir(parents=True)
        (tmp_path / "nested" / method / "cat.png").write_bytes((tmp_path / "blend/cat.png").read_bytes())
    with pytest.raises(ConfigError, match=r"several outputs of 'catx2\.png'") as caught:
        run(config, tmp_path / "out")
    assert caught.value.fix.endswith(f"{tmp_path / 'nested'}/*")


def test_an_output_without_an_input_is_a_failure(board, tmp_path):
    config = board(metrics("sharpness"))
    (tmp_path / "blend/zebra.png").write_bytes((tmp_path / "blend/cat.png").read_bytes())
    result = run(config, tmp_path / "out", n_bootstrap=10)
    assert [(f.method, f.image) for f in result.errors] == [("blend", "zebra.png")]


def test_one_truth_serves_many_inputs(board, tmp_path):
    config = board(metrics("psnr"), photos=("cat",))
    for kind, name in (("degraded", "cat_rain{}.png"), ("blend", "cat_rain{}.png"), ("all", "cat_rain{}_noise.png")):
        source = {"degraded": "degraded/catx2.png", "blend": "blend/cat.png", "all": "all/cat_noise.png"}[kind]
        for number in (1, 2):
            (tmp_path / kind / name.format(number)).write_bytes((tmp_path / source).read_bytes())
    (tmp_path / "degraded/catx2.png").unlink()
    (tmp_path / "blend/cat.png").unlink()
    (tmp_path / "all/cat_noise.png").unlink()
    result = run(config, tmp_path / "out", n_bootstrap=10)
    assert [picture.truth.name for picture in result.pictures] == ["cat.png", "cat.png"]


def test_a_suffix_is_dropped_before_names_are_compared(tmp_path):
    write_board(tmp_path, photos=("cat", "coffee"))
    pairing = pair(tmp_path / "all", tmp_path / "degraded", suffix="_noise")
    assert [(each.name, each.degraded_name) for each in pairing.pairs] == [
        ("cat_noise.png", "catx2.png"),
        ("coffee_noise.png", "coffeex2.png"),
    ]


def test_intervals_and_tests_are_those_of_the_statistics_module(board, tmp_path):
    result = run(board(metrics("psnr", "gmsd")), tmp_path / "out", n_bootstrap=500, seed=3)
    values = result.scores.values
    psnr = by_method(result, "psnr")
    low, high = bootstrap_by_content(list(values[0, 1]), lambda drawn: float(np.mean(drawn)), n=500, seed=3)
    assert (psnr["bicubic"].low, psnr["bicubic"].high) == (pytest.approx(low), pytest.approx(high))
    tests = [paired_bootstrap(values[0, 0], values[0, other], n=500, seed=3) for other in (1, 2)]
    expected = holm([test.p_value for test in tests])
    assert [psnr[name].p_holm for name in METHODS[1:]] == pytest.approx(expected.tolist())
    assert psnr["noise"].behind == pytest.approx(tests[1].difference)
    gmsd = by_method(result, "gmsd")
    assert gmsd["blend"].rank == 1
    assert all(standing.low <= standing.mean <= standing.high for standing in gmsd.values())
    assert gmsd["noise"].behind == pytest.approx(gmsd["noise"].mean - gmsd["blend"].mean)


def test_a_method_with_failures_takes_no_part_in_the_correction(board, tmp_path):
    config = board(metrics("boundless"))
    whole = by_method(run(config, tmp_path / "whole", n_bootstrap=500), "boundless")
    broken = next(each.method for each in whole.values() if each.rank > 1 and (tmp_path / each.method).is_dir())
    next((tmp_path / broken).iterdir()).write_bytes(b"broken")
    result = run(config, tmp_path / "broken", n_bootstrap=500)
    standings = by_method(result, "boundless")
    assert np.isnan(standings[broken].mean)
    assert np.isnan(standings[broken].p_holm)
    best, other = (next(s for s in standings.values() if s.rank == rank) for rank in (1, 2))
    values = {method: result.scores.values[0, number] for number, method in enumerate(METHODS)}
    alone = paired_bootstrap(values[best.method], values[other.method], n=500, seed=0)
    assert other.p_holm == pytest.approx(alone.p_value)


def test_equal_methods_are_tied_with_the_best(board, tmp_path):
    twin = CONFIG + '[[methods]]\nname = "twin"\nfolder = "blend"\n'
    config = board(metrics("psnr"), photos=ENOUGH, config=twin)
    standings = by_method(run(config, tmp_path / "out", n_bootstrap=100), "psnr")
    assert (standings["twin"].rank, standings["twin"].p_holm, standings["twin"].tied) == (1, 1, True)
    assert not standings["noise"].tied


def test_one_image_has_neither_interval_nor_test(board, tmp_path):
    result = run(board(metrics("psnr"), photos=("cat",)), tmp_path / "out", n_bootstrap=10)
    standings = by_method(result, "psnr")
    assert np.isnan(standings["blend"].low)
    assert standings["noise"].p_holm == 1
    assert [standings[name].tied for name in METHODS] == [True, False, False]
    assert "*" not in results(result).to_markdown()


def test_resampled_means_draw_in_parts_what_they_draw_at_once():
    values = np.random.default_rng(0).normal(size=(3000, 2))
    draws = np.random.default_rng(5).integers(3000, size=(2000, 3000))
    np.testing.assert_allclose(resampled_means(values, 2000, 5), values[draws].mean(axis=1), atol=1e-12)


def test_agreement_is_the_mean_of_scipys_tau_b():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, size=(3, 7, 5)).astype(float)
    expected = [stats.kendalltau(values[0, :, image], values[2, :, image]).statistic for image in range(5)]
    matrix = agreement(values)
    assert matrix[0, 2] == matrix[2, 0] == pytest.approx(np.mean(expected))
    assert np.diag(matrix).tolist() == [1, 1, 1]


def test_agreement_leaves_out_what_is_missing_or_constant():
    values = np.array([[[1.0, 1], [2, 1], [3, 1]], [[2.0, 1], [1, 2], [np.nan, 3]]])
    assert agreement(values)[0, 1] == -1  # the second image is constant for the first metric
    values[0, :, 0] = 1
    assert np.isnan(agreement(values)[0, 1])


def test_contrasts_by_hand():
    # metric 0 prefers method 0 on image 0 by two deviations; metric 1 the other way round; image 1 is calm
    values = np.array([[[2.0, 0.1], [0.0, 0.0]], [[0.0, 0.1], [3.0, 0.0]]])
    deviations = [np.sqrt(np.mean([1.0, 0.0025])), np.sqrt(np.mean([2.25, 0.0025]))]
    (found,) = disagreements(values)
    assert (found.image, found.metrics, found.methods) == (0, (0, 1), (0, 1))
    assert found.strength == pytest.approx(min(2 / deviations[0], 3 / deviations[1]))
    apart = spreads(values)
    assert apart[0] == pytest.approx(np.mean([1 / deviations[0], 1.5 / deviations[1]]))
    assert apart[1] < 0.1
    assert spreads(np.full((1, 2, 3), np.nan)).tolist() == [0, 0, 0]


def test_the_command_reports_and_exits_with_the_failures(tmp_path):
    path, output = write_board(tmp_path, photos=("cat", "coffee")), tmp_path / "out"
    arguments = ["methods", str(path), "-o", str(output), "--bootstrap", "20"]
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 0, result.output
    assert "board: 3 methods, 2 images, 3 metrics" in result.stdout
    assert sorted(each.name for each in output.iterdir()) == [
        "lock.json", "report.html", "scores.jsonl", "table.csv", "table.jsonl", "table.md", "table.parquet", "table.tex"
    ]  # fmt: skip
    (tmp_path / "blend/cat.png").write_bytes(b"broken")
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 1
    assert "failed: blend, catx2.png, psnr (and 2 more metrics): ImageFileError: cat.png" in result.stderr
    assert "note: 15 scores were kept" in result.stderr


def test_the_demo_runs_on_images_and_a_configuration_that_are_the_users_to_change(tmp_path):
    folder = tmp_path / "demo"
    config = write_demo(folder)
    config.write_text(config.read_text() + metrics("low_band_psnr") + 'label = "mine"\noptions = { sigma = 2 }\n')
    result = CliRunner().invoke(commands, ["demo", "-o", str(folder)])
    assert result.exit_code == 0, result.output
    assert "3 methods, 3 images, 3 metrics" in result.stdout
    assert f"drmetric bench methods {config}" in result.stderr
    assert (folder / "report.html").is_file()


def lines_of(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_kill_9_at_ten_moments(tmp_path):
    config = Config.read(write_board(tmp_path, metrics("encoding", "psnr", "ssim", "low_band_psnr"), size=192))
    killed, scores, seen = tmp_path / "killed", tmp_path / "killed/scores.jsonl", b""
    fork = multiprocessing.get_context("fork")
    for target in sorted(random.Random(0).sample(range(1, 45), 10)):
        process = fork.Process(target=run, args=(config, killed), kwargs={"n_bootstrap": 10})
        process.start()
        while lines_of(scores) < target and process.is_alive():
            time.sleep(0.0005)
        process.kill()
        process.join()
        content = scores.read_bytes()
        assert content.startswith(seen)
        seen = content[: content.rindex(b"\n") + 1]
    scores.write_bytes(seen[:-5])
    assert run(config, killed, n_bootstrap=10).scores.kept == seen.count(b"\n") - 1
    run(config, tmp_path / "whole", n_bootstrap=10)

    def scored(output):
        return sorted((row["method"], row["image"], row["metric"], row["score"]) for row in rows_of(output))

    assert len(scored(killed)) == 3 * 4 * 4
    assert scored(killed) == scored(tmp_path / "whole")
