"""Full-reference metrics refuse unequal sizes, unless they are asked to crop or enlarge: see the signature."""

import pytest
import torch

from drmetric import DRIQA, create
from drmetric.errors import InputError
from drmetric.images import resize
from tests.contract import noisy, photos

METRICS = ("psnr", "ssim", "gmsd")


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("size", [(95, 96), (48, 48), (96, 120), (192, 192)])
def test_unequal_sizes_are_refused(name, size):
    images = photos(96)
    with pytest.raises(InputError, match=rf"image is 96 x 96 pixels, its reference {size[0]} x {size[1]} pixels"):
        create(name)(images, resize(images, size))


def test_the_fix_for_a_missing_row_gives_the_score_of_what_both_have():
    images, spoilt = photos(96), noisy(photos(96), 0.1)
    with pytest.raises(InputError) as caught:
        create("psnr")(images, spoilt[..., 1:, :])
    metric = eval(f"create('psnr', {caught.value.fix})", {"create": create})
    assert torch.equal(metric(images, spoilt[..., :95, :]), create("psnr")(images[..., :95, :], spoilt[..., :95, :]))
    assert "|crop:common|" in metric.signature
    assert "crop" not in create("psnr").signature
    with pytest.raises(InputError, match="differ by at most 16 pixels"):
        metric(images, spoilt[..., :70, :])


@pytest.mark.parametrize("name", METRICS)
def test_a_smaller_reference_is_enlarged_where_that_is_asked_for(name):
    images = photos(96)
    small, metric = resize(images, (48, 48)), create(name, upscale=True)
    torch.testing.assert_close(metric(images, small), create(name)(images, resize(small, (96, 96))))
    assert "|resize:bicubic-aa|" in metric.signature
    assert "resize" not in create(name).signature
    with pytest.raises(InputError, match="no larger"):
        metric(small, images)


def test_crop_is_none_or_common_and_excludes_upscale():
    for options in ({"crop": "centre"}, {"crop": "common", "upscale": True}):
        with pytest.raises(InputError, match="wanted crop 'none' or 'common'"):
            create("ssim", **options)


@pytest.mark.parametrize("name", ["driqa", "low_band_psnr", "lr_psnr", "colour_difference"])
def test_degraded_images_that_are_larger_or_of_another_shape_are_refused(name):
    metric, images = (DRIQA() if name == "driqa" else create(name)), photos(96)[:1]
    for size in ((192, 192), (96, 97), (48, 32)):
        with pytest.raises(InputError, match="degraded is"):
            metric(images, resize(images, size))


@pytest.mark.parametrize(("name", "options", "side"), [("psnr", {"shave": 4}, 9), ("ssim", {}, 11)])
def test_what_both_have_may_be_too_little(name, options, side):
    image, reference = torch.rand(1, 3, side, side), torch.rand(1, 3, side - 1, side - 1)
    less, wanted = f"{side - 1} x {side - 1} pixels", f"{side} x {side} pixels"
    with pytest.raises(InputError, match=f"both have {less}; wanted {wanted}"):
        create(name, crop="common", **options)(image, reference)
