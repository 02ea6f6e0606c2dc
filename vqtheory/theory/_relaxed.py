"""The collapse law of any density in one dimension: the mean motion of the codes, relaxed to rest.

In the frame of the cloud and in units of eta t the codes move by

    du_k/dt = g_k(u) - a,     g_k(u) = p_k (m_k - u_k) = integral over V_k of (x - u_k) f(x) dx.

This is the gradient flow of -(E min_k |x - u_k|^2 / 2 + a sum u_k). It is cooperative (a
code that moves up pulls its neighbours' borders, and so its neighbours, up), so that codes
that start above every steady state fall to the largest one if there is one, and if there is
none the lowest code falls out of the cloud for ever. In a steady state the codes above u_k
and u_k itself are pulled up by a each, all of it by samples above u_k:

    E max(x - u_k, 0) >= (K - k + 1) a.

Equality defines a start above all steady states, from which every code moves down. The
steps are those of the implicit Euler method, linearised, and grow as they succeed, so that
near rest they are Newton's. A density with gaps needs nothing special.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from vqtheory._base import check
from vqtheory.reference import lloyd_max
from vqtheory.reference.density import EPSILON, Cells, Density

MOST_CODES = 2**14  # a relaxation costs milliseconds for a hundred codes, and seconds for a thousand
_MOST_STEPS = 20_000  # tens are usual; a tail like |x|^-3 through which a lost code falls takes thousands
_RESOLUTION = 1e-10  # relative width of the bracket of a critical lag
_NOTHING = 1e-30  # of a deviation: a lag that displaces no code by as much as rounding does
_ROUNDING = 1e-9  # a lag that exceeds the critical one by less counts as equal to it


class Seen:
    """A distribution as seen from its mean, along the drift: x is how far ahead of the mean."""

    def __init__(self, distribution: Any, direction: int) -> None:
        self.distribution, self.direction, self.origin = distribution, direction, float(distribution.mean())

    def pdf(self, x: np.ndarray) -> np.ndarray:
        return self.distribution.pdf(self.origin + self.direction * x)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        if self.direction > 0:
            return self.distribution.cdf(self.origin + x)
        survival = getattr(self.distribution, "sf", None)
        return 1 - self.distribution.cdf(self.origin - x) if survival is None else survival(self.origin - x)

    def mean(self) -> float:
        return 0.0

    def var(self) -> float:
        return float((getattr(self.distribution, "var", None) or self.distribution.variance)())

    def support(self) -> tuple[float, float]:
        low, high = sorted(self.direction * (float(end) - self.origin) for end in self.distribution.support())
        return low, high


class OnTheLine:
    """The law of a density in one dimension that drifts in `direction`."""

    def __init__(self, owner: str, distribution: Any, direction: int) -> None:
        if hasattr(distribution, "distribution"):  # a source of latents
            source, distribution = distribution, distribution.distribution()
            if distribution is None:
                raise check.fail(owner, "density", "a source in one dimension whose density is known", source)
        try:
            Density(owner, distribution)
            self.seen = Seen(distribution, direction)
            self.density = Density(owner, self.seen)
            self.fold = cache(self._fold)
        except ValueError as error:
            raise ValueError(str(error).replace("'distribution' parameter", "'density' parameter")) from None

    def critical_lag(self, num_codes: np.ndarray) -> np.ndarray:
        """The largest a at which K codes have a steady state; infinite for K = 1."""
        lags = [self.fold(K)[1] if K > 1 else np.inf for K in np.ravel(num_codes).tolist()]
        return np.array(lags).reshape(np.shape(num_codes))

    def can_live(self, num_codes: np.ndarray, lag: np.ndarray) -> np.ndarray:
        """Whether K codes have a steady state at a."""
        pairs = np.broadcast(num_codes, lag)
        found = [self._relaxed(int(K), float(a) * (1 - _ROUNDING)) is not None for K, a in pairs]
        return np.array(found, bool).reshape(pairs.shape)

    def steady_state(self, num_codes: int, lag: float) -> np.ndarray | None:
        """The largest steady state of the codes [K], ascending, or None."""
        codes = self._relaxed(num_codes, lag)
        if codes is None:
            return None
        return np.sort(self.seen.origin + self.seen.direction * codes)

    def _fold(self, num_codes: int) -> tuple[np.ndarray, float]:
        """The steady state of K >= 2 codes at the largest lag, seen along the drift, and that lag."""
        lag = self.density.deviation / num_codes**3
        codes = self._relaxed(num_codes, lag)
        while codes is None:
            lag /= 4
            codes = self._relaxed(num_codes, lag)
        while codes is not None:  # again if there is a steady state that was not below the one followed
            top, highest = self._climb(codes, lag)
            lag = highest * (1 + 1e-6)
            codes = self._from_above(num_codes, lag)
        return top, highest

    def _climb(self, codes: np.ndarray, low: float) -> tuple[np.ndarray, float]:
        """Follow a steady state as the lag rises, until it is lost."""
        high, lag, ahead, caution = np.inf, low, low, 1.0
        while high - low > _RESOLUTION * low:
            found = relaxed(self.density, codes, lag)
            if found is None:
                high, caution = lag, caution * (2 if lag == ahead else 1)
                lag = (low + high) / 2
            else:
                low, codes = lag, found
                ahead = low * (1 + self._rise(codes, low, caution))
                lag = ahead if ahead < high else min((low + high) / 2, 2 * low)
        return codes, low

    def _rise(self, codes: np.ndarray, lag: float, caution: float) -> float:
        """By how much of itself the lag can rise, rather less than more: from the parabola at a smooth fold.

        Along the lowest mode, of eigenvalue m, the force is s (a_c - a) - q x^2, and m = 2 q x at rest.
        """
        mode = lowest_mode(self.density, codes)
        rise = mode.eigenvalue**2 / (4 * mode.drift * max(mode.curvature, EPSILON) * lag)
        share = 1 - caution * rise**0.5
        return max(rise * share, 0.9 * _RESOLUTION) if share > 0.5 else np.inf

    def _relaxed(self, num_codes: int, lag: float) -> np.ndarray | None:
        if num_codes == 1:
            return np.array([-lag])
        if lag <= _NOTHING * self.density.deviation:
            return self._standing(num_codes)
        codes = self._from_above(num_codes, lag)
        if codes is None:  # where narrow pieces of mass are far apart, codes can jump past what would hold them
            start = self._from_above(num_codes, lag / 4)
            codes = None if start is None else relaxed(self.density, start, lag)
        return codes

    def _from_above(self, num_codes: int, lag: float) -> np.ndarray | None:
        return relaxed(self.density, _above_all(self.density, num_codes, lag), lag)

    def _standing(self, num_codes: int) -> np.ndarray:
        return lloyd_max(self.seen, num_codes).codes[:, 0]


def relaxed(density: Density, codes: np.ndarray, lag: float) -> np.ndarray | None:
    """Where codes that start above every steady state come to rest, or None if one is lost."""
    cells, step = density.cells(codes), 1.0
    for _ in range(_MOST_STEPS):
        if _is_lost(codes, cells, lag):
            return None
        velocity = cells.pull - lag
        rounding = 1e-12 * lag + 4 * EPSILON * cells.mass * (np.abs(codes) + density.deviation)
        if np.all(np.abs(velocity) <= rounding):
            return codes
        codes, cells, step = _implicit_step(density, codes, cells, lag, 4 * step)
    raise ValueError(
        f"{len(codes)} codes did not come to rest at the lag {lag:g}, too small for so exact a law of this density. "
        "Use high_resolution_codes, which is made for that."
    )


def hessian(density: Density, codes: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-dg/du, tridiagonal: its diagonal, and beside it -h_k f(b_k) / 4 with the gaps h_k."""
    coupling = density.pdf((codes[:-1] + codes[1:]) / 2) * np.diff(codes) / 4
    return mass - np.append(coupling, 0) - np.append(0, coupling), -coupling


