"""The running mean and covariance of the latents, for rules around rules that move codes by them.

Batch t with mean m and covariance S, n batches after the first one,

    a = (1 - gamma) / (1 - gamma^(n + 1)),   mu' = mu + a (m - mu),   V' = (1 - a) (V + a (m - mu)(m - mu)^T) + a S
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import declared, projects
from vqtheory.rules.wrapper import Joined, Wrapper, cut, inside, joined, rejoined, summed

_ENOUGH = 10  # latents in the average, for each dimension of a covariance, before codes are moved by it


class Moments(NamedTuple):
    """A mean [D] and a covariance [D, D]."""

    mean: np.ndarray
    covariance: np.ndarray


class Motion(NamedTuple):
    """c -> image + F (c - origin)."""

    origin: np.ndarray  # [D]
    factor: np.ndarray  # F [D, D]
    image: np.ndarray  # [D]


class Framed(Wrapper):
    """A wrapper that moves codes by the latents' mean and covariance before each step of the rule.

    Its state is the rule's with `frame_mean` [D], `frame_covariance` [D, D], and `frame_batches` and `frame_weight`, the
    batches and the weight of latents in their average.
    """

    decay: Any

    _own_memory: ClassVar[str] = "its frame"
    _of_covariance: bool = True  # whether it moves codes by all of the covariance

    def _check_frame(self) -> None:
        """Refuses what does not go into a frame, and a decay out of range."""
        owner = type(self).__name__
        self._check_rule()
        self._check_single(Framed)
        if declared(self.rule, "needs_displacement"):
            raise check.fail(owner, "rule", "one that does not pass displacements on by itself", self.rule)
        if projects(self.rule):
            raise check.fail(owner, "rule", "one that compares latents with its codes as they are", self.rule)
        self._keep(decay=check.number(owner, "decay", self.decay, 0))
        if self.decay >= 1:
            raise check.fail(owner, "decay", "a number >= 0 and < 1", self.decay)

    def init(self, codes: np.ndarray, seed: int = 0) -> Any:
        """The rule's own state that starts from codes [K, D], and a frame of no latents."""
        state = self.rule.init(codes, seed)
        dim, dtype = state.codes.shape[1], state.codes.dtype
        frame = {"frame_mean": np.zeros(dim, dtype), "frame_covariance": np.zeros((dim, dim), dtype)}
        return joined(state, **frame, frame_batches=np.int64(0), frame_weight=np.float64(0))

    def advance(self, state: Any, batches: Batches) -> tuple[Any, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        owner = type(self).__name__
        check.instance(f"{owner}.advance", "state", state, Joined, f"a state that {owner}.init has made")
        x, weight = checked(f"{owner}.advance", batches, state.codes)
        if state.step == 0:
            self.warn_of_few(*x.shape[1:])
        answers: list[dict[str, np.ndarray]] = []
        for t in range(max(1, len(x))):
            if len(x) and weight[t].any():
                state = self._carried(state, x[t], weight[t])
            after, answer = self.rule.advance(inside(state), cut(batches, slice(t, t + 1)))
            state = rejoined(state, after)
            answers.append(answer)
        return state, summed(answers)

    def _carried(self, state: Any, x: np.ndarray, weight: np.ndarray) -> Any:
        """The state once the frame has moved by a batch [B, D], and the codes by the frame."""
        gain = (1 - self.decay) / (1 - self.decay ** (int(state.frame_batches) + 1))
        mean, covariance = moved(state.frame_mean, state.frame_covariance, x, weight, x.dtype.type(gain))
        total = np.float64(self.decay * state.frame_weight + weight.sum(dtype=np.float64))
        frame = {"frame_mean": mean, "frame_covariance": covariance, "frame_weight": total}
        if min(total, state.frame_weight) >= self.enough(x.shape[1]):
            origin, factor, image = self.motion(
                Moments(state.frame_mean, state.frame_covariance), Moments(mean, covariance), moments_of(state.codes)
            )
            move = image + (state.codes - origin) @ factor.T - state.codes
            frame |= {name: getattr(state, name) + move for name in self.places}
        return state._replace(**frame, frame_batches=state.frame_batches + 1)

    def motion(self, before: Moments, after: Moments, codes: Moments) -> Motion:
        """The affine motion of the codes, from the frame before a batch to the frame after it."""
        raise NotImplementedError

    def enough(self, dim: int) -> int:
        """The weight of latents in the average from which codes are moved by it."""
        return _ENOUGH * (dim if self._of_covariance else 1)

    def warn_of_few(self, batch_size: int, dim: int) -> None:
        """Say where the average of such batches never has enough latents."""
        most, enough = batch_size / (1 - self.decay), self.enough(dim)
        if most < enough:
            warnings.warn(
                f"{self!r} leaves the codes to the rule: its average never has more than {most:.3g} latents, and a frame "
                f"needs {enough}. Take larger batches, or a greater decay.",
                stacklevel=3,
            )


def rounding_of(mean: np.ndarray) -> float:
    """A variance about this mean that may be rounding."""
    return float(16 * np.finfo(mean.dtype).eps * np.abs(mean).max()) ** 2


def moments_of(codes: np.ndarray) -> Moments:
    """The mean and covariance of codes [K, D], each with the same weight."""
    mean = codes.mean(axis=0)
    apart = codes - mean
    return Moments(mean, apart.T @ apart / len(codes))


def moved(mean: np.ndarray, covariance: np.ndarray, x: np.ndarray, weight: np.ndarray, gain: Any) -> tuple[Any, Any]:
    """mu' and V' after a batch [B, D]."""
    shares = weight / weight.sum()
    jump = shares @ (x - mean)
    spread = x - (mean + jump)
    own = (shares[:, None] * spread).T @ spread
    return mean + gain * jump, (1 - gain) * (covariance + gain * np.outer(jump, jump)) + gain * own


def transport_map(before: np.ndarray, after: np.ndarray, rounding: float = 0.0) -> np.ndarray:
    """The symmetric map that takes one covariance [D, D] to another; the identity where the first has no more than rounding,
    and altogether where the other has less directions.

    Examples
    --------
    >>> transport_map(np.diag([1.0, 4.0]), np.diag([9.0, 4.0]))
    array([[3., 0.],
           [0., 1.]])
    """
    values, axes = np.linalg.eigh(before)
    relative = len(values) * np.finfo(before.dtype).eps
    spread = values > max(rounding, relative * values[-1])
    axes, root, flat = axes[:, spread], np.sqrt(values[spread]), axes[:, ~spread]
    after = axes.T @ after @ axes
    if not spread.any() or not _exceeds(after, max(rounding, relative * np.trace(after))):
        return np.eye(len(values), dtype=before.dtype)
    values, turns = np.linalg.eigh(root[:, None] * after * root)
    middle = turns * np.sqrt(np.maximum(values, 0)) @ turns.T
    return axes / root @ middle @ (axes / root).T + flat @ flat.T


def _exceeds(matrix: np.ndarray, least: float) -> bool:
    """Whether all eigenvalues of a symmetric matrix are above the least; to find them would take five times as long."""
    try:
        np.linalg.cholesky(matrix - least * np.eye(len(matrix), dtype=matrix.dtype))
    except np.linalg.LinAlgError:
        return False
    return True
