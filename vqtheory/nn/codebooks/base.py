"""What every codebook is: a torch module that says where the codes of a rule are, and what moves them.

A codebook that is trained has a `loss`, the mean over samples and dimensions of |x - c|^2, so that SGD with the rate lr
moves it as the simulator's rule does with eta = 2 lr / D. One that is not, as EMA's, moves in `update`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from vqtheory.nn.ops.search import assign
from vqtheory.protocols import State
from vqtheory.rules.base import Rule


class Mirror:
    """Classes that belong to a rule each: ``class EMACodebook(Codebook, of=rules.EMA)`` is ``Codebook.of(rules.EMA)``."""

    _mirrors: ClassVar[dict[type, Any]]

    def __init_subclass__(cls, of: type[Rule] | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if Mirror in cls.__bases__:
            cls._mirrors = {}
        if of is not None:
            cls._mirrors[of] = cls

    @classmethod
    def of(cls, rule: type[Rule]) -> type[Self]:
        """The class of a rule, or of the nearest of its ancestors that has one."""
        for ancestor in rule.__mro__:
            if ancestor in cls._mirrors:
                return cls._mirrors[ancestor]
        raise LookupError(f"There is no {cls.__name__} of {rule.__name__}.")


class Codebook(Mirror, nn.Module):
    """Codes that are parameters, each row by itself.

    Attributes
    ----------
    trained : bool
        Whether an optimizer moves the codes by a gradient.
    has_rows : bool
        Whether each code has numbers of its own, so that it can be put somewhere by `place`.
    """

    trained: ClassVar[bool] = True
    has_rows: ClassVar[bool] = True

    def __init__(self, rule: Rule, num_codes: int, dim: int) -> None:
        super().__init__()
        self.rule = rule
        self.weight = nn.Parameter(torch.zeros(num_codes, dim), requires_grad=self.trained)

    @staticmethod
    def check(owner: str, rule: Any) -> None:
        """Refuses a rule that moves its codes otherwise than a codebook in torch can."""

    def load(self, state: State) -> None:
        """Take over a start of the simulator's rule."""
        self.weight.data.copy_(tensor(state.codes))

    def place(self, rows: Tensor, codes: Tensor) -> None:
        """Put the codes with the numbers `rows` at `codes` [n, D], as new ones."""
        self.weight[rows] = codes

    def settle(self) -> None:
        """What has to be put right before a pass in training."""

    def codes(self) -> Tensor:
        """The codes [K, D], with their gradient."""
        return self.weight

    def project(self, latents: Tensor) -> Tensor:
        """Latents [N, D] as they are compared with the codes."""
        return latents

    def assign(self, latents: Tensor, codes: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes of latents [N, D], and what is added to the loss for codes that are not chosen."""
        return assign(latents, codes), codes.new_zeros(())

    def loss(self, latents: Tensor, chosen: Tensor) -> Tensor:
        """E |x - c|^2 / D over the latents [N, D], which get no gradient, and their codes."""
        return (latents - chosen).square().mean(dim=1).mean()

    def update(self, latents: Tensor, chosen: Tensor, indices: Tensor, step: Tensor, displacement: Tensor | None) -> None:
        """What moves codes without a gradient."""


def tensor(values: Any) -> Tensor:
    """A tensor of an array's memory, or of a number."""
    if np.ndim(values):
        return torch.from_numpy(np.ascontiguousarray(values))
    return torch.tensor(float(values), dtype=torch.float64)
