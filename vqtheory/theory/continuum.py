"""The collapse law for a drift that changes: how many codes are alive, update by update.

In the frame of the cloud and in units of its size, codes of density rho, a distance h = rho^(-1/D) apart, obey

    d rho / dt = -div(rho (eta M grad(f h^(D+2)) - F)),     F(u, t) = v(t) + g(t) u.

f is the density of the latents, M the second moment of a cell (`vqtheory.reference.cell_moment`), and F the distance
by which an update of the encoder leaves a code at u behind, in a cloud that moves by v and grows by the factor exp(g).
The push is minus the gradient of the distortion as a functional of rho: codes go to where cells cost most.

The diffusion in this equation, 3 eta M f rho^-3 in one dimension, vanishes where codes crowd, and their density can
become infinite. So the equation is solved for the places of the codes, ordered along the one coordinate that matters,
in which it has no singularity: du_k/dt = push - F. Two clouds have such a coordinate:

==============  ==============================================================================================
one dimension   push = eta p_k (m_k - u_k): the mean motion of every code, exact
uniform ball    push = eta (D/2) (M / M_ball) q_k^(D-1) (X_k^(2/D) - X_(k-1)^(2/D)), with q_k the distance of code k
                from the centre in radii, and X_k the share of the ball between the codes k and k + 1
==============  ==============================================================================================

In a ball of dimension 1 the two are one. Within the first code and beyond the last, where there is no other, X is twice
the share up to the centre and to the surface. For D > 1 a code nearer to the surface than that is held there by
(1 - r^2) / D times X_(k-1)^(2/D), r = X_k / X_(k-1): a choice, which matters less and less for many codes. K codes move
as n do with (n/K)^((D+2)/D) times their step size, so that no more than a few hundred are followed. Derived for this
package.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import integrate, stats

from vqtheory import schedules
from vqtheory._base import check
from vqtheory.reference import cell_moment, cell_moment_bounds
from vqtheory.reference._lloyd_max import best_on_grid, settle
from vqtheory.theory._line import line

MOST_NODES = 512  # codes that are followed; each stands for several of a larger codebook
MOST_SAMPLES = 100_000  # of a schedule that is a function
MOST_PIECES = 1000  # of a motion: what changes faster is averaged
MOST_DIMENSIONS = 64
LIMITS = {"step_size": (0.0, 100.0), "velocity": (-1e6, 1e6), "growth": (-10.0, 10.0)}  # beyond them nothing can follow
THINNEST = 1e-6  # shell between two codes, in shells of codes at rest
FAR = 1e6  # sizes of the cloud; a code farther away flees no faster
TOLERANCE = {"rtol": 1e-7, "atol": 1e-10}


class TransientCodes(NamedTuple):
    """How many codes a drift leaves, over time; of more than 512 codes in multiples of K / 512."""

    times: np.ndarray  # [R], in updates
    alive: np.ndarray  # float [R], codes whose cell has a mass of at least 1 / (200 K)
    carrying: np.ndarray  # float [R], the fewest codes that have 99 % of the mass


def transient_codes(
    num_codes: int,
    step_size: Any,
    *,
    velocity: Any = 0.0,
    growth: Any = 0.0,
    dim: int = 1,
    density: Any = None,
    steps: int | None = None,
    records: int = 100,
) -> TransientCodes:
    """How many codes of plain vector quantization are alive while a cloud of latents moves, grows, shrinks and rests.

    A code that the cloud has left behind is lost, until the cloud comes back over it. Codes that crowd at the centre of
    a cloud that grows have next to no mass: they are not alive, but not lost either, and when the cloud comes to rest
    they spread and are alive again.

    Parameters
    ----------
    num_codes : int
        K >= 1.
    step_size : float, schedule or array [steps]
        eta >= 0, as of `vqtheory.rules.VQ`.
    velocity : float, schedule or array [steps], default 0
        v, the distance that the cloud moves per update, over its size at that time: the unit of length is that of the
        density, and grows with the cloud. 0 where dim > 1.
    growth : float, schedule or array [steps], default 0
        g, the logarithm of the factor by which the cloud grows per update about its mean; negative where it shrinks.
    dim : int, default 1
        D. From 2 on the cloud is a uniform ball.
    density : frozen continuous distribution of scipy.stats or source in one dimension, optional
        Where dim = 1; uniform on [0, 1] by default.
    steps : int, optional
        Updates; the length of the arrays by default. Arrays are averaged over thousandths of the run.
    records : int, default 100
        Records after the first, at equal distances in time.

    Returns
    -------
    TransientCodes
        The codes start as the best codebook of the cloud at rest, in the ball with equal volumes.

        In one dimension this is the mean motion, to the integrator's tolerance of 1e-7; simulated codes are as many,
        within one, for small eta / B. A long steady drift leaves as many codes as `surviving_codes` says, and a cloud
        that shrinks leaves as many as `shrink_surviving_codes` says or, as it loses them in pairs, one fewer.

        In more dimensions it is asymptotic for many layers of codes. Where it says that n codes carry the mass,
        simulated balls of 2 and 3 dimensions had more by a share of about 1.4 n^(-1/D) when they grew, and fewer by 2
        n^(-1/D) when they shrank: at n = 100 a seventh and a fifth in 2 dimensions, a third and a half in 3.

    Raises
    ------
    ValueError
        For parameters out of range, arrays of different lengths, and motions that cannot be integrated.

    Examples
    --------
    Latents that grow fortyfold in 4,000 updates, and then rest for 8,000. Meanwhile a quarter of the codes are crowded
    out, and then all are back:

    >>> growth = np.repeat([np.log(40) / 4000, 0.0], [4000, 8000])
    >>> transient_codes(32, step_size=1.0, growth=growth, records=3).carrying
    array([32., 24., 32., 32.])

    A motion that was measured, from the mean and the spread of the latents; what the fast stretch lost does not come
    back:

    >>> mean, spread = np.cumsum(np.repeat([0.0, 1e-4, 1e-3, 0.0], 5000)), np.ones(20_000)
    >>> velocity, growth = np.diff(mean) / spread[1:], np.diff(np.log(spread))
    >>> transient_codes(32, step_size=1.0, velocity=velocity, growth=growth, records=4).alive
    array([32., 32., 18.,  6.,  6.])
    """
    owner = "transient_codes"
    num_codes, records = check.integer(owner, "num_codes", num_codes), check.integer(owner, "records", records)
    cloud = _cloud(owner, min(num_codes, MOST_NODES), dim, density)
    steps, rates = _rates(owner, steps, {"step_size": step_size, "velocity": velocity, "growth": growth})
    if dim > 1 and np.any(rates[1]):
        raise check.fail(owner, "velocity", "0 where dim > 1: a ball that moves is not followed by its radius", velocity)
    weight = num_codes / len(cloud.start)
    rates[0] *= weight ** -(1 + 2 / dim)
    times = np.linspace(0, steps, records + 1)
    masses = [cloud.masses(codes) for codes in _path(cloud, rates, times)]
    alive, carrying = np.array([[_alive(mass), _carrying(mass)] for mass in masses]).T
    return TransientCodes(times, weight * alive, weight * carrying)


def _alive(masses: np.ndarray) -> int:
    return int(np.sum(masses >= 1 / (200 * len(masses))))


def _carrying(masses: np.ndarray) -> int:
    """As `vqtheory.measure.carrying`."""
    largest = np.cumsum(np.sort(masses)[::-1])
    return int(np.searchsorted(largest, 0.99 * largest[-1])) + 1


class Cloud(NamedTuple):
    """A cloud in its own frame, the mean at 0, in which codes [n] are ordered along one coordinate."""

    start: np.ndarray  # the codes at rest
    push: Callable[[np.ndarray], np.ndarray]  # of each code, per unit of step size
    masses: Callable[[np.ndarray], np.ndarray]  # of the cells


def _cloud(owner: str, nodes: int, dim: Any, density: Any) -> Cloud:
    dim = check.integer(owner, "dim", dim, 1, MOST_DIMENSIONS)
    if dim == 1:
        return _line(owner, nodes, stats.uniform() if density is None else density)
    if density is not None:
        raise check.fail(owner, "density", "None where dim > 1: the cloud is a uniform ball", density)
    return _ball(nodes, dim)


def _line(owner: str, nodes: int, density: Any) -> Cloud:
    law = line(owner, density)
    start, _ = settle(law.density, best_on_grid(law.density, nodes))
    return Cloud(start - law.mean, lambda u: law.cells(u + law.mean)[1], lambda u: law.cells(u + law.mean)[0])


def _ball(nodes: int, dim: int) -> Cloud:
    factor = dim / 2 * cell_moment(dim) / cell_moment_bounds(dim)[0]

    def within(q: np.ndarray) -> np.ndarray:
        """The share of the ball that is nearer to the centre; outside, up to 4 balls."""
        return np.clip(q, 0, 4 ** (1 / dim)) ** dim

    def push(q: np.ndarray) -> np.ndarray:
        volume = within(q)
        inner = np.maximum(np.diff(volume, prepend=-volume[0]), THINNEST / nodes)
        outer, wall = np.append(inner[1:], np.inf), 2 * (1 - volume)
        reach = wall / inner  # -1 where the cell of the code is outside
        near_wall = np.where(reach < 1, 1 + (reach**2 - 1) / dim, np.maximum(reach, 1) ** (2 / dim))
        ratio = np.where(outer < wall, (outer / inner) ** (2 / dim), near_wall)
        return factor * q ** (dim - 1) * inner ** (2 / dim) * np.where(reach > -1, ratio - 1, 0)

    def masses(q: np.ndarray) -> np.ndarray:
        volume = within(q)
        return np.diff(np.clip((volume[1:] + volume[:-1]) / 2, 0, 1), prepend=0, append=1)

    return Cloud(((np.arange(nodes) + 0.5) / nodes) ** (1 / dim), push, masses)


def _rates(owner: str, steps: Any, motion: dict[str, Any]) -> tuple[int, np.ndarray]:
    """The updates, and step size, velocity and growth in equal pieces of the run, [3, pieces]."""
    measured = {name: _measured(owner, name, rate) for name, rate in motion.items() if _is_array(rate)}
    if steps is None and not measured:
        raise check.fail(owner, "steps", "given where no array says how many updates there are", steps)
    steps = check.integer(owner, "steps", len(next(iter(measured.values()))) if steps is None else steps)
    times = np.linspace(0, steps - 1, min(steps, MOST_SAMPLES))
    rates = []
    for name, rate in motion.items():
        values = measured[name] if name in measured else schedules.at(schedules.validate(owner, name, rate), times)
        if name in measured and len(values) != steps:
            raise check.fail(owner, name, f"an array of {steps} numbers, one for each update", rate)
        for extreme in (float(values.min()), float(values.max())):
            check.real(owner, name, extreme, *LIMITS[name])
        rates.append(_averaged(values, min(steps, MOST_PIECES)))
    return steps, np.array(rates)


def _is_array(rate: Any) -> bool:
    return isinstance(rate, (list, tuple)) or np.ndim(rate) > 0


def _measured(owner: str, name: str, rate: Any) -> np.ndarray:
    """One finite number for each update."""
    requirement = "a number, a schedule, or an array of one number for each update"
    values = check.array(owner, name, rate, requirement)
    if values.ndim != 1 or values.size == 0:
        raise check.fail(owner, name, requirement, rate)
    return check.finite(owner, name, values.astype(np.float64))


def _averaged(values: np.ndarray, pieces: int) -> np.ndarray:
    """The means of values over equal pieces, whose sum is kept where pieces cut between them."""
    sums = np.append(0, np.cumsum(values))
    at_edges = np.interp(np.linspace(0, len(values), pieces + 1), np.arange(len(sums)), sums)
    return np.diff(at_edges) * (pieces / len(values))


def _path(cloud: Cloud, rates: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The codes at the times, [R, n]."""
    steps, pieces = times[-1], rates.shape[1]
    middles = steps / pieces * (np.arange(pieces) + 0.5)
    changes = bool(np.any(np.ptp(rates, axis=1)))
    longest = steps / pieces if changes else np.inf  # a short stretch of drift is not to be stepped over

    def motion(t: float, u: np.ndarray) -> np.ndarray:
        step_size, velocity, growth = (np.interp(t, middles, rate) for rate in rates)
        return step_size * cloud.push(u) - velocity - growth * np.clip(u, -FAR, FAR)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the integrator, whose failure is said below
        solution = integrate.solve_ivp(
            motion, times[[0, -1]], cloud.start, "LSODA", t_eval=times, max_step=longest, lband=1, uband=1, **TOLERANCE
        )
    if not solution.success or not np.isfinite(solution.y).all():
        raise ValueError("transient_codes was not integrated to the end: step_size, velocity or growth are too large.")
    return np.sort(solution.y.T, axis=1)
