"""Codes and latents on the unit sphere: the quantizer of ViT-VQGAN (Yu et al., arXiv 2110.04627).

Latents are normalised, x^ = x / |x|, the nearest code has the greatest cosine, and gradient
descent on |x^ - c_q / |c_q||^2 moves a code along the sphere. Here the code is put back to unit
length after each update:

    c_k <- normalise(c_k + eta (n_k / B) (I - c_k c_k^T) mean_k),   mean_k the mean of the x^ won by k

(In published code the length stays as it grows, and the angular step falls like 1/|c|^2.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory._kernels.cells import add_cells, by_batch, find_nearest, info, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.product import find_all
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start


@dataclass(frozen=True, repr=False)
class CosineVQ(Rule):
    """Online k-means on the sphere.

    Distortions are of the normalised latents, |x^ - c_q|^2 = 2 - 2 cos. D must be at least 2. A
    latent of length 0 has no direction; it stays 0 and pulls at nothing.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    start : {"matched", "published"}, default "matched"
        The directions of the codes given, or of N(0, I).

    Examples
    --------
    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = CosineVQ(step_size=0.1)
    >>> state = rule.init(np.array([[3.0, 0.0], [0.0, 1.0]]))
    >>> rule.advance(state, Batches(np.array([[[4.0, 3.0]]])))[0].codes.round(3)
    array([[0.998, 0.06 ],
           [0.   , 1.   ]])
    """

    step_size: Any = 0.05
    start: str = "matched"

    key: ClassVar[str] = "cosine"
    moves_unselected: ClassVar[bool] = False
    equivariances: ClassVar[frozenset[str]] = frozenset({"rotation", "permutation"})

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("CosineVQ", "step_size", self.step_size, 0, above=True))
        check_start("CosineVQ", self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> CosineState:
        """The state that starts from the directions of codes [K, D]; `ValueError` for D = 1 or a code of length 0."""
        codes = check.matrix("CosineVQ.init", "codes", codes)
        if self.start == "published":
            codes = generator(seed, Purpose.RULE).standard_normal(codes.shape).astype(codes.dtype)
        if codes.shape[1] < 2 or not codes.any(axis=1).all():
            raise ValueError(f"CosineVQ needs codes [K, D >= 2] of length > 0. Got shape {codes.shape}.")
        return CosineState(self.project(codes), np.int64(0))

    def project(self, latents: np.ndarray) -> np.ndarray:
        """Latents [..., D] as the rule compares them with its codes: on the unit sphere."""
        length = np.sqrt(np.sum(latents * latents, axis=-1, keepdims=True))
        return latents / np.where(length > 0, length, 1).astype(latents.dtype)

    def advance(self, state: CosineState, batches: Batches) -> tuple[CosineState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("CosineVQ.advance", "state", state, CosineState, "a state that CosineVQ.init has made")
        x, weight = checked("CosineVQ.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        rates = schedules.values(self.step_size, int(state.step), steps) / batch_size
        codes, tally = state.codes.copy(), new_tally(x, state.codes)
        _advance(self.project(x), weight, rates.astype(x.dtype), by_batch(batch_size, codes), state.step, codes, *tally)
        return CosineState(codes, state.step + steps), info(tally, weight)


class CosineState(NamedTuple):
    """Codes of unit length and updates done."""

    codes: np.ndarray
    step: np.int64


@kernel
def _advance(x, weight, rates, by_product, step, codes, hits, last_hit, assignment, distortion):
    """IN x (unit length), weight, rates [T] (eta / B), whether by products, step; IN/OUT codes [K, D]; OUT the tally."""
    steps, batch_size, dim = x.shape
    codes_t, distances, squared = codes.T.copy(), np.empty(len(codes), x.dtype), np.empty(batch_size, x.dtype)
    pull = np.zeros_like(codes)
    for t in range(steps):
        if by_product:
            find_all(x[t], codes, assignment, squared)
        else:
            for b in range(batch_size):
                assignment[b] = find_nearest(x[t, b], codes_t, distances)
                squared[b] = distances[assignment[b]]
        distortion[t] = add_cells(x[t], weight[t], codes, assignment, squared, pull, hits)
        for b in range(batch_size):
            k = assignment[b]
            last_hit[k] = step + t
            turn(codes, k, pull, rates[t])
            for d in range(dim):
                pull[k, d] = 0
                if not by_product:
                    codes_t[d, k] = codes[k, d]


@kernel
def turn(codes, k, pull, rate):
    """IN/OUT codes [K, D]: code k goes along the part of its pull [K, D] that is tangent, and back to unit length.

    The pull sums x - c, which has the same tangent part as the x. Nothing to add leaves the code to the bit.
    """
    radial, square = codes.dtype.type(0), codes.dtype.type(0)
    moved = False
    for d in range(codes.shape[1]):
        radial += codes[k, d] * pull[k, d]
        moved = moved or pull[k, d] != 0
    if not moved:
        return
    for d in range(codes.shape[1]):
        codes[k, d] += rate * (pull[k, d] - radial * codes[k, d])
        square += codes[k, d] * codes[k, d]
    for d in range(codes.shape[1]):
        codes[k, d] /= np.sqrt(square)
