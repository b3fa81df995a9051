"""Norms for training alone leave what a network computes."""

import torch
from torch import nn

from drmetric.distill.norms import add_weight_norms, fold_weight_norms


def test_a_kernel_of_zeros_has_finite_values_and_gradients_under_a_weight_norm() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        network[0].weight[1] = 0
    image = torch.rand(1, 3, 8, 8)
    expected = network(image)
    add_weight_norms(network)
    torch.testing.assert_close(network(image), expected)
    network(image).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    fold_weight_norms(network)
    torch.testing.assert_close(network(image), expected)