class Mode(NamedTuple):
    """The mode that is lost at a fold: phi, the eigenvector of the least eigenvalue of -dg/du, of norm 1."""

    eigenvalue: float
    phi: np.ndarray  # > 0 [K], as in any cooperative system
    drift: float  # s = sum of phi
    curvature: float  # q = -(1/2) phi . d2g/du2 [phi, phi]


def lowest_mode(density: Density, codes: np.ndarray) -> Mode:
    """The mode along which codes in a steady state are least stable.

    With the means beta of phi on both sides of border b, and its rise there,
    q = -(1/2) sum over borders of 3 f beta^2 rise + h f' beta^3.
    """
    borders, gaps = (codes[:-1] + codes[1:]) / 2, np.diff(codes)
    diagonal, beside = hessian(density, codes, density.cells(codes).mass)
    (eigenvalue,), vectors = linalg.eigh_tridiagonal(diagonal, beside, select="i", select_range=(0, 0))
    phi = np.abs(vectors[:, 0])
    near = 1e-4 * gaps
    slope = (density.pdf(borders + near) - density.pdf(borders - near)) / (2 * near)
    beta, rise = (phi[:-1] + phi[1:]) / 2, np.diff(phi)
    curvature = -0.5 * np.sum(3 * density.pdf(borders) * beta**2 * rise + gaps * slope * beta**3)
    return Mode(float(eigenvalue), phi, float(phi.sum()), float(curvature))


