"""The sentences and labels of a page where outputs are missing: failures are the worst everywhere, and it is said."""

import re

import numpy as np
import pytest
from scipy import stats

from drmetric.bench.methods.board import run
from drmetric.bench.methods.config import Config
from drmetric.bench.methods.report.plots import distributions
from drmetric.bench.methods.report.story import findings, headline
from drmetric.bench.methods.tables import results
from drmetric.metrics import registry
from drmetric.metrics.base import Metric
from tests.boards import ENOUGH, metrics, write_board


class Boundless(Metric):
    """Better where neighbours differ less; without a worst score."""

    name, mode, signature = "boundless", "nr", "boundless|1"
    score_range = (-np.inf, np.inf)

    def _score(self, image, reference):
        return -(image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))


class Encoding(Metric):
    """Beside whose scores consistency stands."""

    name, mode, signature = "encoding", "dr", "encoding|1"

    def _score(self, image, reference):
        return image.mean((1, 2, 3))


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A function: the board of these metrics, where the best method lacks half of its outputs, and one is broken."""
    for metric in (Boundless, Encoding):
        monkeypatch.setitem(registry._METRICS, metric.name, f"{__name__}:{metric.__name__}")

    def make(*names, gone=()):
        config = write_board(tmp_path, metrics(*names), photos=ENOUGH)
        for name in ENOUGH[:3]:
            (tmp_path / f"blend/{name}.png").unlink()
        (tmp_path / f"blend/{ENOUGH[3]}.png").write_bytes(b"broken")
        for path in gone:
            (tmp_path / path).unlink()
        return run(Config.read(config), tmp_path / "out", n_bootstrap=50)

    return make


def test_metrics_agree_on_what_their_means_say(board):
    made = board("psnr", "ssim")
    assert headline(made).startswith("bicubic is best")
    psnr, ssim = (np.where(np.isnan(of), worst, of) for of, worst in zip(made.scores.values, (0, -1), strict=True))
    assert (psnr[0, 4:] >= psnr[1, 4:]).all()  # where blend has outputs, it is better
    taus = [stats.kendalltau(psnr[:, image], ssim[:, image]).statistic for image in range(8)]
    assert made.ranking.agreement[0, 1] == pytest.approx(np.nanmean(taus))


def test_no_two_metrics_agree_most_and_least_alike(board):
    made = board("psnr", "ssim", "gmsd")
    made.ranking.agreement[:] = 1 - 1e-4 * np.arange(3)
    (said,) = (each for each in findings(made) if "Kendall" in each)
    assert said == "Image by image any two metrics agree alike on the order of the methods (Kendall's tau 1.00)."
    made.ranking.agreement[0, 1] = -0.5
    (said,) = (each for each in findings(made) if "Kendall" in each)
    assert said.endswith("agree most on the order of the methods (Kendall's tau 1.00), PSNR and SSIM least (-0.50).")


def test_a_mean_over_failures_says_so_where_it_stands(board):
    made = board("psnr", "ssim", gone=[f"all/{ENOUGH[0]}_noise.png"])
    found = " ".join(findings(made))
    assert re.search(
        r"gives bicubic [\d.]+ \[[^]]+\]; .* noise, has .*\] \(1 of 8 images failed and counts as 0\)", found
    )
    assert "5 outputs lack scores, which count as the worst." in found
    psnr = distributions(made)[0]
    (strip,) = (each for each in psnr.strips if each.method == "blend")
    known = made.scores.values[0, 0, 4:]
    middle = np.median([0, 0, 0, 0, *known])
    mean = f"{known.sum() / 8:.2f}"
    assert strip.text == f"mean {mean}, median {middle:.2f}, 4 of 8 images failed and count as 0"
    assert (psnr.low, strip.ticks[:5].count(0.0)) == ("0.00", 4)
    assert float(mean) == pytest.approx(strip.mean / 100 * float(psnr.high), abs=0.02)


def test_a_metric_without_a_worst_score_gives_no_mean_and_says_so(board):
    made = board("psnr", "boundless")
    found = findings(made)
    assert "boundless has no worst score, and no mean of a method with failures." in found
    assert "boundless has no worst score, and no mean of a method with failures." in results(made).notes
    strips = {each.method: each for each in distributions(made)[1].strips}
    known = made.scores.values[1, 0, 4:]
    assert strips["blend"].text == f"no mean, 4 of 8 images failed; median {np.median(known):.3f} of the others"
    assert (strips["blend"].mean, strips["blend"].interval, len(strips["blend"].ticks)) == (None, None, 4)
    assert strips["bicubic"].text.endswith("8 images")


def test_the_only_method_with_a_mean_is_not_the_best_of_several(board):
    made = board("boundless", "psnr", gone=[f"all/{ENOUGH[0]}_noise.png"])
    assert headline(made) == "Only bicubic of 3 methods has a mean by boundless"
    made = board("psnr", "boundless", gone=[f"all/{ENOUGH[0]}_noise.png"])
    assert not any("boundless prefer" in each for each in findings(made))


def test_outputs_that_are_missing_are_none_that_could_be_compared(board):
    made = board("encoding", "psnr")
    assert any(each.startswith("20 of 21 outputs could be compared with their inputs") for each in findings(made))
