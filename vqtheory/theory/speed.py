"""The collapse law: how fast may latents drift before plain vector quantization loses codes?

In the frame that moves with the drift, u_k = c_k - v t, the mean motion of online k-means is

    du_k/dt = eta p_k (m_k - u_k) - v,

with p_k the mass of the cell of code k and m_k its centroid. A code that is alive lags behind its centroid by
v / (eta p_k): a code that is rarely chosen lags more, loses mass, and lags more still. All K codes can
live if and only if there is a steady state,

    p_k (m_k - u_k) = a,   a = v / eta,   for all k.

The critical speed v_c(K) is eta times the largest a at which there is one. It falls with K, and from a
codebook of any size a steady drift leaves the largest K with v_c(K) >= v.

===============================  ==============================================================
in one dimension, uniform        exact for the mean motion, in closed form
in one dimension, any `density`  exact for the mean motion, by relaxing it to rest
unit cube in `dim` dimensions    a scaling law for ordered codes with several layers to an axis
run of `steps` updates           asymptotic for a small step size; a density in one dimension
===============================  ==============================================================

In one dimension the mean motion is cooperative and descends a potential. So if there is a steady state of K
codes below the start, K codes survive, however the speed varies below v; and where the steady state is
unique, as it is for a log-concave density, a code is lost if there is none. Where a density has several
modes, the law is that of a start from above: codes ahead of all steady states.

In D dimensions there is no such theorem. K^(1/D) is the number of layers: near 1, as for 1024 codes in
64 dimensions, the scaling law has no content; use the number of dimensions that the latents fill.

The laws were derived for this package. The question, and that a drift of the encoder is what collapses
a codebook, are those of Lu et al., arXiv 2602.18896.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory.theory._arguments import closed_form, plain, reals
from vqtheory.theory._conditions import Conditions, law_of
from vqtheory.theory._relaxed import MOST_CODES


@closed_form
def critical_speed(
    num_codes: Any,
    step_size: Any,
    *,
    width: float = 1.0,
    dim: int = 1,
    density: Any = None,
    direction: int = 1,
    batch_size: Any = 1,
    steps: Any = None,
) -> Any:
    """The largest speed of drift v_c at which all K codes live, in distance per update.

    In one dimension and for a uniform distribution of width L, exactly

        v_c = eta L / (8 G^2),   G = min over y > 0 of -sqrt(y)/2 + sum_(k=1..K-1) sqrt(y+k) + sqrt(y+K)/2,

    which is eta L sqrt(3)/36 for K = 2 and (9/32) eta L K^-3 (1 + 0.624 K^(-3/2) + ...) for large K. In D
    dimensions, for a cube of width L that drifts along an axis, as a scaling law,

        v_c = eta L M ((D+2)/2)^((D+2)/D) K^(-(D+2)/D),

    M = 1/12, 5/(36 sqrt 3), 19/(192 2^(1/3)) in 1, 2, 3 dimensions and the second moment of a ball beyond
    (`vqtheory.reference.cell_moment`). For two codes and N(0, sigma^2 I) in any dimension the codes line up
    with the drift, and v_c = 0.1023 eta sigma is that of the line.

    Parameters
    ----------
    num_codes : int or array of int
        K >= 1. One code is never lost: v_c is infinite.
    step_size : float or array
        eta > 0, as of `vqtheory.rules.VQ`: 1 moves a code that wins the whole batch onto its mean.
    width : float, default 1
        L, where no density is given.
    dim : int, default 1
        D, where no density is given.
    density : frozen continuous distribution of scipy.stats or source in one dimension, optional
        Uniform by default. Bounded or not, with gaps or without.
    direction : {1, -1}, default 1
        Which way a `density` drifts.
    batch_size : int or array of int, default 1
        B, samples per update. Matters with `steps` only.
    steps : int or array of int, optional
        Updates in a run. With it, v_c is where a run of that length loses a code with probability 1 - 1/e:
        the noise of the samples takes the share c (eta Lambda / B)^(2/3) off, Lambda = ln(eta steps x rate of
        attempts), with c and the rate from the steady state. The density must be smooth. Asymptotic for a small
        share; in simulations at K = 2 to 8 the true share was smaller by a tenth to a third for eta = 0.05,
        and by less for smaller eta. A run too short for a single attempt has the speed without noise.

    Returns
    -------
    float or array
        num_codes, step_size, batch_size and steps broadcast. To rounding for the uniform distribution, to 1e-10 for
        another density. Above eta = 1 none of it describes a single sample per update.

    Raises
    ------
    ValueError
        For parameters out of range, a density without a finite variance, and options that do not go together.

    Examples
    --------
    >>> round(critical_speed(num_codes=2, step_size=0.05) / (0.05 * 3**0.5 / 36), 12)
    1.0
    >>> (critical_speed([1, 8, 128], step_size=1.0) / (9 / 32) * np.array([1, 8, 128]) ** 3).round(4)
    array([   inf, 1.0302, 1.0004])
    >>> from scipy import stats
    >>> round(critical_speed(8, step_size=1.0, density=stats.norm()), 7)
    0.0013852
    >>> round(critical_speed(2, step_size=0.05, steps=2_000_000) / critical_speed(2, step_size=0.05), 3)
    0.838
    """
    owner = "critical_speed"
    conditions = Conditions(owner, width, dim, density, direction, batch_size, steps)
    num_codes = conditions.codes(num_codes)
    return plain(conditions.critical_speed(num_codes, reals(owner, "step_size", step_size, 0, above=True)))


@closed_form
def surviving_codes(
    speed: Any,
    step_size: Any,
    *,
    num_codes: Any = None,
    width: float = 1.0,
    dim: int = 1,
    density: Any = None,
    direction: int = 1,
    batch_size: Any = 1,
    steps: Any = None,
) -> Any:
    """How many codes a steady drift leaves alive: the largest K with `critical_speed` (K) >= v.

    About (9 eta L / 32 v)^(1/3) in one dimension, whatever the size of the codebook at the start. In D dimensions
    the scaling law reads ((D+2)/2) (eta M L / v)^(D/(D+2)); runs from random starts end below it, the more so
    the more dimensions.

    Parameters
    ----------
    speed : float or array
        v > 0, distance per update; 0 too if `num_codes` is given.
    step_size : float or array
        eta > 0.
    num_codes : int or array of int, optional
        Size of the codebook at the start; as large as need be by default.
    width, dim, density, direction, batch_size, steps
        As for `critical_speed`.

    Raises
    ------
    ValueError
        As `critical_speed`, and where more than 16,384 codes of a `density` survive.

    Examples
    --------
    >>> surviving_codes(speed=[1e-2, 1e-5, 1e-8], step_size=0.05)
    array([  1,  11, 112])
    >>> surviving_codes(speed=1e-5, step_size=0.05, num_codes=[8, 1024])
    array([ 8, 11])
    """
    owner = "surviving_codes"
    conditions = Conditions(owner, width, dim, density, direction, batch_size, steps)
    speed = reals(owner, "speed", speed, 0, above=num_codes is None)
    step_size = reals(owner, "step_size", step_size, 0, above=True)
    return plain(conditions.survivors(speed, step_size, None if num_codes is None else conditions.codes(num_codes)))


@closed_form
def largest_codebook(
    speed: Any,
    step_size: Any,
    *,
    width: float = 1.0,
    dim: int = 1,
    density: Any = None,
    direction: int = 1,
    batch_size: Any = 1,
    steps: Any = None,
) -> Any:
    """The largest codebook of which a steady drift leaves every code alive: K for v_c(K) = v.

    The same number as `surviving_codes`: what a smaller codebook would keep is what a larger one is left with.
    Parameters and errors as there.

    Examples
    --------
    >>> from scipy import stats
    >>> largest_codebook(speed=1e-5, step_size=0.05), largest_codebook(1e-5, 0.05, density=stats.norm())
    (11, 14)
    """
    owner = "largest_codebook"
    conditions = Conditions(owner, width, dim, density, direction, batch_size, steps)
    speed = reals(owner, "speed", speed, 0, above=True)
    return plain(conditions.survivors(speed, reals(owner, "step_size", step_size, 0, above=True), None))


@closed_form
def required_step_size(
    num_codes: Any,
    speed: Any,
    *,
    width: float = 1.0,
    dim: int = 1,
    density: Any = None,
    direction: int = 1,
    batch_size: Any = 1,
    steps: Any = None,
) -> Any:
    """The least step size at which all K codes live: eta for v_c(K, eta) = v.

    v_c is proportional to eta but for the noise, whose share grows with eta.

    Parameters
    ----------
    num_codes : int or array of int
        K >= 1.
    speed : float or array
        v >= 0, distance per update.
    width, dim, density, direction, batch_size, steps
        As for `critical_speed`.

    Returns
    -------
    float or array
        Above 1 it is out of reach of online k-means. With `steps`, nan where no step size is enough: a larger
        one would gain less than its noise takes.

    Raises
    ------
    ValueError
        As `critical_speed`.

    Examples
    --------
    >>> eta = required_step_size(num_codes=64, speed=1e-8)
    >>> round(eta, 6), round(critical_speed(64, eta), 12)
    (0.009309, 1e-08)
    """
    owner = "required_step_size"
    conditions = Conditions(owner, width, dim, density, direction, batch_size, steps)
    num_codes = conditions.codes(num_codes)
    return plain(conditions.step_size(num_codes, reals(owner, "speed", speed, 0)))


@closed_form
def steady_state(num_codes: int, lag: float, *, density: Any = None, direction: int = 1) -> np.ndarray | None:
    """Where the codes of a steady drift ride in the frame of the cloud: p_k (m_k - u_k) = a for all k.

    The largest solution, to which all codes that start above it fall. For a = 0 it is the optimal quantizer.

    Parameters
    ----------
    num_codes : int
        K, 1 to 16,384.
    lag : float
        a = v / eta >= 0, a length.
    density, direction
        As for `critical_speed`. The uniform distribution is that on [0, 1].

    Returns
    -------
    float [K], ascending, or None
        None if there is no steady state.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> steady_state(2, lag=0.01).round(4), steady_state(2, lag=0.05)
    (array([0.2081, 0.7114]), None)
    """
    owner = "steady_state"
    num_codes = check.integer(owner, "num_codes", num_codes, 1, MOST_CODES)
    lag = check.real(owner, "lag", lag, 0)
    codes = law_of(owner, 1, density, direction).steady_state(num_codes, lag)
    return np.sort(1 - codes) if codes is not None and density is None and direction < 0 else codes
