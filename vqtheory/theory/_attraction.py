"""What NSVQ's kernel adds to the mean motion in one dimension: E[w_k(x) (x - u_k), x outside of cell k]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vqtheory.rules.nsvq import NSVQ
from vqtheory.theory._line import Line, UniformLine


def attraction(rule: NSVQ, law: Line, codes: np.ndarray, bandwidth: float) -> np.ndarray:
    """The pull [K] on ascending codes from outside of their own cells."""
    if rule.form == "softmax":
        return _softmax(law, codes, bandwidth**2, rule._strength * len(codes))
    if isinstance(law, UniformLine):
        return rule._strength * _gaussian_uniform(law, codes, bandwidth)
    return rule._strength * _gaussian(law, codes, bandwidth)


def _gaussian_uniform(law: UniformLine, codes: np.ndarray, bandwidth: float) -> np.ndarray:
    """-sigma^2 exp(-(x - u)^2 / 2 sigma^2) is the integral of the kernel times x - u."""
    borders = np.clip((codes[1:] + codes[:-1]) / 2, law.low, law.high)
    left, right = np.concatenate([[law.low], borders]), np.concatenate([borders, [law.high]])

    def kernel(x: np.ndarray | float) -> np.ndarray:
        return np.exp(-0.5 * ((x - codes) / bandwidth) ** 2)

    return law.height * bandwidth**2 * (kernel(law.low) - kernel(left) + kernel(right) - kernel(law.high))


def _gaussian(law: Line, codes: np.ndarray, bandwidth: float) -> np.ndarray:
    """On panels of two bandwidths wherever a kernel reaches: beyond 9 it is below 1e-17."""
    borders = (codes[1:] + codes[:-1]) / 2
    panel = np.floor(codes[:, None] / (2 * bandwidth)) + np.arange(-5, 7)
    x, mass = law.points(np.concatenate([borders, 2 * bandwidth * np.unique(panel)]))
    offset = x - codes[:, None]
    weight = np.exp(-0.5 * (offset / bandwidth) ** 2)
    weight[np.searchsorted(borders, x), np.arange(len(x))] = 0
    return (weight * offset) @ mass


def _softmax(law: Line, codes: np.ndarray, tau: float, scale: float) -> np.ndarray:
    """On panels that resolve how the weight passes from code to code at the borders, see `_soft_panels`."""
    borders = (codes[1:] + codes[:-1]) / 2
    x, mass = law.points(np.concatenate([borders, _soft_panels(codes, borders, tau, scale)]))
    offset = x - codes[:, None]
    weight = np.minimum(1, scale * _shares(offset, tau))
    weight[np.searchsorted(borders, x), np.arange(len(x))] = 0
    return (weight * offset) @ mass


def _shares(offset: np.ndarray, tau: float) -> np.ndarray:
    """softmax_k(-(x - u_k)^2 / tau), over the first axis."""
    logits = -(offset**2) / tau
    shares = np.exp(logits - logits.max(axis=0))
    return shares / shares.sum(axis=0)


def _soft_panels(codes: np.ndarray, borders: np.ndarray, tau: float, scale: float) -> np.ndarray:
    """Where to cut the line for the softmax weights.

    At a border of gap h the weight passes over the width tau / 2h. Panels of 4 of these, 10 on either side,
    reach to weights of e^-40. Where gaps are below 4 sqrt(tau) many codes share, on the scale of sqrt(tau).
    """
    gaps, half = np.diff(codes), np.sqrt(tau) / 2
    apart = gaps > 8 * half
    near = borders[apart, None] + (2 * tau / gaps[apart])[:, None] * np.arange(-10, 11)
    sharing = codes[np.append(~apart, False) | np.append(False, ~apart)]
    panel = np.floor(sharing[:, None] / half) + np.arange(-13, 15)
    cuts = [near.ravel(), half * np.unique(panel)]
    return np.concatenate(cuts if scale <= 2 else [*cuts, _saturation(codes, tau, scale)])


def _saturation(codes: np.ndarray, tau: float, scale: float) -> np.ndarray:
    """Where a weight reaches 1. A code's share is log-concave in x: it peaks where the shares' mean of the codes is it."""

    def shares(x: np.ndarray) -> np.ndarray:
        return _shares(x - codes[:, None], tau)

    beyond = 1000 * np.sqrt(tau)
    low, high = np.full_like(codes, codes[0] - beyond), np.full_like(codes, codes[-1] + beyond)
    peak = _bisect(low, high, lambda x: codes @ shares(x) < codes)
    rising = _bisect(low, peak, lambda x: scale * np.diag(shares(x)) < 1)
    return np.concatenate([rising, _bisect(peak, high, lambda x: scale * np.diag(shares(x)) > 1)])


def _bisect(low: np.ndarray, high: np.ndarray, is_below: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Where the answer changes, one place for each code."""
    for _ in range(64):
        middle = (low + high) / 2
        below = is_below(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
