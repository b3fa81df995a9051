"""Small or random weights of the metrics whose real ones are not in the repository: the contract needs no more."""

import math
import pickle

import pytest
import torch
from safetensors.torch import save_file

from drmetric.metrics.brisque import brisque_features
from drmetric.metrics.dists import CHANNELS
from drmetric.metrics.niqe import fit_niqe
from tests.contract import lively, noisy, photos

VGG16 = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512}
"""Channels of VGG16's convolutions by their number in torchvision's `features`."""


@pytest.fixture(scope="session")
def squeezenet(tmp_path_factory):
    """SqueezeNet 1.1, random, as torchvision stores it."""
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed", exc_type=ImportError)
    path = tmp_path_factory.mktemp("lpips") / "squeezenet1_1.safetensors"
    with torch.random.fork_rng():
        save_file(lively(models.squeezenet1_1(weights=None)).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def dists_files(tmp_path_factory):
    """A folder of vgg16.safetensors and dists_weights.pt, random, as torchvision and piq store them."""
    folder = tmp_path_factory.mktemp("dists")
    generator = torch.Generator().manual_seed(0)
    state, width = {}, 3
    for number, channels in VGG16.items():
        kaiming = math.sqrt(2 / (9 * width))
        state[f"features.{number}.weight"] = kaiming * torch.randn(channels, width, 3, 3, generator=generator)
        state[f"features.{number}.bias"] = 0.05 * torch.randn(channels, generator=generator)
        width = channels
    save_file({**state, "classifier.6.bias": torch.zeros(1000)}, folder / "vgg16.safetensors")
    heads = {name: torch.rand(1, sum(CHANNELS), 1, 1, generator=generator) for name in ("alpha", "beta")}
    torch.save(heads, folder / "dists_weights.pt")
    return folder


@pytest.fixture(scope="session")
def brisque_machine(tmp_path_factory):
    """A folder of the two files of a machine whose support vectors are three photographs: near them is good."""
    folder = tmp_path_factory.mktemp("brisque")
    good = brisque_features(photos(96))
    both = torch.cat([good, brisque_features(noisy(photos(96), 0.12))])
    low, high = both.amin(0), both.amax(0)
    vectors = 2 * (good - low) / (high - low) - 1
    lines = [" ".join(["-10", *(f"{i}:{value:.6g}" for i, value in enumerate(each.tolist(), 1))]) for each in vectors]
    head = "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\nnr_class 2\ntotal_sv 3\nrho -40\nSV\n"
    (folder / "svm.txt").write_text(head + "\n".join(lines) + "\n")
    (folder / "normalize.pickle").write_bytes(pickle.dumps({"min_": low.tolist(), "max_": high.tolist()}))
    return folder


@pytest.fixture(scope="session")
def niqe_file(tmp_path_factory):
    """A pristine model of three photographs: too few for figures, enough to tell good from spoilt."""
    path = tmp_path_factory.mktemp("niqe") / "three-photos.safetensors"
    fit_niqe(crop[None, :, y:, x:] for crop in photos(288) for y in (0, 40, 80) for x in (0, 50)).save(path)
    return path
