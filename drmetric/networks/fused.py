"""Convolutions with ReLU6 in one pass on CPUs, where PyTorch makes two, and three for gradients.

The kernels are oneDNN's as PyTorch's compiler uses them, so no graph is compiled for them and sizes may change.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["Convolution", "ConvolutionReLU6"]

_HAS_KERNELS = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
)


class Convolution(nn.Conv2d):
    """A convolution of (N,C,H,W) with a bias, zeros around and no dilation."""

    def forward(self, input: Tensor) -> Tensor:
        return _convolve(self, input, clamped=False) if _is_fused(input) else super().forward(input)


class ConvolutionReLU6(nn.Sequential):
    """The same and ReLU6, which on CPUs makes 0 or 6 of NaN."""

    def __init__(self, *convolution: Any, **options: Any) -> None:
        super().__init__(Convolution(*convolution, **options), nn.ReLU6(inplace=True))

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(self[0], nn.Conv2d) and _is_fused(input):  # with a norm behind it while it is trained, it is none
            return _convolve(self[0], input, clamped=True)
        clamped: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return clamped


def _is_fused(features: Tensor) -> bool:
    """Whether the kernels take these: not while a graph is traced, nor where derivatives are carried forwards."""
    return (
        _HAS_KERNELS
        and features.device.type == "cpu"
        and features.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and forward_ad.unpack_dual(features).tangent is None  # type: ignore[no-untyped-call]
    )


def _convolve(convolution: nn.Conv2d, features: Tensor, *, clamped: bool) -> Tensor:
    shape = convolution.stride, convolution.padding, convolution.groups
    result: Tensor = _Convolve.apply(features, convolution.weight, convolution.bias, shape, clamped)  # type: ignore[no-untyped-call]
    return result


class _Convolve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, weight: Tensor, bias: Tensor, shape: tuple[Any, Any, int], clamped: bool) -> Tensor:
        stride, padding, groups = shape
        behind = ("hardtanh", [0.0, 6.0], "") if clamped else ("none", [], "")
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features, weight, bias, padding, stride, [1, 1], groups, *behind
        )
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        features, weight, _, ctx.shape, clamped = inputs
        ctx.save_for_backward(features, weight, output if clamped else None)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, clamped = ctx.saved_tensors
        if clamped is not None:
            gradient = torch.ops.aten.hardtanh_backward(gradient, clamped, 0.0, 6.0)
        stride, padding, groups = ctx.shape
        wanted = list(ctx.needs_input_grad[:3])
        if wanted == [True, False, False] and ctx.shape == ((1, 1), (0, 0), 1) and weight.shape[2:] == (1, 1):
            # On one thread PyTorch takes two to three times as long for this product.
            return (gradient.permute(0, 2, 3, 1) @ weight.flatten(1)).permute(0, 3, 1, 2), *[None] * 4
        gradients = torch.ops.aten.convolution_backward(
            gradient, features, weight, [len(weight)], stride, padding, [1, 1], False, [0, 0], groups, wanted
        )
        return *gradients, None, None
