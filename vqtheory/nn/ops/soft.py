"""A lookup by Gumbel-softmax, streamed: no [N, K] array is kept for the backward pass, which makes the weights again.

    y = softmax_k((-|x - c_k|^2 / s + noise_k) / tau),     q = sum_k y_k c_k

With A_k = g.c_k for the gradient g of q and W_k = y_k (A_k - sum_j y_j A_j) / (tau s), whose sum over k is 0,

    dx = 2 sum_k W_k c_k,     dc_k = sum_n y_nk g_n + 2 sum_n W_nk (x_n - c_k)

"Hard" puts the code with the largest y in place of q, and 1 for it in place of y in the first sum of dc.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vqtheory.nn.ops import noise, processes
from vqtheory.nn.ops.search import centre, lowest, product, scored

_LOOKUP = "Tensor latents, Tensor codes, Tensor temperature, Tensor step, float scale, int seed, bool hard"


def soft_lookup(
    latents: Tensor, codes: Tensor, temperature: Tensor, step: Tensor, scale: float, seed: int, hard: bool
) -> Tensor:
    """q [N, D] of latents [N, D] among codes [K, D]; the noise is of the pass `step`."""
    return _Soft.apply(latents, codes, temperature, step, scale, seed, hard)


class _Soft(torch.autograd.Function):
    """No operator with a gradient of its own, which a transform of `torch.func` refuses."""

    @staticmethod
    def forward(
        latents: Tensor, codes: Tensor, temperature: Tensor, step: Tensor, scale: float, seed: int, hard: bool
    ) -> Tensor:
        return _soft(latents, codes, temperature, step, scale, seed, hard)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.scale, ctx.seed, ctx.hard = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        tensors = [tensor.detach() for tensor in ctx.saved_tensors]
        with torch.autocast(gradient.device.type, enabled=False):
            pulled = _soft_backward(gradient.detach(), *tensors, ctx.scale, ctx.seed, ctx.hard)
        return *pulled, None, None, None, None, None


@torch.library.custom_op("vqtheory::soft", mutates_args=(), schema=f"({_LOOKUP}) -> Tensor")
def _soft(latents: Tensor, codes: Tensor, temperature: Tensor, step: Tensor, scale: float, seed: int, hard: bool) -> Tensor:
    blocks = _weights(latents, codes, temperature, step, scale, seed)
    parts = [codes[lowest(y.neg_())] if hard else product(y.T.contiguous(), codes.T.contiguous()) for _, y in blocks]
    return torch.cat(parts) if parts else torch.empty_like(latents)


@_soft.register_fake
def _(latents: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(latents)


@torch.library.custom_op(
    "vqtheory::soft_backward", mutates_args=(), schema=f"(Tensor gradient, {_LOOKUP}) -> (Tensor, Tensor)"
)
def _soft_backward(
    gradient: Tensor,
    latents: Tensor,
    codes: Tensor,
    temperature: Tensor,
    step: Tensor,
    scale: float,
    seed: int,
    hard: bool,
) -> tuple[Tensor, Tensor]:
    c, pulled, begin = codes - centre(latents), torch.zeros_like(codes), 0
    moves = torch.empty_like(latents)
    for x, y in _weights(latents, codes, temperature, step, scale, seed):
        g = gradient[begin : begin + len(x)].contiguous()
        a = product(c, g)
        w = y * (a - (y * a).sum(dim=0)) * (2 / (_positive(temperature) * scale))
        moves[begin : begin + len(x)] = product(w.T.contiguous(), c.T.contiguous())
        if hard:
            pulled.index_add_(0, lowest(-y), g)
        else:
            pulled += product(y, g.T.contiguous())
        pulled += product(w, x.T.contiguous()) - w.sum(dim=1, keepdim=True) * c
        begin += len(x)
    return moves, pulled


@_soft_backward.register_fake
def _(gradient: Tensor, latents: Tensor, codes: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(latents), torch.empty_like(codes)


def _weights(
    latents: Tensor, codes: Tensor, temperature: Tensor, step: Tensor, scale: float, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of n latents minus the centre, and y [K, n] of them; each process has its own noise."""
    count = len(codes)
    begin = processes.rank() * len(latents)
    numbers = torch.arange(count, device=codes.device)[:, None]
    for _, x, scores in scored(latents, codes):
        places = numbers + count * torch.arange(begin, begin + len(x), device=codes.device)
        logits = noise.gumbel(places, step, seed, scores.dtype).sub_(scores, alpha=1 / scale)
        logits -= logits.amax(dim=0)
        yield x, logits.div_(_positive(temperature)).softmax(dim=0)
        begin += len(x)


def _positive(temperature: Tensor) -> Tensor:
    """Not 0 where a schedule has become too small a number for its digits."""
    return temperature.clamp_min(torch.finfo(temperature.dtype).tiny)
