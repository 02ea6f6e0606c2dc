"""Codes of a stream in one dimension: where they are best at rest, and exactly how many of them are alive."""

from __future__ import annotations

import numpy as np

from vqtheory.streams import Stream


def optimum(num_codes: int) -> np.ndarray:
    """The k-means solution of the uniform distribution, [K, 1]."""
    return ((2 * np.arange(num_codes) + 1) / (2 * num_codes))[:, None]


def count_alive(stream: Stream, codes: np.ndarray, step: int) -> int:
    """How many codes [K, 1] win at least one of 200 K latents of a step on average."""
    return int(np.sum(shares(stream, codes, step) >= 1 / (200 * len(codes))))


def shares(stream: Stream, codes: np.ndarray, step: int) -> np.ndarray:
    """The masses of the cells of codes [K, 1] at a step, in the order of the codes in the cloud."""
    at_rest = stream.at(step).now.invert(codes[None], stream.source.mean)[0, :, 0]
    borders = np.sort(at_rest)[1:] / 2 + np.sort(at_rest)[:-1] / 2
    below = np.concatenate([[0.0], stream.source.distribution().cdf(borders), [1.0]])
    return np.diff(below)
