"""Fused convolutions are PyTorch's own, in values and in gradients."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from drmetric.networks import fused
from drmetric.networks.fused import Convolution, ConvolutionReLU6

SHAPES = {"pointwise": (1, 1, 0, 1), "depthwise": (3, 1, 1, 16), "strided": (3, 2, 1, 16), "full": (3, 2, 1, 1)}
pytestmark = pytest.mark.skipif(not fused._HAS_KERNELS, reason="no such kernels here")


@pytest.fixture(params=SHAPES)
def shape(request):
    kernel, stride, padding, groups = SHAPES[request.param]
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "groups": groups}


@pytest.fixture(params=[True, False], ids=["relu6", "linear"])
def pair(request, shape):
    """Ours, and the same of plain modules."""
    torch.manual_seed(0)
    ours = (ConvolutionReLU6 if request.param else Convolution)(16, 32, **shape)
    plain = nn.Conv2d(16, 32, **shape)
    plain = nn.Sequential(plain, nn.ReLU6()) if request.param else plain
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def features(layout=torch.channels_last, count=2):
    return (4 * torch.randn(count, 16, 11, 14, generator=torch.Generator().manual_seed(1))).contiguous(
        memory_format=layout
    )


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("frozen", [True, False])
def test_values_and_gradients(pair, layout, frozen):
    found = []
    for module in pair:
        module.requires_grad_(not frozen)
        given = features(layout).requires_grad_()
        result = module(given)
        (result * torch.linspace(0, 1, result.numel()).view_as(result)).sum().backward()
        found.append([result, given.grad, *[each.grad for each in module.parameters() if not frozen]])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_gradients_of_gradients(pair):
    found = []
    for module in pair:
        given = features().requires_grad_()
        (gradient,) = torch.autograd.grad(module(given).pow(2).sum(), given, create_graph=True)
        found += torch.autograd.grad(gradient.pow(2).sum(), given)
    torch.testing.assert_close(*found, atol=1e-2, rtol=1e-3)


def test_derivatives_forwards_and_by_sample(pair):
    found = []
    for module in pair:
        with forward_ad.dual_level():
            forwards = forward_ad.unpack_dual(module(forward_ad.make_dual(features(), features().flip(0)))).tangent
        by_sample = torch.func.vmap(torch.func.grad(lambda image, module=module: module(image[None]).sum()))(features())
        found.append([forwards, by_sample])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_other_types_and_traced_graphs_take_the_plain_way(pair):
    ours, plain = pair
    torch.testing.assert_close(ours.double()(features().double()), plain.double()(features().double()))
    ours, plain = ours.float(), plain.float()
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    assert torch.equal(compiled(features()), plain(features()))
    exported = torch.export.export(ours.eval(), (features(),)).graph
    assert not [node for node in exported.nodes if "mkldnn" in str(node.target)]
