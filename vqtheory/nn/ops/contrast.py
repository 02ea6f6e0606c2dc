"""The contrastive loss of CVQ: a code is drawn to the latents most similar to it, away from the least similar half.

Zheng & Vedaldi, arXiv 2307.15139. With s_ki the similarity of code k and latent i, p_k the mean of the max(1, N // K)
largest of the N, and the sum over the N // 2 smallest,

    L = -(1 / K) sum_k log( exp(p_k / tau) / (exp(p_k / tau) + sum_i exp(s_ki / tau)) ),     tau = 0.07
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops.search import _BLOCK, _BLOCK_ELSEWHERE

TAU = 0.07


def contrast(latents: Tensor, keep: Tensor, codes: Tensor, cosine: bool) -> Tensor:
    """L as a function of codes [K, D] alone, by latents [N, D] where `keep`, bool [N], is true.

    The similarity is the product, which is the cosine of vectors of unit length, or the negative squared distance.
    """
    held = codes.detach()
    loss, gradient = _contrast(latents.detach(), keep, held, cosine)
    return loss + ((codes - held) * gradient).sum()  # adds 0, and the gradient


@torch.library.custom_op(
    "vqtheory::contrast",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, bool cosine) -> (Tensor, Tensor)",
)
def _contrast(latents: Tensor, keep: Tensor, codes: Tensor, cosine: bool) -> tuple[Tensor, Tensor]:
    """One operator, which goes through blocks of codes and takes the gradient of each at once."""
    x = latents[keep]
    if len(x) == 0:
        return codes.new_zeros(()), torch.zeros_like(codes)
    size = max(1, _BLOCK.get(codes.device.type, _BLOCK_ELSEWHERE) // len(x))
    parts = [_of_block(x, part, max(1, len(x) // len(codes)), cosine) for part in codes.split(size)]
    losses, gradients = zip(*parts, strict=True)
    return torch.cat(losses).mean(), torch.cat(gradients) / len(codes)


@_contrast.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, cosine: bool) -> tuple[Tensor, Tensor]:
    return codes.new_empty(()), torch.empty_like(codes)


def _of_block(x: Tensor, codes: Tensor, positives: int, cosine: bool) -> tuple[Tensor, Tensor]:
    """The cross-entropy of each of codes [k, D], and its gradient."""
    middle = torch.zeros_like(x[0]) if cosine else x.mean(dim=0)
    x, codes = x - middle, codes - middle
    similarity = codes @ x.T
    if not cosine:
        similarity = 2 * similarity - codes.square().sum(dim=1, keepdim=True) - x.square().sum(dim=1)
    like, unlike = similarity.topk(positives, dim=1), similarity.topk(len(x) // 2, dim=1, largest=False)
    logits = torch.cat([like.values.mean(dim=1, keepdim=True), unlike.values], dim=1) / TAU
    pulls = logits.softmax(dim=1) / TAU  # of the loss, by the logits
    towards = ((pulls[:, :1] - 1 / TAU) / positives).expand(-1, positives)
    weights = torch.zeros_like(similarity).scatter_add_(1, like.indices, towards)
    weights.scatter_add_(1, unlike.indices, pulls[:, 1:])
    gradient = weights @ x
    if not cosine:
        gradient = 2 * (gradient - weights.sum(dim=1, keepdim=True) * codes)
    return logits.logsumexp(dim=1) - logits[:, 0], gradient
