"""NIQE: its order of blur and noise, its models, and what it says without one."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from skimage import data

from drmetric.errors import InputError, WeightsError
from drmetric.metrics.niqe import (
    NIQE,
    NiqeModel,
    fit_niqe,
    niqe_distance,
    niqe_features,
)


def to_tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


def blurred(picture, sigma):
    return gaussian_filter(picture.astype(float), (sigma, sigma, 0)).round().clip(0, 255).astype(np.uint8)


def noisy(picture, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    """From two photographs and shifts of them: too few for figures, enough to tell sharp from spoilt."""
    photographs = [to_tensor(data.astronaut()), to_tensor(data.coffee())]
    return fit_niqe(photo[..., y:, x:] for photo in photographs for y in (0, 40, 80) for x in (0, 30))


def test_features_ignore_what_exceeds_the_patches():
    image = to_tensor(data.coffee())[..., :200, :300]
    features, sharpness = niqe_features(image)
    assert features.shape == (2 * 3, 36)
    assert sharpness.shape == (6,)
    torch.testing.assert_close(niqe_features(image[..., :192, :288])[0], features)


def test_niqe_rises_with_blur_and_with_noise(model):
    photo = data.chelsea()
    for spoil in (blurred, noisy):
        levels = [photo, *(spoil(photo, level) for level in ((0.7, 2) if spoil is blurred else (10, 30)))]
        scores = [niqe_distance(to_tensor(level), model).item() for level in levels]
        assert scores == sorted(scores)


def test_saved_model_scores_the_same(model, tmp_path):
    model.save(tmp_path / "mine.safetensors")
    metric = NIQE(tmp_path / "mine.safetensors")
    image = to_tensor(data.chelsea())
    scores = metric(torch.cat([image, image.flip(-1)]))
    assert scores[0] == pytest.approx(niqe_distance(image, model).item(), rel=1e-5)
    assert "mine@" in metric.signature
    assert not metric.state_dict()


def test_model_of_the_authors_layout_is_read(model, tmp_path):
    path = tmp_path / "niqe_pris_params.npz"
    np.savez(path, mu_pris_param=model.mean.numpy()[None], cov_pris_param=model.covariance.numpy())
    loaded = NiqeModel.load(path)
    assert torch.equal(loaded.mean, model.mean)
    assert torch.equal(loaded.covariance, model.covariance)


def test_flat_image_is_far_from_natural(model):
    flat = niqe_distance(torch.full((1, 3, 192, 192), 0.5), model)
    assert flat.isfinite()
    assert flat > niqe_distance(to_tensor(data.chelsea()), model)


def test_too_few_photographs_are_refused():
    with pytest.raises(InputError, match="more than 36 sharp patches"):
        fit_niqe([to_tensor(data.chelsea())])


def test_a_photograph_that_is_too_small_to_fit_is_refused() -> None:
    with pytest.raises(InputError, match="95 x 120"):
        fit_niqe([torch.rand(1, 3, 95, 120)])


def test_niqe_without_a_model_says_how_to_make_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path))
    monkeypatch.setattr("drmetric.metrics.niqe.manifest", dict)
    monkeypatch.setattr("drmetric.checkpoints.manifest", dict)
    with pytest.raises(WeightsError, match="drmetric fit-niqe"):
        NIQE()


@pytest.mark.parametrize("name", ["short.safetensors", "short.npz"])
def test_a_file_that_holds_no_model_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x" * 20)
    with pytest.raises(WeightsError, match="holds no model of NIQE") as caught:
        NIQE(tmp_path / name)
    assert caught.value.fix.startswith("drmetric fit-niqe")


def test_a_model_of_other_features_is_refused(tmp_path):
    save_file({"mean": torch.zeros(3), "covariance": torch.zeros(3, 3)}, tmp_path / "small.safetensors")
    with pytest.raises(WeightsError, match="holds no model of NIQE"):
        NIQE(tmp_path / "small.safetensors")


def test_a_compressed_model_with_a_wrong_byte_is_refused(tmp_path):
    file = tmp_path / "model.npz"
    np.savez_compressed(file, mu_pris_param=np.random.rand(1, 36), cov_pris_param=np.random.rand(36, 36))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="holds no model of NIQE"):
        NIQE(file)


def test_weights_of_another_metric_are_no_model(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "driqa.safetensors")
    with pytest.raises(WeightsError, match="holds no model of NIQE"):
        NIQE(tmp_path / "driqa.safetensors")


def test_a_model_of_batches_and_of_8_bits_is_that_of_their_images():
    pictures = to_tensor(data.astronaut()), to_tensor(data.coffee())
    photographs = [photo[..., :384, x : x + 384] for photo in pictures for x in range(0, 128, 8)]
    apart = fit_niqe(photographs)
    together = fit_niqe([torch.cat(photographs)])
    codes = fit_niqe([(255 * each).round().to(torch.uint8) for each in photographs])
    for other in (together, codes):
        torch.testing.assert_close(other.mean, apart.mean)
