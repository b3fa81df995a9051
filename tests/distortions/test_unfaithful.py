"""Unfaithful changes: nothing at strength 0, more with more strength, the weight covers the change, reproducible."""

import pytest
import torch
from torch import Tensor

from drmetric.distortions.unfaithful import LOCAL, UNFAITHFUL, make_unfaithful, needs_other
from drmetric.errors import InputError
from tests.contract import photos

STRENGTHS = (0.0, 0.1, 0.3, 0.6, 1.0)
IMAGES = photos(96)
OTHER = IMAGES.roll(1, 0)


def changed(name: str, strength: float, seed: int = 0, images: Tensor = IMAGES) -> tuple[Tensor, Tensor]:
    return make_unfaithful(images, name, strength, torch.Generator().manual_seed(seed), OTHER)


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_strength_0_changes_nothing(name: str) -> None:
    torch.testing.assert_close(changed(name, 0.0)[0], IMAGES)


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_distance_grows_with_strength(name: str) -> None:
    distances = torch.stack([(changed(name, s)[0] - IMAGES).square().mean((1, 2, 3)) for s in STRENGTHS])
    assert (distances.diff(dim=0) > 0).all()


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_the_weight_covers_what_changed(name: str) -> None:
    for strength in STRENGTHS[1:]:
        image, weight = changed(name, strength)
        assert weight.shape == (len(IMAGES), 1, 96, 96)
        assert weight.min() >= 0
        assert weight.max() <= 1
        difference = (image - IMAGES).abs().amax(1, keepdim=True)
        assert difference[weight == 0].numel() == 0 or difference[weight == 0].max() < 1e-6
        if name in LOCAL:
            assert 0 < (weight > 0).float().mean() < 0.4
            assert (difference[weight > 0] > 1e-6).float().mean() > 0.5
        else:
            assert (weight == 1).all()


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_equal_states_give_equal_images_and_others_give_others(name: str) -> None:
    again, other = changed(name, 0.5, seed=0)[0], changed(name, 0.5, seed=1)[0]
    assert torch.equal(changed(name, 0.5)[0], again)
    drawn = name not in ("other_detail", "other_image", "mirrored", "black", "flat")
    assert torch.equal(again, other) != drawn


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_images_stay_in_range_at_any_size(name: str) -> None:
    image, weight = make_unfaithful(
        IMAGES[..., :41, :], name, 1.0, torch.Generator().manual_seed(0), OTHER[:1, :, :41, :]
    )
    assert image.shape == (len(IMAGES), 3, 41, 96)
    assert weight.shape == (len(IMAGES), 1, 41, 96)
    assert image.min() >= 0
    assert image.max() <= 1


def test_images_of_nothing_keep_nothing_of_the_image() -> None:
    for name in ("black", "flat", "noise"):
        image, _ = changed(name, 1.0)
        detail, own = (each - each.mean((2, 3), keepdim=True) for each in (image, IMAGES))
        assert (detail * own).mean().abs() < 0.02 * own.square().mean()


def test_a_cast_has_no_luma() -> None:
    images = 0.25 + 0.5 * IMAGES
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    cast = changed("colour_cast", 1.0, images=images)[0]
    torch.testing.assert_close((cast * luma).sum(1), (images * luma).sum(1), atol=1e-5, rtol=0)


def test_added_detail_is_not_seen_in_the_reduced_image() -> None:
    images = 0.25 + 0.5 * IMAGES
    image, _ = changed("other_detail", 0.3, images=images)
    small, reduced = (torch.nn.functional.avg_pool2d(each, 4) for each in (image, images))
    assert (small - reduced).abs().mean() < 0.35 * (image - images).abs().mean()


def test_what_is_wrong_is_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(InputError, match="unknown change 'sepia'"):
        make_unfaithful(IMAGES, "sepia", 0.5, generator)
    with pytest.raises(InputError, match="wanted 0 to 1"):
        make_unfaithful(IMAGES, "shift", 1.5, generator)
    for name in filter(needs_other, UNFAITHFUL):
        with pytest.raises(InputError, match="wants other photographs"):
            make_unfaithful(IMAGES, name, 0.5, generator)
        with pytest.raises(InputError, match="wants other photographs"):
            make_unfaithful(IMAGES, name, 0.5, generator, OTHER[..., :32])
