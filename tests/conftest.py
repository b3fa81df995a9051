"""Shared fixtures: photographs, and the optional files that some metrics need."""

import os
from pathlib import Path

import pytest
import torch

from drmetric.checkpoints import manifest

pytest.register_assert_rewrite("tests.contract")

LPIPS_BACKBONE = Path(__file__).parents[2] / "shared/data/backbones/squeezenet1_1_fp16.safetensors"


def pytest_configure(config):
    torch.set_num_threads(1)  # on small images, threads that wait for a busy machine's cores cost a hundredfold
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for subprocesses
    if LPIPS_BACKBONE.is_file():
        os.environ.setdefault("DRMETRIC_LPIPS_BACKBONE", str(LPIPS_BACKBONE))


@pytest.fixture
def fresh_manifest():
    """For tests that change what `manifest()` reads: it is cached for the life of a process."""
    manifest.cache_clear()
    yield
    manifest.cache_clear()
