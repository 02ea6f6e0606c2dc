"""The codebook of plain vector quantization."""

from __future__ import annotations

from vqtheory import rules
from vqtheory._base import check
from vqtheory.nn.codebooks.base import Codebook


class VQCodebook(Codebook, of=rules.VQ):
    """Codes that are parameters; their step is the optimizer's."""

    @staticmethod
    def check(owner: str, rule: rules.VQ) -> None:
        """Gains by a code's own wins are no step of an optimizer."""
        if rule.clock != "step":
            raise check.fail(owner, "rule", "one with clock='step': the step is the optimizer's", rule)
