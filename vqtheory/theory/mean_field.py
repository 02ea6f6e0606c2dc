"""The mean-field equations: the rules with all samples of a step replaced by their mean.

In 1-D, in the frame of a cloud that moves by v(t) per update, u = c - int v dt, with p_k the mass and m_k
the centroid of code k's cell:

    VQ          du_k/dt = eta p_k (m_k - u_k) - v
    NSVQ        du_k/dt = eta p_k (m_k - u_k) - v + eta E[w_k(x) (x - u_k), x outside of cell k]
                gaussian   w_k = kappa exp(-(x - u_k)^2 / 2 sigma^2)
                softmax    w_k = min(1, kappa K softmax_k(-(x - u_k)^2 / tau)),  tau = sigma^2
                propagate  du_k/dt = eta p_k (m_k - u_k) - (1 - kappa) v
    EMA         a map, one step per update: N_k <- gamma N_k + (1 - gamma) p_k,
                u_k <- u_k + (1 - gamma) (p_k / N_k) (m_k - u_k) - v

They are the limit of a simulation as the step size goes to 0 at fixed eta t (VQ, NSVQ), or as the batch grows
(EMA), and say at once what a run does on average: transients, steady drift, and what is left after it. A code is
where it is when samples are assigned. The propagate form is exact for codes that some sample reaches in floating
point, within 38 sigma.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import integrate

from vqtheory import schedules
from vqtheory._base import check
from vqtheory.protocols import Rule
from vqtheory.rules.base import declared
from vqtheory.rules.ema import EMA
from vqtheory.rules.nsvq import NSVQ
from vqtheory.rules.vq import VQ
from vqtheory.theory._attraction import attraction
from vqtheory.theory._line import Line, line

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}
MOST_NEWTON_STEPS = 500
MOST_UPDATES = 1e9  # of EMA's map, which is taken one by one
FASTEST = 1e12  # standard deviations per update: no codebook is anywhere near a law that is faster
Velocity = Callable[[float, np.ndarray], np.ndarray]


class MeanMotion(NamedTuple):
    """A codebook under the mean-field equations, in the frame of the cloud."""

    times: np.ndarray  # [R], in updates
    codes: np.ndarray  # [R, K], in the order in which they were given
    masses: np.ndarray  # [R, K], the mass of each cell
    alive: np.ndarray  # bool [R, K]: the mass is at least 1 / (200 K)


def mean_motion(
    rule: VQ | EMA | NSVQ,
    density: Any,
    codes: np.ndarray,
    steps: float,
    *,
    speed: Any = 0.0,
    records: int = 100,
    counts: np.ndarray | None = None,
) -> MeanMotion:
    """Where the mean motion takes a codebook whose law drifts.

    Exact for the equations above up to the integrator's tolerance, 1e-9 per step; asymptotic for a simulation,
    which comes to it as eta -> 0 (VQ, NSVQ) or B -> infinity (EMA). A code that a bounded law has left behind
    has mass 0 and falls back by v per update.

    Parameters
    ----------
    rule : VQ, EMA or NSVQ
        A rule of the simulator. Schedules are functions of the update, as there.
    density : frozen continuous distribution of scipy.stats, or 1-D source
        The law at update 0. Every length is in its unit.
    codes : float [K] or [K, 1]
        The start, all different, in any order.
    steps : float
        Updates; an int for EMA.
    speed : float or schedule, default 0
        v, the distance that the law moves per update; negative is to the left.
    records : int, default 100
        Records after the first, at equal distances in time; for EMA at the nearest update.
    counts : float [K], optional
        EMA's running counts at the start, as shares of a batch; the masses of the cells by default.

    Raises
    ------
    ValueError
        For parameters out of range, rules without mean-field equations here (a clock that counts wins,
        smoothing), codes that coincide, and laws that `vqtheory.reference.lloyd_max` refuses.

    Examples
    --------
    Half as fast again as four codes can follow, and one of them is left behind:

    >>> from scipy import stats
    >>> from vqtheory.rules import VQ
    >>> motion = mean_motion(VQ(0.1), stats.uniform(), [0.1, 0.4, 0.6, 0.9], 20_000, speed=7e-4)
    >>> motion.alive[[0, -1]].sum(axis=1), motion.codes[-1].round(4)
    (array([4, 3]), array([-13.6049,   0.0925,   0.3928,   0.7752]))
    """
    law, codes = line("mean_motion", density), _start("mean_motion", codes, rule)
    steps = check.real("mean_motion", "steps", steps, 0, above=True)
    records = check.integer("mean_motion", "records", records)
    speed = schedules.validate("mean_motion", "speed", speed)
    if not callable(speed):
        _check_speed("mean_motion", speed, law)
    times = np.linspace(0, steps, records + 1)
    if not np.all(np.diff(times) > 0):
        raise check.fail("mean_motion", "steps", f"a time that can be divided into {records:,} records", steps)
    times, path = _equations(rule).path(rule, law, codes, times, speed, counts)
    masses = np.array([_sorted(law, each)[0] for each in path])
    return MeanMotion(times, path, masses, masses >= 1 / (200 * len(codes)))


def fixed_point(rule: VQ | EMA | NSVQ, density: Any, codes: np.ndarray, *, speed: float = 0.0) -> np.ndarray:
    """The codes [K] at which the mean motion stands still in the frame of the cloud.

    Newton's method on implicit time steps that grow as the motion dies down (pseudo-transient continuation):
    at first it follows the motion from `codes`, at last it solves for rest. The motion per unit of eta (of
    1 - gamma for EMA) is then below 1e-14 of the law's standard deviation.

    Parameters
    ----------
    rule : VQ, EMA or NSVQ
        With constant hyperparameters.
    density, codes
        As for `mean_motion`.
    speed : float, default 0
        v; the fixed point is then the steady state of the drift.

    Raises
    ------
    ValueError
        As `mean_motion`; for schedules; and where no fixed point is reached, as for a speed that not all
        codes can follow.

    Examples
    --------
    The pull of the wide kernel contracts the codebook:

    >>> from scipy import stats
    >>> from vqtheory.rules import NSVQ
    >>> fixed_point(NSVQ(bandwidth=0.1), stats.uniform(), [0.2, 0.8]).round(6)
    array([0.25..., 0.74...])
    """
    law, codes = line("fixed_point", density), _start("fixed_point", codes, rule)
    speed = _check_speed("fixed_point", speed, law)
    for name, value in {"step_size": rule.step_size, "bandwidth": rule.bandwidth, "decay": rule.decay}.items():
        if value is not None:
            check.real("fixed_point", f"rule.{name}", value)
    gain = _equations(rule).gain(rule)
    velocity = _equations(rule).velocity(rule, law, speed)
    return _settle(lambda u: velocity(0.0, u) / gain, codes, law.deviation)


def _start(owner: str, codes: Any, rule: Rule) -> np.ndarray:
    """The codes as [K], for a rule that has mean-field equations."""
    check.instance(owner, "rule", rule, tuple(_EQUATIONS), "a VQ, EMA or NSVQ")
    if isinstance(rule, NSVQ) and rule.form == "normalised":
        raise check.fail(owner, "rule", "in a published form where it is NSVQ", rule)
    if declared(rule, "clock") != "step" or declared(rule, "smoothing") != 0:
        raise check.fail(owner, "rule", "one whose step depends on the update alone (clock='step', smoothing=0)", rule)
    codes = check.array(owner, "codes", codes, "a list of numbers")
    codes = check.matrix(owner, "codes", codes[:, None] if codes.ndim == 1 else codes, columns=1)[:, 0]
    if len(np.unique(codes)) < len(codes):
        raise check.fail(owner, "codes", "numbers that all differ", codes.tolist())
    return codes.astype(np.float64)


def _check_speed(owner: str, speed: Any, law: Line) -> float:
    """A speed that is not absurd."""
    fastest = FASTEST * law.deviation
    return check.real(owner, "speed", check.real(owner, "speed", speed), -fastest, fastest)


def _equations(rule: Rule) -> Equations:
    return next(_EQUATIONS[kind] for kind in type(rule).__mro__ if kind in _EQUATIONS)


def _integrate(
    rule: VQ | NSVQ, law: Line, codes: np.ndarray, times: np.ndarray, speed: Any, counts: None
) -> tuple[np.ndarray, np.ndarray]:
    """The times [R] and the codes [R, K] there, by the differential equation."""
    scheduled = any(map(callable, (speed, rule.step_size, rule.bandwidth)))
    longest = times[1] if scheduled else np.inf  # a pulse in a schedule is not to be stepped over
    velocity = _equations(rule).velocity(rule, law, speed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the integrator, whose failure is said below
        solution = integrate.solve_ivp(velocity, times[[0, -1]], codes, "LSODA", t_eval=times, max_step=longest, **TOLERANCE)
    if not solution.success:
        raise ValueError(f"mean_motion was not integrated beyond update {solution.t[-1]:g}: steps or speed are too large.")
    return times, solution.y.T


def _iterate(
    rule: EMA, law: Line, codes: np.ndarray, times: np.ndarray, speed: Any, counts: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The times [R], as whole updates, and the codes [R, K] there, by EMA's own map."""
    check.real("mean_motion", "steps", times[-1], 0, MOST_UPDATES)
    times = np.unique(np.rint(times))
    counts = _sorted(law, codes)[0] if counts is None else _counts(counts, codes)
    path, steps = [codes], int(times[-1])
    gains = 1 - schedules.values(rule.decay, 0, steps)
    for t, (gain, v) in enumerate(zip(gains, schedules.values(speed, 0, steps), strict=True)):
        mass, pull = _sorted(law, codes)
        counts = counts + gain * (mass - counts)
        codes = codes + gain * np.divide(pull, counts, out=np.zeros_like(pull), where=mass > 0) - v
        if t + 1 == times[len(path)]:
            path.append(codes)
    return times, np.array(path)


