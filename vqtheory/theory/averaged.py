"""A code that wins nothing, under NSVQ's normalised form: how far it lags behind a drift, and how long it waits.

With N and W as in `vqtheory.rules.nsvq`, an update is N <- gamma min(N, 10 W) + (1 - gamma) W, and the code goes the share
(1 - gamma) W / N, at least (1 - gamma) / (10 gamma + 1 - gamma), of the way to its kernel's mean. That mean lies in the
convex hull of the latents, so that the distance of the code from the hull shrinks by this share at least: no drift loses it.

Where N has come to W it follows at the full rate, l = v / (1 - gamma) behind its kernel's mean. That is steady as long as W
hardly changes on the way: d ln W / dl = -2 l / tau, hence disturbances of l and of N / W decay if and only if l^2 and the
variance Var of the kernel's weights along the drift are together below tau. Beyond that the code swings.

Where latents stand still and W stays as it is, 1 - (1 - gamma) W / N is gamma N(before) / N(after). The distance u from the
kernel's mean is then

    u_t / u_0 = gamma^t r / (1 + (r - 1) gamma^t),     r = min(N_0 / W, 10).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vqtheory.rules._normalised import MEMORY
from vqtheory.theory._arguments import closed_form, plain, reals
from vqtheory.theory.ema import check_decay


@closed_form
def largest_lag(speed: Any, decay: Any = 0.9) -> Any:
    """How far a drift can leave a code of NSVQ's normalised form behind: v (10 gamma + 1 - gamma) / (1 - gamma).

    A bound on the distance of a code that wins nothing from the convex hull of the latents, for any latents, any number of
    codes and any strength: no code is lost to a drift, however fast.

    Parameters
    ----------
    speed : float or array
        v >= 0, per update.
    decay : float or array, default 0.9
        gamma in [0, 1), per update.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> round(largest_lag(speed=0.01), 3)
    0.91
    """
    owner = "largest_lag"
    speed, decay = reals(owner, "speed", speed, 0), check_decay(owner, decay)
    return plain(speed * (MEMORY * decay + 1 - decay) / (1 - decay))


@closed_form
def steady_speed(tau: Any, decay: Any = 0.9, variance: Any = 0.0) -> Any:
    """The fastest drift behind which such a code rides steadily: (1 - gamma) sqrt(tau - Var).

    Beyond it the code swings, up to `largest_lag`. Exact for small disturbances and gamma -> 1, whatever the number of codes
    and the strength. In a run tau, the mean squared distance of the latents from their codes, grows with the drift.

    Parameters
    ----------
    tau : float or array
        > 0, a squared length.
    decay : float or array, default 0.9
        gamma in [0, 1), per update.
    variance : float or array, default 0
        Var in [0, tau], of the kernel's weights along the drift.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> round(steady_speed(tau=1.0, decay=0.99, variance=0.19), 6)
    0.009
    """
    owner = "steady_speed"
    tau, decay = reals(owner, "tau", tau, 0, above=True), check_decay(owner, decay)
    variance = reals(owner, "variance", variance, 0, float(np.min(tau, initial=math.inf)))
    return plain((1 - decay) * np.sqrt(tau - variance))


@closed_form
def half_way_time(decay: Any = 0.9, remembered: Any = MEMORY) -> Any:
    """Updates in which a code that has just died goes half of the way to its kernel's mean: ln(1 + r) / ln(1 / gamma).

    A bound where W grows on the way, as it does where latents are all on one side. Without the minimum in N r would be N / W
    of a code that has been winning, 1,000 and more, and grow without end with the distance.

    Parameters
    ----------
    decay : float or array, default 0.9
        gamma in (0, 1), per update.
    remembered : float or array, default 10
        r > 0, how many times the kernel's weight W the code's memory N is.

    Raises
    ------
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> round(half_way_time(), 1), round(half_way_time(remembered=1e4), 1)
    (22.8, 87.4)
    """
    owner = "half_way_time"
    decay, remembered = check_decay(owner, decay), reals(owner, "remembered", remembered, 0, above=True)
    return plain(np.log1p(remembered) / -np.log(decay))
