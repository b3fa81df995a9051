"""The metric of torchmetrics gives the mean of drmetric's scores: over batches, processes and copies."""

import os
import pickle
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from drmetric import DRIQA, create
from drmetric.errors import InputError
from tests.adapters.restorers import WEIGHTS, pairs

torchmetrics = pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")

from drmetric.adapters.torchmetrics import QualityMetric  # noqa: E402

TRUTH, DEGRADED = pairs(3)
RESTORED = torch.nn.functional.interpolate(DEGRADED, scale_factor=2, mode="bilinear")


@pytest.fixture
def quality() -> QualityMetric:
    return QualityMetric("driqa", weights=WEIGHTS)


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    return DRIQA(WEIGHTS)(RESTORED, DEGRADED)


def test_mean_over_batches_of_different_sizes(quality: QualityMetric, expected: torch.Tensor) -> None:
    of_batch = quality(RESTORED[:1], degraded=DEGRADED[:1])
    quality.update(RESTORED[1:], degraded=DEGRADED[1:])
    torch.testing.assert_close(of_batch, expected[0])
    torch.testing.assert_close(quality.compute(), expected.mean())
    quality.reset()
    quality.update(RESTORED[:1], degraded=DEGRADED[:1])
    torch.testing.assert_close(quality.compute(), expected[0])


def test_no_state_needs_64_bits_of_a_float_and_none_of_many_images_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    quality = QualityMetric("psnr")
    assert torch.float64 not in {state.dtype for state in quality.metric_state.values()}
    monkeypatch.setattr("drmetric.adapters.torchmetrics.score", lambda *_: torch.full((1,), 0.1))
    for _ in range(20_000):
        quality.update(RESTORED[:1, :, :8, :8])
    assert float(quality.compute()) == pytest.approx(0.1, abs=2e-8)


def test_an_infinite_score_makes_the_mean_infinite(monkeypatch: pytest.MonkeyPatch) -> None:
    quality = QualityMetric("psnr")
    monkeypatch.setattr("drmetric.adapters.torchmetrics.score", lambda *_: torch.tensor([1.0, float("inf")]))
    quality.update(RESTORED[:2])
    quality.update(RESTORED[:2])
    assert quality.compute() == float("inf")


def test_lives_in_a_collection_with_metrics_that_know_the_truth_alone(expected: torch.Tensor) -> None:
    collection = torchmetrics.MetricCollection(
        {
            "psnr": torchmetrics.image.PeakSignalNoiseRatio(data_range=1.0),
            "driqa": QualityMetric("driqa", weights=WEIGHTS),
            "ssim": QualityMetric("ssim"),
        }
    )
    collection.update(RESTORED, TRUTH, degraded=DEGRADED)
    scores = collection.compute()
    torch.testing.assert_close(scores["driqa"], expected.mean())
    torch.testing.assert_close(scores["ssim"], create("ssim")(RESTORED, TRUTH).mean())
    torch.testing.assert_close(scores["psnr"], -10 * (RESTORED - TRUTH).square().mean().log10())


def test_a_collection_never_takes_two_metrics_of_one_score_for_one() -> None:
    collection = torchmetrics.MetricCollection({"a": QualityMetric("psnr"), "b": QualityMetric("psnr", shave=8)})
    collection.update(TRUTH, TRUTH)  # both infinite: their sums are equal
    collection.update(RESTORED, TRUTH)
    collection.reset()
    collection.update(RESTORED, TRUTH)
    scores = collection.compute()
    torch.testing.assert_close(scores["b"], create("psnr", shave=8)(RESTORED, TRUTH).mean())
    assert scores["a"] != scores["b"]


def test_other_ranges_and_overshoot(quality: QualityMetric, expected: torch.Tensor) -> None:
    wide = QualityMetric(DRIQA(WEIGHTS), input_range=(-1, 1))
    wide.update(RESTORED * 2 - 1, degraded=DEGRADED * 2 - 1)
    torch.testing.assert_close(wide.compute(), expected.mean())
    quality.update(RESTORED + 0.5, degraded=DEGRADED)
    torch.testing.assert_close(quality.compute(), DRIQA(WEIGHTS)((RESTORED + 0.5).clamp(0, 1), DEGRADED).mean())


def test_what_is_missing_or_wrong_is_said(quality: QualityMetric) -> None:
    with pytest.raises(InputError, match="needs the degraded image"):
        quality.update(RESTORED, TRUTH)
    with pytest.raises(InputError, match="preds has values from 0"):
        quality.update(RESTORED * 255, degraded=DEGRADED)


def test_copies_and_half_precision(quality: QualityMetric, expected: torch.Tensor) -> None:
    quality.update(RESTORED, degraded=DEGRADED)
    for copy in (deepcopy(quality), pickle.loads(pickle.dumps(quality)), quality.half(), quality.set_dtype(torch.half)):
        torch.testing.assert_close(copy.compute().float(), expected.mean(), rtol=1e-3, atol=1e-3)


def test_direction_and_bounds() -> None:
    quality, distance = QualityMetric("driqa", weights=WEIGHTS), QualityMetric("gmsd")
    assert quality.higher_is_better
    assert not distance.higher_is_better
    assert (quality.plot_lower_bound, quality.plot_upper_bound) == (0, 1)
    assert QualityMetric("colour_difference").plot_upper_bound is None


def test_plot(quality: QualityMetric) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    quality.update(RESTORED, degraded=DEGRADED)
    figure, axes = quality.plot()
    assert axes.get_ylim()[0] <= 0 < 1 <= axes.get_ylim()[1]
    pyplot.close(figure)


def _score_a_share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    quality = QualityMetric("driqa", weights=WEIGHTS)
    share = slice(0, 1) if rank == 0 else slice(1, 3)
    quality.update(RESTORED[share], degraded=DEGRADED[share])
    torch.save(quality.compute(), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_on_the_mean_of_all_images(tmp_path: Path, expected: torch.Tensor) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(_score_a_share, (str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected.mean())
