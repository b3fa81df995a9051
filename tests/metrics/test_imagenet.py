"""Where ImageNet backbones are looked for, and what passes for one."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from drmetric.errors import WeightsError
from drmetric.metrics.imagenet import find_backbone, load_backbone


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("DRMETRIC_LPIPS_BACKBONE", raising=False)
    monkeypatch.setenv("DRMETRIC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def test_backbone_is_looked_for_in_the_stated_order(nowhere, monkeypatch):
    with pytest.raises(WeightsError, match="squeezenet1_1") as caught:
        find_backbone("squeeze")
    assert "torchvision.models" in caught.value.fix
    places = [
        nowhere / "hub/checkpoints/squeezenet1_1-b8a52dc0.pth",
        nowhere / "home/squeezenet1_1_fp16.safetensors",
        nowhere / "from_environment.safetensors",
        nowhere / "given.safetensors",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    assert find_backbone("squeeze", places[3]) == places[3]
    assert find_backbone("squeeze") == places[1]
    places[1].unlink()
    assert find_backbone("squeeze") == places[0]
    monkeypatch.setenv("DRMETRIC_LPIPS_BACKBONE", str(places[2]))
    assert find_backbone("squeeze") == places[2]


def test_a_given_backbone_that_is_missing_is_not_replaced(nowhere):
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        find_backbone("squeeze", "nowhere.safetensors")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_layers_are_filled_by_their_number_and_another_network_is_refused(tmp_path, suffix):
    wanted, other = (tmp_path / f"{name}{suffix}" for name in ("wanted", "other"))
    write = torch.save if suffix == ".pth" else save_file
    write({"features.3.weight": torch.ones(2, 1), "features.3.bias": torch.zeros(2)}, wanted)
    write({"conv.weight": torch.zeros(1)}, other)
    layer, numbers = nn.Linear(1, 2), {"weight": "3.weight", "bias": "3.bias"}
    load_backbone(layer, numbers, wanted, "squeeze", "LPIPS")
    assert layer.weight.tolist() == [[1], [1]]
    with pytest.raises(WeightsError, match="does not hold torchvision's squeezenet1_1"):
        load_backbone(layer, numbers, other, "squeeze", "LPIPS")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_was_cut_off_is_no_backbone(tmp_path, suffix):
    file, state = tmp_path / f"short{suffix}", {"features.3.weight": torch.ones(2, 1)}
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    for length in range(1, len(whole), 9):
        file.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="does not hold torchvision's squeezenet1_1"):
            load_backbone(nn.Linear(1, 2, bias=False), {"weight": "3.weight"}, file, "squeeze", "LPIPS")
