"""NRIQA on weights made here: scores, maps, uncertainties, whole images, refusals."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from drmetric import NRIQA
from drmetric.checkpoints import write_weights
from drmetric.distortions.redistort import redistort
from drmetric.errors import InputError, WeightsError
from drmetric.images import to_8_bit
from drmetric.metrics import redistorted
from drmetric.networks.akdiqa import AKDIQA, AKDIQAConfig
from drmetric.networks.mobileiqa import MobileIQA, MobileIQAConfig
from tests.contract import MetricContract, lively, noisy, photos, vivid

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
    assert "|system:mobile|" in metric.signature
    assert "|tile:1280+" in metric.signature


AKD = AKDIQAConfig(width=16, heads=2, difference_depth=2, image_depth=1, tile=64)


@pytest.fixture(scope="session")
def akd_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = vivid(AKDIQA(AKD))
    network.uncertainty.copy_(torch.tensor([0.02, 0.5]))
    path = tmp_path_factory.mktemp("weights") / "akd.safetensors"
    write_weights(path, "nriqa-akd", AKD.as_dict(), network.state_dict())
    return path


class TestAKDContract(MetricContract):
    @pytest.fixture
    def make(self, akd_weights):
        return lambda: NRIQA("akd", akd_weights)

    def test_direction_is_the_declared_one(self):
        pytest.skip("random weights")


def test_akd_compares_the_image_with_itself_distorted_again(akd_weights: Path) -> None:
    metric, images = NRIQA("akd", akd_weights), photos(128)
    scores, maps = metric(images, return_map=True)
    assert maps.shape == (3, 1, 2, 2)
    torch.testing.assert_close(scores, metric.network(images, redistort(images)).mean((1, 2, 3)).sigmoid())
    assert not torch.allclose(scores, metric.network(images, images).mean((1, 2, 3)).sigmoid(), atol=1e-4)


def test_uncertainty_of_akd_is_least_where_scores_are_near_their_ends(akd_weights: Path) -> None:
    scores, errors = NRIQA("akd", akd_weights)(photos(64), return_uncertainty=True)
    torch.testing.assert_close(errors, (0.02**2 + (0.5 * scores * (1 - scores)) ** 2).sqrt(), atol=1e-4, rtol=1e-3)


def test_weights_of_earlier_releases_are_read_and_have_no_uncertainty(tmp_path: Path) -> None:
    state = vivid(AKDIQA(AKD)).state_dict()
    del state["uncertainty"]
    write_weights(tmp_path / "early.safetensors", "nriqa-akd", AKD.as_dict(), state)
    metric = NRIQA("akd", tmp_path / "early.safetensors")
    assert metric(photos(64)).isfinite().all()
    with pytest.raises(InputError, match="early holds no calibrated uncertainty"):
        metric(photos(64), return_uncertainty=True)


def test_akd_takes_its_own_weights_alone(akd_weights: Path, weights: Path) -> None:
    with pytest.raises(WeightsError, match="nriqa-mobile"):
        NRIQA("akd", weights)
    assert "system:akd" in NRIQA("akd", akd_weights).signature


class TestTiles:
    IMAGE = F.interpolate(photos(288)[:1], (577, 2100))
    CODES = to_8_bit(IMAGE)

    @torch.no_grad()
    def test_scores_and_uncertainties_are_those_of_the_whole(self, weights: Path, metric: NRIQA) -> None:
        tiled = NRIQA(weights=weights, tile=576)
        for found, expected in zip(
            tiled(self.IMAGE, return_uncertainty=True), metric(self.IMAGE, return_uncertainty=True), strict=True
        ):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        for each in (metric, tiled):
            assert torch.equal(each(self.CODES), each(self.CODES / 255))

    @torch.no_grad()
    def test_scores_of_akd_are_those_of_the_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redistorted, "BAND", 100_000)
        metric, tiled = NRIQA("akd"), NRIQA("akd", tile=576)
        expected, maps = metric(self.CODES, return_map=True)
        found, tiled_maps = tiled(self.CODES, return_map=True)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(tiled_maps, maps, atol=1e-4, rtol=0)

    def test_the_signature_tells_the_tile(self, weights: Path, metric: NRIQA) -> None:
        tiled = NRIQA(weights=weights, tile=576)
        assert tiled.signature == metric.signature.replace("|tile:1280+", "|tile:576+") != metric.signature

    def test_a_backbone_that_may_see_all_of_an_image_is_not_run_on_tiles(self, weights: Path) -> None:
        metric = NRIQA(weights=weights, tile=576)
        metric._is_local = False
        with pytest.raises(InputError, match=r"577 x 2100 pixels, more than 1088 x 1088(.|\n)*tile=2560"):
            metric(self.CODES)


def test_a_reference_is_of_no_use() -> None:
    with pytest.raises(InputError, match="has no use for a reference"):
        NRIQA().set_reference(photos(64))
