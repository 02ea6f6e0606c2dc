"""IBQ's codebook: codes and latents learn through the softmax of their similarities."""

from __future__ import annotations

from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook, Soft
from vqtheory.nn.ops.presence import mean
from vqtheory.nn.ops.softness import entropies, mixture, most_alike


class IBQCodebook(Codebook, of=rules.IBQ):
    """Codes that are parameters.

    The decoder's gradient reaches the code that is chosen, and through the softmax all codes and the latent; there is no
    straight-through part. The commitment weight of the layer is the beta of the paper.
    """

    soft = True
    rule: rules.IBQ

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        if self.rule.similarity == "l2":
            return super().assign(batch, codes)
        return most_alike(batch.latents, codes), codes.new_zeros(())

    def soften(self, batch: Batch, latents: Tensor, codes: Tensor, chosen: Tensor) -> Soft:
        rule, by_distance = self.rule, self.rule.similarity == "l2"
        quantized = chosen + mixture(latents, codes, by_distance, float(rule.temperature))
        loss = mean((quantized - latents).square().mean(dim=1), batch.keep)
        if self.training and rule.entropy_weight > 0:  # of all processes, which need not evaluate together
            scale = float(rule.entropy_temperature)
            loss = loss + rule.entropy_weight * entropies(latents, batch.keep, codes, by_distance, scale)
        return Soft(quantized, loss)
