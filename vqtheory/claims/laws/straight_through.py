"""The straight-through variant z_q = z + a c_q + sg((1 - a) c_q - z), in which the decoder's gradient moves codes too.

Forward nothing changes but the last bits. Backward, with a = 2 alpha / N for the codebook loss alpha mean |z - c_q|^2
over N numbers, the codes chase z - dL/dz_q in place of z. The gradients here are taken from the loss itself, by a
complex step, with sg's argument held fixed: nothing of the identity is put in. For a loss that is a mean over N
numbers dL/dz_q is O(1/N), and so is what becomes of the codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory.assign import nearest
from vqtheory.claims.laws.provenance import DERIVED, PAPER
from vqtheory.claims.statement import Effort, Exact, Range, Scaling, claim
from vqtheory.reference import lloyd
from vqtheory.theory import straight_through_gradient

LAW = "straight-through variant"
ROUNDING = 1e-12
ALPHA = 0.7


class Decoder:
    """A decoder of one tanh layer and its mean-squared loss against fixed targets."""

    def __init__(self, latents: np.ndarray, random: np.random.Generator) -> None:
        num_latents, dim = latents.shape
        self.weight = random.normal(size=(dim, 3))
        self.target = np.tanh(latents @ self.weight) + 0.5 * random.normal(size=(num_latents, 3)) + 0.3

    def loss(self, quantized: np.ndarray) -> Any:
        """The loss of quantized latents [N, D]; holds for complex numbers."""
        return np.mean((np.tanh(quantized @ self.weight) - self.target) ** 2)

    def gradient(self, quantized: np.ndarray) -> np.ndarray:
        """dL / dz_q [N, D]."""
        output = np.tanh(quantized @ self.weight)
        return 2 / output.size * ((output - self.target) * (1 - output**2)) @ self.weight.T


def problem(num_latents: int, num_codes: int, seed: int) -> tuple[np.ndarray, np.ndarray, Decoder]:
    """Latents, codes and a decoder, in three dimensions."""
    random = np.random.default_rng(seed)
    latents = random.normal(size=(num_latents, 3))
    return latents, random.normal(size=(num_codes, 3)), Decoder(latents, random)


def quantize(latents: np.ndarray, chosen: np.ndarray, frozen: np.ndarray) -> np.ndarray:
    """z_q with the codes in sg's argument frozen."""
    weight = 2 * ALPHA / latents.size
    return latents + weight * chosen + ((1 - weight) * frozen - latents)


def total_loss(latents: np.ndarray, codes: np.ndarray, frozen: np.ndarray, decoder: Decoder, which: np.ndarray) -> complex:
    """Decoder loss and codebook loss, with the codes [K, D] where gradients pass and `frozen` where not."""
    quantized = quantize(latents, codes[which], frozen[which])
    return complex(decoder.loss(quantized) + ALPHA * np.mean((latents - codes[which]) ** 2))


def slopes(latents: np.ndarray, codes: np.ndarray, decoder: Decoder) -> np.ndarray:
    """The gradient [K, D] of the total loss, by a complex step in every coordinate, which leaves nothing but rounding."""
    which, _ = nearest(latents, codes)
    gradient = np.empty(codes.shape)
    for index in np.ndindex(*codes.shape):
        moved = codes.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = total_loss(latents, moved, codes, decoder, which).imag / 1e-30
    return gradient


@claim(
    key="straight-through-chases",
    statement="In the straight-through variant the codes chase z - dL/dz_q (gradient of the loss itself, relative "
    "difference)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, ROUNDING),
)
def gradient_errors(effort: Effort, seed: int) -> list[float]:
    """Largest difference of the loss' own gradient from that of codes which chase z - dL/dz_q, relative to its size."""
    errors = []
    for i in range(4 if effort == "quick" else 40):
        latents, codes, decoder = problem(50, 6, seed * 1000 + i)
        which, _ = nearest(latents, codes)
        # z_q itself, not c_q: the two differ by rounding
        gradient = decoder.gradient(quantize(latents, codes[which], codes[which]))
        chased = straight_through_gradient(latents, codes, gradient, alpha=ALPHA)
        errors.append(float(np.abs(slopes(latents, codes, decoder) - chased).max() / np.abs(chased).max()))
    return errors


@claim(
    key="straight-through-forward",
    statement="Forward the variant leaves the chosen code as it is (largest difference, in units of rounding)",
    source=PAPER,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 8.0),
)
def forward_errors(effort: Effort, seed: int) -> list[float]:
    """Largest difference of z_q from c_q, in units of the rounding of the largest number in it."""
    errors, eps = [], np.finfo(np.float64).eps
    for i in range(4 if effort == "quick" else 40):
        latents, codes, _ = problem(5000, 16, seed * 1000 + i)
        chosen = codes[nearest(latents, codes)[0]]
        largest = max(np.abs(latents).max(), np.abs(codes).max())
        errors.append(float(np.abs(quantize(latents, chosen, chosen) - chosen).max() / (largest * eps)))
    return errors


def trained(latents: np.ndarray, codes: np.ndarray, decoder: Decoder, rescale: float, steps: int = 25) -> np.ndarray:
    """The codes after full-batch steps of the size that moves a code of average mass by two thirds."""
    alpha = latents.shape[1] * len(codes) / 3
    for _ in range(steps):
        gradient = decoder.gradient(codes[nearest(latents, codes)[0]])
        codes = codes - straight_through_gradient(latents, codes, gradient, alpha=alpha, rescale=rescale)
    return codes


@claim(
    key="straight-through-vanishes",
    statement="For a mean loss the variant moves trained codes by O(1/N), N the numbers in all latents (exponent)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Scaling("N"),
    predict=-1.0,
    resolution=0.5,
)
def displacements(effort: Effort, seed: int) -> dict[float, list[float]]:
    """How far the variant moves codes off the k-means solution they rest at (root mean square), against N; K = 4."""
    groups, runs = (16, 5) if effort == "quick" else (32, 10)
    medians: dict[float, list[float]] = {}
    for num_latents in (128, 512, 2048):
        moves = []
        for i in range(groups * runs):
            latents, _, decoder = problem(num_latents, 4, seed * 1000 + i)
            rest = lloyd(latents, 4, restarts=1, seed=seed * 1000 + i).codes
            moves.append(float(np.sqrt(np.mean((trained(latents, rest, decoder, rescale=1.0) - rest) ** 2))))
        medians[latents.size] = list(np.median(np.reshape(moves, (groups, runs)), axis=1))
    return medians


CLAIMS = [gradient_errors, forward_errors, displacements]
