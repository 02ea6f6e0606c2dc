"""Sinkhorn's codebook: codes that are parameters, and prices that share a batch in training out evenly."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook, tensor
from vqtheory.nn.ops.balance import balance
from vqtheory.nn.ops.mode import repeated, transformed
from vqtheory.nn.ops.passes import Passes
from vqtheory.nn.ops.presence import wide
from vqtheory.protocols import State
from vqtheory.rules.sinkhorn import SinkhornState


class SinkhornCodebook(Codebook, of=rules.Sinkhorn):
    """Balanced cells in training, and the nearest code in evaluation.

    `imbalance` is of the last batch in training. The prices, like codes that a pass moves, keep their digits.
    """

    moves = True
    rule: rules.Sinkhorn
    prices: Tensor
    imbalance: Tensor

    def __init__(self, rule: rules.Sinkhorn, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.weight = nn.Parameter(wide(self.weight.data))
        self.register_buffer("prices", torch.zeros(num_codes, dtype=self.weight.dtype))
        self.register_buffer("imbalance", torch.zeros((), dtype=self.weight.dtype), persistent=False)
        self._passes = Passes()

    def load(self, state: State) -> None:
        super().load(state)
        self.prices.copy_(tensor(cast(SinkhornState, state).prices))

    def place(self, rows: Tensor, codes: Tensor) -> None:
        """At a price of 0, the mean."""
        super().place(rows, codes)
        self.prices[rows] = 0.0

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return super().assign(batch, codes)
        rule, prices = self.rule, self._prices_before(batch)
        limits = float(rule.temperature), rule.rounds, float(rule.tolerance)
        indices, prices, imbalance = balance(batch.latents, batch.keep, codes, prices.to(codes.dtype), *limits)
        if not self.held and not repeated() and not transformed():
            self.prices.copy_(prices)
            self.imbalance.copy_(imbalance)
        return indices, codes.new_zeros(())

    def _prices_before(self, batch: Batch) -> Tensor:
        """The prices, or those that a pass began with which a backward pass repeats."""
        if repeated():
            prices = self._passes.find(batch.latents)[1]
            assert prices is not None
            return prices
        if not torch.compiler.is_compiling() and not transformed():
            self._passes.keep(batch.latents, batch.step, self.prices)
        return self.prices

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Codes without their prices, as of another package, get those of a start."""
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if f"{prefix}weight" in state_dict and f"{prefix}prices" not in state_dict:
            self.prices.zero_()
