"""What every rule of the package is: its text, what it declares of itself, and where it starts.

A rule file writes only what is different from here. A rule of your own may do without this class: what it does not
declare is read from here by `declared`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory._base.config import Configured
from vqtheory._base.randomness import Purpose, generator
from vqtheory.assign import nearest


class Rule(Configured, protocols.Rule[Any]):
    """A frozen dataclass of hyperparameters, with `init` and `advance` as in `vqtheory.protocols.Rule`.

    What a rule declares is held against it by `vqtheory.testing.check_rule`, and read by the simulator, the diagnosis
    and the layer in torch. Where the answer depends on the hyperparameters a rule makes it a property.
    """

    key: ClassVar[str] = ""  # its name in the layer and on the command line; "" for a rule without one
    memory: ClassVar[str] = ""  # what it carries on beside the codes, in words; a codebook alone does not continue it

    @property
    def moves_unselected(self) -> bool:
        """Whether codes that win nothing may move."""
        return True

    @property
    def fixed_point(self) -> str | None:
        """Where it rests on a stationary encoder: "k-means", "k-means as bandwidth -> 0", or None."""
        return None

    @property
    def equivariances(self) -> frozenset[str]:
        """Which changes of latents and codes commute with it, of translation, rotation, scaling and permutation."""
        return frozenset()

    @property
    def tracks_translation(self) -> bool:
        """Whether a rigid translation of the latents is followed by every code, chosen or not."""
        return False

    @property
    def lengths(self) -> tuple[str, ...]:
        """Names of the hyperparameters that are lengths, and scale with the data."""
        return ()

    @property
    def assigns_nearest(self) -> bool:
        """Whether a latent is won by the code nearest to it; hits and distortion are of the rule's own assignment."""
        return True

    @property
    def needs_displacement(self) -> bool:
        """Whether it needs to know how far each latent has moved by itself."""
        return False

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the arrays [K, D] of its state that move where a code is moved; none where a map makes the codes."""
        return ("codes",)

    @property
    def running_counts(self) -> str:
        """Name of the array [K] of its state that keeps running counts of hits; "" for a rule that keeps none."""
        return ""

    @property
    def step_size(self) -> Any:
        """eta, a number or a schedule; None for a rule without one."""
        return None

    @property
    def momentum(self) -> float:
        """Of the step: in the long run a step goes 1 / (1 - momentum) as far."""
        return 0.0

    @property
    def weight_decay(self) -> float:
        """Of the codes."""
        return 0.0

    @property
    def strength(self) -> float | None:
        """Of a kernel that moves codes which did not win; None for a rule without one."""
        return None

    @property
    def bandwidth(self) -> Any:
        """Of that kernel, a length, a number or a schedule."""
        return None

    @property
    def decay(self) -> Any:
        """Of running means, per update, a number or a schedule; None for a rule that keeps none."""
        return None

    @property
    def smoothing(self) -> float:
        """Of running counts."""
        return 0.0

    @property
    def optimizer(self) -> str | None:
        """What takes the steps of a rule that descends its loss by an optimizer of its own."""
        return None

    @property
    def clock(self) -> str:
        """What a schedule's argument counts: the "step", or a code's own "wins"."""
        return "step"

    @property
    def start(self) -> str:
        """Where codes begin: "matched" to the codes given, or as "published"."""
        return "matched"

    def project(self, latents: np.ndarray) -> np.ndarray:
        """Latents [N, D] as the rule compares them with its codes."""
        return latents

    def assign(self, latents: np.ndarray, state: Any) -> np.ndarray:
        """The codes that latents [N, D] go to in evaluation, int64 [N]: the nearest, if the rule says nothing else."""
        return nearest(declared(self, "project")(latents).astype(state.codes.dtype, copy=False), state.codes)[0]

    def place(self, state: Any, rows: np.ndarray, codes: np.ndarray) -> Any:
        """The state with the codes of these numbers put at `codes` [n, D], as new ones: what was known of them is gone."""
        codes = declared(self, "project")(codes)
        return state._replace(**{name: with_rows(getattr(state, name), rows, codes) for name in declared(self, "places")})

    def starting(self, start: str) -> Self:
        """The same from this start, "matched" or "published"."""
        return self if self.start == start else replace(self, start=start)  # type: ignore[type-var]

    def matched(self) -> Self:
        """The same from a matched start."""
        return self.starting("matched")

    def under(self, optimizer: str | None, rate: Any, momentum: float = 0.0, weight_decay: float = 0.0) -> Rule | None:
        """The rule of the simulator that moves codes as an optimizer does that descends this rule's loss.

        `optimizer` is "sgd", "adam", or None for a rule that needs none; `rate` is the step size with SGD, in the units
        of the rule, and the learning rate with Adam, a number or a schedule. None where no rule of the simulator does so.
        """
        if optimizer is None:
            return self
        known = optimizer == "sgd" and not momentum and not weight_decay and declared(self, "step_size") is not None
        return replace(self, step_size=rate) if known else None  # type: ignore[type-var]


_SILENT = Rule()  # type: ignore[abstract]


def declared(rule: protocols.Rule, name: str) -> Any:
    """What a rule declares of itself under this name; of a rule that says nothing, what `Rule` says."""
    return getattr(rule, name, getattr(_SILENT, name))


def under(rule: protocols.Rule, optimizer: str | None, rate: Any, momentum: float = 0.0, weight_decay: float = 0.0) -> Any:
    """`Rule.under`, of a rule too that says nothing of it."""
    method: Callable[..., Any] = getattr(type(rule), "under", Rule.under)
    return method(rule, optimizer, rate, momentum, weight_decay)


def assign(rule: protocols.Rule, latents: np.ndarray, state: Any) -> np.ndarray:
    """`Rule.assign`, of a rule too that says nothing of it."""
    method: Callable[..., Any] = getattr(type(rule), "assign", Rule.assign)
    return method(rule, latents, state)


def place(rule: protocols.Rule, state: Any, rows: np.ndarray, codes: np.ndarray) -> Any:
    """`Rule.place`, of a rule too that says nothing of it."""
    method: Callable[..., Any] = getattr(type(rule), "place", Rule.place)
    return method(rule, state, rows, codes)


def with_rows(values: np.ndarray, rows: np.ndarray, new: Any) -> np.ndarray:
    """A copy of an array in which these rows are new."""
    values = values.copy()
    values[rows] = new
    return values


def projects(rule: protocols.Rule) -> bool:
    """Whether a rule compares latents with its codes elsewhere than where they are."""
    return getattr(declared(rule, "project"), "__func__", None) is not Rule.project


def descends(rule: protocols.Rule) -> bool:
    """Whether the codes themselves are what an optimizer moves, and nothing else moves them."""
    held = declared(rule, "memory") or declared(rule, "needs_displacement") or projects(rule)
    return declared(rule, "step_size") is not None and not held


def check_start(owner: str, start: str) -> None:
    """Refuses a start that is not known."""
    check.choice(owner, "start", start, ["matched", "published"])


def uniform_start(codes: np.ndarray, seed: int, bound: float) -> np.ndarray:
    """Codes of the same shape and dtype from U(-bound, bound)."""
    return generator(seed, Purpose.RULE).uniform(-bound, bound, codes.shape).astype(codes.dtype)
