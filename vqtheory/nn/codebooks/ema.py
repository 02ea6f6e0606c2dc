"""EMA's codebook: running counts and means, moved in the forward pass."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.base import Codebook, tensor
from vqtheory.nn.ops import processes
from vqtheory.protocols import State
from vqtheory.rules.ema import EMAState


class EMACodebook(Codebook, of=rules.EMA):
    """Running counts and running means of what each code wins."""

    trained = False
    rule: rules.EMA
    counts: Tensor
    means: Tensor

    def __init__(self, rule: rules.EMA, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("means", torch.zeros(num_codes, dim))

    def load(self, state: State) -> None:
        super().load(state)
        state = cast(EMAState, state)
        self.counts.copy_(tensor(state.counts))
        self.means.copy_(tensor(state.means))

    def place(self, rows: Tensor, codes: Tensor) -> None:
        """With the count of a start: the latent that a code is put on weighs as much as one hit."""
        super().place(rows, codes)
        self.means[rows], self.counts[rows] = codes, 1.0

    def loss(self, latents: Tensor, chosen: Tensor) -> Tensor:
        return chosen.new_zeros(())

    @torch.no_grad()
    def update(self, latents: Tensor, chosen: Tensor, indices: Tensor, step: Tensor, displacement: Tensor | None) -> None:
        """N and mu, from the batches of all processes."""
        hits = torch.zeros_like(self.counts).index_add_(0, indices, torch.ones_like(indices, dtype=self.counts.dtype))
        pull = torch.zeros_like(self.means).index_add_(0, indices, latents - chosen)
        processes.add_up(hits, pull)
        decay = self.rule.decay(step.to(self.counts.dtype)) if callable(self.rule.decay) else self.rule.decay
        self.counts.mul_(decay).add_((1 - decay) * hits)
        offset = pull + hits[:, None] * (self.weight - self.means)  # sum of x - mu over the cell
        gain = (1 - decay) / self.counts.clamp_min(torch.finfo(self.counts.dtype).tiny)
        self.means.add_(torch.where(hits[:, None] > 0, gain[:, None] * offset, 0))
        self.weight.data.copy_(self._smoothed())

    def _smoothed(self) -> Tensor:
        if self.rule.smoothing == 0:
            return self.means
        total, epsilon = self.counts.sum(), self.rule.smoothing
        smoothed = (self.counts + epsilon) / (total + len(self.counts) * epsilon) * total
        return self.means * (self.counts / smoothed)[:, None]
