"""NSVQ, non-stationary vector quantization: drift reaches the codes that were not chosen.

Lu et al., arXiv 2602.18896. (Not noise substitution in vector quantization, 2022, of the same
name.) A kernel of the distance moves the codes that did not win. The normalised form, derived here and the one that the
name alone stands for, puts the kernel into the running sums of EMA:

    normalised   w_ij = 1 for the winner, else kappa softmax_j(-|x_i - c_j|^2 / tau),   tau = mean |x - c_q|^2 of the batch
                 n_j = sum of w_ij over what j wins,  W_j = sum over the rest;  N_j <- min(N_j, 10 W_j) where n_j = 0
                 N_j <- gamma N_j + (1 - gamma)(n_j + W_j),  M_j <- gamma M_j + (1 - gamma) sum_i w_ij x_i,  c_j = M_j / N_j

A code that wins nothing divides by its own small weights, and so goes to its kernel's mean at the full rate 1 - gamma; one
that wins is biased by O(kappa), whatever K. Hence there is no step size, no schedule and no unit: tau is the size of a cell,
wherever the encoder goes. The minimum lets a code forget what it has won once it wins nothing, for which it would wait
ln(N_j / W_j) / (1 - gamma) updates. As in `EMA`, c_j is kept in place of M_j, and moves by

    c_j <- c_j + ((1 - gamma) / N_j) sum_i w_ij (x_i - c_j).

The published forms take a step of plain VQ. Their bandwidth sigma_t has to shrink over training, after the drift:

    gaussian   c_j <- c_j + (eta / B) sum_i w_ij (x_i - c_j),
               w_ij = kappa exp(-|x_i - c_j|^2 / 2 sigma^2), the winner's 1   (the paper's figure: kappa = 1/2)
    softmax    the same with w_ij = min(1, kappa K softmax_j(-|x_i - c_j|^2 / tau)), tau = sigma^2
               (the published code: kappa = 0.01)
    propagate  c_j <- c_j + (eta / B) sum_(i won by j) (x_i - c_j) + kappa sum_i w_ij d_i / sum_i w_ij,
               w_ij = exp(-|x_i - c_j|^2 / 2 sigma^2), with d_i the encoder's own move of sample i
               (after the paper's supplement, normalised so that a rigid translation is passed on
               whole at kappa = 1; a code that no sample reaches stays)

All sums are taken at the codes before the update. As sigma -> 0 online k-means is left.

A weight w_ij of a published form below half a unit in the last place of the winner's 1, u = 2^-53 and in float32 2^-24, is
0: what it would add is lost in the rounding of the winner's own move. In the gaussian form that is from the distance
sigma sqrt(2 ln(kappa / u)) on, 8.5 bandwidths and in float32 5.6, so that codes out of reach cost no more than their
distance. In the propagate form, where the weights are divided by their sum, w_ij is 0 below the smallest normal number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import Tally, info, new_tally
from vqtheory._kernels.tiles import lay, lift
from vqtheory.protocols import Batches, checked
from vqtheory.rules import _attraction, _normalised
from vqtheory.rules.base import Rule, check_start, uniform_start, with_rows

_STRENGTH = {"normalised": 1e-3, "gaussian": 0.5, "softmax": 0.01, "propagate": 1.0}
_OWN = {"step_size": 0.05, "bandwidth": 1.0}  # of the published forms


@dataclass(frozen=True, repr=False)
class NSVQ(Rule):
    """A kernel moves the codes that did not win.

    Parameters
    ----------
    step_size : float or schedule, optional
        eta of a published form, in the units of `VQ`; by default 0.05. A gain eta * (mean weight) of 2 or more diverges.
    bandwidth : float or schedule, optional
        sigma of a published form, a length in the units of the latents, by default 1; tau = sigma^2 in the softmax form.
        It has to reach over the cloud while the encoder drifts, of the order of spread * sqrt(D), and fall
        below the spacing of the codes afterwards: one that never shrinks contracts the codebook.
    strength : float, optional
        kappa; by default 0.001 (normalised), 0.5 (gaussian), 0.01 (softmax), 1 (propagate).
    form : {"normalised", "gaussian", "softmax", "propagate"}, optional
        By default "gaussian" where a step size or a bandwidth is given, and "normalised" where neither is.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K) as in the published code.
    decay : float, default 0.9
        gamma in [0, 1) of the normalised form, per update. Batches have to have several latents for each code within
        1 / (1 - gamma) updates, as with `EMA`.

    Examples
    --------
    A code that wins nothing forgets all but ten times its kernel's weight, and follows at a rate of 0.1 / 9.1 at first:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> codes, batches = np.array([[0.0], [-1.0]]), Batches(np.array([[[1.0]]]))
    >>> rule = NSVQ()
    >>> rule.advance(rule.init(codes), batches)[0].codes.ravel().round(6)
    array([ 0.1     , -0.978022])

    In the gaussian form it follows by half the winner's weight where the kernel is wide:

    >>> rule = NSVQ(step_size=0.5, bandwidth=1e6)
    >>> rule.advance(rule.init(codes), batches)[0].codes.ravel().round(9)
    array([ 0.5, -0.5])
    """

    step_size: Any = None
    bandwidth: Any = None
    strength: float | None = None
    form: Any = None
    start: str = "matched"
    decay: float = 0.9

    key: ClassVar[str] = "nsvq"
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})

    def __post_init__(self) -> None:
        if self.form is None:
            self._keep(form="normalised" if self.step_size is None and self.bandwidth is None else "gaussian")
        check.choice("NSVQ", "form", self.form, _STRENGTH)
        self._keep(decay=check.number("NSVQ", "decay", self.decay, 0))
        if self.form == "normalised":
            self._check_averages()
        else:
            self._check_steps()
        if self.strength is not None:
            self._keep(strength=check.number("NSVQ", "strength", self.strength, 0, above=self.form == "normalised"))
        check_start("NSVQ", self.start)

    def _check_averages(self) -> None:
        for name, value in {"step_size": self.step_size, "bandwidth": self.bandwidth}.items():
            if value is not None:
                raise check.fail("NSVQ", name, "left out with form='normalised', which has none", value)
        if self.decay >= 1:
            raise check.fail("NSVQ", "decay", "a number >= 0 and < 1", self.decay)

    def _check_steps(self) -> None:
        if self.decay != type(self).decay:
            raise check.fail("NSVQ", "decay", f"left out with form={self.form!r}, which keeps no averages", self.decay)
        for name, own in _OWN.items():
            value = getattr(self, name)
            self._keep(**{name: schedules.validate("NSVQ", name, own if value is None else value, 0, above=True)})

    @property
    def _implied(self) -> set[str]:
        """The form where a step size or a bandwidth says it, and these where they are a published form's own."""
        own = {name for name, value in _OWN.items() if getattr(self, name) == value}
        said = self.form == "normalised" or (self.form == "gaussian" and len(own) < 2)
        return own | {"form"} if said else own

    @property
    def fixed_point(self) -> str:
        """The kernel's share in a code that wins something is kappa's; without averages it goes with its bandwidth."""
        return "k-means as strength -> 0" if self.form == "normalised" else "k-means as bandwidth -> 0"

    @property
    def lengths(self) -> tuple[str, ...]:
        """The normalised form has its length from the latents."""
        return () if self.form == "normalised" else ("bandwidth",)

    @property
    def memory(self) -> str:  # type: ignore[override]
        """The running counts of the normalised form."""
        return "its counts" if self.form == "normalised" else ""

    @property
    def running_counts(self) -> str:
        """The normalised form has them."""
        return "counts" if self.form == "normalised" else ""

    @property
    def needs_displacement(self) -> bool:
        """Only the propagate form needs to know how far the encoder moved each sample."""
        return self.form == "propagate"

    @property
    def tracks_translation(self) -> bool:
        """A rigid translation is passed on whole, while a step of it stays within reach, 37 bandwidths, in float32 13."""
        return self.form == "propagate" and self._strength == 1

    @property
    def _strength(self) -> float:
        return _STRENGTH[self.form] if self.strength is None else self.strength

    def init(self, codes: np.ndarray, seed: int = 0) -> NSVQState | AveragedState:
        """The state that starts from codes [K, D]; counts start at 1."""
        codes = check.matrix("NSVQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        if self.form == "normalised":
            return AveragedState(codes, np.int64(0), np.ones(len(codes), codes.dtype))
        return NSVQState(codes, np.int64(0))

    def place(self, state: Any, rows: np.ndarray, codes: np.ndarray) -> Any:
        """With the counts of a start, in the normalised form."""
        state = super().place(state, rows, codes)
        return state._replace(counts=with_rows(state.counts, rows, 1)) if self.running_counts else state

    def advance(self, state: Any, batches: Batches) -> tuple[NSVQState | AveragedState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]; `ValueError` if the propagate form gets no displacement."""
        kind = AveragedState if self.form == "normalised" else NSVQState
        check.instance("NSVQ.advance", "state", state, kind, "a state that NSVQ.init has made")
        x, weight = checked("NSVQ.advance", batches, state.codes)
        tiles, tally = lay(state.codes), new_tally(x, state.codes)
        move = self._average if self.form == "normalised" else self._attract
        memory = move(state, Batches(x, batches.displacement, weight), tiles, tally)
        return kind(lift(tiles, len(state.codes)), state.step + len(x), *memory), info(tally, weight)

    def _average(self, state: AveragedState, batches: Batches, tiles: np.ndarray, tally: Tally) -> tuple[np.ndarray, ...]:
        """IN/OUT tiles; OUT the tally; returns the counts."""
        x, _, weight = batches
        counts, work, number = state.counts.copy(), _normalised.workspace(x, len(state.codes)), x.dtype.type
        hyperparameters = (number(1 - self.decay), number(self._strength))
        _normalised.average(x, weight, *hyperparameters, state.step, len(state.codes), tiles, counts, work, tally)
        return (counts,)

    def _attract(self, state: NSVQState, batches: Batches, tiles: np.ndarray, tally: Tally) -> tuple[np.ndarray, ...]:
        """IN/OUT tiles; OUT the tally; returns nothing that is carried on."""
        x, _, weight = batches
        steps, batch_size, _ = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        kernel = self._kernel(int(state.step), steps, len(state.codes), x.dtype)
        work, strength = _attraction.workspace(x, len(state.codes)), x.dtype.type(self._strength)
        arrays = (state.step, len(state.codes), tiles, work, tally)
        if self.form == "propagate":
            _attraction.propagate(x, weight, _displacement(batches), rates, *kernel, strength, *arrays)
        else:
            _attraction.attract(x, weight, rates, *kernel, strength, self.form == "softmax", *arrays)
        return ()

    def _kernel(self, start: int, steps: int, num_codes: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """The factor of squared distances, -1 / 2 sigma^2 or -1 / tau, and from which squares on weights are 0, [T] each.

        Finite however narrow or wide the kernel, so that the winner's distance of 0 keeps its weight.
        """
        limits, softmax = np.finfo(dtype), self.form == "softmax"
        with np.errstate(over="ignore", under="ignore"):  # of a bandwidth beyond all measure, cut off below
            squares = (1.0 if softmax else 2.0) * schedules.values(self.bandwidth, start, steps) ** 2
        squares = np.clip(squares, float(limits.tiny), float(limits.max) / 1024)
        peak = {"gaussian": self._strength, "softmax": self._strength * num_codes, "propagate": 1.0}[self.form]
        least = limits.tiny if self.form == "propagate" else limits.eps / 2
        with np.errstate(
            divide="ignore", over="ignore"
        ):  # a strength of 0 reaches nowhere, one beyond all measure everywhere
            reach = min(np.log(np.float64(peak) / float(least)), 1024.0)
        return (-1 / squares).astype(dtype), (reach * squares).astype(dtype)


class NSVQState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


class AveragedState(NamedTuple):
    """Of the normalised form: codes, updates done, and running counts N; the running sums M are N times the codes."""

    codes: np.ndarray
    step: np.int64
    counts: np.ndarray


def _displacement(batches: Batches) -> np.ndarray:
    """The samples' own moves [T, B, D]."""
    if batches.displacement is None or batches.displacement.shape != batches.x.shape:
        raise ValueError("NSVQ(form='propagate') needs batches with a displacement [T, B, D] of the shape of the latents.")
    moved = np.ascontiguousarray(batches.displacement, batches.x.dtype)
    return check.finite("NSVQ.advance", "displacement", moved)
