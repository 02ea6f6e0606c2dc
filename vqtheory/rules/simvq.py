"""SimVQ: one linear map of a frozen random base makes all codes (Zhu et al., arXiv 2411.02038).

    C = C_0 W^T + 1 w_0^T

With the gradient G [K, D] of the codebook loss, G_k = p_k (c_k - m_k), a step of SGD is

    W <- W - eta G^T C_0,      w_0 <- w_0 - eta sum_k G_k,

and moves the codes by -eta (C_0 C_0^T + 1 1^T) G, exactly. The codebook stays an affine
image of its base: D^2 + D numbers for K D coordinates, so that for K > D + 1 it stops
where C_0^T G = 0 and 1^T G = 0, in general short of a k-means solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory._kernels.jit import kernel
from vqtheory.rules.maps import MapRule, MapState, backward, forward


@dataclass(frozen=True, repr=False)
class SimVQ(MapRule):
    """A codebook that is a trained linear image of a frozen random cloud.

    Start: C_0 ~ N(0, 1/D), and W and w_0 ~ U(-1/sqrt(D), 1/sqrt(D)), from the seed of `init`.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, for the loss E|x - c_q(x)|^2 / 2, in units in which a step of 1 along a tangent
        kernel of 1 moves a code that wins the whole batch onto its mean. A matched start
        with scale s measures the loss in units of s^2: gradients are divided by s^2, which
        undoes the s^2 that scaling adds to the tangent kernel.
    bias : bool, default True
        Whether w_0 is there, as in the published code. Widely used copies leave it out.
    optimizer : {"sgd", "adam"}, default "sgd"
        Adam has betas 0.9 and 0.999 and epsilon 1e-8; the published configurations have 0.5 and 0.9.
    start : {"matched", "published"}, default "matched"
        "matched" scales the map's output by one number and shifts it, by constants, to the
        mean and the root mean square spread of the codes given; "published" leaves it.

    Raises
    ------
    ValueError
        For values out of range; from `init` where a matched start is given codes without
        spread; from `advance` for latents that do not fit the codes or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = SimVQ(step_size=0.5)
    >>> state = rule.init(np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0]]), seed=0)
    >>> np.round(state.codes.mean(axis=0), 12)
    array([2., 3.])
    >>> moved, info = rule.advance(state, Batches(state.codes[None, :1] + 0.01))
    >>> info["hits"], bool((moved.codes != state.codes).all())
    (array([1, 0, 0]), True)

    The parameters by name, and what a gradient of the codes is to them:

    >>> {name: array.shape for name, array in rule.parameters(state).items()}
    {'weight': (2, 2), 'bias': (2,)}
    >>> pulled = rule.pullback(state, np.ones((3, 2)))
    >>> np.allclose(pulled[4:], 3 * state.scale)
    True
    """

    step_size: Any = 0.05
    bias: bool = True
    optimizer: str = "sgd"
    start: str = "matched"

    key: ClassVar[str] = "simvq"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep(bias=check.flag("SimVQ", "bias", self.bias))

    def shapes(self, num_codes: int, dim: int) -> AffineParameters:
        return AffineParameters(weight=(dim, dim), bias=(dim if self.bias else 0,))

    def draw(self, parameters: AffineParameters, random: np.random.Generator) -> None:
        bound = len(parameters.weight) ** -0.5
        for array in parameters:
            array[...] = random.uniform(-bound, bound, array.shape)

    def workspace(self, state: MapState) -> tuple:
        return ()  # a linear map needs nothing but its base to go back


class AffineParameters(NamedTuple):
    """Views of theta."""

    weight: Any  # [D, D], W
    bias: Any  # [D], w_0, or empty


@forward.register(AffineParameters)
@kernel
def _forward(parameters, base, work, raw):
    """OUT raw [K, D]."""
    np.dot(base, parameters.weight.T, raw)
    if len(parameters.bias) > 0:
        raw += parameters.bias


@backward.register(AffineParameters)
@kernel
def _backward(parameters, base, work, gradient, pulled):
    """IN gradient [K, D] of raw; OUT pulled, the gradient of the parameters."""
    np.dot(gradient.T, base, pulled.weight)
    if len(parameters.bias) > 0:
        pulled.bias[:] = 0
        for k in range(len(gradient)):
            for d in range(gradient.shape[1]):
                pulled.bias[d] += gradient[k, d]
