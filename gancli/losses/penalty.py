"""Gradient penalties of discriminators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

PenaltyForm = Literal["concat", "sum"]


class _Convolution(torch.autograd.Function):
    """F.conv2d without dilation and groups, with a backward pass that is cheap to differentiate.

    torch differentiates the gradient by the input as a convolution whose kernel is as large as the feature map. Here
    it is a transposed convolution, which has an ordinary backward pass of its own (as in StyleGAN2's code).
    """

    # True while a penalty's gradients are taken: nobody asks for those by weights.
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
            # rows and columns at the end that a strided convolution did not reach
            left = [side - ((out - 1) * step - 2 * pad + kernel) for side, out, kernel, step, pad in sides]
            by_x = F.conv_transpose2d(grad, weight, None, ctx.stride, ctx.padding, left)
        if ctx.needs_input_grad[1] and not _Convolution.inputs_only:
            geometry = ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1
            mask = (False, True, False)
            by_weight = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, mask)[1]
        if ctx.needs_input_grad[2] and not _Convolution.inputs_only:
            by_bias = grad.sum(dim=(0, 2, 3))
        return by_x, by_weight, by_bias, None, None


class _Halving(torch.autograd.Function):
    """F.avg_pool2d(x, 2) for even sides.

    torch differentiates its gradient by the input too, which gives a map of zeros, contiguous, that is then added to
    those of all other ways: sums of two memory layouts.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return F.interpolate(grad / 4, scale_factor=2, mode="nearest")


class TwiceDifferentiableLayers(TorchFunctionMode):
    """Within it, convolutions and halvings are made for `gradient_norms`: same values, the penalty in less time."""

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
                return _Convolution.apply(*operands, padding)
        if (
            func is F.avg_pool2d
            and args[1:] == (2,)
            and not kwargs
            and all(n % 2 == 0 for n in args[0].shape[2:])
        ):
            return _Halving.apply(args[0])
        return func(*args, **(kwargs or {}))


def gradient_norms(scores: Tensor, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """How fast each score changes with its image and with its condition.

    The norms can be differentiated once more. To be called in float32, outside autocast, on scores that were computed
    there: the powers that a penalty takes of them overflow half precision. Scores of convolutions are best computed
    within `TwiceDifferentiableLayers`.

    Args:
        scores: (B,), each a function of its own row of the two others only.
        images: (B, ...) that require a gradient.
        condition: (B, E) that requires a gradient.

    Returns:
        L2 norms of both gradients, (B,) and (B,).
    """
    _Convolution.inputs_only = True
    try:
        by_image, by_condition = torch.autograd.grad(scores.sum(), (images, condition), create_graph=True)
    finally:
        _Convolution.inputs_only = False
    # vector_norm, unlike the root of a sum of squares, has a gradient of 0 at 0 instead of none
    return torch.linalg.vector_norm(by_image.flatten(1), dim=1), torch.linalg.vector_norm(by_condition, dim=1)


def matching_aware_penalty(
    by_image: Tensor, by_condition: Tensor, *, power: float, form: PenaltyForm
) -> Tensor:
    """Matching-aware zero-centred gradient penalty, MA-GP, without its weight (DF-GAN; Fusion-S2iGan eq. 20).

    Taken at real images with their own condition, it makes the discriminator flat there.

    Args:
        by_image: (B,) norms of the scores' gradients by the images.
        by_condition: (B,) norms of those by the conditions.
        power: p, at least 2.
        form: "concat" takes the norm of both gradients as one vector (DF-GAN code), "sum" adds the two norms (eq. 20).

    Returns:
        Scalar: the mean over the batch of the joint norm to the power p.
    """
    if form == "concat":
        return (by_image.square() + by_condition.square()).pow(power / 2).mean()
    return (by_image + by_condition).pow(power).mean()
