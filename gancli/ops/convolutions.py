"""Convolutions that give torch's results to rounding in less time, or have a backward pass made to be differentiated.

docs/benchmarks.md has the measured times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# --- convolution as a product of unfolded patches -------------------------------------------------------------


class UnfoldConv2d(nn.Conv2d):
    """Convolution with a square kernel, stride and padding that takes `unfold_conv2d` where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H', W')."""
        assert not isinstance(self.padding, str)
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        rows, columns = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])
        if unfold_is_faster(x, rows * columns, self.out_channels):
            return unfold_conv2d(x, self.weight, self.bias, stride, padding)
        return super().forward(x)


def traced() -> bool:
    """Return whether a network is being traced for export, which knows no functions with gradients of their own."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing


def unfold_is_faster(x: Tensor, positions: int, out_channels: int) -> bool:
    """Return whether `unfold_conv2d` beats `F.conv2d`: on a CPU, with no more patches than kernels.

    Args:
        x: (B, in, H, W).
        positions: Output positions per image, H' * W'.
        out_channels: Number of kernels.
    """
    # An exported network takes batches of every size
    return x.device.type == "cpu" and not traced() and len(x) * positions <= out_channels


def unfold_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolve as `F.conv2d` does, by one matrix product of the unfolded patches with the kernels.

    With fewer patches than kernels, reading the kernels is most of the work, and oneDNN reorders them at every call.
    That takes three times as long in float32 and five times in bf16. Gradients of gradients are slower this way.

    Args:
        x: (B, in, H, W).
        weight: (out, in, K, K).
        bias: (out,), or None.
        stride: Stride of both dimensions.
        padding: Zeros on every side.

    Returns:
        (B, out, H', W'), channels_last.
    """
    side = weight.shape[2]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    patches = padded.unfold(1, side, stride).unfold(2, side, stride)  # (B, H', W', in, K, K)
    if weight.is_contiguous():
        kernels = weight.flatten(1)
    else:  # channels_last: take its order, so that the kernels are not copied
        patches, kernels = patches.permute(0, 1, 2, 4, 5, 3), weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(patches.flatten(3), kernels, bias).permute(0, 3, 1, 2)


# --- upsampling and convolution in one ------------------------------------------------------------------------


class UpsampleConv2d(nn.Conv2d):
    """Nearest-neighbour upsampling by 2 and a 3x3 convolution, as one transposed convolution.

    An output pixel sees only 2x2 distinct input pixels, so the 3x3 kernel folds into a 4x4 kernel of stride 2, the sum
    of four shifted copies. This takes 16/36 of the multiplications. The parameter stays the 3x3 kernel.
    """

    fold: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)
        # (16, 9): entry (i, j) of the 4x4 kernel sums the mirrored 3x3 kernel's entries (i or i-1, j or j-1).
        axis = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        self.register_buffer("fold", torch.kron(axis, axis), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, 2H, 2W)."""
        out_channels, in_channels = self.weight.shape[:2]
        # Transposing one matrix is several times as fast as permuting four dimensions.
        kernel = self.weight.permute(0, 2, 3, 1).reshape(out_channels, -1).t()  # (9 * in, out)
        folded = self.fold @ kernel.reshape(9, -1)  # (16, in * out)
        folded = folded.view(4, 4, in_channels, out_channels).permute(2, 3, 0, 1)  # (in, out, 4, 4)
        folded = folded.contiguous(memory_format=torch.channels_last)
        return F.conv_transpose2d(x, folded, self.bias, stride=2, padding=1)


# --- strided dilated convolution ------------------------------------------------------------------------------


class StridedDilatedConv2d(nn.Conv2d):
    """4x4 convolution of stride 2 and dilation 2, as a plain convolution on a quarter of the pixels.

    Every tap falls on an odd row and an odd column, so it is a convolution of stride 1 over those. This is faster,
    above all in the backward pass.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=3, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H/2, W/2)."""
        if traced():
            return super().forward(x)
        odd = _OddPixels.apply(x)
        if unfold_is_faster(x, x[0, 0].numel() // 4, self.out_channels):
            return unfold_conv2d(odd, self.weight, self.bias, 1, 0)
        return F.conv2d(odd, self.weight, self.bias)


class _OddPixels(torch.autograd.Function):
    """Odd rows and columns, padded with zeros.

    Slicing and padding would do, but torch makes the gradient of a slice contiguous. Adding that to a channels_last
    gradient takes five times as long as all of this.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        ctx.format = (
            torch.channels_last
            if x.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        return F.pad(x[:, :, 1::2, 1::2], (2, 1, 2, 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=ctx.format
        ).zero_()
        whole[:, :, 1::2, 1::2] = gradient[:, :, 2:-1, 2:-1]
        return whole


# --- layers under a gradient penalty --------------------------------------------------------------------------


class TwiceDifferentiableLayers(TorchFunctionMode):
    """Context in which convolutions and 2x2 average pooling get a backward pass that is cheap to differentiate.

    Values do not change. A gradient penalty of scores computed within it takes less time.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.conv2d and len(args) == 7:  # as nn.Conv2d calls it
            *operands, padding, dilation, groups = args
            if dilation == (1, 1) and groups == 1 and not isinstance(padding, str):
                return _TwiceDifferentiableConv2d.apply(*operands, padding)
        if (
            func is F.avg_pool2d
            and args[1:] == (2,)
            and not kwargs
            and all(side % 2 == 0 for side in args[0].shape[2:])
        ):
            return _TwiceDifferentiableAvgPool2d.apply(args[0])
        return func(*args, **(kwargs or {}))


@contextmanager
def input_gradients_only() -> Iterator[None]:
    """Skip the gradients by weights in backward passes through `TwiceDifferentiableLayers`.

    A penalty takes the gradients by inputs alone.
    """
    _TwiceDifferentiableConv2d.inputs_only = True
    try:
        yield
    finally:
        _TwiceDifferentiableConv2d.inputs_only = False


class _TwiceDifferentiableConv2d(torch.autograd.Function):
    """`F.conv2d` without dilation and groups.

    torch differentiates the gradient by the input as a convolution with a kernel as large as the feature map. Here
    that gradient is a transposed convolution, which has an ordinary backward pass of its own (as in StyleGAN2's code).
    """

    inputs_only: ClassVar[bool] = False

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        by_x = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            sides = zip(x.shape[2:], grad.shape[2:], weight.shape[2:], ctx.stride, ctx.padding, strict=True)
            # Rows and columns at the end that the strided convolution did not reach
            left = [side - ((out - 1) * step - 2 * pad + kernel) for side, out, kernel, step, pad in sides]
            by_x = F.conv_transpose2d(grad, weight, None, ctx.stride, ctx.padding, left)
        if ctx.needs_input_grad[1] and not _TwiceDifferentiableConv2d.inputs_only:
            geometry = ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1
            mask = (False, True, False)
            by_weight = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, mask)[1]
        if ctx.needs_input_grad[2] and not _TwiceDifferentiableConv2d.inputs_only:
            by_bias = grad.sum(dim=(0, 2, 3))
        return by_x, by_weight, by_bias, None, None


class _TwiceDifferentiableAvgPool2d(torch.autograd.Function):
    """`F.avg_pool2d(x, 2)` for even sides.

    torch also differentiates its gradient by the input, which gives a contiguous map of zeros. Adding that to
    channels_last gradients is slow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return F.interpolate(grad / 4, scale_factor=2, mode="nearest")
