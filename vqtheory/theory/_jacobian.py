"""The derivative of a codebook in the parameters of its map, as an operator, and the ends of a spectrum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.linalg import eigh_tridiagonal

from vqtheory.protocols import Batches

_DIFFERENCE = 1e-4  # parameters are moved by this part of their norm for a derivative


@runtime_checkable
class MadeByAMap(Protocol):
    """A rule whose codes are made by a map of parameters, the field `theta` of its state."""

    def pullback(self, state: Any, gradient: np.ndarray) -> np.ndarray:
        """J^T G [P], the gradient of sum(G * C(theta)) in theta."""

    def advance(self, state: Any, batches: Batches) -> tuple[Any, dict[str, np.ndarray]]:
        """As of any rule; no updates make the codes anew from theta."""


class Jacobian:
    """J of a map and its transpose, in float64 and in the units of the map's own output."""

    def __init__(self, rule: MadeByAMap, state: Any) -> None:
        self.rule, self.codes = rule, np.asarray(state.codes, np.float64)
        plain: dict[str, Any] = {
            name: np.asarray(value, np.float64) for name, value in state._asdict().items() if _is_float(value)
        }
        if "scale" in plain and "shift" in plain:
            plain |= {"shift": np.zeros_like(plain["shift"]), "scale": np.float64(1)}
        self.state = state._replace(**plain)
        self.num_codes, self.dim = self.codes.shape
        self.rows, self.columns = self.codes.size, len(state.theta)

    def pull(self, vector: np.ndarray) -> np.ndarray:
        """J^T g [P], for g [KD]."""
        return self.rule.pullback(self.state, np.ascontiguousarray(vector.reshape(self.codes.shape)))

    def push(self, direction: np.ndarray) -> np.ndarray:
        """J v [KD], for v [P], by differences of fourth order."""
        length = np.linalg.norm(direction)
        if length == 0:
            return np.zeros(self.rows)
        step = _DIFFERENCE * max(float(np.linalg.norm(self.state.theta)), 1e-12) / length
        ahead = [self._at(sign * step * direction) for sign in (1, -1, 2, -2)]
        return (8 * (ahead[0] - ahead[1]) - (ahead[2] - ahead[3])) / (12 * step)

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Theta g."""
        return self.push(self.pull(vector))

    def gain(self, vector: np.ndarray) -> float:
        """g^T Theta g / |g|^2 = |J^T g|^2 / |g|^2."""
        square = float(np.sum(vector**2))
        return float(np.sum(self.pull(vector) ** 2)) / square if square > 0 else float("nan")

    def _at(self, offset: np.ndarray) -> np.ndarray:
        """The codes [KD] with the parameters moved; an advance over no updates makes them."""
        nothing = Batches(np.empty((0, 1, self.dim)))
        return self.rule.advance(self.state._replace(theta=self.state.theta + offset), nothing)[0].codes.ravel()


def _is_float(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "f"


def lanczos_extremes(apply: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int) -> tuple[float, float]:
    """Extreme Ritz values of a symmetric operator; both lie within its spectrum and go to its ends with `steps`.

    Every new vector is made orthogonal to all before it, twice: without that the extremes come back as copies.
    """
    basis, diagonal, beside = [start / np.linalg.norm(start)], [], []
    for _ in range(min(steps, len(start))):
        vector = apply(basis[-1])
        diagonal.append(float(vector @ basis[-1]))
        known = np.array(basis)
        for _ in range(2):
            vector = vector - known.T @ (known @ vector)
        length = float(np.linalg.norm(vector))
        if length <= 1e-9 * max(map(abs, diagonal)):  # an invariant space: nothing is left to find from this start
            break
        beside.append(length)
        basis.append(vector / length)
    values = eigh_tridiagonal(diagonal, beside[: len(diagonal) - 1], eigvals_only=True)
    return float(values[0]), float(values[-1])
