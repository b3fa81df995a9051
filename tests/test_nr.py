"""NRIQA on weights of one's own: scores, maps, uncertainties, whole images, refusals."""

from pathlib import Path

import pytest
import torch
from contract import lively, noisy, photos

from drmetric import NRIQA
from drmetric.errors import InputError, WeightsError
from drmetric.networks.mobileiqa import MobileIQA, MobileIQAConfig
from drmetric.weights import write_weights

CONFIG = MobileIQAConfig(width=16, local_hidden=16, tokens=36, attention_width=8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = lively(MobileIQA(CONFIG))
    network.uncertainty.copy_(torch.tensor([0.03, 2.0]))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    write_weights(path, "nriqa-mobile", CONFIG.as_dict(), network.state_dict())
    return path


@pytest.fixture(scope="module")
def metric(weights: Path) -> NRIQA:
    return NRIQA(weights=weights)


def test_map_s_mean_is_the_score_before_calibration(metric: NRIQA) -> None:
    scores, maps = metric(photos(128), return_map=True)
    assert maps.shape == (3, 1, 6, 6)
    torch.testing.assert_close(maps.mean((1, 2, 3)).sigmoid(), scores)
    torch.testing.assert_close(metric(photos(128)), scores)


def test_uncertainty_is_the_calibrated_spread_of_the_opinions(metric: NRIQA) -> None:
    images = photos(96)
    scores, errors = metric(images, return_uncertainty=True)
    torch.testing.assert_close(scores, metric(images))
    spread = metric.network(images).opinion_scores.mean((2, 3)).sigmoid().std(1)
    torch.testing.assert_close(errors, (0.03**2 + (2 * spread) ** 2).sqrt(), atol=1e-4, rtol=1e-3)
    assert (errors >= 0.0299).all()


def test_map_and_uncertainty_are_not_given_together(metric: NRIQA) -> None:
    with pytest.raises(InputError, match="return_map and return_uncertainty"):
        metric(photos(64), return_map=True, return_uncertainty=True)


def test_whole_images_of_any_shape_are_judged_on_a_grid_of_their_shape(metric: NRIQA) -> None:
    for height, width in ((32, 32), (33, 130), (150, 70)):
        image = torch.nn.functional.interpolate(photos(96)[:1], (height, width)).requires_grad_()
        score, local = metric(image, return_map=True)
        rows, columns = local.shape[-2:]
        assert columns / rows == pytest.approx(width / height, rel=0.3)
        score.sum().backward()
        assert image.grad is not None
        assert torch.isfinite(image.grad).all()
        assert image.grad.abs().sum() > 0


def test_score_changes_with_noise(metric: NRIQA) -> None:
    assert not torch.allclose(metric(photos(96)), metric(noisy(photos(96), 0.1)), atol=1e-4)


def test_reference_and_unknown_systems_are_refused(metric: NRIQA, weights: Path) -> None:
    with pytest.raises(InputError, match="alone"):
        metric(photos(64), photos(64))
    with pytest.raises(InputError, match="'tablet'"):
        NRIQA("tablet", weights=weights)  # type: ignore[arg-type]


def test_weights_of_another_metric_or_shape_are_refused(tmp_path: Path) -> None:
    network = MobileIQA(CONFIG)
    write_weights(tmp_path / "other.safetensors", "driqa", CONFIG.as_dict(), network.state_dict())
    with pytest.raises(WeightsError, match="'driqa'"):
        NRIQA(weights=tmp_path / "other.safetensors")
    wider = CONFIG.as_dict() | {"width": 24}
    write_weights(tmp_path / "wider.safetensors", "nriqa-mobile", wider, network.state_dict())
    with pytest.raises(WeightsError, match="does not fit"):
        NRIQA(weights=tmp_path / "wider.safetensors")


def test_signature_names_system_and_weights(metric: NRIQA) -> None:
    assert metric.signature.startswith("nriqa|weights:small@")
    assert "system:mobile" in metric.signature
