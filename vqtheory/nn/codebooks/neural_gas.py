"""Neural gas's codebook: every code follows every latent by its rank."""

from __future__ import annotations

from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook
from vqtheory.nn.ops.ranks import attract_by_rank


class NeuralGasCodebook(Codebook, of=rules.NeuralGas):
    """Codes that are parameters."""

    rule: rules.NeuralGas

    def __init__(self, rule: rules.NeuralGas, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.has_clock = callable(rule.range)

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        reach, step = self.rule.range, batch.step.to(codes.dtype)
        reach = (reach(step) if callable(reach) else 0 * step + reach).clamp_min(1e-30)
        loss, indices = attract_by_rank(batch.latents, batch.keep, codes, reach)
        return indices, loss
