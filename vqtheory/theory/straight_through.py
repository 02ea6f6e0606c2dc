"""The straight-through variant in which the decoder's gradient also moves the chosen code.

With sg for "no gradient" and c_q the code of latent z, the decoder is given

    z_q = z + a c_q + sg((1 - a) c_q - z),        a = 2 alpha / N                     (1)

where alpha is the weight of the codebook loss alpha * mean |sg(z) - c_q|^2 over the N numbers of all
latents. Forward, z_q = c_q. Backward, with g = dL/dz_q of the rest of the loss, z gets g, as with
the usual estimator, and c_q gets a g; with the codebook loss' own a (c_q - z) that is

    a (c_q - (z - g))                                                                 (2)

so that the codes chase z - g, the latents after one gradient step of length 1, in place of z. For a
loss that is a mean over N numbers g is of order 1/N against z: unless it is rescaled, the variant
does nothing that can be measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory.assign import nearest
from vqtheory.theory._arguments import closed_form


@closed_form
def straight_through_target(latents: Any, gradient: Any, rescale: float = 1.0) -> np.ndarray:
    """What the codes chase: z - rescale * dL/dz_q. An identity.

    Parameters
    ----------
    latents : float [N, D]
        z.
    gradient : float [N, D]
        dL/dz_q, of the loss without its codebook term.
    rescale : float, default 1
        The weight a of (1) over that of the codebook loss, 2 alpha / N. 1 as defined there; of the
        order N to be felt.

    Raises
    ------
    ValueError
        For values that are not finite, and shapes that differ.

    Examples
    --------
    >>> straight_through_target([[1.0, 2.0]], [[0.5, -1.0]]).tolist()
    [[0.5, 3.0]]
    """
    latents = check.matrix("straight_through_target", "latents", latents)
    gradient = _same_shape("straight_through_target", gradient, latents)
    return latents - check.real("straight_through_target", "rescale", rescale) * gradient


@closed_form
def straight_through_gradient(
    latents: Any, codes: Any, gradient: Any, alpha: float = 1.0, rescale: float = 1.0
) -> np.ndarray:
    """The gradient [K, D] that codes get from codebook loss and variant together: (2), summed over each cell.

    Parameters
    ----------
    latents : float [N, D]
        z, here with N for the number of latents; a = 2 alpha / (N D).
    codes : float [K, D]
    gradient : float [N, D]
        dL/dz_q, of the loss without its codebook term.
    alpha : float, default 1
        Weight of the codebook loss.
    rescale : float, default 1
        As in `straight_through_target`; 0 is the usual estimator.

    Examples
    --------
    >>> straight_through_gradient([[1.0], [2.0]], [[1.5], [9.0]], [[0.0], [0.25]]).ravel()
    array([0.25, 0.  ])
    """
    codes = check.matrix("straight_through_gradient", "codes", codes)
    target = straight_through_target(latents, gradient, rescale)
    assignment, _ = nearest(latents, codes)
    total = np.zeros(codes.shape)
    np.add.at(total, assignment, codes[assignment] - target)
    return 2 * check.real("straight_through_gradient", "alpha", alpha, 0) / target.size * total


def _same_shape(owner: str, gradient: Any, latents: np.ndarray) -> np.ndarray:
    gradient = check.matrix(owner, "gradient", gradient)
    if gradient.shape != latents.shape:
        raise check.fail(owner, "gradient", f"an array of the latents' shape {latents.shape}", gradient.shape)
    return gradient
