"""The codebook of entropy-regularised vector quantization."""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.entropy import entropic_pull, soft_hits


class EntropyCodebook(Codebook, of=rules.EntropyVQ):
    """Codes that are parameters, drawn to the latents by an entropy loss of the batch of all processes.

    The loss has the gradient of the entropies and adds nothing to the number of the codebook loss; latents get none of it.
    """

    rule: rules.EntropyVQ

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        indices, none = super().assign(batch, codes)
        if not self.training or self.rule.strength == 0:
            return indices, none
        pull = self._pull(batch, codes.detach(), indices)
        scale = -4 * self.rule.strength / self.rule.temperature / codes.shape[1]
        return indices, scale * ((codes - codes.detach()) * pull).sum()

    @torch.no_grad()
    def _pull(self, batch: Batch, codes: Tensor, indices: Tensor) -> Tensor:
        """Sums over u_ik (x_i - c_k), over how many latents this process has."""
        latents, keep = batch.latents, batch.keep
        error = torch.where(keep, (latents - codes[indices]).square().sum(dim=1), 0).sum()
        count = keep.sum().to(error.dtype)
        own = count.clamp_min(1)
        processes.add_up(error, count)
        count = count.clamp_min(1)
        tau = self.rule.temperature * error / count
        spread = tau > 0
        tau = torch.where(spread, tau, 1)
        used = soft_hits(latents, keep, codes, tau)
        processes.add_up(used)
        used /= count  # which may underflow to 0
        price = self.rule.balance * torch.where(used > 0, used, 1).log()
        return torch.where(spread, entropic_pull(latents, keep, codes, tau, price) / own, 0)