def _implicit_step(
    density: Density, codes: np.ndarray, cells: Cells, lag: float, step: float
) -> tuple[np.ndarray, Cells, float]:
    """One step of at most `step`: (1/step - dg/du) du = g - a.

    Steps are shortened until the matrix is positive definite, no gap shrinks to less than a
    quarter, and no code falls past what would hold it: below that it would be pulled up hard.
    """
    velocity = cells.pull - lag
    diagonal, beside = hessian(density, codes, cells.mass)
    while True:
        step /= 4 if step > 1e-3 else 2
        try:
            factor = linalg.cholesky_banded(np.stack([diagonal + 1 / step, np.append(beside, 0)]), lower=True)
        except (linalg.LinAlgError, ValueError):  # ValueError: a border on a singularity, where f is infinite
            continue
        moved = codes + linalg.cho_solve_banded((factor, True), velocity)
        if np.all(np.diff(moved) >= np.diff(codes) * 0.75):
            after = density.cells(moved)
            if np.all((after.pull <= 1.1 * lag) | (velocity > 0)):
                return moved, after, 4 * step


def _is_lost(codes: np.ndarray, cells: Cells, lag: float) -> bool:
    """Whether the lowest code, wherever it goes from here, wins too little ever to stop.

    Its border b_1 and the code above it only go down, so that from now on
    g_1 <= (b_1 - u_1) P(x < b_1) <= E[(u_2 - x); x < b_1], which only goes down too.
    """
    return bool(cells.mass[0] * (codes[1] - codes[0]) - cells.pull[0] < lag)


def _above_all(density: Density, num_codes: int, lag: float) -> np.ndarray:
    """Codes with E max(x - u_k, 0) = (K - k + 1) a, to the resolution of three sets of nodes, each around the last."""
    wanted, codes = lag * np.arange(num_codes, 0, -1), np.empty(0)
    for _ in range(3):
        x, mass, _ = density.at(codes[codes > density.edges[0]])
        x, mass = x[::-1], mass[::-1]
        excess = np.cumsum(mass * x) - x * np.cumsum(mass)
        # A chord of this convex function lies above it. Below all nodes the function is mean - u = -u.
        codes = np.where(wanted < excess[-1], np.interp(wanted, excess, x), np.minimum(-wanted, x[-1]))
    return codes
