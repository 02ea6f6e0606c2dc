"""The self-organizing map's codebook: the winner's neighbours on a grid follow."""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook
from vqtheory.nn.ops.grid import attract_on_grid


class SOMCodebook(Codebook, of=rules.SOM):
    """Codes that are parameters, in the order of the grid, row by row."""

    rule: rules.SOM

    def __init__(self, rule: rules.SOM, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.sides = rule.sides(num_codes)
        self.has_clock = callable(rule.range)

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        indices, _ = super().assign(batch, codes)
        fall = self._fall(batch.step.to(codes.dtype))
        return indices, attract_on_grid(batch.latents, batch.keep, codes, indices, self.sides, fall)

    def _fall(self, step: Tensor) -> Tensor:
        """h along one axis, [side], 0 where it is lost in the rounding of h(0)."""
        reach = self.rule.range(step) if callable(self.rule.range) else 0 * step + self.rule.range
        apart = torch.arange(max(self.sides), dtype=step.dtype, device=step.device) / reach.clamp_min(1e-30)
        if self.rule.neighbourhood == "bubble":
            return (apart <= 1).to(step.dtype)
        return torch.nn.functional.threshold(torch.exp(-apart.square() / 2), 2.0**-53, 0.0)
