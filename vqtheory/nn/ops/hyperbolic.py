"""HyperVQ's logits and their derivatives, streamed: no [N, K] array is kept; equations in the rule's file.

A frame is directions [K, D] of length 1, offsets [K] and gains [K]; s is 2 sqrt(c). Hyperbolic functions are over
exp(s |z| + s |r|), which does not overflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vqtheory.nn.ops.attraction import TO_BASE_2, share_
from vqtheory.nn.ops.search import block_size, lowest, product

_FRAME = "Tensor latents, Tensor directions, Tensor offsets, Tensor gains, float s"


class _Logits(NamedTuple):
    """Of a block of n latents."""

    latents: Tensor  # [n, D]
    unit: Tensor  # [n, D]
    length: Tensor  # [n]
    cosine: Tensor  # [K, n]
    angle: Tensor  # [K, n], asinh(w)
    root: Tensor  # [K, n], sqrt(1 + w^2)
    value: Tensor  # [K, n]


def _blocks(latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float) -> Iterator[_Logits]:
    code_sinh, code_cosh = (part[:, None] for part in _halves(offsets, s))
    for x in latents.split(block_size(latents, directions)) if len(latents) else ():
        length = x.norm(dim=1)
        unit = x / length.clamp_min(torch.finfo(x.dtype).tiny)[:, None]
        sinh, cosh = _halves(length, s)
        cosine = product(directions, unit)
        w = sinh * cosine * code_cosh - cosh * code_sinh
        size = s * (length + offsets.abs()[:, None])
        root = (w.square() + (-2 * size).exp().clamp_min(torch.finfo(x.dtype).tiny)).sqrt()
        angle = torch.copysign(size + (w.abs() + root).log(), w)
        yield _Logits(x, unit, length, cosine, angle, root, 4 / s * gains[:, None] * angle)


def _halves(length: Tensor, s: float) -> tuple[Tensor, Tensor]:
    """sinh and cosh of s times a length, over exp(s |length|)."""
    fall = -2 * s * length.abs()
    return torch.copysign(fall.expm1() / 2, length), (1 + fall.exp()) / 2


class _Pull:
    """Sums of f_nk dv_nk/d. over all latents, block by block."""

    def __init__(self, directions: Tensor, offsets: Tensor, gains: Tensor, s: float) -> None:
        self.directions, self.gains, self.s = directions, gains[:, None], s
        self.halves = tuple(part[:, None] for part in _halves(offsets, s))
        self.to_latents: list[Tensor] = []
        self.turn, self.shift, self.swell = (torch.zeros_like(part) for part in (directions, offsets, gains))

    def add(self, at: _Logits, force: Tensor) -> None:
        """Of a block, with f [K, n]."""
        (sinh, cosh), (code_sinh, code_cosh) = _halves(at.length, self.s), self.halves
        self.swell += 4 / self.s * (force * at.angle).sum(dim=1)
        force = 4 * self.gains * force / at.root
        self.shift += (force * (sinh * at.cosine * code_sinh - cosh * code_cosh)).sum(dim=1)
        along = (force * (cosh * at.cosine * code_cosh - sinh * code_sinh)).sum(dim=0)
        across = force * (sinh * code_cosh / self.s)
        self.turn += product(across, at.unit.T.contiguous())
        across = across / at.length.clamp_min(torch.finfo(force.dtype).tiny)
        along = along - (across * at.cosine).sum(dim=0)
        self.to_latents.append(across.T @ self.directions + along[:, None] * at.unit)

    def gradients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        to_latents = torch.cat(self.to_latents) if self.to_latents else self.turn[:0].clone()
        return to_latents, self.turn, self.shift, self.swell


@torch.library.custom_op("vqtheory::highest_logit", mutates_args=(), schema=f"({_FRAME}) -> Tensor")
def highest_logit(latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float) -> Tensor:
    """Index of the code with the largest logit: int64 [N]."""
    winners = [lowest(at.value.neg_()) for at in _blocks(latents, directions, offsets, gains, s)]
    return torch.cat(winners) if winners else latents.new_zeros(0, dtype=torch.int64)


@highest_logit.register_fake
def _(latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float) -> Tensor:
    return latents.new_empty(latents.shape[0], dtype=torch.int64)


@torch.library.custom_op(
    "vqtheory::soft_distortion",
    mutates_args=(),
    schema=f"({_FRAME}, Tensor keep, float temperature) -> (Tensor, Tensor, Tensor, Tensor)",
)
def soft_distortion(
    latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float, keep: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """E sum_k p_nk |z_n - c_k|^2 / D over latents that are kept, and its gradients in directions, offsets and gains."""
    codes, share_of_one = offsets[:, None] * directions, 1 / (keep.sum().to(offsets.dtype).clamp_min(1) * latents.shape[1])
    pull = _Pull(directions, offsets, gains, s)
    loss, begin = codes.new_zeros(()), 0
    mass, towards = torch.zeros_like(offsets), torch.zeros_like(codes)
    for at in _blocks(latents, directions, offsets, gains, s):
        x, part = at.latents, keep[begin : begin + len(at.latents)]
        share = _softmax(at.value, temperature)
        squared = codes.square().sum(dim=1)[:, None] - 2 * product(codes, x)
        mean = (share * squared).sum(dim=0)
        loss += ((mean + x.square().sum(dim=1)) * part).sum()
        pull.add(at, (squared - mean) * share * (part * share_of_one / temperature))
        share = share * part
        mass += share.sum(dim=1)
        towards += product(share, x.T.contiguous())
        begin += len(x)
    gap = 2 * share_of_one * (mass[:, None] * codes - towards)
    _, turn, shift, swell = pull.gradients()
    return loss * share_of_one, turn + offsets[:, None] * gap, shift + (directions * gap).sum(dim=1), swell


@soft_distortion.register_fake
def _(
    latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float, keep: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return offsets.new_empty(()), torch.empty_like(directions), torch.empty_like(offsets), torch.empty_like(gains)


def code_mixture(
    latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float, temperature: float
) -> Tensor:
    """Zeros [N, D], whose derivative is that of the mixture of the codes by softmax(v / tau), with the codes held in it."""
    return _Mixture.apply(latents, directions, offsets, gains, s, temperature)


class _Mixture(torch.autograd.Function):
    """No operator with a gradient of its own, which a transform of `torch.func` refuses."""

    @staticmethod
    def forward(latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float, temperature: float) -> Tensor:
        return torch.zeros_like(latents)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.s, ctx.temperature = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        tensors = [tensor.detach() for tensor in ctx.saved_tensors]
        with torch.autocast(gradient.device.type, enabled=False):
            pulled = pull_back_logits(*tensors, ctx.s, gradient.detach(), ctx.temperature)
        return *pulled, None, None


@torch.library.custom_op(
    "vqtheory::pull_back_logits",
    mutates_args=(),
    schema=f"({_FRAME}, Tensor gradient, float temperature) -> (Tensor, Tensor, Tensor, Tensor)",
)
def pull_back_logits(
    latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float, gradient: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients in latents and frame of sum_n g_n . sum_k p_nk c_k, the codes held."""
    codes, begin = offsets[:, None] * directions, 0
    pull = _Pull(directions, offsets, gains, s)
    for at in _blocks(latents, directions, offsets, gains, s):
        share = _softmax(at.value, temperature)
        force = product(codes, gradient[begin : begin + len(at.latents)].contiguous())
        pull.add(at, (force - (share * force).sum(dim=0)) * share / temperature)
        begin += len(at.latents)
    return pull.gradients()


@pull_back_logits.register_fake
def _(
    latents: Tensor, directions: Tensor, offsets: Tensor, gains: Tensor, s: float, gradient: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return torch.empty_like(latents), torch.empty_like(directions), torch.empty_like(offsets), torch.empty_like(gains)


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    share = share_((logits - logits.amax(dim=0)).mul_(TO_BASE_2 / temperature))
    return share.div_(share.sum(dim=0))
