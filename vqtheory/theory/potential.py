"""One law for every smooth drift: how many codes live, by the potential of the encoder's flow.

In the cloud's own frame let an update of the encoder leave a code at u behind by F(u) = v + g u + A u: a translation v, a
growth by e^g, an affine motion. Where F = grad Phi, a codebook of many codes of spacing h is at rest if

===================  ===========================================================================  =================
plain VQ (SGD)       f h^(D+2) = (Phi - Phi_min) / (eta M)                                        e = D / (D+2)
EMA, uniform f       h^2 = (Phi - Phi_min) 2 / (M (D+2) (1 - gamma))                              e = D / 2
Adam                 2 sqrt(M f N) lr h^((D+2)/2) = Phi - Phi_min                                 e = 2D / (D+2)
===================  ===========================================================================  =================

with M the second moment of a unit cell per dimension. For SGD it is the balance of the push -grad dE/drho of the distortion
E = (D M / 2) integral of f rho^(-2/D), rho = h^-D, against the drift. So in each case rho = (c / (Phi - Phi_min))^e
f^(D/(D+2)), and as many codes can live as

    K_live = c^e integral of (Phi - Phi_min)^(-e) f^(D/(D+2)) dx.

A larger codebook loses the surplus where Phi_min is on the boundary, or crowds it, all but without mass, about a Phi_min
inside. `critical_speed`, `critical_shrink_rate` and `uncrowded_codes` for many codes are special cases.

*Which Phi.* F is free up to fields that carry f into itself: of a cloud with covariance S and elliptical contours these are
Omega S^-1 u with Omega antisymmetric, and one of them makes any A symmetric. What is left of A is a potential.

*Where it ends.* A tail is left behind where f < 0.0250 (F . s)+ / eta |s|^D with s = grad ln f, which in one dimension is
`tail_edges`. In one dimension every component of a support with gaps has its own Phi_min; in more dimensions the support is
taken to be connected, and the lowest Phi counts.

*The trailing layer.* In D >= 2 codes at a face where Phi is least are not as small as one likes: Phi is lifted there by
beta_D |F| (|F| / (eta f))^(1/(D+1)), with beta_D = 0.35, 0.33 and 0.25 in 2, 3 and 4 dimensions as measured (claims
cube-survivors-*); a^(1/(D+1)) is the only length that a and a flat face make, and its factor depends on the lattice of the
first layers, which no continuum knows.

*Where the integral diverges.* (Phi - Phi_min)^(-e) is not integrable where the volume below a level rises as its q-th power
with q <= e: for EMA and Adam at a flat face across the drift in D >= 2 (q = 1; a corner has q = D, a smooth body (D+1)/2, an
inner minimum D/2). There the first layers hold most codes, and no continuum tells how many.

Derived for this package.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from vqtheory._base import check
from vqtheory.protocols import Rule
from vqtheory.rules import VQ
from vqtheory.streams.base import Source
from vqtheory.theory import _clouds
from vqtheory.theory._arguments import beyond, closed_form
from vqtheory.theory._clouds import Cloud
from vqtheory.theory._flow import Flow, Mobility, component_codes, components, mobility_of

TRAILING_LAYER = {1: 0.0, 2: 0.35, 3: 0.33, 4: 0.25}  # beta_D, measured
MOST_DIMENSIONS, MOST_LATENTS = 8, 2**14
_TURNS = 0.02  # the share of a matrix that is left of a rotation of an isotropic cloud
_NEAR = 1e-3  # ln of codes over K, within which a drift is the critical one
LEAST_LAYERS, LEAST_LATENTS = 2.0, 10  # codes to an axis, and latents to a code


@dataclass(frozen=True)
class LiveCodes:
    """How many codes a drift leaves alive.

    Attributes
    ----------
    codes : float or None
        K_live; infinite where no code is lost, None where the law says nothing.
    carrying : float
        As many of them win a tenth of the mean share of latents, or more: under growth codes crowd about the place that
        rests, with little mass, and how many of them are used depends on the window.
    error : float
        Standard error of the integral over points; of latents, that of their subsample.
    dim : int
        D, the number of dimensions that the cells resolve.
    validity : str
        What the figure is to be taken for, or why there is none.
    """

    codes: float | None
    carrying: float
    error: float
    dim: int
    validity: str = ""

    @property
    def layers(self) -> float:
        """How many codes there are to an axis, K^(1/D); 0 where the law says nothing."""
        return 0.0 if self.codes is None else self.codes ** (1 / self.dim)


@closed_form
def live_codes(
    cloud: Any,
    *,
    velocity: Any = 0.0,
    growth: float = 0.0,
    matrix: Any = None,
    step_size: float = 0.05,
    rule: Rule | None = None,
    batch_size: int = 1024,
    trailing_layer: bool = True,
    seed: int = 0,
) -> LiveCodes:
    """How many codes of a large codebook a steady drift leaves alive: K_live = c^e int (Phi - Phi_min)^(-e) f^(D/(D+2)) dx.

    An asymptotic law for many codes. For plain VQ c = eta M and e = D/(D+2); the other rules are in the module's docstring.

    Parameters
    ----------
    cloud : frozen scipy distribution, source, or array [N, D]
        The latents at one time: a density in one dimension, a source of `vqtheory.streams` whose density is known, or
        latents themselves. Of latents f is estimated on their first principal axes, on as many as leave the most codes; an
        edge is blurred by that, which leaves up to a fifth too many or too few, by a corner in 4-D a third.
    velocity : float or array [D], default 0
        v, how far an update of the encoder moves the cloud's mean. A number moves it along the first axis; latents, along
        their first principal axis.
    growth : float, default 0
        g: an update makes the cloud e^g times as wide; negative for a cloud that shrinks.
    matrix : array [D, D], optional
        A, an affine motion u -> u + A u about the mean, beside `growth`.
    step_size : float, default 0.05
        eta of plain VQ.
    rule : EMA, or TrainedVQ under SGD or Adam, optional
        In place of plain VQ at `step_size`.
    batch_size : int, default 1024
        N, latents in an update. For Adam.
    trailing_layer : bool, default True
        Whether Phi is lifted at its minimum by the measured size of the first layer, in two and more dimensions.
    seed : int, default 0
        Of the points, and of the subsample of latents.

    Returns
    -------
    LiveCodes
        `codes` is infinite where no code is lost, and None, with nan beside it, where the law says nothing.

    Raises
    ------
    ValueError
        For shapes that do not fit, a density that does not integrate to 1, and rules without such a law.

    Warns
    -----
    UserWarning
        Where the law has no content: fewer than two codes to an axis, or fewer than ten latents to a code.

    Examples
    --------
    A translation leaves (9 eta / 32 v)^(1/3) codes of a uniform cloud, growth (18 eta / g)^(1/3):

    >>> from scipy import stats
    >>> cloud = stats.uniform()
    >>> round(live_codes(cloud, velocity=1e-6).codes, 1), round(live_codes(cloud, growth=1e-6).codes, 1)
    (24.1, 96.5)
    >>> from vqtheory.streams import Gaussian
    >>> both = live_codes(Gaussian(dim=3), velocity=[1e-5, 0, 0], growth=1e-5)
    >>> both.dim, round(both.codes, -1)
    (3, 180.0)
    """
    owner = "live_codes"
    question = _question(owner, cloud, velocity, growth, matrix, step_size, rule, batch_size, trailing_layer, seed)
    if not question.drifts:
        return LiveCodes(math.inf, math.inf, 0.0, question.views[0].cloud.dim, "Nothing drifts, and no code is lost.")
    answer = question.answer()
    if answer.codes is None:
        return answer
    if math.isnan(answer.codes):
        raise beyond(owner)
    return _with_content(answer, question)


@closed_form
def critical_drift(
    cloud: Any,
    num_codes: int,
    *,
    velocity: Any = 0.0,
    growth: float = 0.0,
    matrix: Any = None,
    step_size: float = 0.05,
    rule: Rule | None = None,
    batch_size: int = 1024,
    trailing_layer: bool = True,
    seed: int = 0,
) -> float:
    """How many times as fast a drift may be for `num_codes` codes to live: `live_codes` of the factor times the drift is K.

    The critical speed is this factor times `velocity`, the critical growth this factor times `growth`. Plain VQ depends on
    the drift over the step size alone, so that the step size that would save all K codes is `step_size` over this factor.

    Parameters
    ----------
    cloud, velocity, growth, matrix, step_size, rule, batch_size, trailing_layer, seed
        As for `live_codes`.
    num_codes : int
        K >= 2.

    Returns
    -------
    float
        nan where the law says nothing, infinite where nothing drifts.

    Raises
    ------
    ValueError
        As `live_codes`.

    Examples
    --------
    >>> from scipy import stats
    >>> factor = critical_drift(stats.uniform(), 64, velocity=1e-6)
    >>> round(factor * 1e-6 / (9 / 32 * 0.05 / 64**3), 2)
    1.0
    """
    owner = "critical_drift"
    num_codes = check.integer(owner, "num_codes", num_codes, 2)
    question = _question(owner, cloud, velocity, growth, matrix, step_size, rule, batch_size, trailing_layer, seed)
    if not question.drifts:
        return math.inf

    def excess(log_factor: float) -> float:
        codes = question.answer(math.exp(log_factor)).codes
        return math.log(codes) - math.log(num_codes) if codes is not None and codes > 0 else math.nan

    low, high = -1.0, 1.0
    while excess(low) < 0 and low > -300:
        low *= 2
    while excess(high) > 0 and high < 300:
        high *= 2
    if not excess(low) > 0:
        return math.nan
    while high - low > 1e-6:  # by halving, since beyond some drift there may be no law
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return math.exp(low) if excess(low) < _NEAR else math.nan


class View(NamedTuple):
    """A cloud in as many dimensions as cells may resolve, and how far an update leaves a code behind there."""

    cloud: Cloud
    velocity: np.ndarray  # [D]
    matrix: np.ndarray  # symmetric, [D, D]
    mobility: Mobility

    @property
    def least(self) -> float:
        """The codes from which on cells are shorter than the cloud along each of its axes."""
        sides = np.sqrt(np.linalg.eigvalsh(self.cloud.covariance))
        return float(np.prod(sides / sides[0]))


class Question(NamedTuple):
    """What is asked, in each number of dimensions."""

    views: list[View]
    trailing_layer: bool
    latents: int | None  # how many there are, where the cloud is latents

    @property
    def drifts(self) -> bool:
        """Whether anything moves."""
        return any(view.velocity.any() or view.matrix.any() for view in self.views)

    def answer(self, factor: float = 1.0) -> LiveCodes:
        """K_live of the drift times a factor, in as many dimensions as leave the most codes."""
        answers = [_count(view, factor, self.trailing_layer) for view in self.views]
        known = [answer for answer in answers if answer.codes is not None]
        resolving = [
            answer
            for answer, view in zip(answers, self.views, strict=True)
            if answer.codes is not None and answer.layers >= LEAST_LAYERS and answer.codes >= view.least
        ]
        return max(resolving or known[:1] or answers[:1], key=lambda answer: answer.codes or 0.0)


def _question(
    owner: str,
    cloud: Any,
    velocity: Any,
    growth: float,
    matrix: Any,
    step_size: float,
    rule: Rule | None,
    batch_size: int,
    trailing_layer: bool,
    seed: int,
) -> Question:
    growth, seed = check.real(owner, "growth", growth), check.seed(owner, seed)
    check.flag(owner, "trailing_layer", trailing_layer)
    rule = VQ(step_size=check.real(owner, "step_size", step_size, 0, above=True)) if rule is None else rule
    batch_size = check.integer(owner, "batch_size", batch_size)
    latents = None if _is_density(cloud) else check.matrix(owner, "cloud", cloud).astype(np.float64)
    dim = latents.shape[1] if latents is not None else cloud.dim if isinstance(cloud, Source) else 1
    shift, motion = _vector(owner, velocity, dim), growth * np.eye(dim)
    if matrix is not None:
        motion = motion + _square(owner, matrix, dim)
    if latents is not None:
        views = _projected(
            owner, latents, shift if isinstance(velocity, (list, tuple, np.ndarray)) else float(shift[0]), motion, seed
        )
    elif isinstance(cloud, Source):
        views = [(_clouds.of_source(owner, cloud, seed=seed), shift, motion)]
    else:
        views = [(_clouds.of_density(owner, cloud), shift, motion)]
    return Question(
        [
            View(points, v, _symmetric(A, points.covariance), mobility_of(owner, rule, points.dim, batch_size))
            for points, v, A in views
        ],
        trailing_layer,
        None if latents is None else len(latents),
    )


def _is_density(cloud: Any) -> bool:
    return isinstance(cloud, Source) or callable(getattr(cloud, "pdf", None))


def _vector(owner: str, velocity: Any, dim: int) -> np.ndarray:
    if not isinstance(velocity, (list, tuple, np.ndarray)):
        return check.real(owner, "velocity", velocity) * np.eye(dim)[0]
    return check.finite(owner, "velocity", check.vector(owner, "velocity", velocity, dim).astype(np.float64))


def _square(owner: str, matrix: Any, dim: int) -> np.ndarray:
    square = check.matrix(owner, "matrix", matrix, dim)
    if len(square) != dim:
        raise check.fail(owner, "matrix", f"an array [{dim}, {dim}]", matrix)
    return square.astype(np.float64)


def _projected(owner: str, latents: np.ndarray, velocity: Any, matrix: np.ndarray, seed: int) -> list[tuple]:
    """Of latents: a subsample on as few of its principal axes as hold half of the drift, and on more, up to eight."""
    if len(latents) < 2 * LEAST_LATENTS:
        raise check.fail(owner, "cloud", f"at least {2 * LEAST_LATENTS} latents", f"{len(latents)}")
    centred = latents - latents.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    if not variances[-1] > 0:
        raise check.fail(owner, "cloud", "latents that are not all at one place", latents)
    most = min(MOST_DIMENSIONS, int(np.sum(variances > 1e-12 * variances[-1])))
    axes = axes[:, ::-1]
    shift = velocity * np.eye(len(axes))[0] if np.ndim(velocity) == 0 else axes.T @ velocity
    motion = axes.T @ matrix @ axes
    chosen = np.random.default_rng(seed).permutation(len(centred))[:MOST_LATENTS]
    inside = centred[chosen] @ axes
    squares = np.cumsum(np.mean((shift + inside @ motion.T) ** 2, axis=0))
    least = 1 + int(np.searchsorted(squares, squares[-1] / 2))
    return [(_clouds.of_latents(inside[:, :d]), shift[:d], motion[:d, :d]) for d in range(min(least, most), most + 1)]


def _symmetric(matrix: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """A without the part Omega S^-1 that carries a cloud of elliptical contours into itself."""
    inverse = np.linalg.inv(covariance)
    turn = linalg.solve_continuous_lyapunov(inverse, matrix - matrix.T)
    left = matrix - turn @ inverse
    if np.linalg.norm(left) < _TURNS * np.linalg.norm(matrix):  # a covariance of points is not exact
        return np.zeros_like(left)
    return (left + left.T) / 2


def _count(view: View, factor: float, trailing_layer: bool) -> LiveCodes:
    """K_live in one view; in one dimension, the sum over the components of the support."""
    cloud, velocity, matrix = view.cloud, factor * view.velocity, factor * view.matrix
    if not (velocity.any() or matrix.any()):
        return LiveCodes(None, math.nan, math.nan, cloud.dim, "Nothing drifts in the dimensions that cells resolve.")
    flow = Flow(velocity, matrix, view.mobility, TRAILING_LAYER[min(cloud.dim, 4)] if trailing_layer else 0.0)
    on_the_line = cloud.dim == 1 and cloud.at is not None
    parts = components(cloud, flow) if on_the_line else [np.ones(len(cloud.density), bool)]
    counts = [component_codes(cloud, flow, part) for part in parts]
    if reasons := [count for count in counts if isinstance(count, str)]:
        return LiveCodes(None, math.nan, math.nan, cloud.dim, reasons[0])
    codes, carrying, errors = np.array(counts).T
    validity = _validity(cloud)
    return LiveCodes(float(codes.sum()), float(carrying.sum()), float(np.hypot.reduce(errors)), cloud.dim, validity)


def _validity(cloud: Cloud) -> str:
    known = "" if cloud.at is not None else f" The density is estimated from {len(cloud.density):,} latents."
    return f"A law of many codes, in {_dimensions(cloud.dim)}.{known}"


def _dimensions(dim: int) -> str:
    return f"{dim} dimension{'s' * (dim > 1)}"


def _with_content(answer: LiveCodes, question: Question) -> LiveCodes:
    """The answer, or a warning and none where it has no content."""
    codes = answer.codes
    assert codes is not None
    if math.isinf(codes):
        crowd = "Codes crowd about the place that the drift leaves alone, and none is lost."
        return LiveCodes(codes, math.nan, 0.0, answer.dim, crowd)
    if answer.layers < LEAST_LAYERS:
        reason = f"A law of many codes, and {codes:.2g} codes are fewer than two to an axis in {_dimensions(answer.dim)}."
        warnings.warn(reason, stacklevel=4)
        return LiveCodes(None, math.nan, math.nan, answer.dim, reason)
    if question.latents is not None and question.latents < LEAST_LATENTS * codes:
        few = f"{question.latents:,} latents are fewer than ten to each of {codes:.4g} codes: give more."
        warnings.warn(few, stacklevel=4)
        return LiveCodes(codes, answer.carrying, answer.error, answer.dim, f"{answer.validity} {few}")
    return answer
