"""Codebooks that are made by a map, C = T_theta(C_0): what a gradient step on theta does to the codes.

To first order in the step size eta, and exactly for a linear map, gradient descent on theta moves
the codes by

    Delta C = -eta Theta G,    Theta = J J^T [KD, KD],    J = dC / dtheta,    G_k = p_k (c_k - m_k)

Theta is the tangent kernel; plain vector quantization has Theta = I. With a stationary encoder the loss
L = E|x - c_q|^2 / 2 falls as dL/dt = -|J^T G|^2 <= -lambda_min |G|^2: where Theta stays positive
definite, a codebook at rest is a k-means solution. Rank alone does not say how fast, so the spectrum
is reported whole. Under a steady drift of velocity v e the codes can only follow with
Theta G = -(v / eta) (1 (x) e), and the mean of the samples' lag behind their codes is

    sum_k p_k (m_k - c_k) . e = (v / eta) (1 (x) e)^T Theta^-1 (1 (x) e),    K v / eta for Theta = I
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh, eigvalsh

from vqtheory._base import check
from vqtheory.protocols import Rule, State
from vqtheory.rules import VQ
from vqtheory.theory._arguments import closed_form, integers, plain, reals
from vqtheory.theory._jacobian import Jacobian, MadeByAMap, lanczos_extremes

_JACOBIAN = 2**27  # entries of J [KD, P] that are held in memory, 1 GB
_DENSE = 5000  # rows of the largest matrix that is diagonalised, a minute


@dataclass(frozen=True, repr=False)
class TangentKernel:
    """Theta = J J^T of a map rule, in units in which a step of SGD moves the codes by -eta Theta G.

    With a matched start that scales the map's output by s, the rule's own division of the step by
    s^2 is in it: Theta is that of the map's output before the scaling.

    Attributes
    ----------
    num_codes, dim, num_parameters : int
        K, D, and the length of theta.
    method : str
        "identity", "exact", "gram" or "lanczos", see `tangent_kernel`.
    trace : float
        The sum of the eigenvalues. trace / (KD) is the mean step of a code that wins, in units of
        plain VQ's: compare rules at equal trace.
    lambda_min, lambda_max : float
        The extreme eigenvalues.
    rank : int or None
        Eigenvalues above the tolerance; None with "lanczos".
    effective_rank : float
        (sum lambda)^2 / sum lambda^2, the number of equal eigenvalues that would have the same two sums.
    shift_gain : float
        u^T Theta u for a shift of all codes together, u = 1 (x) e / sqrt(K), mean over the axes e. 1 for
        plain VQ, 1 + beta K for Theta = I + beta 1 1^T.
    scaling_gain : float
        u^T Theta u for u = C - mean, normalised: how fast the codebook's spread changes. nan without spread.
    shift_lag : float or None
        (1 (x) e)^T Theta^+ (1 (x) e) / K, mean over the axes: the lag under a steady drift over plain
        VQ's. At least 1 / shift_gain; inf for a map that cannot shift its codes. None with "gram" and "lanczos".
    eigenvalues : float [min(KD, P)] or None
        Ascending; the other KD - P of a map with fewer parameters than that are 0. None with "lanczos".
    matrix : float [KD, KD] or None
        Theta itself, row k D + d for coordinate d of code k. None where it is not held in memory.
    """

    num_codes: int
    dim: int
    num_parameters: int
    method: str
    trace: float
    lambda_min: float
    lambda_max: float
    rank: int | None
    effective_rank: float
    shift_gain: float
    scaling_gain: float
    shift_lag: float | None = None
    eigenvalues: np.ndarray | None = None
    matrix: np.ndarray | None = None

    def lag(self, speed: Any, step_size: Any) -> Any:
        """The mean of (x - c_q(x)) . e under a steady drift of this speed, (K v / eta) shift_lag; may be inf."""
        if self.shift_lag is None:
            raise ValueError(f"The lag needs a kernel with method='exact'. This one has method={self.method!r}.")
        speed, step_size = reals("lag", "speed", speed), reals("lag", "step_size", step_size, 0, above=True)
        with np.errstate(over="ignore"):
            return plain(self.num_codes * speed / step_size * self.shift_lag)

    def __repr__(self) -> str:
        rank = "rank unknown" if self.rank is None else f"rank {self.rank:,} of {self.num_codes * self.dim:,}"
        return (
            f"TangentKernel({self.num_codes} codes in {self.dim} dimensions, {self.num_parameters:,} parameters: {rank}, "
            f"effective {self.effective_rank:.4g}, lambda {self.lambda_min:.3g} to {self.lambda_max:.3g}, "
            f"mean {self.trace / (self.num_codes * self.dim):.3g}, gain {self.shift_gain:.3g} on a shift and "
            f"{self.scaling_gain:.3g} on scaling; {self.method})"
        )


def tangent_kernel(
    rule: Rule, state: State, *, method: str = "auto", tolerance: float | None = None, steps: int = 100, seed: int = 0
) -> TangentKernel:
    """The tangent kernel of a rule at a state, with its spectrum and its gains.

    Parameters
    ----------
    rule : map rule or VQ
        `TransVQ`, `SimVQ`, or any rule with a ``pullback(state, gradient)`` whose state has a field
        `theta` (and whose `advance` makes the codes anew from it). Plain VQ has the identity.
    state : NamedTuple
        Of the rule, at which the kernel is taken.
    method : {"auto", "exact", "gram", "lanczos"}, default "auto"
        "exact": Theta from KD pullbacks, J in memory, then all eigenvalues. "gram": J^T J [P, P] for a map
        with few parameters P, which has the same eigenvalues but for zeros. "lanczos": matrix-free, for
        the rest: `steps` products with Theta. There lambda_max and the gains are good to many digits;
        lambda_min is an upper bound, which falls to the eigenvalue as `steps` grows (0 where P < KD);
        trace and effective rank are Hutchinson estimates of relative standard deviation about
        sqrt(2 / (effective rank * steps)). "auto" takes the first that fits into 1 GB and a minute.
    tolerance : float, optional
        Eigenvalues above tolerance * lambda_max count as rank; by default KD times the rounding unit.
    steps : int, default 100
        Products with Theta, for "lanczos".
    seed : int, default 0
        Of the random vectors of "lanczos".

    Notes
    -----
    J^T g is the rule's own pullback, exact to rounding. J v, which "gram" and "lanczos" need, is a
    difference of fourth order along v, good to about 1e-9 of its size; "exact" does without it. All
    is done in float64, also for a state in float32.

    Raises
    ------
    ValueError
        For a rule that is neither plain VQ nor made by a map.

    Examples
    --------
    A linear map without bias moves 8 codes in the plane by four numbers:

    >>> import numpy as np
    >>> from vqtheory.rules import SimVQ, VQ
    >>> codes = np.random.default_rng(0).normal(size=(8, 2))
    >>> rule = SimVQ(bias=False)
    >>> kernel = tangent_kernel(rule, rule.init(codes))
    >>> kernel.rank, kernel.shift_lag
    (4, inf)
    >>> kernel = tangent_kernel(VQ(), VQ().init(codes))
    >>> kernel.rank, kernel.shift_gain, kernel.trace
    (16, 1.0, 16.0)
    """
    check.choice("tangent_kernel", "method", method, ["auto", "exact", "gram", "lanczos"])
    check.integer("tangent_kernel", "steps", steps, 2)
    check.integer("tangent_kernel", "seed", seed, 0)
    if tolerance is not None:
        tolerance = check.real("tangent_kernel", "tolerance", tolerance, 0)
    if not hasattr(state, "codes") or not isinstance(state, tuple):
        raise check.fail("tangent_kernel", "state", "a state of the rule, as its init gives one", state)
    if not isinstance(rule, MadeByAMap):
        return _identity(rule, state)
    jacobian = Jacobian(rule, state)
    if method == "auto":
        method = _affordable(jacobian)
    if method == "lanczos":
        return _by_lanczos(jacobian, steps, np.random.default_rng(seed))
    if tolerance is None:
        tolerance = jacobian.rows * float(np.finfo(np.float64).eps)
    return _exact(jacobian, tolerance) if method == "exact" else _by_gram(jacobian, tolerance)


@closed_form
def shared_shift_gain(beta: Any, num_codes: Any) -> Any:
    """1 + beta K: the factor by which a shared shift, Theta = I + beta 1 1^T, multiplies the critical speed.

    Exact in the fluid limit. With v_c ~ K^-3 for plain VQ a shared shift makes that K^-2; it does not
    make drift harmless. Broadcasts.

    Examples
    --------
    >>> shared_shift_gain(0.1, [10, 100]).tolist()
    [2.0, 11.0]
    """
    owner = "shared_shift_gain"
    return plain(1 + reals(owner, "beta", beta) * integers(owner, "num_codes", num_codes))


@closed_form
def rigid_lag(speed: Any, step_size: Any, width: Any = 1.0) -> Any:
    """How far a codebook that can only shift as a whole, Theta = 1 1^T, trails a drifting cloud.

    Uniform cloud of this width in one dimension, many codes evenly over the same width. Only the samples
    that stick out by up to the lag pull, with lag^2 / (2 width) in sum, so that

        lag = sqrt(2 v width / eta)    up to v / eta = width / 2,    v / eta + width / 2 beyond

    A code is in use where there are still samples: 1 - lag / width of them, see `rigid_usage`. Exact in
    the fluid limit up to a part of order 1/K. A kernel beta 1 1^T has step size beta eta. Broadcasts.

    Examples
    --------
    >>> rigid_lag([0.005, 0.02, 1.0], step_size=1.0).round(12).tolist()
    [0.1, 0.2, 1.5]
    """
    pull, width = _pull_and_width("rigid_lag", speed, step_size, width)
    return plain(_rigid_lag(pull, width))


@closed_form
def rigid_usage(speed: Any, step_size: Any, width: Any = 1.0) -> Any:
    """Fraction of the codes of a rigid codebook that are in use during a steady drift: max(0, 1 - lag / width).

    Examples
    --------
    >>> float(rigid_usage(0.02, step_size=1.0))
    0.8
    """
    pull, width = _pull_and_width("rigid_usage", speed, step_size, width)
    return plain(np.maximum(0.0, 1 - _rigid_lag(pull, width) / width))


def _pull_and_width(owner: str, speed: Any, step_size: Any, width: Any) -> tuple[np.ndarray, np.ndarray]:
    """v / eta and the width, checked."""
    pull = reals(owner, "speed", speed, 0) / reals(owner, "step_size", step_size, 0, above=True)
    return pull, reals(owner, "width", width, 0, above=True)


def _rigid_lag(pull: np.ndarray, width: np.ndarray) -> np.ndarray:
    return np.where(2 * pull <= width, np.sqrt(2 * pull * width), pull + width / 2)


def _affordable(jacobian: Jacobian) -> str:
    if jacobian.rows <= _DENSE and jacobian.rows * jacobian.columns <= _JACOBIAN:
        return "exact"
    return "gram" if jacobian.columns <= min(_DENSE, jacobian.rows) else "lanczos"


def _shifts(num_codes: int, dim: int) -> np.ndarray:
    """1 (x) e for every axis e, [KD, D]."""
    return np.kron(np.ones((num_codes, 1)), np.eye(dim))


def _gains(jacobian: Jacobian) -> dict[str, Any]:
    """The gains on shifting and on scaling, from pullbacks alone."""
    shifts = [jacobian.gain(column) for column in _shifts(jacobian.num_codes, jacobian.dim).T]
    return {
        "shift_gain": float(np.mean(shifts)),
        "scaling_gain": jacobian.gain((jacobian.codes - jacobian.codes.mean(axis=0)).ravel()),
    }


def _summary(jacobian: Jacobian, eigenvalues: np.ndarray, tolerance: float) -> dict[str, Any]:
    """What all eigenvalues that can differ from 0, ascending, say."""
    values = np.maximum(eigenvalues, 0)  # rounding leaves some below
    return {
        "num_codes": jacobian.num_codes,
        "dim": jacobian.dim,
        "num_parameters": jacobian.columns,
        "trace": float(values.sum()),
        "lambda_min": float(values[0]) if len(values) == jacobian.rows else 0.0,
        "lambda_max": float(values[-1]),
        "rank": int((values > tolerance * values[-1]).sum()),
        "effective_rank": float(values.sum() ** 2 / np.sum(values**2)) if values[-1] > 0 else 0.0,
        "eigenvalues": values[-min(jacobian.rows, jacobian.columns) :],
        **_gains(jacobian),
    }


def _exact(jacobian: Jacobian, tolerance: float) -> TangentKernel:
    rows = np.empty((jacobian.rows, jacobian.columns))
    for row, unit in zip(rows, np.eye(jacobian.rows), strict=True):
        row[:] = jacobian.pull(unit)
    matrix = rows @ rows.T
    values, vectors = eigh(matrix)
    lag = _shift_lag(values, vectors, jacobian.num_codes, jacobian.dim, tolerance)
    return TangentKernel(method="exact", shift_lag=lag, matrix=matrix, **_summary(jacobian, values, tolerance))


def _shift_lag(values: np.ndarray, vectors: np.ndarray, num_codes: int, dim: int, tolerance: float) -> float:
    """(1 (x) e)^T Theta^+ (1 (x) e) / K, mean over the axes; inf for a shift outside of the range of Theta."""
    parts = (vectors.T @ _shifts(num_codes, dim)) ** 2 / num_codes  # shares [KD, D], each column sums to 1
    kept = values > tolerance * values[-1]
    if parts[~kept].sum() > 1e-9:
        return float("inf")
    return float(np.sum(parts[kept] / values[kept, None]) / dim)


def _by_gram(jacobian: Jacobian, tolerance: float) -> TangentKernel:
    matrix = np.stack([jacobian.pull(jacobian.push(unit)) for unit in np.eye(jacobian.columns)])
    values = eigvalsh((matrix + matrix.T) / 2)
    # the differences in J v are good to 1e-9, below which nothing counts as rank
    return TangentKernel(method="gram", **_summary(jacobian, values[-jacobian.rows :], max(tolerance, 1e-8)))


def _by_lanczos(jacobian: Jacobian, steps: int, random: np.random.Generator) -> TangentKernel:
    lowest, highest = lanczos_extremes(jacobian.apply, random.normal(size=jacobian.rows), steps)
    signs = random.choice([-1.0, 1.0], size=(max(2, steps // 4), jacobian.rows))
    pulled = [jacobian.pull(sign) for sign in signs]
    trace = float(np.mean([np.sum(p**2) for p in pulled]))
    squares = float(np.mean([np.sum(jacobian.push(p) ** 2) for p in pulled]))
    return TangentKernel(
        num_codes=jacobian.num_codes,
        dim=jacobian.dim,
        num_parameters=jacobian.columns,
        method="lanczos",
        trace=trace,
        lambda_min=0.0 if jacobian.columns < jacobian.rows else max(lowest, 0.0),
        lambda_max=highest,
        rank=None,
        effective_rank=trace**2 / squares,
        **_gains(jacobian),
    )


def _identity(rule: Rule, state: State) -> TangentKernel:
    if not isinstance(rule, VQ) or rule.clock != "step":
        requirement = "a map rule, with a method 'pullback', or VQ, whose kernel is the identity"
        raise check.fail("tangent_kernel", "rule", requirement, rule)
    num_codes, dim = state.codes.shape
    size, small = num_codes * dim, num_codes * dim <= _DENSE
    return TangentKernel(
        num_codes=num_codes,
        dim=dim,
        num_parameters=size,
        method="identity",
        trace=float(size),
        lambda_min=1.0,
        lambda_max=1.0,
        rank=size,
        effective_rank=float(size),
        shift_gain=1.0,
        scaling_gain=1.0,
        shift_lag=1.0,
        eigenvalues=np.ones(size),
        matrix=np.eye(size) if small else None,
    )
