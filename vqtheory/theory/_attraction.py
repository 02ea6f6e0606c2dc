"""What NSVQ's kernel adds to the mean motion on the line: E[w_k(x) (x - u_k), x outside of cell k]."""

from __future__ import annotations

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

    At a border of gap h the weight passes over a width tau / 2h. Panels of 4 of these, 20 of
    them, reach to weights of e^-40. Wider than sqrt(tau) / 2 a panel need not be, as many codes share then.
    """
    root = np.sqrt(tau)
    width = np.minimum(2 * tau / np.diff(codes), root / 2)
    near = borders[:, None] + width[:, None] * np.arange(-10, 11)
    far = np.floor(codes[:, None] / (root / 2)) + np.arange(-13, 15)
    cuts = [near.ravel(), root / 2 * np.unique(far)]
    return np.concatenate(cuts if scale <= 2 else [*cuts, _saturation(codes, borders, tau, scale)])


def _saturation(codes: np.ndarray, borders: np.ndarray, tau: float, scale: float) -> np.ndarray:
    """Where a weight reaches 1 outside of its own cell: its share is log-concave in x, hence once on either side."""
    upper = np.arange(1, len(codes))
    code, side = np.concatenate([upper - 1, upper]), np.repeat([1, -1], len(upper))
    near = np.tile(borders, 2)
    far = near + side * 40 * np.sqrt(tau)
    for _ in range(60):
        middle = (near + far) / 2
        full = scale * _shares(middle - codes[:, None], tau)[code, np.arange(len(code))] > 1
        near, far = np.where(full, middle, near), np.where(full, far, middle)
    return near
