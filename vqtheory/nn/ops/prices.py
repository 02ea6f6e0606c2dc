"""The code with the least price times squared distance, streamed as in `vqtheory.nn.ops.search`."""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops.search import cheapest, scored


def assign_by_price(latents: Tensor, codes: Tensor, prices: Tensor) -> Tensor:
    """argmin_k p_k |x - c_k|^2 of latents [N, D] among codes [K, D] with prices [K] > 0: int64 [N]; no gradient."""
    with torch.autocast(latents.device.type, enabled=False):
        return _assign_by_price(latents.detach(), codes.detach(), prices)


@torch.library.custom_op(
    "vqtheory::assign_by_price", mutates_args=(), schema="(Tensor latents, Tensor codes, Tensor prices) -> Tensor"
)
def _assign_by_price(latents: Tensor, codes: Tensor, prices: Tensor) -> Tensor:
    """One operator, so that `torch.compile` does not unroll the blocks."""
    winners = [
        cheapest(part, codes, scores.add_(x.square().sum(dim=1)).clamp_min_(0).mul_(prices[:, None]), prices)
        for part, x, scores in scored(latents, codes)
    ]
    return torch.cat(winners) if winners else latents.new_zeros(0, dtype=torch.int64)


@_assign_by_price.register_fake
def _(latents: Tensor, codes: Tensor, prices: Tensor) -> Tensor:
    return latents.new_empty(latents.shape[0], dtype=torch.int64)
