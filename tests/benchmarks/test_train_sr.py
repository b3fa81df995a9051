"""The trial of DRIQA as a loss: what its figures see, and that its arms train."""

import random

import pytest
import torch

from benchmarks.train_sr import (
    PATCH,
    TASKS,
    Arm,
    Restorer,
    batch,
    consistency,
    dots,
    spectrum,
    summary,
    train,
    uncalibrated,
)
from drmetric import DRIQA
from drmetric.images import resize
from tests.contract import photos

PHOTOGRAPHS = [(image[None] * 255).round().byte() for image in photos(PATCH + 8)]


@pytest.mark.parametrize("pattern", [(1, 0), (0, 1), (1, 1)])
def test_a_period_of_two_pixels_is_seen_as_dots(pattern: tuple[int, int]) -> None:
    clean = resize(photos(64)[:1, :, ::4, ::4], (64, 64))
    rows, columns = (torch.arange(64) % 2 * used for used in pattern)
    sign = 1 - 2 * ((rows[:, None] + columns) % 2)
    assert dots(clean + 0.02 * sign) > 100 > 8 * dots(clean)


def test_noise_leaves_fewer_dots_than_a_pattern_of_its_energy() -> None:
    grey = torch.full((1, 3, 64, 64), 0.5)
    chequers = 1 - 2 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert dots(grey + 0.02 * chequers) > 3 * dots(grey + 0.02 * noise)


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_consistent_with_the_input_costs_less_than_what_is_not(task: str) -> None:
    degraded, truth = batch(PHOTOGRAPHS, task, random.Random(0))
    assert consistency(truth, degraded, task) < 0.02
    assert consistency(truth.flip(-1), degraded, task) > 2 * consistency(truth, degraded, task)


@pytest.mark.parametrize("task", list(TASKS))
def test_every_arm_trains(task: str) -> None:
    torch.manual_seed(0)
    network = Restorer(4 if task == "x4" else 1, channels=8)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for arm in (Arm("L1"), Arm("DRIQA", "consistency", DRIQA(), 0.1)):
        train(network, arm, PHOTOGRAPHS, task, steps=1, seed=0)
    after = list(network.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_the_summary_averages_seeds_and_compares_images_with_the_first_arm() -> None:
    rows = [
        {"arm": arm, "seed": seed, "image": image, "lpips": value + 0.1 * image}
        for arm, value in (("L1", 0.3), ("L1 + DRIQA", 0.2))
        for seed in (0, 1)
        for image in (0, 1, 2)
    ]
    _, first, second = summary(rows).to_lines()
    assert first.split("\t") == ["L1", "lpips", "0.4000", "+0.0000 [+0.0000, +0.0000]"]
    assert second.split("\t") == ["L1 + DRIQA", "lpips", "0.3000", "-0.1000 [-0.1000, -0.1000]"]


def test_the_spectrum_has_the_mean_in_the_middle() -> None:
    power = spectrum(list(photos(32).split(1)))
    assert power.shape == (32, 32)
    assert power.argmax() == 16 * 32 + 16


def test_an_uncalibrated_score_is_that_of_the_mean_of_the_map() -> None:
    driqa, image = DRIQA(), photos(64)[:1]
    with torch.no_grad():
        score, local = driqa(image, resize(image, (32, 32)), return_map=True)
    assert uncalibrated(float(score), driqa) == pytest.approx(float(local.mean().sigmoid()), abs=1e-4)
