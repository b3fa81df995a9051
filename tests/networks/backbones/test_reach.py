"""How far a backbone sees, which is how far tiles overlap."""

import pytest
import torch

from drmetric.networks.backbones import BUILDERS, create_backbone


@pytest.mark.parametrize("name", BUILDERS)
def test_features_depend_on_no_more_than_the_reach(name: str) -> None:
    """Of a grey image but for one pixel; values fall from layer to layer, far from where ReLU6 is flat."""
    backbone = create_backbone(name, 4)
    assert backbone.reach is not None
    side = 2 * backbone.reach + 320
    image = torch.full((1, 3, side, side), 0.5, dtype=torch.float64)
    backbone.double()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(0.3 / parameter[0].numel() if parameter.ndim > 1 else 0)
        plain = backbone.features(image)
        image[..., side // 2, side // 2] = 1
        for stride, moved, before in zip(backbone.strides, backbone.features(image), plain, strict=True):
            places = (moved - before).abs().amax((0, 1)).nonzero() * stride
            assert len(places)
            assert ((places - side // 2).abs() <= backbone.reach + stride).all()
