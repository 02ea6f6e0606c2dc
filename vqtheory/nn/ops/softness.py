"""What passes through a softmax over all codes, streamed: no [N, K] array is kept, and the backward pass makes it anew.

Latents and codes are compared by l_nk, the dot product or minus the squared distance. With p_n = softmax_k(l_nk / T) and a
gradient g_n, the mixture sum_k p_nk c_k gives by its shares

    f_nk = p_nk (c_k - sum_j p_nj c_j) . g_n / T,      dx_n = sum_k f_nk dl_nk/dx_n,      dc_k = sum_n f_nk dl_nk/dc_k.

With the dot product dl/dx = c and dl/dc = x. With the distance they are 2 c, up to what sums to 0, and 2 (x - c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vqtheory.nn.ops import processes
from vqtheory.nn.ops.attraction import TO_BASE_2, share_
from vqtheory.nn.ops.search import block_size, centre, lowest, product, scored


def most_alike(latents: Tensor, codes: Tensor) -> Tensor:
    """Index of the code with the largest dot product with each of latents [N, D]: int64 [N]; no gradient."""
    with torch.autocast(latents.device.type, enabled=False):
        return _most_alike(latents.detach(), codes.detach())


@torch.library.custom_op("vqtheory::most_alike", mutates_args=(), schema="(Tensor latents, Tensor codes) -> Tensor")
def _most_alike(latents: Tensor, codes: Tensor) -> Tensor:
    winners = [lowest(similarity.neg_()) for _, similarity in _compared(latents, codes, by_distance=False)]
    return torch.cat(winners) if winners else latents.new_zeros(0, dtype=torch.int64)


@_most_alike.register_fake
def _(latents: Tensor, codes: Tensor) -> Tensor:
    return latents.new_empty(latents.shape[0], dtype=torch.int64)


def mixture(latents: Tensor, codes: Tensor, by_distance: bool, temperature: float) -> Tensor:
    """Zeros [N, D], whose derivative is that of the mixture of codes [K, D] by its shares, with the codes held in it."""
    return _Mixture.apply(latents, codes, by_distance, temperature)


class _Mixture(torch.autograd.Function):
    """No operator with a gradient of its own, which a transform of `torch.func` refuses."""

    @staticmethod
    def forward(latents: Tensor, codes: Tensor, by_distance: bool, temperature: float) -> Tensor:
        return torch.zeros_like(latents)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        latents, codes, ctx.by_distance, ctx.temperature = inputs
        ctx.save_for_backward(latents, codes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        latents, codes = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            pulled = _pull_back(latents.detach(), codes.detach(), gradient.detach(), ctx.by_distance, ctx.temperature)
        return *pulled, None, None


@torch.library.custom_op(
    "vqtheory::pull_back",
    mutates_args=(),
    schema="(Tensor latents, Tensor codes, Tensor gradient, bool by_distance, float temperature) -> (Tensor, Tensor)",
)
def _pull_back(
    latents: Tensor, codes: Tensor, gradient: Tensor, by_distance: bool, temperature: float
) -> tuple[Tensor, Tensor]:
    pull = _Pull(latents, codes, by_distance, 1 / temperature)
    begin = 0
    for x, similarity in _compared(latents, codes, by_distance):
        share = _softmax(similarity, temperature)
        force = product(pull.codes, gradient[begin : begin + len(x)])
        pull.add(x, force.sub_((share * force).sum(dim=0)).mul_(share))
        begin += len(x)
    return pull.gradients()


@_pull_back.register_fake
def _(latents: Tensor, codes: Tensor, gradient: Tensor, by_distance: bool, temperature: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(latents), torch.empty_like(codes)


def entropies(latents: Tensor, keep: Tensor, codes: Tensor, by_distance: bool, temperature: float) -> Tensor:
    """mean_n H(p_n) - H(mean_n p_n) over latents [N, D] where `keep`, bool [N], is true; the mean p of all processes."""
    x, c = latents.detach(), codes.detach()
    loss, to_latents, to_codes = _entropies(x, keep, c, by_distance, temperature)
    return loss + ((latents - x) * to_latents).sum() + ((codes - c) * to_codes).sum()  # adds 0, and the gradients


@torch.library.custom_op(
    "vqtheory::entropies",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, bool by_distance, float temperature) -> (Tensor, Tensor, Tensor)",
)
def _entropies(
    latents: Tensor, keep: Tensor, codes: Tensor, by_distance: bool, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    use, sharpness, begin = codes.new_zeros(len(codes)), codes.new_zeros(()), 0
    for x, similarity in _compared(latents, codes, by_distance):
        share = _softmax(similarity, temperature).mul_(keep[begin : begin + len(x)])
        use += share.sum(dim=1)
        sharpness -= torch.xlogy(share, share).sum()
        begin += len(x)
    number = keep.sum().to(codes.dtype)
    total = number.clone()
    processes.add_up(use, total)
    use, number = use / total.clamp_min(1), number.clamp_min(1)
    logs, begin = _log(use), 0
    pull = _Pull(latents, codes, by_distance, 1 / temperature)
    for x, similarity in _compared(latents, codes, by_distance):
        share = _softmax(similarity, temperature)
        excess = logs[:, None] - _log(share)
        force = excess.sub_((share * excess).sum(dim=0)).mul_(share)
        pull.add(x, force.mul_(keep[begin : begin + len(x)] / number))
        begin += len(x)
    return sharpness / number + (use * logs).sum(), *pull.gradients()


@_entropies.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, by_distance: bool, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    return codes.new_empty(()), torch.empty_like(latents), torch.empty_like(codes)


class _Pull:
    """Sums of f_nk dl_nk/dx_n [N, D] and f_nk dl_nk/dc_k [K, D], block by block, times a factor."""

    def __init__(self, latents: Tensor, codes: Tensor, by_distance: bool, factor: float) -> None:
        self.codes = codes - centre(latents) if by_distance else codes
        self.by_distance, self.factor = by_distance, (2 if by_distance else 1) * factor
        self.to_latents: list[Tensor] = []
        self.to_codes, self.mass = torch.zeros_like(codes), codes.new_zeros(len(codes))

    def add(self, x: Tensor, force: Tensor) -> None:
        """A block of latents [n, D], centred with the distance, with f [K, n]."""
        self.to_latents.append(force.T @ self.codes)
        self.to_codes += product(force, x.T.contiguous())
        self.mass += force.sum(dim=1)

    def gradients(self) -> tuple[Tensor, Tensor]:
        to_latents = torch.cat(self.to_latents) if self.to_latents else self.to_codes[:0]
        if self.by_distance:
            self.to_codes -= self.mass[:, None] * self.codes
        return to_latents * self.factor, self.to_codes * self.factor


def _compared(latents: Tensor, codes: Tensor, by_distance: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of n latents, and l [K, n] up to one number for each latent; minus the centre with the distance."""
    if by_distance:
        for _, x, scores in scored(latents, codes):
            yield x, scores.neg_()
    else:
        for part in latents.split(block_size(latents, codes)) if len(latents) else ():
            yield part, product(codes, part)


def _softmax(similarity: Tensor, temperature: float) -> Tensor:
    """p [K, n], in the place of the similarities."""
    share = share_(similarity.sub_(similarity.amax(dim=0)).mul_(TO_BASE_2 / temperature))
    return share.div_(share.sum(dim=0))


def _log(share: Tensor) -> Tensor:
    """ln p, and 0 where p is 0."""
    return torch.where(share > 0, share, 1).log_()
