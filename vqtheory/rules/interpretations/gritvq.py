"""What the paper leaves open: of GRIT-VQ (arXiv 2602.01140) neither text beyond the introduction nor code could be had.
Radius, transform and start are chosen here. The abstract says that the straight-through estimator gives way to a move of
the latent along the direction to its code, by a radius, and that a transform which sees no data acts on the whole
codebook.

Radius. With d = |c - z| and e = (c - z) / d held, the quantized latent is z + rho(d) e, put to the value c. Its
derivatives are

    dq/dz = I - rho'(d) e e^T,      dq/dc = rho'(d) e e^T,      rho(d) = R (1 - e^(-d / R)),      rho'(d) = e^(-d / R)

(this rho is chosen here). R = infinity is rho = d: DiVeQ (Vali et al., arXiv 2509.26469) without its noise, where a
decoder moves the code and not the latent along e. R = 0 is a constant radius, the straight-through estimator. In between,
codes within R of their latents are moved by the decoder and those farther away are not.

Transform. C = (C_0 + U V^T C_0) W^T of a frozen random base C_0 [K, D], with a matrix W of the features and a low-rank
correction U V^T [K, K] of the indices. It is the identity at its start, and goes down by the gradient H of the codes,

    W <- W - eta H^T (C_0 + U V^T C_0),     U <- U - eta H W (V^T C_0)^T,     V <- V - eta C_0 (U^T H W)^T.

A decoder. The simulator has none: one that asks for the latents themselves, with `decoder` times the gradient c - z,
stands for it, and makes H_k = sum_(n won by k) (1 + decoder rho'(|c_k - z_n|)) (c_k - z_n) / B, since c - z lies along e.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory._kernels.jit import kernel
from vqtheory.rules.base import Rule
from vqtheory.rules.maps import MapRule, MapState, ask, backward, forward


@dataclass(frozen=True, repr=False)
class GRITVQ(MapRule):
    """A codebook that is a trained transform of a frozen random one, with a radius; an interpretation.

    Start: C_0 ~ N(0, 1/D) from the seed of `init`, W = I, U = 0 and V ~ N(0, 1/K).

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `SimVQ`.
    radius : float, default infinity
        R >= 0, a length: inf is the distance itself.
    rank : int, default 0
        Columns of U and V; 0 leaves the indices as they are.
    features : bool, default True
        Whether W is trained.
    decoder : float, default 1
        Weight >= 0 of the decoder that stands in the simulator. The layer has one, and does not read this.
    optimizer : {"sgd", "adam"}, default "sgd"
        What trains the transform.
    start : {"matched", "published"}, default "matched"
        Whether the codebook is put to the mean and the spread of the codes given.

    Examples
    --------
    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = GRITVQ(rank=2)
    >>> state = rule.init(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    >>> {name: array.shape for name, array in rule.parameters(state).items()}
    {'weight': (2, 2), 'left': (3, 2), 'right': (3, 2)}
    """

    step_size: Any = 0.05
    radius: float = float("inf")
    rank: int = 0
    features: bool = True
    decoder: float = 1.0
    optimizer: str = "sgd"
    start: str = "matched"

    key: ClassVar[str] = "gritvq"
    lengths: ClassVar[tuple[str, ...]] = ("radius",)

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = "GRITVQ"
        unbounded = isinstance(self.radius, (float, np.floating)) and self.radius == float("inf")
        self._keep(
            radius=float("inf") if unbounded else check.number(owner, "radius", self.radius, 0),
            rank=check.integer(owner, "rank", self.rank, 0),
            features=check.flag(owner, "features", self.features),
            decoder=check.number(owner, "decoder", self.decoder, 0),
        )
        if not self.rank and not self.features:
            raise check.fail(owner, "rank", "an int >= 1 with features=False, which leaves nothing to train", self.rank)

    def under(self, optimizer: str | None, rate: Any, momentum: float = 0.0, weight_decay: float = 0.0) -> Rule | None:
        """The loss of a layer, apart from what its decoder adds."""
        rule = super().under(optimizer, rate, momentum, weight_decay)
        return rule if rule is None else replace(rule, decoder=0.0)  # type: ignore[type-var]

    def shapes(self, num_codes: int, dim: int) -> GRITParameters:
        side = dim if self.features else 0
        rank = num_codes if self.rank else 0
        return GRITParameters(weight=(side, side), left=(rank, self.rank), right=(rank, self.rank))

    def draw(self, parameters: GRITParameters, random: np.random.Generator) -> None:
        parameters.weight[...] = np.eye(len(parameters.weight))
        parameters.left[...] = 0
        if self.rank:
            parameters.right[...] = random.normal(0, len(parameters.right) ** -0.5, parameters.right.shape)

    def workspace(self, state: MapState) -> GRITWork:
        base, limits = state.base, np.finfo(state.base.dtype)
        summed, pulled = np.empty((2, self.rank, base.shape[1]), base.dtype)
        decoder = self.decoder if self.radius > 0 else 0.0
        radius = min(max(self.radius, float(limits.tiny)), float(limits.max))  # by which the type can divide
        numbers = base.dtype.type(decoder), base.dtype.type(radius)
        return GRITWork(np.empty_like(base), np.empty_like(base), summed, pulled, *numbers)


class GRITParameters(NamedTuple):
    """Views of theta."""

    weight: Any  # [D, D], W, or empty
    left: Any  # [K, rank], U, or empty
    right: Any  # [K, rank], V, or empty


class GRITWork(NamedTuple):
    """What the forward pass leaves, and the decoder."""

    mixed: np.ndarray  # [K, D], C_0 + U V^T C_0
    turned: np.ndarray  # [K, D], H W
    summed: np.ndarray  # [rank, D], V^T C_0
    pulled: np.ndarray  # [rank, D], U^T H W
    decoder: Any
    radius: Any


@forward.register(GRITParameters)
@kernel
def _forward(parameters, base, work, raw):
    """OUT work, raw [K, D]."""
    work.mixed[:] = base
    if parameters.left.shape[1] > 0:
        np.dot(parameters.right.T, base, work.summed)
        np.dot(parameters.left, work.summed, raw)
        work.mixed[:] += raw
    if len(parameters.weight) > 0:
        np.dot(work.mixed, parameters.weight.T, raw)
    else:
        raw[:] = work.mixed


@backward.register(GRITParameters)
@kernel
def _backward(parameters, base, work, gradient, pulled):
    """IN gradient [K, D] of raw; OUT pulled, the gradient of the parameters."""
    if len(parameters.weight) > 0:
        np.dot(gradient.T, work.mixed, pulled.weight)
    if parameters.left.shape[1] > 0:
        work.turned[:] = gradient
        if len(parameters.weight) > 0:
            np.dot(gradient, parameters.weight, work.turned)
        np.dot(work.turned, work.summed.T, pulled.left)
        np.dot(parameters.left.T, work.turned, work.pulled)
        np.dot(base, work.pulled.T, pulled.right)


@ask.register(GRITParameters)
@kernel
def _ask(parameters, work, x, weight, t, scale, codes, assignment, gradient):
    """Added to gradient [K, D] of raw: decoder rho'(|c - z|) (c - z) of each latent, by its weight, in units of scale^2."""
    if work.decoder == 0:
        return
    unit = work.decoder / (x.shape[1] * scale)
    for b in range(x.shape[1]):
        k, square = assignment[b], x.dtype.type(0)
        for d in range(x.shape[2]):
            square += (codes[k, d] - x[t, b, d]) ** 2
        share = unit * weight[t, b] * slope(np.sqrt(square), work.radius)
        for d in range(x.shape[2]):
            gradient[k, d] += share * (codes[k, d] - x[t, b, d]) if share > 0 else 0


@kernel
def slope(distance, radius):
    """rho' at a distance from a latent to its code; 0 where codes have run away."""
    value = np.exp(-distance / radius)
    return value if value > 0 else 0
