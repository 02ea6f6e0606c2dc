"""TransVQ: a transformer over a frozen random base makes all codes (Lu et al., arXiv 2602.18896).

    X = C_0 A + P                                 base C_0 [K, D], positions P [K, M]
    X <- X + attention(norm(X))                   in each block
    X <- X + gelu(norm(X) U + u_0) V + v_0        in each block
    C = norm(X) W

norm is LayerNorm with gain and bias. Attention is linear: with phi(z) = elu(z) + 1 and
Y = norm(X), a head is

    Q = phi(Y A_q),   R = phi(Y A_k),   Z = Y A_v
    head = Q (R^T Z) / (Q sum_k R_k + 1e-6)

and the heads, through A_o, are added. Every code attends to all K. Gradient descent acts
on the parameters: theta <- theta - eta J^T G, J = dC/dtheta, G_k = p_k (c_k - m_k), which
moves all codes, chosen or not, by -eta J J^T G to first order. Where J J^T is positive
definite theta rests only where G = 0, so that a stationary codebook is one of k-means.
With positions it is from width D + 2 on: the last norm fixes two directions of each code.

The backward pass is written out by hand, next to the forward pass, so that the whole
loop is one compiled call; therefore the file is longer than those of the other rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import kernel
from vqtheory.rules._layers import gelu, sum_rows
from vqtheory.rules.maps import MapRule, MapState, backward, forward


@dataclass(frozen=True, repr=False)
class TransVQ(MapRule):
    """A codebook that is the output of a small transformer over a frozen random cloud.

    Start, from the seed of `init`: C_0 ~ N(0, 1/D); P ~ N(0, 1); linear maps and their
    biases ~ U(-1/sqrt(n), 1/sqrt(n)) for n inputs; norms with gain 1 and bias 0.

    Parameters
    ----------
    step_size : float or schedule, default 5e-4
        eta, for the loss E|x - c_q(x)|^2 / 2. A matched start with scale s measures the loss
        in units of s^2: gradients are divided by s^2, which undoes the s^2 that scaling adds
        to the tangent kernel, and leaves Adam's epsilon in the units of the map's output.
    width : int, default 256
        M, the width of the transformer, at least 2 and a multiple of `heads`.
    depth : int, default 1
        Number of blocks.
    heads : int, default 1
        Number of attention heads, each M / heads wide.
    mlp_ratio : int, default 2
        Hidden units of the MLP, as a multiple of the width.
    positions : bool, default True
        Whether each code has a learned position P_k.
    optimizer : {"adam", "sgd"}, default "adam"
        Adam has betas 0.9 and 0.999 and epsilon 1e-8.
    start : {"matched", "published"}, default "matched"
        "matched" scales the map's output by one number and shifts it, by constants, to the
        mean and the root mean square spread of the codes given; "published" leaves it, at
        about 0.6 per coordinate.

    Raises
    ------
    ValueError
        For values out of range; from `init` where a matched start is given codes without
        spread; from `advance` for latents that do not fit the codes or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = TransVQ(step_size=1e-3, width=8, heads=2)
    >>> state = rule.init(np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0]]), seed=0)
    >>> np.round(state.codes.mean(axis=0), 12)
    array([2., 3.])
    >>> moved, info = rule.advance(state, Batches(state.codes[None, :1] + 0.01))
    >>> info["hits"], bool((moved.codes != state.codes).all())
    (array([1, 0, 0]), True)

    The parameters by name, and what a gradient of the codes is to them:

    >>> rule.parameters(state)["query"].shape  # [depth, heads, width, width / heads]
    (1, 2, 8, 4)
    >>> rule.pullback(state, np.ones((3, 2))).shape == state.theta.shape
    True
    """

    step_size: Any = 5e-4
    width: int = 256
    depth: int = 1
    heads: int = 1
    mlp_ratio: int = 2
    positions: bool = True
    optimizer: str = "adam"
    start: str = "matched"

    key: ClassVar[str] = "transvq"
    fixed_point: ClassVar[str | None] = "k-means"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in [("width", 2), ("depth", 1), ("heads", 1), ("mlp_ratio", 1)]:
            self._keep(**{name: check.integer("TransVQ", name, getattr(self, name), low)})
        if self.width % self.heads != 0:
            raise check.fail("TransVQ", "heads", f"a divisor of the width {self.width}", self.heads)
        self._keep(positions=check.flag("TransVQ", "positions", self.positions))

    def shapes(self, num_codes: int, dim: int) -> TransformerParameters:
        depth, width, hidden = self.depth, self.width, self.mlp_ratio * self.width
        into_head = (depth, self.heads, width, width // self.heads)
        return TransformerParameters(
            embed=(dim, width),
            positions=(num_codes if self.positions else 0, width),
            attention_norm=(depth, 2, width),
            query=into_head,
            key=into_head,
            value=into_head,
            output=(depth, self.heads, width // self.heads, width),
            mlp_norm=(depth, 2, width),
            up=(depth, width, hidden),
            up_bias=(depth, hidden),
            down=(depth, hidden, width),
            down_bias=(depth, width),
            final_norm=(2, width),
            final=(width, dim),
        )

    def draw(self, parameters: TransformerParameters, random: np.random.Generator) -> None:
        dim, width = parameters.embed.shape
        inputs = {"embed": dim, "down": self.mlp_ratio * width, "down_bias": self.mlp_ratio * width}
        for name, array in parameters._asdict().items():
            if name == "positions":
                array[...] = random.standard_normal(array.shape)
            elif name.endswith("norm"):
                array[..., 0, :] = 1  # the bias stays 0
            else:
                bound = inputs.get(name, width) ** -0.5
                array[...] = random.uniform(-bound, bound, array.shape)

    def workspace(self, state: MapState) -> Workspace:
        (num_codes, _), depth, width, heads = state.base.shape, self.depth, self.width, self.heads
        of_head, of_code = (depth, heads, num_codes, width // heads), (depth, num_codes, width)
        of_hidden = (depth, num_codes, self.mlp_ratio * width)
        shapes = Workspace(
            residual=(num_codes, width),
            attention_unit=of_code,
            attention_inverse=(depth, num_codes),
            attention_input=of_code,
            query=of_head,
            key=of_head,
            value=of_head,
            memory=(depth, heads, width // heads, width // heads),
            mass=(depth, heads, width // heads),
            total=(depth, heads, num_codes),
            attended=of_head,
            mlp_unit=of_code,
            mlp_inverse=(depth, num_codes),
            mlp_input=of_code,
            before=of_hidden,
            slope=of_hidden,
            hidden=of_hidden,
            final_unit=(num_codes, width),
            final_inverse=(num_codes,),
            final_input=(num_codes, width),
        )
        return Workspace._make(np.empty(shape, state.base.dtype) for shape in shapes)


class TransformerParameters(NamedTuple):
    """Views of theta; M = width, m = M / heads, N = mlp_ratio M. A norm is its gain, then its bias."""

    embed: Any  # [D, M], A
    positions: Any  # [K, M] or [0, M], P
    attention_norm: Any  # [depth, 2, M]
    query: Any  # [depth, heads, M, m], A_q
    key: Any  # [depth, heads, M, m], A_k
    value: Any  # [depth, heads, M, m], A_v
    output: Any  # [depth, heads, m, M], A_o
    mlp_norm: Any  # [depth, 2, M]
    up: Any  # [depth, M, N], U
    up_bias: Any  # [depth, N], u_0
    down: Any  # [depth, N, M], V
    down_bias: Any  # [depth, M], v_0
    final_norm: Any  # [2, M]
    final: Any  # [M, D], W


class Workspace(NamedTuple):
    """What forward leaves for backward. A norm leaves its normalized input (unit), one over
    the standard deviation (inverse), and its output (input of what follows)."""

    residual: Any  # [K, M], X
    attention_unit: Any
    attention_inverse: Any
    attention_input: Any  # [depth, K, M], Y
    query: Any  # [depth, heads, K, m], Q
    key: Any  # [depth, heads, K, m], R
    value: Any  # [depth, heads, K, m], Z
    memory: Any  # [depth, heads, m, m], R^T Z
    mass: Any  # [depth, heads, m], sum_k R_k
    total: Any  # [depth, heads, K], Q mass + 1e-6
    attended: Any  # [depth, heads, K, m], head
    mlp_unit: Any
    mlp_inverse: Any
    mlp_input: Any  # [depth, K, M]
    before: Any  # [depth, K, N], input of gelu
    slope: Any  # [depth, K, N], gelu's derivative there
    hidden: Any  # [depth, K, N], output of gelu
    final_unit: Any
    final_inverse: Any
    final_input: Any  # [K, M]


@forward.register(TransformerParameters)
@kernel
def _forward(parameters, base, work, raw):
    """IN parameters (p), base [K, D]; OUT work, raw [K, D]."""
    p, x = parameters, work.residual
    np.dot(base, p.embed, x)
    if len(p.positions) > 0:
        x += p.positions
    for i in range(len(p.query)):
        _normalize(x, p.attention_norm[i], work.attention_unit[i], work.attention_inverse[i], work.attention_input[i])
        for h in range(p.query.shape[1]):
            _attend(p, work, i, h)
            x += np.dot(work.attended[i, h], p.output[i, h])
        _normalize(x, p.mlp_norm[i], work.mlp_unit[i], work.mlp_inverse[i], work.mlp_input[i])
        np.dot(work.mlp_input[i], p.up[i], work.before[i])
        gelu(p.up_bias[i], work.before[i], work.slope[i], work.hidden[i])
        x += np.dot(work.hidden[i], p.down[i]) + p.down_bias[i]
    _normalize(x, p.final_norm, work.final_unit, work.final_inverse, work.final_input)
    np.dot(work.final_input, p.final, raw)


@backward.register(TransformerParameters)
@kernel
def _backward(parameters, base, work, gradient, pulled):
    """IN parameters (p), base, work, gradient [K, D] of raw; OUT pulled, the gradient of the parameters.

    `dx` is the gradient of the residual stream, which every branch reads and adds to.
    """
    p = parameters
    np.dot(work.final_input.T, gradient, pulled.final)
    dx = np.zeros_like(work.residual)
    dy = np.dot(gradient, p.final.T)
    _normalize_back(dy, p.final_norm, work.final_unit, work.final_inverse, pulled.final_norm, dx)
    for i in range(len(p.query) - 1, -1, -1):
        sum_rows(dx, pulled.down_bias[i])
        np.dot(work.hidden[i].T, dx, pulled.down[i])
        dhidden = np.dot(dx, p.down[i].T)
        dhidden *= work.slope[i]
        sum_rows(dhidden, pulled.up_bias[i])
        np.dot(work.mlp_input[i].T, dhidden, pulled.up[i])
        np.dot(dhidden, p.up[i].T, dy)
        _normalize_back(dy, p.mlp_norm[i], work.mlp_unit[i], work.mlp_inverse[i], pulled.mlp_norm[i], dx)
        dy[:] = 0
        for h in range(p.query.shape[1]):
            _attend_back(p, work, i, h, dx, pulled, dy)
        _normalize_back(
            dy, p.attention_norm[i], work.attention_unit[i], work.attention_inverse[i], pulled.attention_norm[i], dx
        )
    if len(p.positions) > 0:
        pulled.positions[:] = dx
    np.dot(base.T, dx, pulled.embed)


@kernel
def _attend(p, work, i, h):
    """One head of block i: from attention_input to attended."""
    y, query, key, value = work.attention_input[i], work.query[i, h], work.key[i, h], work.value[i, h]
    np.dot(y, p.query[i, h], query)
    np.dot(y, p.key[i, h], key)
    np.dot(y, p.value[i, h], value)
    _elu_plus_one(query)
    _elu_plus_one(key)
    attended, mass, total = work.attended[i, h], work.mass[i, h], work.total[i, h]
    np.dot(key.T, value, work.memory[i, h])
    np.dot(query, work.memory[i, h], attended)
    sum_rows(key, mass)
    np.dot(query, mass, total)
    for k in range(query.shape[0]):
        total[k] += 1e-6
        for j in range(query.shape[1]):
            attended[k, j] /= total[k]


@kernel
def _attend_back(p, work, i, h, dx, pulled, dy):
    """IN dx; OUT the head's part of pulled; added to dy, the gradient of attention_input."""
    y, query, key, value = work.attention_input[i], work.query[i, h], work.key[i, h], work.value[i, h]
    attended, mass, total = work.attended[i, h], work.mass[i, h], work.total[i, h]
    np.dot(attended.T, dx, pulled.output[i, h])
    dratio = np.dot(dx, p.output[i, h].T)  # becomes the gradient of the numerator, Q (R^T Z)
    dtotal = np.empty_like(total)
    for k in range(query.shape[0]):
        for j in range(query.shape[1]):
            dratio[k, j] /= total[k]
        dtotal[k] = -np.dot(dratio[k], attended[k])
    dmemory, dmass = np.dot(query.T, dratio), np.dot(query.T, dtotal)
    dquery, dkey, dvalue = np.dot(dratio, work.memory[i, h].T), np.dot(value, dmemory.T), np.dot(key, dmemory)
    for k in range(query.shape[0]):
        for j in range(query.shape[1]):
            dquery[k, j] += dtotal[k] * mass[j]
    dkey += dmass
    _elu_plus_one_back(query, dquery)
    _elu_plus_one_back(key, dkey)
    np.dot(y.T, dquery, pulled.query[i, h])
    np.dot(y.T, dkey, pulled.key[i, h])
    np.dot(y.T, dvalue, pulled.value[i, h])
    branch = np.dot(dquery, p.query[i, h].T)
    dy += branch
    np.dot(dkey, p.key[i, h].T, branch)
    dy += branch
    np.dot(dvalue, p.value[i, h].T, branch)
    dy += branch


