"""One example of one check: what was drawn, what the rule made of it, and the sentence if that is wrong."""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from vqtheory.protocols import Batches, Rule, State
from vqtheory.rules.base import declared
from vqtheory.testing.strategies import codebooks, grid, latents


class Broken(Exception):
    """A rule does not do what it has to; the message ends with the example."""


class Trial:
    """A rule, and one example to try it on.

    `draw` gives values of hypothesis strategies; what goes to the rule is kept for the message.
    """

    refusal = ""  # of the last codebook that `init` refused

    def __init__(self, rule: Rule, draw: Any) -> None:
        self.rule, self.draw = rule, draw
        self.example: dict[str, Any] = {}

    def codes(self, **options: Any) -> np.ndarray:
        """Codes to start from."""
        self.example["codes"] = codes = self.draw(codebooks(**({"max_codes": 4, "max_dim": 2} | options)))
        return codes

    def batches(
        self,
        codes: np.ndarray,
        steps: int = 1,
        batch_size: int | None = None,
        flat: bool | None = None,
        still: bool = False,
    ) -> Batches:
        """Latents for these codes, and their displacement if the rule needs it: 0 if they are to be `still`."""
        batch_size = self.draw(st.integers(1, 3)) if batch_size is None else batch_size
        x = self.draw(latents(codes, steps, batch_size, flat=flat))
        if not declared(self.rule, "needs_displacement"):
            return self.keep(Batches(x))
        moved = np.zeros_like(x) if still else self.draw(grid(x.shape)).astype(x.dtype)
        return self.keep(Batches(x, moved))

    def keep(self, batches: Batches) -> Batches:
        """These batches are the example's."""
        self.example |= {name: value for name, value in batches._asdict().items() if value is not None}
        return batches

    def seed(self) -> int:
        """A seed for `init`."""
        self.example["seed"] = seed = self.draw(st.integers(0, 3))
        return seed

    def start(self, codes: np.ndarray, seed: int = 0, rule: Rule | None = None) -> Any:
        """The state of `init`; codes that the rule refuses are no example."""
        rule = self.rule if rule is None else rule
        try:
            return rule.init(codes.copy(), seed)
        except ValueError as error:
            Trial.refusal = str(error)
            reject()

    def advance(self, state: State, batches: Batches, rule: Rule | None = None) -> tuple[Any, dict[str, np.ndarray]]:
        """One call of `advance`, on copies: a check is not to suffer from another contract that is broken."""
        return (self.rule if rule is None else rule).advance(copy.deepcopy(state), copy.deepcopy(batches))

    def require(self, condition: Any, sentence: str) -> None:
        """Raises `Broken`, with the example, unless the condition holds."""
        if not condition:
            raise Broken(self.text(sentence))

    def require_same(self, one: Any, other: Any, sentence: str) -> None:
        """That two states, two infos or two arrays are the same to the bit; the sentence may name the {part}."""
        for name, value in parts(one):
            if not same(value, dict(parts(other)).get(name)):
                raise Broken(self.text(sentence.format(part=name)))

    def text(self, sentence: str) -> str:
        """A sentence and the example."""
        lines = [sentence, *(f"{name} = {written(value)}" for name, value in self.example.items())]
        return "\n".join(lines[:1] + [textwrap.indent(line, "  ") for line in lines[1:]])


def each(batches: Batches, function: Callable[[np.ndarray], np.ndarray]) -> Batches:
    """Batches whose parts are functions of these."""
    return Batches._make(None if part is None else function(part) for part in batches)


def parts(value: Any) -> list[tuple[str, Any]]:
    """The named parts of a state or an info; of an array, itself."""
    if hasattr(value, "_asdict"):
        return list(value._asdict().items())
    return list(value.items()) if isinstance(value, dict) else [("values", value)]


def same(one: Any, other: Any) -> bool:
    """Equal shapes and dtypes and, NaN included, equal bits."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def written(value: Any) -> str:
    """A value as Python that makes it again."""
    if isinstance(value, np.ndarray):
        dtype = "" if value.dtype == np.float64 else f", np.{value.dtype}"
        return f"np.array({value.tolist()}{dtype})"
    return repr(value)
