"""EfficientNet-Lite against timm's of the same name, by way of the published weights' names."""

import pytest
import torch
from torch import Tensor, nn

from drmetric.errors import ConfigError
from drmetric.networks.backbones import create_backbone, load_backbone

timm = pytest.importorskip("timm")


def published(model: nn.Module) -> dict[str, Tensor]:
    """The state of timm's model under the names of the published weights."""
    names = {"conv_stem": "_conv_stem", "bn1": "_bn0"}
    blocks = [(f"blocks.{s}.{b}", block) for s, stage in enumerate(model.blocks) for b, block in enumerate(stage)]
    for number, (path, block) in enumerate(blocks):
        parts = (
            {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
            | {"conv_pwl": "_project_conv", "bn3": "_bn2"}
            if hasattr(block, "conv_pwl")
            else {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
        )
        names |= {f"{path}.{ours}": f"_blocks.{number}.{theirs}" for ours, theirs in parts.items()}
    state = model.state_dict()
    found = {
        f"{theirs}.{what}": state[f"{ours}.{what}"]
        for ours, theirs in names.items()
        for what in ("weight", "bias", "running_mean", "running_var")
        if f"{ours}.{what}" in state
    }
    return dict(sorted(found.items())) | {"_conv_head.weight": torch.zeros(8, 8, 1, 1)}


def model(version: int) -> nn.Module:
    """timm's, with norms that do something."""
    torch.manual_seed(version)
    built = timm.create_model(f"tf_efficientnet_lite{version}", features_only=True, pretrained=False).eval()
    for norm in built.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.2, 0.2)
    return built


@pytest.mark.parametrize("version", [0, 1, 2])
def test_features_are_those_of_the_source(version: int) -> None:
    source, backbone = model(version), create_backbone(f"efficientnet_lite{version}", 5).eval()
    load_backbone(f"efficientnet_lite{version}", backbone, published(source))
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = source((255 * image - 127) / 128)
        found = backbone.features(image)
    assert backbone.channels == source.feature_info.channels()
    assert backbone.strides == source.feature_info.reduction() == [2, 4, 8, 16, 32]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_odd_sides_are_halved_upwards() -> None:
    found = create_backbone("efficientnet_lite0", 5).features(torch.rand(1, 3, 65, 97))
    assert [tuple(taps.shape[-2:]) for taps in found] == [(33, 49), (17, 25), (9, 13), (5, 7), (3, 4)]


def test_weights_of_another_network_are_refused() -> None:
    backbone, state = create_backbone("efficientnet_lite2", 3), published(model(0))
    with pytest.raises(ConfigError, match=r"has shape \(144, 1, 5, 5\), the backbone wants \(144, 1, 3, 3\)"):
        load_backbone("efficientnet_lite2", backbone, state)
    with pytest.raises(ConfigError, match="has 1 convolutions"):
        load_backbone("efficientnet_lite2", backbone, {"_conv_stem.weight": state["_conv_stem.weight"]})
