"""What an optimizer does to the codes of a quantizer that is watched: its group, its kind, its rate."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqtheory._base import check
from vqtheory.nn.foreign import is_codes
from vqtheory.nn.quantize import VectorQuantize, step_size
from vqtheory.protocols import Rule
from vqtheory.rules.base import descends

_HELD = "codes that stay as they are"  # in place of an optimizer
_ADAM = (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam)


class Optimized:
    """The part of a `Monitor` that looks at its optimizer."""

    quantizer: Any
    optimizer: Any
    codebook_weight: float
    held: bool
    rule: Rule | None
    _warned: bool
    _records: list[dict[str, Any]]

    def _codes(self) -> Tensor:
        raise NotImplementedError

    def _warn(self) -> None:
        """Once, where latents outrun Adam's steps on the codes, and nothing else carries these along."""
        if self._warned or len(self._records) < 2 or self._kind() != "adam" or self.rule is None or not descends(self.rule):
            return
        before, after = self._records[-2:]
        elapsed, rate = after["steps"] - before["steps"], after["rates"]
        latents = np.abs(after["latents"].mean(axis=0) - before["latents"].mean(axis=0)) / elapsed
        codes = np.abs(after["code_means"] - before["code_means"]) / elapsed
        i = int(latents.argmax())
        if latents[i] <= rate or codes[i] > latents[i] / 2:
            return
        self._warned = True
        warnings.warn(
            f"The latents drift by {latents[i]:.2g} per update along a coordinate, and Adam moves no code farther than the "
            f"codebook's learning rate, {rate:.2g}: codes stay behind. Give the codebook a rate that follows, by "
            "vqtheory.nn.FollowingRate, or have its codes carried, by vqtheory.nn.Transport.",
            stacklevel=3,
        )

    def _group(self) -> dict[str, Any]:
        """Of the optimizer's parameters, those with the codebook."""
        if self.optimizer is None:
            return {}
        groups = self.optimizer.param_groups
        return next((group for group in groups if any(map(self._is_codebook, group["params"]))), {})

    def codebook_group(self, owner: str) -> dict[str, Any]:
        """The group of Adam that has the codebook alone, for a caller `owner` that sees to its rate from now on."""
        group = self._group()
        if self._kind() != "adam":
            raise check.fail(owner, "monitor", "of a codebook that Adam moves, with its optimizer", self._kind())
        if not all(map(self._is_codebook, group["params"])):
            raise ValueError(
                f"The 'monitor' parameter of {owner} must be of an optimizer with the codebook in a group of its own, as "
                f"parameter_groups makes it. Got a group of {len(group['params'])} parameters."
            )
        self._warned = True  # of a rate that is too low there is nothing to be said any more
        return group

    @property
    def _is_trained(self) -> bool:
        if isinstance(self.quantizer, VectorQuantize):
            return bool(self.quantizer.codebook_parameters())
        return any(map(self._is_codebook, self.quantizer.parameters()))

    def _is_codebook(self, parameter: Tensor) -> bool:
        return is_codes(self.quantizer, parameter, self._codes())

    def _kind(self) -> str | None:
        if not self._group():
            return _HELD if self.held else None
        if isinstance(self.optimizer, torch.optim.SGD):
            return "sgd"
        return "adam" if isinstance(self.optimizer, _ADAM) else type(self.optimizer).__name__

    def _rate(self, dim: int) -> float:
        """eta of SGD, in the simulator's units, and the learning rate of others."""
        group = self._group()
        if not group:
            return float("nan")
        lr = float(group["lr"])
        if self._kind() != "sgd":
            return lr
        reach = (1 - group["dampening"]) / (1 - group["momentum"]) if group["momentum"] else 1.0
        return step_size(lr=lr * reach, dim=dim, weight=self.codebook_weight)


def weight_of(quantizer: Any) -> float:
    """Of the codebook loss; beta in the first VQGAN code and what has kept to it."""
    swapped = getattr(quantizer, "legacy", False) and hasattr(quantizer, "beta")
    return float(quantizer.beta if swapped else getattr(quantizer, "codebook_weight", 1.0))
