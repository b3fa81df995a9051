from pathlib import Path

import pytest
import torch

from drmetric.checkpoints import write_weights
from drmetric.networks.ckdn import CKDN, CKDNConfig
from tests.cli.commands import write_folders


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return write_folders(tmp_path, 4, 32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of the shipped shape."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    config = CKDNConfig()
    write_weights(path, "driqa", config.as_dict(), CKDN(config).state_dict())
    return path
