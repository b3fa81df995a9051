"""Norms that networks have while they are trained and that are gone from their weights afterwards."""

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval, parametrizations, parametrize

LEAST_LENGTH = 1e-8
"""Of a kernel that has a direction."""


def _convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def add_weight_norms(network: nn.Module) -> None:
    """Train directions and lengths of the convolutions' kernels apart, where they are trained.

    A kernel of zeros, as of a channel that a folded norm has shut, has no direction; it gets one, of hardly any length.
    """
    for convolution in _convolutions(network):
        if convolution.weight.requires_grad:
            with torch.no_grad():
                shut = convolution.weight.flatten(1).norm(dim=1) < LEAST_LENGTH
                convolution.weight[shut] = LEAST_LENGTH
            parametrizations.weight_norm(convolution)


def fold_weight_norms(network: nn.Module) -> None:
    """Undo `add_weight_norms`; the network computes the same."""
    for convolution in _convolutions(network):
        if parametrize.is_parametrized(convolution):
            parametrize.remove_parametrizations(convolution, "weight")


class NormedConvolution(nn.Sequential):
    """A convolution and a batch norm, in a convolution's place while a network is trained."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution, nn.BatchNorm2d(convolution.out_channels))

    def folded(self) -> nn.Conv2d:
        """One convolution that computes the same in evaluation mode."""
        convolution, norm = self
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        return fuse_conv_bn_eval(convolution, norm)


def add_batch_norms(network: nn.Module) -> None:
    """Put a batch norm behind every convolution that has more than one output channel."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.out_channels > 1:
                setattr(parent, name, NormedConvolution(child))


def fold_batch_norms(network: nn.Module) -> None:
    """Undo `add_batch_norms`: in evaluation mode the network computes the same with convolutions alone."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConvolution):
                setattr(parent, name, child.folded())
