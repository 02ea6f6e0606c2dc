"""Rules around a rule: what a wrapper says of the rule inside, and the state of both in one named tuple."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory.protocols import Batches
from vqtheory.rules.base import Rule, assign, declared, place, under


def inner(name: str) -> Any:
    """What the rule inside declares under this name."""
    return property(lambda self: declared(self.rule, name), doc=f"The {name} of the rule.")


class Wrapper(Rule):
    """A rule with a rule inside, which has codes of its own; the wrapper moves them before or after its steps.

    A wrapper with numbers of its own to carry on makes its state by `joined`, and by `inside` takes the state of the rule
    out of it again.
    """

    rule: protocols.Rule

    _positional: ClassVar[int] = 1
    _own_memory: ClassVar[str] = ""  # what the wrapper itself carries on
    in_layer: ClassVar[str] = "the rule inside, around which the layer has no such wrapper"  # what the layer asks for

    step_size, clock, optimizer, momentum, weight_decay = map(
        inner, ("step_size", "clock", "optimizer", "momentum", "weight_decay")
    )
    start, places, project = map(inner, ("start", "places", "project"))
    needs_displacement, running_counts, assigns_nearest = map(
        inner, ("needs_displacement", "running_counts", "assigns_nearest")
    )

    def _check_rule(self) -> None:
        """Refuses what is no rule, and a rule whose codes are not its own."""
        owner = type(self).__name__
        for name in ("init", "advance"):
            if isinstance(self.rule, type) or not callable(getattr(self.rule, name, None)):
                raise check.fail(owner, "rule", "a rule such as VQ(step_size=0.05)", self.rule)
        if not self.places:
            name = type(self.rule).__name__
            wanted = f"one with codes of its own: those of {name} are made of other numbers, and cannot be moved one by one"
            raise check.fail(owner, "rule", wanted, self.rule)

    def _check_single(self, kind: type | None = None) -> None:
        """Refuses one within another of its kind: what they carry on has the same names."""
        rule = self.rule
        while isinstance(rule, Wrapper):
            if isinstance(rule, kind or type(self)):
                raise check.fail(type(self).__name__, "rule", f"one without {type(rule).__name__} in it", self.rule)
            rule = rule.rule

    @property
    def memory(self) -> str:  # type: ignore[override]
        """The rule's own, and the wrapper's."""
        return " and ".join(filter(None, (declared(self.rule, "memory"), self._own_memory)))

    def _equivariances_without(self, *lost: str) -> frozenset[str]:
        """The rule's own but for these; and but for scaling where it has lengths, which are no fields of this one."""
        if self.start != "matched":
            return frozenset()
        return declared(self.rule, "equivariances") - set(lost) - ({"scaling"} if declared(self.rule, "lengths") else set())

    def starting(self, start: str) -> Self:
        """Around the rule from this start."""
        rule: Any = self.rule
        return self if self.start == start else replace(self, rule=rule.starting(start))  # type: ignore[type-var]

    def assign(self, latents: np.ndarray, state: Any) -> np.ndarray:
        """As the rule inside does."""
        return assign(self.rule, latents, inside(state) if isinstance(state, Joined) else state)

    def under(self, optimizer: str | None, rate: Any, momentum: float = 0.0, weight_decay: float = 0.0) -> Rule | None:
        """Around what the optimizer makes of the rule."""
        rule = under(self.rule, optimizer, rate, momentum, weight_decay)
        return None if rule is None else replace(self, rule=rule)  # type: ignore[type-var]

    def place(self, state: Any, rows: np.ndarray, codes: np.ndarray) -> Any:
        """As the rule inside does."""
        if not isinstance(state, Joined):
            return place(self.rule, state, rows, codes)
        return rejoined(state, place(self.rule, inside(state), rows, codes))


class Joined:
    """The state of a rule, and behind its fields a wrapper's own."""

    __slots__ = ()
    _inside: ClassVar[type]

    def __reduce__(self) -> tuple:
        """By its parts, since pickle does not find the class of such a state by name."""
        state: Any = self
        own = state._fields[len(self._inside._fields) :]  # type: ignore[attr-defined]
        return _rejoined_parts, (inside(state), {name: getattr(state, name) for name in own})


@cache
def _kind(inside: Hashable, own: tuple[str, ...]) -> Any:
    """The class of such a state, the same one every time."""
    fields: Any = namedtuple("Wrapped", (*inside._fields, *own))  # type: ignore[attr-defined, misc]
    return type(f"Wrapped{inside.__name__}", (Joined, fields), {"__slots__": (), "_inside": inside})  # type: ignore


def joined(state: Any, **own: Any) -> Any:
    """A named tuple of a rule's state and of a wrapper's own numbers."""
    inside: Any = type(state)
    return _kind(inside, tuple(own))(*state, **own)


def _rejoined_parts(state: Any, own: dict[str, Any]) -> Any:
    return joined(state, **own)


def inside(state: Any) -> Any:
    """The state of the rule inside."""
    return state._inside._make(state[: len(state._inside._fields)])


def rejoined(state: Any, inner_state: Any, **own: Any) -> Any:
    """The state with another one of the rule inside, and with these numbers of the wrapper."""
    return state._replace(**inner_state._asdict(), **own)


def cut(batches: Batches, steps: slice) -> Batches:
    """Some of the updates."""
    return Batches._make(None if part is None else part[steps] for part in batches)


def summed(answers: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What was counted in successive calls, as of one."""
    *_, last = answers
    total: dict[str, np.ndarray] = {}
    for name in ("hits", "replaced"):
        if name in last:
            total[name] = np.sum([answer[name] for answer in answers], axis=0)
    if "last_hit" in last:
        total["last_hit"] = np.max([answer["last_hit"] for answer in answers], axis=0)
    if "assignment" in last:
        total["assignment"] = last["assignment"]
    for name in ("distortion", "imbalance"):
        if name in last:
            total[name] = np.concatenate([answer[name] for answer in answers])
    return total
