"""The codebook of NSVQ's normalised form: running averages of what a kernel gives to each code."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook, tensor
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.averaging import kernel_sums
from vqtheory.protocols import State
from vqtheory.rules._normalised import MEMORY
from vqtheory.rules.nsvq import AveragedState


class AveragedCodebook(Codebook):
    """Running counts, and codes that are the running means; equations in `vqtheory.rules.nsvq`."""

    trained = False
    moves = True
    rule: rules.NSVQ
    counts: Tensor

    def __init__(self, rule: rules.NSVQ, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.register_buffer("counts", torch.ones(num_codes, dtype=self.weight.dtype))

    def load(self, state: State) -> None:
        super().load(state)
        self.counts.copy_(tensor(cast(AveragedState, state).counts))

    def place(self, rows: Tensor, codes: Tensor) -> None:
        """With the count of a start."""
        super().place(rows, codes)
        self.counts[rows] = 1.0

    def loss(self, batch: Batch, chosen: Tensor) -> Tensor:
        return chosen.new_zeros(())

    @torch.no_grad()
    def update(self, batch: Batch, chosen: Tensor, indices: Tensor, displacement: Tensor | None) -> None:
        """N and c, from the batches of all processes."""
        latents, codes = batch.latents.to(self.counts.dtype), self.weight.data
        offset = latents - chosen.to(latents.dtype)
        hits, pull = self._sums(indices, torch.ones_like(offset[:, :1])), self._sums(indices, offset)
        error = torch.where(batch.keep, offset.square().sum(dim=1), 0).sum()
        processes.add_up(hits, pull, error)
        tau = _bounded(error / hits.sum().clamp_min(1))
        top, mass, towards = kernel_sums(latents, batch.keep, codes, indices.clamp_max(len(codes) - 1), tau)
        towards = towards / mass.clamp_min(torch.finfo(mass.dtype).tiny)[:, None]
        self._move(hits[:, 0], pull, self._kernel_weight(top, mass), towards)

    def _sums(self, indices: Tensor, rows: Tensor) -> Tensor:
        """Rows [N, D] added up by code; those of latents that are not kept to one more, which is dropped."""
        return rows.new_zeros(len(self.counts) + 1, rows.shape[1]).index_add_(0, indices, rows)[:-1]

    def _kernel_weight(self, top: Tensor, mass: Tensor) -> Tensor:
        """W_j, at least so much that N_j can follow it."""
        limits = torch.finfo(mass.dtype)
        weight = (self.rule._strength * top.exp2() * mass).clamp_min(limits.tiny / limits.eps)
        return torch.where(mass > 0, weight, 0)

    def _move(self, hits: Tensor, pull: Tensor, weight: Tensor, towards: Tensor) -> None:
        """N, and c, from the wins and the kernel's weight and mean offset; nothing where there was no latent."""
        gain = 1 - self.rule.decay
        counts = torch.where(hits > 0, self.counts, torch.minimum(self.counts, MEMORY * weight))
        counts = self.rule.decay * counts + gain * (hits + weight)
        reached = hits + weight > 0
        move = (gain / counts)[:, None] * (pull + weight[:, None] * towards)
        self.weight.data.add_(torch.where(reached[:, None], move, 0))
        self.counts.copy_(torch.where(reached, counts, self.counts))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Codes without their counts, as of another package, get those of a start."""
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if f"{prefix}weight" in state_dict and f"{prefix}counts" not in state_dict:
            self.counts.fill_(1.0)


def _bounded(tau: Tensor) -> Tensor:
    """A tau whose inverse is finite, also where latents lie on codes."""
    limits = torch.finfo(tau.dtype)
    return tau.clamp(limits.tiny, limits.max / 1024)
