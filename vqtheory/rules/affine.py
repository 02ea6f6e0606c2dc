"""Affine: codes kept in a frame that goes with the mean and the spread of the latents, in which a rule takes its steps.

After Huh et al. (arXiv 2305.08842, section 4.2; with running statistics as in vector-quantize-pytorch): codes that are one
affine function of codes in a normalised frame all move when the frame does. Batch t with mean m and covariance S moves
the frame, and n counts its batches before,

    a = (1 - gamma) / (1 - gamma^(n + 1)),   mu' = mu + a (m - mu),   V' = (1 - a) (V + a (m - mu)(m - mu)^T) + a S

and every code, chosen or not, goes with it before the rule takes its own step among the latents as they are:

    c_k <- mu' + F (c_k - mu)

    per="scalar"       F = s' / s,              s^2 the mean of the diagonal of V
    per="dimension"    F = diag(s'_d / s_d),    s_d^2 the diagonal of V
    per="covariance"   F = V^(-1/2) (V^(1/2) V' V^(1/2))^(1/2) V^(-1/2), the optimal-transport map, which turns nothing

For a rule that commutes with affine maps, once the winners are known, as VQ and EMA do, this is the rule in the frame.

What it follows and what not (derived here). All moves add up to one, from the frame at the start to the frame now: the noise
of batches does not add up. Under a steady translation v the frame lags by v gamma / (1 - gamma), in growth likewise, and
then goes at the cloud's own speed: a code stays behind the cloud by at most that lag, where plain VQ stays behind without
bound. (V has v^2 gamma / (1 - gamma)^2 of the drift itself in it: a lag above the spread stretches the codebook.) A change
of shape that the frame does not have, as a strip that turns in a scalar frame, leaves the codes to the rule.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import declared, projects
from vqtheory.rules.wrapper import Joined, Wrapper, cut, inside, joined, rejoined, summed

KINDS = ("scalar", "dimension", "covariance")
_ENOUGH = 10  # latents in the average, for each dimension of a covariance, before codes go with it


@dataclass(frozen=True, repr=False)
class Affine(Wrapper):
    """Any rule with codes of its own, its codebook carried by the mean and the spread of the latents.

    Its state is the rule's with `frame_mean` [D], `frame_covariance` [D, D], and `frame_batches` and `frame_weight`, the
    batches and the weight of latents in their average. The codes go with the frame from when that weight is 10, with
    per="covariance" 10 D: a spread of a few latents may be as small as one likes, and codes would be blown up by it.
    Directions in which the latents do not spread, by more than rounding, are left as they are.

    Parameters
    ----------
    rule : rule
        Any rule but the map rules, those that pass displacements on, and those that compare latents elsewhere.
    per : {"scalar", "dimension", "covariance"}, default "dimension"
        What of the spread the frame has: one number, one for each dimension, or all of it.
    decay : float, default 0.99
        gamma in [0, 1), per update. 0 follows each batch's own mean and spread, without a lag.

    Examples
    --------
    The cloud moves by 5 and doubles in size; the code at 2, which wins nothing, goes with it:

    >>> from vqtheory.rules import VQ
    >>> cloud = np.linspace(-1, 1, 12).reshape(1, 12, 1)
    >>> rule = Affine(VQ(step_size=1e-9), decay=0.0)
    >>> state = rule.init(np.array([[0.0], [0.5], [2.0]]))
    >>> state, _ = rule.advance(state, Batches(np.concatenate([cloud, 5 + 2 * cloud])))
    >>> state.codes.ravel().round(6)
    array([5., 6., 9.])
    """

    rule: protocols.Rule
    per: str = "dimension"
    decay: Any = 0.99

    _own_memory: ClassVar[str] = "its frame"

    def __post_init__(self) -> None:
        owner = "Affine"
        self._check_rule()
        self._check_single()
        if declared(self.rule, "needs_displacement"):
            raise check.fail(owner, "rule", "one that does not pass displacements on by itself", self.rule)
        if projects(self.rule):
            raise check.fail(owner, "rule", "one that compares latents with its codes as they are", self.rule)
        check.choice(owner, "per", self.per, KINDS)
        self._keep(decay=check.number(owner, "decay", self.decay, 0))
        if self.decay >= 1:
            raise check.fail(owner, "decay", "a number >= 0 and < 1", self.decay)

    @property
    def fixed_point(self) -> str | None:
        """The rule's own, where the frame rests."""
        own = declared(self.rule, "fixed_point")
        return own if own == "k-means" else None  # a limit is one of a field of that rule

    @property
    def equivariances(self) -> frozenset[str]:
        """The rule's own; but a spread of each dimension knows the axes."""
        return self._equivariances_without(*(["rotation"] if self.per == "dimension" else []))

    def init(self, codes: np.ndarray, seed: int = 0) -> Any:
        """The rule's own state that starts from codes [K, D], and a frame of no latents."""
        state = self.rule.init(codes, seed)
        dim, dtype = state.codes.shape[1], state.codes.dtype
        frame = {"frame_mean": np.zeros(dim, dtype), "frame_covariance": np.zeros((dim, dim), dtype)}
        return joined(state, **frame, frame_batches=np.int64(0), frame_weight=np.float64(0))

    def advance(self, state: Any, batches: Batches) -> tuple[Any, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("Affine.advance", "state", state, Joined, "a state that Affine.init has made")
        x, weight = checked("Affine.advance", batches, state.codes)
        if state.step == 0:
            self._warn(*x.shape[1:])
        answers: list[dict[str, np.ndarray]] = []
        for t in range(max(1, len(x))):
            if len(x):
                state = self._carried(state, x[t], weight[t])
            after, answer = self.rule.advance(inside(state), cut(batches, slice(t, t + 1)))
            state = rejoined(state, after)
            answers.append(answer)
        return state, summed(answers)

    def _carried(self, state: Any, x: np.ndarray, weight: np.ndarray) -> Any:
        """The state once the frame has moved by a batch [B, D], and the codes with it."""
        if not weight.any():
            return state
        gain = (1 - self.decay) / (1 - self.decay ** (int(state.frame_batches) + 1))
        mean, covariance = _moved(state.frame_mean, state.frame_covariance, x, weight, x.dtype.type(gain))
        total = self.decay * state.frame_weight + weight.sum(dtype=np.float64)
        frame = {"frame_mean": mean, "frame_covariance": covariance, "frame_weight": np.float64(total)}
        if state.frame_weight >= self._enough(x.shape[1]):
            factor = self._factor(state.frame_covariance, covariance, mean)
            offsets = {name: getattr(state, name) - state.frame_mean for name in self.places}
            frame |= {name: mean + np.einsum("kd,ed->ke", offset, factor) for name, offset in offsets.items()}
        return state._replace(**frame, frame_batches=state.frame_batches + 1)

    def _factor(self, before: np.ndarray, after: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """F [D, D] from one covariance to the next; the mean says what is rounding."""
        rounding = (16 * np.finfo(mean.dtype).eps * np.abs(mean).max()) ** 2
        if self.per == "covariance":
            return transport_map(before, after, rounding)
        variances = np.array([np.diag(before), np.diag(after)])
        if self.per == "scalar":
            variances[:] = variances.mean(axis=1, keepdims=True)
        resolved = (variances > rounding).all(axis=0)
        return np.diag(np.sqrt(np.where(resolved, variances[1], 1) / np.where(resolved, variances[0], 1)))

    def _enough(self, dim: int) -> int:
        return _ENOUGH * (dim if self.per == "covariance" else 1)

    def _warn(self, batch_size: int, dim: int) -> None:
        """Where the average never has enough latents."""
        most, enough = batch_size / (1 - self.decay), self._enough(dim)
        if most < enough:
            warnings.warn(
                f"{self!r} leaves the codes to the rule: its average never has more than {most:.3g} latents, and a frame "
                f"needs {enough}. Take larger batches, or a greater decay.",
                stacklevel=3,
            )


def _moved(mean: np.ndarray, covariance: np.ndarray, x: np.ndarray, weight: np.ndarray, gain: Any) -> tuple[Any, Any]:
    """mu' and V' after a batch [B, D]."""
    shares = (weight / weight.sum())[:, None]
    jump = (shares * (x - mean)).sum(axis=0)
    spread = x - (mean + jump)
    own = np.einsum("bd,be->de", shares * spread, spread)
    return mean + gain * jump, (1 - gain) * (covariance + gain * np.outer(jump, jump)) + gain * own


def transport_map(before: np.ndarray, after: np.ndarray, rounding: float = 0.0) -> np.ndarray:
    """The symmetric map that takes one covariance [D, D] to another; the identity where the first has no more than rounding,
    and altogether where the other has less directions.

    >>> transport_map(np.diag([1.0, 4.0]), np.diag([9.0, 4.0]))
    array([[3., 0.],
           [0., 1.]])
    """
    values, axes = np.linalg.eigh(before)
    relative = len(values) * np.finfo(before.dtype).eps
    spread = values > max(rounding, relative * values[-1])
    axes, root, flat = axes[:, spread], np.sqrt(values[spread]), axes[:, ~spread]
    after = axes.T @ after @ axes
    if not spread.any() or np.linalg.eigvalsh(after)[0] <= max(rounding, relative * np.trace(after)):
        return np.eye(len(values), dtype=before.dtype)
    values, turns = np.linalg.eigh(root[:, None] * after * root)
    middle = turns * np.sqrt(np.maximum(values, 0)) @ turns.T
    return axes / root @ middle @ (axes / root).T + flat @ flat.T
