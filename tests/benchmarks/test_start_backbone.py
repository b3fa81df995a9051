"""Trained heads on another backbone."""

import pytest
import torch

from benchmarks.start_backbone import heads_on
from drmetric.checkpoints import find_weights, read_weights
from drmetric.networks.backbones import create_backbone, load_backbone
from tests.networks.backbones.test_efficientnet_lite import model, published

pytest.importorskip("timm")


def test_heads_stay_and_the_backbone_is_the_other_one() -> None:
    weights = published(model(0))
    network = heads_on("nriqa-mobile-5", "efficientnet_lite0", weights).state_dict()
    backbone = create_backbone("efficientnet_lite0", 5, cut=False)
    load_backbone("efficientnet_lite0", backbone, weights)
    for key, value in backbone.state_dict().items():
        assert torch.equal(network[f"backbone.{key}"], value)
    trained = read_weights(find_weights("nriqa-mobile", "nriqa-mobile-5"), "nriqa-mobile")[1]
    heads = [key for key in trained if not key.startswith(("backbone.", "local_blocks."))]
    assert any(key.startswith("fusion.") for key in heads)
    assert all(torch.equal(network[key], trained[key]) for key in heads if key != "uncertainty")
    assert not network["uncertainty"].any(), "it is that of another network"
