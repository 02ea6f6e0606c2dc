"""FVQ: a bridge of patches, attention and one linear head makes all codes (Chang et al., arXiv 2509.10140).

    E = C_0 + O                                       base C_0 [K, D], and a trained offset O, 0 at first
    X = patches(E) A + a_0 + P                        one token for S = patch^2 codes, T = K / S of them; fixed places P
    X <- X + attention(norm(X)) + z_0                 in each block
    X <- X + gelu(norm(X) U + u_0) V + v_0            in each block
    patches(C) = norm(X) W + w_0                      plus patches(E) with `residual`

A row of patches(E) [T, S D] is S codes side by side. norm is LayerNorm with a small epsilon and without gain and bias of
its own, as what follows it is linear. gelu is the exact one, where the official code has the form with
tanh. Attention is the usual one: a head is softmax(Q R^T / sqrt(m)) Z, and the heads go through A_o and are added.

Gradient descent acts on the parameters, with G_k = p_k (c_k - m_k). Of the head alone, with r_j = norm(X)_j, a step is

    W_s <- W_s - eta sum_j r_j G_(j,s)^T,     w_s <- w_s - eta sum_j G_(j,s),

so that its tangent kernel, [s = s'] (r_j . r_j' + 1) between slot s of token j and slot s' of token j', couples codes of the
same slot only, and has a rank of D S min(T, width) at most. The published start has W = w_0 = 0: all codes lie at the
origin, the first wins everything, and a slot leaves the origin once its first code has won a latent there.

The paper lays the codes out as an image of sqrt(K) x sqrt(K), layout="square", which few K have. Its base has no order,
so that runs of S codes serve as well, layout="runs", of which the last is filled up with zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory._kernels.jit import kernel
from vqtheory.rules._layers import gelu, normalize, normalize_back, softmax, sum_rows
from vqtheory.rules.maps import MapRule, MapState, backward, forward

_MLP_RATIO = 2


@dataclass(frozen=True, repr=False)
class FVQ(MapRule):
    """A codebook that a bridge of patches, transformer blocks and a linear head makes of a base.

    Start, from the seed of `init`: C_0 ~ N(0, 1/D); linear maps ~ U(-b, b), b = sqrt(6 / (inputs + outputs)), and their
    biases 0; the head 0 with `residual`. The published start has C_0 ~ U(-1/K, 1/K) and the head 0, so that all codes are
    at the origin, or with `residual` on the base.

    Parameters
    ----------
    step_size : float or schedule, default 5e-4
        eta, for the loss E|x - c_q(x)|^2 / 2. A matched start with scale s measures the loss in units of s^2, as in
        `TransVQ`.
    patch : int, default 4
        Side of a patch: patch^2 codes are one token.
    width : int, default 256
        Of the transformer, at least 2 and a multiple of `heads`.
    depth : int, default 2
        Number of blocks; 0 for the embedding, the norm and the head alone.
    heads : int, default 4
        Number of attention heads.
    positions : bool, default False
        Whether a token carries its place, as fixed sines and cosines, as in the published scripts. The paper has none.
    layout : {"runs", "square"}, default "runs"
        "runs" makes a patch of consecutive codes, for any K; "square" of neighbours in a square image of all codes, as
        published, for K that are squares of multiples of `patch`.
    residual : bool, default False
        Whether the bridge is added to the base. Not in the paper: no two codes then start at the same place.
    train_base : bool, default True
        Whether the base is trained with the bridge.
    eps : float, default 1e-6
        Epsilon of the norms. Tokens whose variance is far below it look all alike to the head.
    optimizer : {"adam", "sgd"}, default "adam"
        Adam has betas 0.9 and 0.999 and epsilon 1e-8; the published scripts have 0.9 and 0.95.
    start : {"matched", "published"}, default "matched"
        "matched" scales the map's output by one number and shifts it, by constants, to the mean and the root mean square
        spread of the codes given; "published" leaves it at the origin.

    Raises
    ------
    ValueError
        For values out of range; from `init` for a number of codes that layout="square" does not hold, with the nearest
        that it does, and where a matched start is given codes without spread; from `advance` for latents that do not fit
        the codes or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> codes = np.random.default_rng(0).normal(size=(10, 2))
    >>> rule = FVQ(patch=2, width=8, heads=2)
    >>> state = rule.init(codes, seed=0)
    >>> bool(np.allclose(state.codes.mean(axis=0), codes.mean(axis=0)))
    True
    >>> rule.parameters(state)["embed"].shape  # [patch^2 D, width]
    (8, 8)

    The published start: one code wins everything, and all of its slot leave the origin.

    >>> published = FVQ(patch=2, width=8, heads=2, start="published")
    >>> moved, info = published.advance(published.init(codes), Batches(codes[None]))
    >>> info["hits"].tolist(), np.flatnonzero(moved.codes.any(axis=1)).tolist()
    ([10, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 4, 8])
    """

    step_size: Any = 5e-4
    patch: int = 4
    width: int = 256
    depth: int = 2
    heads: int = 4
    positions: bool = False
    layout: str = "runs"
    residual: bool = False
    train_base: bool = True
    eps: float = 1e-6
    optimizer: str = "adam"
    start: str = "matched"

    key: ClassVar[str] = "fvq"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in [("patch", 1), ("width", 2), ("depth", 0), ("heads", 1)]:
            self._keep(**{name: check.integer("FVQ", name, getattr(self, name), low)})
        if self.width % self.heads != 0:
            raise check.fail("FVQ", "heads", f"a divisor of the width {self.width}", self.heads)
        for name in ("positions", "residual", "train_base"):
            self._keep(**{name: check.flag("FVQ", name, getattr(self, name))})
        check.choice("FVQ", "layout", self.layout, ["runs", "square"])
        self._keep(eps=check.number("FVQ", "eps", self.eps, 0, above=True))

    def grid(self, num_codes: int) -> np.ndarray:
        """The codes of each token [T, S] by number; K stands for none."""
        side = self.patch
        if self.layout == "runs":
            tokens = -(-num_codes // side**2)
            return np.minimum(np.arange(tokens * side**2), num_codes).reshape(tokens, side**2)
        across = math.isqrt(num_codes) // side  # patches in a row of the image
        if num_codes != (across * side) ** 2 or across == 0:
            raise self._does_not_hold(num_codes, across)
        image = np.arange(num_codes).reshape(across, side, across, side)
        return image.swapaxes(1, 2).reshape(-1, side**2)

    def _does_not_hold(self, num_codes: int, across: int) -> ValueError:
        sizes = [(count * self.patch) ** 2 for count in (across, across + 1) if count > 0]
        nearest = min(sizes, key=lambda size: abs(size - num_codes))
        return ValueError(
            f"FVQ with layout='square' and patch={self.patch} must have a number of codes that is the square of a multiple "
            f"of {self.patch}. Got {num_codes}; the nearest that it can have is {nearest}. layout='runs' takes any number."
        )

    def waves(self, num_tokens: int) -> np.ndarray:
        """P [T, width]: sines and cosines of the token's number at frequencies from 1 to 1e-4; 0 without `positions`."""
        if not self.positions:
            return np.zeros((num_tokens, self.width))
        frequencies = 1e-4 ** (np.arange(self.width) // 2 * 2 / self.width)
        return np.sin(np.arange(num_tokens)[:, None] * frequencies + np.arange(self.width) % 2 * np.pi / 2)

    def draw_base(self, num_codes: int, dim: int, random: np.random.Generator) -> np.ndarray:
        if self.start == "published":
            return random.uniform(-1 / num_codes, 1 / num_codes, (num_codes, dim))
        return super().draw_base(num_codes, dim, random)

    def shapes(self, num_codes: int, dim: int) -> BridgeParameters:
        self.grid(num_codes)  # refuses what the layout does not hold
        depth, width, patch = self.depth, self.width, self.patch**2 * dim
        own, hidden = width // self.heads, _MLP_RATIO * width
        into_head, of_head = (depth, self.heads, width, own), (depth, self.heads, own)
        return BridgeParameters(
            offset=(num_codes if self.train_base else 0, dim),
            embed=(patch, width),
            embed_bias=(width,),
            query=into_head,
            query_bias=of_head,
            key=into_head,
            key_bias=of_head,
            value=into_head,
            value_bias=of_head,
            output=(depth, self.heads, own, width),
            output_bias=(depth, width),
            up=(depth, width, hidden),
            up_bias=(depth, hidden),
            down=(depth, hidden, width),
            down_bias=(depth, width),
            head=(width, patch),
            head_bias=(patch,),
        )

    def draw(self, parameters: BridgeParameters, random: np.random.Generator) -> None:
        zero = ["head"] if self.residual or self.start == "published" else []
        for name, array in parameters._asdict().items():
            if not name.endswith("bias") and name not in ["offset", *zero]:
                sides = array.shape[-2:] if name in ("embed", "up", "down", "head") else (self.width, self.width)
                bound = math.sqrt(6 / sum(sides))
                array[...] = random.uniform(-bound, bound, array.shape)

    def workspace(self, state: MapState) -> BridgeWorkspace:
        (num_codes, dim), dtype = state.codes.shape, state.base.dtype
        grid, depth, width, heads = self.grid(num_codes), self.depth, self.width, self.heads
        tokens, slots = grid.shape
        of_token, of_head = (depth, tokens, width), (depth, heads, tokens, width // heads)
        of_hidden = (depth, tokens, _MLP_RATIO * width)
        shapes = {
            "patches": (tokens, slots * dim),
            "stream": (tokens, width),
            "attention_input": of_token,
            "attention_inverse": (depth, tokens),
            "query": of_head,
            "key": of_head,
            "value": of_head,
            "shares": (depth, heads, tokens, tokens),
            "attended": of_head,
            "mlp_input": of_token,
            "mlp_inverse": (depth, tokens),
            "before": of_hidden,
            "slope": of_hidden,
            "hidden": of_hidden,
            "final_input": (tokens, width),
            "final_inverse": (tokens,),
            "made": (tokens, slots * dim),
        }
        arrays = {name: np.empty(shape, dtype) for name, shape in shapes.items()}
        constants = {"grid": grid, "waves": self.waves(tokens).astype(dtype), "eps": dtype.type(self.eps)}
        return BridgeWorkspace(**constants, residual=self.residual, **arrays)


class BridgeParameters(NamedTuple):
    """Views of theta; M = width, m = M / heads, N = 2 M, S = patch^2."""

    offset: Any  # [K, D] or [0, D], O
    embed: Any  # [S D, M], A
    embed_bias: Any  # [M], a_0
    query: Any  # [depth, heads, M, m]
    query_bias: Any  # [depth, heads, m]
    key: Any
    key_bias: Any
    value: Any
    value_bias: Any
    output: Any  # [depth, heads, m, M], A_o
    output_bias: Any  # [depth, M], z_0
    up: Any  # [depth, M, N], U
    up_bias: Any  # [depth, N], u_0
    down: Any  # [depth, N, M], V
    down_bias: Any  # [depth, M], v_0
    head: Any  # [M, S D], W
    head_bias: Any  # [S D], w_0


class BridgeWorkspace(NamedTuple):
    """The map's input, and what forward leaves for backward. A norm leaves its output, which is the input of what
    follows, and one over the standard deviation (inverse)."""

    grid: Any  # [T, S]
    waves: Any  # [T, M], P
    eps: Any
    residual: bool
    patches: Any  # [T, S D]
    stream: Any  # [T, M], X
    attention_input: Any  # [depth, T, M]
    attention_inverse: Any  # [depth, T]
    query: Any  # [depth, heads, T, m], Q
    key: Any  # R
    value: Any  # Z
    shares: Any  # [depth, heads, T, T], the softmax
    attended: Any  # [depth, heads, T, m]
    mlp_input: Any
    mlp_inverse: Any
    before: Any  # [depth, T, N], input of gelu
    slope: Any  # gelu's derivative there
    hidden: Any  # output of gelu
    final_input: Any  # [T, M], r
    final_inverse: Any
    made: Any  # [T, S D]


@forward.register(BridgeParameters)
@kernel
def _forward(parameters, base, work, raw):
    """IN parameters (p), base [K, D]; OUT work, raw [K, D]."""
    p, x = parameters, work.stream
    _take(base, work.grid, work.patches)
    if len(p.offset) > 0:
        _take(p.offset, work.grid, work.made)
        work.patches[:] += work.made
    np.dot(work.patches, p.embed, x)
    x += p.embed_bias
    x += work.waves
    for i in range(len(p.query)):
        normalize(x, work.eps, work.attention_input[i], work.attention_inverse[i])
        x += p.output_bias[i]
        for h in range(p.query.shape[1]):
            _attend(p, work, i, h)
            x += np.dot(work.attended[i, h], p.output[i, h])
        normalize(x, work.eps, work.mlp_input[i], work.mlp_inverse[i])
        np.dot(work.mlp_input[i], p.up[i], work.before[i])
        gelu(p.up_bias[i], work.before[i], work.slope[i], work.hidden[i])
        x += np.dot(work.hidden[i], p.down[i]) + p.down_bias[i]
    normalize(x, work.eps, work.final_input, work.final_inverse)
    np.dot(work.final_input, p.head, work.made)
    work.made[:] += p.head_bias
    if work.residual:
        work.made[:] += work.patches
    _put(work.made, work.grid, raw)


@backward.register(BridgeParameters)
@kernel
def _backward(parameters, base, work, gradient, pulled):
    """IN parameters (p), base, work, gradient [K, D] of raw; OUT pulled, the gradient of the parameters.

    `dx` is the gradient of the stream of tokens, which every branch reads and adds to.
    """
    p, dmade, dx = parameters, work.made, np.zeros_like(work.stream)
    _take(gradient, work.grid, dmade)
    np.dot(work.final_input.T, dmade, pulled.head)
    sum_rows(dmade, pulled.head_bias)
    normalize_back(np.dot(dmade, p.head.T), work.final_input, work.final_inverse, dx)
    for i in range(len(p.query) - 1, -1, -1):
        sum_rows(dx, pulled.down_bias[i])
        np.dot(work.hidden[i].T, dx, pulled.down[i])
        dhidden = np.dot(dx, p.down[i].T)
        dhidden *= work.slope[i]
        sum_rows(dhidden, pulled.up_bias[i])
        np.dot(work.mlp_input[i].T, dhidden, pulled.up[i])
        normalize_back(np.dot(dhidden, p.up[i].T), work.mlp_input[i], work.mlp_inverse[i], dx)
        sum_rows(dx, pulled.output_bias[i])
        dy = np.zeros_like(dx)
        for h in range(p.query.shape[1]):
            _attend_back(p, work, i, h, dx, pulled, dy)
        normalize_back(dy, work.attention_input[i], work.attention_inverse[i], dx)
    sum_rows(dx, pulled.embed_bias)
    np.dot(work.patches.T, dx, pulled.embed)
    if len(p.offset) > 0:
        dpatches = np.dot(dx, p.embed.T)
        if work.residual:
            dpatches += dmade
        _put(dpatches, work.grid, pulled.offset)


@kernel
def _take(codes, grid, patches):
    """OUT patches [T, S D]: the codes [K, D] of each token side by side, 0 where there is none."""
    dim = codes.shape[1]
    for t in range(grid.shape[0]):
        for s in range(grid.shape[1]):
            for d in range(dim):
                patches[t, s * dim + d] = codes[grid[t, s], d] if grid[t, s] < len(codes) else 0


@kernel
def _put(patches, grid, codes):
    """OUT codes [K, D], each from its place in its token."""
    dim = codes.shape[1]
    for t in range(grid.shape[0]):
        for s in range(grid.shape[1]):
            if grid[t, s] < len(codes):
                codes[grid[t, s]] = patches[t, s * dim : (s + 1) * dim]


@kernel
def _attend(p, work, i, h):
    """One head of block i: from attention_input to attended."""
    y, shares = work.attention_input[i], work.shares[i, h]
    for weight, bias, result in (
        (p.query[i, h], p.query_bias[i, h], work.query[i, h]),
        (p.key[i, h], p.key_bias[i, h], work.key[i, h]),
        (p.value[i, h], p.value_bias[i, h], work.value[i, h]),
    ):
        np.dot(y, weight, result)
        result += bias
    np.dot(work.query[i, h], work.key[i, h].T, shares)
    softmax(shares, y.dtype.type(1 / math.sqrt(work.query.shape[3])))
    np.dot(shares, work.value[i, h], work.attended[i, h])


@kernel
def _attend_back(p, work, i, h, dx, pulled, dy):
    """IN dx; OUT the head's part of pulled; added to dy, the gradient of attention_input."""
    y, shares = work.attention_input[i], work.shares[i, h]
    np.dot(work.attended[i, h].T, dx, pulled.output[i, h])
    dattended = np.dot(dx, p.output[i, h].T)
    dscores, unit = np.dot(dattended, work.value[i, h].T), y.dtype.type(1 / math.sqrt(work.query.shape[3]))
    for t in range(len(dscores)):
        mean = np.dot(dscores[t], shares[t])
        for j in range(dscores.shape[1]):
            dscores[t, j] = unit * shares[t, j] * (dscores[t, j] - mean)
    for part, weight, dweight, dbias in (
        (np.dot(dscores, work.key[i, h]), p.query[i, h], pulled.query[i, h], pulled.query_bias[i, h]),
        (np.dot(dscores.T, work.query[i, h]), p.key[i, h], pulled.key[i, h], pulled.key_bias[i, h]),
        (np.dot(shares.T, dattended), p.value[i, h], pulled.value[i, h], pulled.value_bias[i, h]),
    ):
        np.dot(y.T, part, dweight)
        sum_rows(part, dbias)
        dy += np.dot(part, weight.T)
