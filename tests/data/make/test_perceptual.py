"""LPIPS by place and depth: its parts against the whole, local faults, and one pass for both features."""

import os

import pytest
import torch

from drmetric import create
from drmetric.data.make import perceptual
from drmetric.data.make.perceptual import fine_distance, shared_layers, worst_region
from tests.contract import blurred, noisy, photos

pytestmark = pytest.mark.skipif(
    "DRMETRIC_LPIPS_BACKBONE" not in os.environ, reason="no SqueezeNet 1.1: set DRMETRIC_LPIPS_BACKBONE"
)
PRISTINE = photos(96)


@pytest.mark.parametrize("size", [32, 48, 96, 131])
def test_parts_and_whole(size: int) -> None:
    pristine = photos(size)
    lpips = create("lpips")
    for image in (noisy(pristine, 0.1), blurred(pristine)):
        whole = lpips(image, pristine)
        assert (fine_distance(image, pristine) < whole).all()
        assert (worst_region(image, pristine) > 0.9 * whole).all()
    assert fine_distance(pristine, pristine).abs().max() < 1e-6
    assert worst_region(pristine, pristine).abs().max() < 1e-6


def test_a_local_disaster_counts_almost_as_a_global_one() -> None:
    everywhere = noisy(PRISTINE, 0.3)
    local = PRISTINE.clone()
    local[..., 32:64, 32:64] = everywhere[..., 32:64, 32:64]
    lpips = create("lpips")
    assert (worst_region(local, PRISTINE) > 0.5 * worst_region(everywhere, PRISTINE)).all()
    assert (lpips(local, PRISTINE) < 0.5 * lpips(everywhere, PRISTINE)).all()


def test_the_shape_of_the_image_does_not_matter() -> None:
    tall = noisy(PRISTINE, 0.1)[..., :64]
    flipped = worst_region(tall.transpose(-1, -2), PRISTINE[..., :64].transpose(-1, -2))
    assert flipped.shape == worst_region(tall, PRISTINE[..., :64]).shape == (3,)


def test_one_pass_serves_both_features(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    compared = perceptual._compared

    def counted(image: torch.Tensor, pristine: torch.Tensor) -> list[torch.Tensor]:
        passes.append(image)
        return compared(image, pristine)

    monkeypatch.setattr(perceptual, "_compared", counted)
    image = noisy(PRISTINE, 0.1)
    apart = fine_distance(image, PRISTINE), worst_region(image, PRISTINE)
    assert len(passes) == 2
    with shared_layers():
        together = fine_distance(image, PRISTINE), worst_region(image, PRISTINE)
    assert len(passes) == 3
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(one, other)
