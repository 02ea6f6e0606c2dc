"""The softmax of one row of scores."""

from __future__ import annotations

from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import kernel


@kernel
def soften(scores, winner, temperature, share):
    """OUT share [K]: softmax of scores [K] over the temperature, which is below 0 for distances; the winner has the most."""
    total, largest = scores.dtype.type(0), scores[winner]
    for k in range(len(share)):
        share[k] = exponential((scores[k] - largest) / temperature)
        total += share[k]
    for k in range(len(share)):
        share[k] /= total
