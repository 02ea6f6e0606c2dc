"""The codebooks of FSCL and of conscience: in training a latent goes to the code that is cheapest, not to the nearest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook, tensor
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.mode import repeated
from vqtheory.nn.ops.passes import Passes
from vqtheory.nn.ops.presence import wide
from vqtheory.nn.ops.prices import assign_by_price
from vqtheory.nn.ops.search import assign
from vqtheory.protocols import State


class PricedCodebook(Codebook):
    """Codes that are parameters, and what each has won: `won` [K], counts or shares, the last field of the rule's state.

    The codebook loss and the commitment are taken at the code that a latent goes to, however far away it is, so that the
    commitment pulls latents to codes that are not the nearest ones: give it less weight than beside plain VQ.

    A pass that is run once more by activation checkpointing takes what was won before it. What was won, like codes that a
    pass moves, keeps its digits: one win is lost beside 256 of them in bfloat16.
    """

    moves = True
    has_clock = True
    won: Tensor

    def __init__(self, rule: rules.Rule, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.weight = nn.Parameter(wide(self.weight.data))
        self.register_buffer("won", self._at_start(self.weight.data[:, 0]))
        self._passes = Passes()

    def _at_start(self, like: Tensor) -> Tensor:
        """What codes have won at the start, [K]."""
        raise NotImplementedError

    def load(self, state: State) -> None:
        super().load(state)
        *_, won = state._asdict().values()
        self.won.copy_(tensor(won))

    def place(self, rows: Tensor, codes: Tensor) -> None:
        """With the mean of what all have won: a new code has neither to catch up nor to be waited for."""
        super().place(rows, codes)
        self.won[rows] = self.won.mean()

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return super().assign(batch, codes)
        return self._by_price(batch, codes, self._won_before(batch).to(codes.dtype)), codes.new_zeros(())

    def _won_before(self, batch: Batch) -> Tensor:
        if repeated():
            _, won = self._passes.find(batch.latents)
            assert won is not None
            return won
        if not torch.compiler.is_compiling():
            self._passes.keep(batch.latents, batch.step, self.won)
        return self.won

    def _by_price(self, batch: Batch, codes: Tensor, won: Tensor) -> Tensor:
        raise NotImplementedError

    @torch.no_grad()
    def update(self, batch: Batch, chosen: Tensor, indices: Tensor, displacement: Tensor | None) -> None:
        """What was won, from the batches of all processes."""
        ones = torch.ones_like(indices, dtype=self.won.dtype)
        hits = self.won.new_zeros(len(self.won) + 1).index_add_(0, indices, ones)[:-1]
        processes.add_up(hits)
        self.won.copy_(torch.where(hits.any(), self._after(hits), self.won))

    def _after(self, hits: Tensor) -> Tensor:
        raise NotImplementedError


class FSCLCodebook(PricedCodebook, of=rules.FSCL):
    """Distances times a power of the wins."""

    rule: rules.FSCL

    def _at_start(self, like: Tensor) -> Tensor:
        return torch.ones_like(like)

    def _by_price(self, batch: Batch, codes: Tensor, won: Tensor) -> Tensor:
        limits = torch.finfo(won.dtype)
        prices = ((won / won.max()) ** self.rule.fairness).clamp_min(limits.tiny / limits.eps)
        return assign_by_price(batch.latents, codes, prices)

    def _after(self, hits: Tensor) -> Tensor:
        return (self.rule.decay * self.won).clamp_min(torch.finfo(hits.dtype).tiny) + hits


class ConscienceCodebook(PricedCodebook, of=rules.Conscience):
    """Distances plus a multiple of the share, as one more coordinate."""

    rule: rules.Conscience

    def _at_start(self, like: Tensor) -> Tensor:
        return torch.full_like(like, 1 / len(like))

    def _by_price(self, batch: Batch, codes: Tensor, won: Tensor) -> Tensor:
        bias: Any = self.rule.bias
        bias = bias(batch.step.to(codes.dtype)) if callable(bias) else bias
        height = bias * (len(won) * (won - won.min())).sqrt()
        return assign(nn.functional.pad(batch.latents, (0, 1)), torch.cat([codes.detach(), height[:, None]], dim=1))

    def _after(self, hits: Tensor) -> Tensor:
        return self.rule.decay * self.won + (1 - self.rule.decay) * hits / hits.sum().clamp_min(1)
