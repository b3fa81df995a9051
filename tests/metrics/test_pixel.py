"""PSNR and SSIM are scikit-image's, under every protocol."""

import numpy as np
import pytest
import torch
from skimage import color
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from drmetric.errors import InputError
from drmetric.metrics.pixel import PSNR, SSIM
from drmetric.metrics.registry import create
from tests.contract import noisy, photos


@pytest.fixture(scope="module")
def pair():
    return noisy(photos(192), 0.06), photos(192)


def as_bytes(images):
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


PROTOCOLS = [("rgb", 0), ("rgb", 4), ("y", 0), ("y", 4)]


def under_protocol(picture, channel, shave):
    """What scikit-image compares: floats of 0..255, three channels or the luma of ITU-R BT.601."""
    inner = picture[shave : picture.shape[0] - shave, shave : picture.shape[1] - shave]
    return inner.astype(np.float64) if channel == "rgb" else color.rgb2ycbcr(inner)[..., :1]


@pytest.mark.parametrize(("channel", "shave"), PROTOCOLS)
def test_psnr_is_scikit_images_under_every_protocol(pair, channel, shave):
    expected = [
        peak_signal_noise_ratio(
            under_protocol(clean, channel, shave), under_protocol(image, channel, shave), data_range=255
        )
        for image, clean in zip(*map(as_bytes, pair), strict=True)
    ]
    scores = create("psnr", channel=channel, shave=shave)(*pair)
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("channel", "shave"), PROTOCOLS)
def test_ssim_is_scikit_images_under_every_protocol(pair, channel, shave):
    pairs = zip(*map(as_bytes, pair), strict=True)
    expected = [
        structural_similarity(
            under_protocol(clean, channel, shave),
            under_protocol(image, channel, shave),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2,
            data_range=255,
        )
        for image, clean in pairs
    ]
    scores = create("ssim", channel=channel, shave=shave)(*pair)
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [PSNR, SSIM])
def test_protocols_differ_in_score_and_signature(kind, pair):
    metrics = [kind(channel=channel, shave=shave) for channel, shave in PROTOCOLS]
    assert kind().signature == metrics[0].signature
    assert "channel:y|shave:4" in metrics[3].signature
    assert len({metric.signature for metric in metrics}) == len({metric(*pair)[0].item() for metric in metrics}) == 4


def test_what_is_shaved_does_not_count(pair):
    images, references = pair[0].clone(), pair[1]
    images[..., :4, :] = 0
    images[..., -4:] = 1
    for kind in (PSNR, SSIM):
        assert torch.equal(kind(shave=4)(images, references), kind(shave=4)(*pair))


def test_min_size_counts_what_is_shaved(pair):
    small = pair[0][..., :18, :18]
    assert SSIM().min_size == 11
    assert SSIM(shave=3)(small[..., :17, :17], small[..., :17, :17]).tolist() == pytest.approx([1] * 3)
    with pytest.raises(InputError, match="18 x 18 pixels; wanted at least 19 x 19"):
        SSIM(shave=4)(small, small)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"channel": "Y"}, "unknown channel 'Y'; known: rgb, y"),
        ({"shave": -1}, "shave is -1"),
        ({"shave": 1.5}, r"shave is 1\.5"),
        ({"shave": True}, "shave is True"),
    ],
)
def test_unknown_protocols_are_refused(options, problem):
    with pytest.raises(InputError, match=problem):
        create("psnr", **options)


def test_psnr_of_identical_images_is_100(pair):
    assert PSNR()(pair[1], pair[1]).tolist() == [100] * 3
