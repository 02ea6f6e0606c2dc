"""What the rotation trick adds to the straight-through gradient: a pull of the latents to the origin.

The rotation trick (Fifty et al., arXiv 2410.06424) passes a gradient g of the quantized latent on as lambda R^T g, with
lambda = |c| / |z| and R the rotation about the origin that turns the direction of the latent z to its code's. A decoder that
would undo the quantization wants z_q to be z again: g = kappa (c - z), and kappa is 2 for a squared error and a decoder that
keeps lengths. Then, for any z and c,

    lambda R^T g = g + kappa |z - c|^2 / |z|^2 z                                                  (1)

since R^T c is z / lambda, and R^T z is 2 (z.c) / (|z| |c|) z less |z| / |c| c. So rotation is straight-through with a weight
decay of the latents, as strong as their squared error over their squared length. It keeps latents from growing away from
their codes, and it moves latents far from the origin, as a whole, by

    E[kappa |z - c|^2 / |z|] per unit of the encoder's step                                       (2)

towards it: a drift that straight-through does not have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory.assign import nearest
from vqtheory.theory._arguments import closed_form


@closed_form
def rotation_pull(latents: Any, codes: Any, stiffness: float = 2.0) -> np.ndarray:
    """The gradient that rotation adds to straight-through at each latent, by (1): its negative points to the origin.

    An identity, for a decoder whose gradient points from a latent to its nearest code.

    Parameters
    ----------
    latents : float [N, D]
    codes : float [K, D]
    stiffness : float, default 2
        kappa.

    Raises
    ------
    ValueError
        For values that are not finite, and for a latent at the origin.

    Examples
    --------
    >>> rotation_pull([[2.0, 0.0]], [[2.0, 1.0]]).tolist()
    [[1.0, 0.0]]
    """
    owner = "rotation_pull"
    latents = check.matrix(owner, "latents", latents)
    codes = check.matrix(owner, "codes", codes, columns=latents.shape[1])
    squared = np.square(latents).sum(axis=1, keepdims=True)
    if not squared.all():
        raise check.fail(owner, "latents", "away from the origin, where there is no direction", latents)
    chosen = codes[nearest(latents, codes)[0]]
    error = np.square(latents - chosen).sum(axis=1, keepdims=True)
    return check.real(owner, "stiffness", stiffness) * error / squared * latents
