"""Plain vector quantization with the codebook in the hands of an optimizer, as in most training code.

The gradient of the codebook loss E|sg(x) - c_q(x)|^2 / 2 is G_k = p_k (c_k - m_k), with p_k the share of
the batch that code k wins and m_k its mean. With decoupled weight decay lambda the codes move by

    sgd     b_k <- mu b_k + G_k,                    c_k <- (1 - eta lambda) c_k - eta b_k
    adam    moments M, V of G_k (Kingma & Ba 2015,  c_k <- (1 - eta lambda) c_k - eta M / (sqrt V + 1e-8)
            0.9 and 0.999, bias corrected)

SGD without momentum is `VQ`; with momentum its step is eta / (1 - mu) in the long run. Adam's step has
no unit of its own: no coordinate of any code goes further than eta per update in the long run, and 3.2 eta at once
after a long rest, however many samples it wins; a code that is chosen seldom moves almost as far as one that is
chosen often. The moments carry on after the last win, so that a code that has just been dropped still moves for
some ten updates. Weight decay pulls every code towards the origin, chosen or not: it is a drift of speed
eta lambda |c| on a stationary cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import by_batch, info, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start, with_rows
from vqtheory.rules.maps import Flat, descend, find_gradient, find_gradient_by_product, place


@dataclass(frozen=True, repr=False)
class TrainedVQ(Rule):
    """VQ with its codebook trained by Adam, or by SGD with momentum.

    Parameters
    ----------
    step_size : float or schedule, default 1e-3
        eta, the learning rate. With Adam a length, in the unit of the latents: the farthest that a
        coordinate goes in an update, in the long run. With SGD as of `VQ`.
    optimizer : {"adam", "sgd"}, default "adam"
    momentum : float, default 0
        mu, in [0, 1); of SGD only.
    weight_decay : float, default 0
        lambda >= 0, decoupled as in AdamW.
    start : {"matched", "published"}, default "matched"
        As of `VQ`.

    Examples
    --------
    The first step of Adam is eta, whatever the distance:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = TrainedVQ(step_size=0.1)
    >>> state = rule.init(np.array([[0.0], [1.0]]))
    >>> rule.advance(state, Batches(np.array([[[0.3]]])))[0].codes.round(6).ravel()
    array([0.1, 1. ])
    """

    step_size: Any = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    start: str = "matched"

    @property
    def fixed_point(self) -> str | None:
        """Weight decay keeps every code off the mean of its cell."""
        return "k-means" if self.weight_decay == 0 else None

    @property
    def lengths(self) -> tuple[str, ...]:
        """Adam's step size is a length."""
        return ("step_size",) if self.optimizer == "adam" else ()

    @property
    def equivariances(self) -> frozenset[str]:
        """Adam treats each coordinate by itself; its 1e-8 has a unit; weight decay knows the origin."""
        by_optimizer = {"rotation", "scaling"} if self.optimizer == "sgd" else set()
        by_decay = {"translation"} if self.weight_decay == 0 else set()
        return frozenset({"permutation"} | by_optimizer | by_decay)

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("TrainedVQ", "step_size", self.step_size, 0, above=True))
        check.choice("TrainedVQ", "optimizer", self.optimizer, ["adam", "sgd"])
        momentum = check.real("TrainedVQ", "momentum", self.momentum, 0, 1)
        if momentum == 1 or (momentum > 0 and self.optimizer == "adam"):
            raise check.fail("TrainedVQ", "momentum", "below 1, and 0 with optimizer='adam'", momentum)
        weight_decay = check.number("TrainedVQ", "weight_decay", self.weight_decay, 0)
        self._keep(momentum=check.number("TrainedVQ", "momentum", self.momentum), weight_decay=weight_decay)
        check_start("TrainedVQ", self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> TrainedState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("TrainedVQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        second = np.zeros(codes.size if self.optimizer == "adam" else 0, codes.dtype)
        return TrainedState(codes, np.int64(0), np.zeros(codes.size, codes.dtype), second)

    def under(self, optimizer: str | None, rate: Any, momentum: float = 0.0, weight_decay: float = 0.0) -> Rule | None:
        """The same codebook under another optimizer."""
        if optimizer == "sgd" or (optimizer == "adam" and not momentum):
            return TrainedVQ(rate, optimizer, momentum, weight_decay)
        return super().under(optimizer, rate, momentum, weight_decay)

    def place(self, state: TrainedState, rows: np.ndarray, codes: np.ndarray) -> TrainedState:
        """Without moments."""
        state, shape = super().place(state, rows, codes), state.codes.shape
        moments = {name: getattr(state, name) for name in ("first", "second") if getattr(state, name).size}
        fresh: Any = {name: with_rows(moment.reshape(shape), rows, 0).ravel() for name, moment in moments.items()}
        return state._replace(**fresh)

    def advance(self, state: TrainedState, batches: Batches) -> tuple[TrainedState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("TrainedVQ.advance", "state", state, TrainedState, "a state that TrainedVQ.init has made")
        x, weight = checked("TrainedVQ.advance", batches, state.codes)
        rates = schedules.values(self.step_size, int(state.step), len(x)).astype(x.dtype)
        theta = state.codes.ravel().copy()
        flat = Flat(theta, np.empty_like(theta), state.first.copy(), state.second.copy())
        codes, gradient = theta.reshape(state.codes.shape), flat.gradient.reshape(state.codes.shape)
        numbers = (x.dtype.type(self.momentum), x.dtype.type(self.weight_decay), by_batch(x.shape[1], codes))
        tally = new_tally(x, codes)
        _advance(x, weight, rates, int(state.step), *numbers, codes, gradient, flat, tally)
        return TrainedState(codes, np.int64(state.step + len(x)), flat.first, flat.second), info(tally, weight)


class TrainedState(NamedTuple):
    """Codes, updates done, and the optimizer's moments of the gradient, [K D] each; second is empty with SGD."""

    codes: np.ndarray
    step: np.int64
    first: np.ndarray
    second: np.ndarray


@kernel
def _advance(x, weight, rates, step, momentum, weight_decay, by_product, codes, gradient, flat, tally):
    """IN x, weight, rates [T], whether by products; IN/OUT codes [K, D] (a view of flat.theta), moments; OUT the tally;
    gradient is work."""
    codes_t, shift, one = np.empty(codes.shape[::-1], x.dtype), np.zeros(x.shape[2], x.dtype), x.dtype.type(1)
    distances = np.empty(len(codes), x.dtype)
    for t in range(len(x)):
        if by_product:
            find_gradient_by_product(x, weight, t, step, codes, one, gradient, tally)
        else:
            place(codes, shift, one, codes, codes_t)
            find_gradient(x, weight, t, step, codes_t, one, distances, gradient, tally)
        if weight_decay > 0:
            codes *= 1 - rates[t] * weight_decay
        if len(flat.second) > 0:
            descend(flat, rates[t], step + t)
        else:
            _descend_with_momentum(flat, rates[t], momentum)


@kernel
def _descend_with_momentum(flat, rate, momentum):
    """IN gradient; IN/OUT theta and first."""
    for i in range(len(flat.theta)):
        flat.first[i] = momentum * flat.first[i] + flat.gradient[i]
        flat.theta[i] -= rate * flat.first[i]
