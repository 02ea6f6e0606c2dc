"""The softmax of one row of scores."""

from __future__ import annotations

from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import kernel


@kernel
def soften(scores, winner, temperature, share):
    """OUT share [K]: softmax of scores [K] over the temperature, of which the winner has the largest; distances have one below 0."""
    total, largest = scores.dtype.type(0), scores[winner]
    for k in range(len(share)):
        share[k] = exponential((scores[k] - largest) / temperature)
        total += share[k]
    for k in range(len(share)):
        share[k] /= total