@kernel
def _normalize(x, norm, unit, inverse, y):
    """LayerNorm of each row. IN x [K, M], norm [2, M]; OUT unit, inverse [K], y."""
    rows, width = x.shape
    share = np.full(width, 1 / width, x.dtype)
    for k in range(rows):
        mean = np.dot(x[k], share)
        for j in range(width):
            unit[k, j] = x[k, j] - mean
        inverse[k] = 1 / np.sqrt(share[0] * np.dot(unit[k], unit[k]) + 1e-5)
        for j in range(width):
            unit[k, j] *= inverse[k]
            y[k, j] = norm[0, j] * unit[k, j] + norm[1, j]


@kernel
def _normalize_back(dy, norm, unit, inverse, dnorm, dx):
    """IN dy, norm, unit, inverse; OUT dnorm [2, M]; added to dx.

    A row's mean and its size do not pass the norm: their directions are taken out of the gradient.
    """
    rows, width = dy.shape
    share, dunit = np.full(width, 1 / width, dy.dtype), np.empty(width, dy.dtype)
    dnorm[:] = 0
    for k in range(rows):
        for j in range(width):
            dunit[j] = norm[0, j] * dy[k, j]
            dnorm[0, j] += dy[k, j] * unit[k, j]
            dnorm[1, j] += dy[k, j]
        mean, along = np.dot(dunit, share), share[0] * np.dot(dunit, unit[k])
        for j in range(width):
            dx[k, j] += inverse[k] * (dunit[j] - mean - along * unit[k, j])


@kernel
def _elu_plus_one(z):
    """IN/OUT z: phi(z) = z + 1 above 0, exp(z) below."""
    for k in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[k, j] = z[k, j] + 1 if z[k, j] > 0 else exponential(z[k, j])


@kernel
def _elu_plus_one_back(phi, gradient):
    """IN/OUT gradient: of phi, then of z. The slope is 1 where phi > 1, and phi itself elsewhere."""
    for k in range(phi.shape[0]):
        for j in range(phi.shape[1]):
            if not phi[k, j] > 1:
                gradient[k, j] *= phi[k, j]
