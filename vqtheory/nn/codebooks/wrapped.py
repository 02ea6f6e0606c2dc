"""What the codebook of a rule around a rule is: that of the rule inside, with more in it.

The codebook of `Affine(EMA())` inherits from what a frame adds and from EMA's, so that it is EMA's but for the frame.
"""

from __future__ import annotations

from functools import cache, reduce
from typing import Any, ClassVar

from torch import nn

from vqtheory._base import check
from vqtheory.nn.codebooks.base import Codebook
from vqtheory.nn.ops.presence import wide
from vqtheory.rules.base import Rule
from vqtheory.rules.wrapper import Wrapper


class WrappedCodebook(Codebook):
    """What a wrapper adds. Its `__init__` and `load` hand the rule inside, and its state, to the class behind it.

    The codes keep their digits, as all that a pass moves.
    """

    moves = True
    _parts: ClassVar[tuple[type[Codebook], ...]]  # the wrappers from the outermost on, and the codebook inside

    def __init__(self, rule: Rule, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        if self.trained:
            self.weight = nn.Parameter(wide(self.weight.data))

    @classmethod
    def suited(cls, rule: Rule) -> type[Codebook]:
        """This class before the one of the rule inside."""
        assert isinstance(rule, Wrapper)
        inner: Any = rule.rule
        return _joined(cls, Codebook.of(type(inner)).suited(inner))  # type: ignore[arg-type]  # classes are hashable

    @staticmethod
    def check(owner: str, rule: Any) -> None:
        """Codes that no optimizer or average of their own moves are not the wrapper's to move."""
        if not Codebook.of(type(rule.rule)).has_rows:
            raise check.fail(owner, "rule", "one around a rule with codes of its own", rule)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        """By the parts of its class, which no module has by name."""
        return _blank, self._parts, self.__dict__


@cache
def _joined(outer: Any, inner: Any) -> type[Codebook]:
    """The class of both."""
    parts = (outer, *getattr(inner, "_parts", (inner,)))
    name = "".join(part.__name__.removesuffix("Codebook") for part in parts)
    return type(f"{name}Codebook", (outer, inner), {"_parts": parts, "__module__": outer.__module__})


def _blank(*parts: type[Codebook]) -> Codebook:
    """An instance without content."""
    kind = reduce(lambda inner, outer: _joined(outer, inner), reversed(parts))  # type: ignore[arg-type]
    return kind.__new__(kind)
