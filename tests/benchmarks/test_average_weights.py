"""The mean of weights."""

from pathlib import Path

import pytest
import torch

from benchmarks.average_weights import average
from drmetric import DRIQA
from drmetric.checkpoints import find_weights, read_weights, write_weights


def shifted(folder: Path, by: float, **changes: object) -> str:
    """A file of the default weights, every value larger."""
    config, state = read_weights(find_weights("driqa", "default"), "driqa")
    file = folder / f"{by}.safetensors"
    write_weights(file, "driqa", {**config, **changes}, {key: value + by for key, value in state.items()})
    return str(file)


def test_a_mean_of_weights_on_different_scales_has_none(tmp_path: Path) -> None:
    files = [shifted(tmp_path, 0.0), shifted(tmp_path, 0.5, calibration=(1.2, 2.0))]
    mean = average("driqa", files, tmp_path / "mean.safetensors")
    assert DRIQA(mean).network.config.calibration == (1.0, 0.0)
    first, second, between = (
        next(iter(read_weights(find_weights("driqa", str(file)), "driqa")[1].values())).float()
        for file in (*files, mean)
    )
    torch.testing.assert_close(between, (first + second) / 2, atol=1e-3, rtol=1e-3)


def test_weights_of_another_network_have_no_mean(tmp_path: Path) -> None:
    files = [shifted(tmp_path, 0.0), shifted(tmp_path, 0.5, dropout=0.1)]
    with pytest.raises(SystemExit, match="another network"):
        average("driqa", files, tmp_path / "mean.safetensors")