def _counts(counts: Any, codes: np.ndarray) -> np.ndarray:
    requirement = f"{len(codes)} finite numbers >= 0, one per code"
    shares = check.array("mean_motion", "counts", counts, requirement).astype(np.float64)
    if shares.shape != codes.shape or not (np.isfinite(shares).all() and (shares >= 0).all()):
        raise check.fail("mean_motion", "counts", requirement, counts)
    return shares


def _at(schedule: Any, t: float) -> float:
    return float(schedules.at(schedule, np.asarray(t))) if callable(schedule) else float(schedule)


def _velocity_of_vq(rule: VQ, law: Line, speed: Any) -> Velocity:
    return lambda t, u: _at(rule.step_size, t) * _sorted(law, u)[1] - _at(speed, t)


def _velocity_of_ema(rule: EMA, law: Line, speed: Any) -> Velocity:
    """With the counts at rest."""
    return lambda t, u: (1 - _at(rule.decay, t)) * _offsets(law, u) - _at(speed, t)


def _velocity_of_nsvq(rule: NSVQ, law: Line, speed: Any) -> Velocity:
    if rule.form == "propagate":
        left = 1 - rule._strength  # of the drift
        return lambda t, u: _at(rule.step_size, t) * _sorted(law, u)[1] - left * _at(speed, t)

    def velocity(t: float, u: np.ndarray) -> np.ndarray:
        order = np.argsort(u, kind="stable")
        pull = np.empty_like(u)
        pull[order] = law.cells(u[order])[1] + attraction(rule, law, u[order], _at(rule.bandwidth, t))
        return _at(rule.step_size, t) * pull - _at(speed, t)

    return velocity


