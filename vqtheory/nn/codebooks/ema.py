"""EMA's codebook: running counts and means, moved in the forward pass."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook, tensor
from vqtheory.nn.ops import processes
from vqtheory.protocols import State
from vqtheory.rules.ema import EMAState


class EMACodebook(Codebook, of=rules.EMA):
    """Running counts and running means of what each code wins."""

    trained = False
    moves = True
    rule: rules.EMA
    counts: Tensor
    means: Tensor

    def __init__(self, rule: rules.EMA, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.register_buffer("counts", torch.ones(num_codes, dtype=self.weight.dtype))
        self.register_buffer("means", torch.zeros(num_codes, dim, dtype=self.weight.dtype))

    def load(self, state: State) -> None:
        super().load(state)
        state = cast(EMAState, state)
        self.counts.copy_(tensor(state.counts))
        self.means.copy_(tensor(state.means))

    def place(self, rows: Tensor, codes: Tensor) -> None:
        """With the count of a start: the latent that a code is put on weighs as much as one hit."""
        super().place(rows, codes)
        self.means[rows], self.counts[rows] = codes, 1.0

    def carry(self, moves: Tensor) -> None:
        """The means move with the codes."""
        super().carry(moves)
        self.means.add_(moves.to(self.means.dtype))

    def loss(self, batch: Batch, chosen: Tensor) -> Tensor:
        return chosen.new_zeros(())

    @torch.no_grad()
    def update(self, batch: Batch, chosen: Tensor, indices: Tensor, displacement: Tensor | None) -> None:
        """N and mu, from the batches of all processes; rows that are not kept add to one more code, which is dropped."""
        num_codes, dtype = len(self.counts), self.counts.dtype
        hits = self.counts.new_zeros(num_codes + 1).index_add_(0, indices, torch.ones_like(indices, dtype=dtype))[:-1]
        offset = (batch.latents - chosen).to(dtype)
        pull = self.means.new_zeros(num_codes + 1, self.means.shape[1]).index_add_(0, indices, offset)[:-1]
        processes.add_up(hits, pull)
        decay = self.rule.decay(batch.step.to(dtype)) if callable(self.rule.decay) else self.rule.decay
        self.counts.copy_(torch.where(hits.any(), self.counts * decay + (1 - decay) * hits, self.counts))
        offset = pull + hits[:, None] * (self.weight - self.means)  # sum of x - mu over the cell
        gain = (1 - decay) / self.counts.clamp_min(torch.finfo(dtype).tiny)
        self.means.add_(torch.where(hits[:, None] > 0, gain[:, None] * offset, 0))
        self.weight.data.copy_(self._smoothed())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Codes without their averages, as of another package, become their own means with the counts of a start."""
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if f"{prefix}weight" in state_dict and f"{prefix}means" not in state_dict:
            self.means.copy_(self.weight)
            self.counts.fill_(1.0)

    def _smoothed(self) -> Tensor:
        if self.rule.smoothing == 0:
            return self.means
        total, epsilon = self.counts.sum(), self.rule.smoothing
        smoothed = (self.counts + epsilon) / (total + len(self.counts) * epsilon) * total
        return self.means * (self.counts / smoothed)[:, None]