class Equations(NamedTuple):
    """The mean field of a rule."""

    velocity: Callable[..., Velocity]  # du/dt as a function of time and codes
    path: Callable[..., tuple[np.ndarray, np.ndarray]]  # the times, and the codes there
    gain: Callable[..., float]  # of the pull of a code's own cell


_EQUATIONS: dict[type, Equations] = {
    VQ: Equations(_velocity_of_vq, _integrate, lambda rule: rule.step_size),
    EMA: Equations(_velocity_of_ema, _iterate, lambda rule: 1 - rule.decay),
    NSVQ: Equations(_velocity_of_nsvq, _integrate, lambda rule: rule.step_size),
}


def _sorted(law: Line, codes: np.ndarray) -> np.ndarray:
    """Masses and pulls [2, K] of codes in any order."""
    order = np.argsort(codes, kind="stable")
    found = np.empty((2, len(codes)))
    found[:, order] = law.cells(codes[order])
    return found


def _offsets(law: Line, codes: np.ndarray) -> np.ndarray:
    """m_k - u_k, 0 where the cell is empty."""
    mass, pull = _sorted(law, codes)
    return np.divide(pull, mass, out=np.zeros_like(pull), where=mass > 0)


def _settle(function: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, unit: float) -> np.ndarray:
    """The zero of a motion that it leads to from `codes`; a step in which codes overtake one another is too long."""
    order, value, time_step = np.argsort(codes), function(codes), 1.0
    for _ in range(MOST_NEWTON_STEPS):
        residual = np.max(np.abs(value))
        if residual <= 1e-14 * unit:
            return codes
        moved = codes + np.linalg.solve(np.eye(len(codes)) / time_step - _jacobian(function, codes, value, unit), value)
        after = function(moved)
        growth = np.max(np.abs(after)) / residual
        if growth > 2 or np.any(np.diff(moved[order]) <= 0):
            time_step /= 4
        else:
            codes, value, time_step = moved, after, time_step * 2 / max(growth, 1e-9)
    raise ValueError(
        f"fixed_point found no codes at rest: they still move by {residual:.2g} after {MOST_NEWTON_STEPS} Newton steps. "
        "A speed that not all codes can follow has none; other codes to start from, or fewer, may have one."
    )


def _jacobian(function: Callable, codes: np.ndarray, value: np.ndarray, unit: float) -> np.ndarray:
    nudges = 1e-7 * unit * np.eye(len(codes))
    return np.array([function(codes + nudge) - value for nudge in nudges]).T / (1e-7 * unit)
