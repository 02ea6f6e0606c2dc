"""What every codebook is: a torch module that says where the codes of a rule are, and what moves them.

A codebook that is trained has a `loss`, the mean over samples and dimensions of |x - c|^2, so that SGD with the rate lr
moves it as the simulator's rule does with eta = 2 lr / D. One that is not, as EMA's, moves in `update`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from vqtheory.nn.ops.presence import mean, wide
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

    @classmethod
    def named(cls) -> dict[str, type[Rule]]:
        """The rules that have a class of their own, by the names of their classes."""
        return {rule.__name__: rule for rule in cls._mirrors}

    @classmethod
    def has_own(cls, rule: type[Rule]) -> bool:
        """Whether there is one of exactly this rule."""
        return rule in cls._mirrors

    @classmethod
    def has(cls, rule: type[Rule]) -> bool:
        """Whether there is one of the rule or of an ancestor."""
        return any(ancestor in cls._mirrors for ancestor in rule.__mro__)


class Batch(NamedTuple):
    """What a pass gives to a codebook."""

    latents: Tensor  # [N, D], without gradient; all finite
    keep: Tensor  # bool [N]; False for rows that only fill a place
    step: Tensor  # passes in training before


class Soft(NamedTuple):
    """What a rule gives that passes the decoder's gradient by itself."""

    quantized: Tensor  # [N, D], the chosen codes with the rule's own gradient
    loss: Tensor  # whose gradient is added to that of the codebook loss


class Moved(nn.Parameter):
    """Codes that the forward pass moves and no gradient: ``requires_grad_(False)`` holds them where they are."""

    held = False

    def __new__(cls, data: Tensor) -> Moved:
        return super().__new__(cls, data, requires_grad=False)

    @property
    def requires_grad(self) -> bool:
        """Never, so that no optimizer and no `DistributedDataParallel` waits for a gradient."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.held = not value

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the codes move, or hold them."""
        self.held = not requires_grad
        return self

    def __deepcopy__(self, memo: dict) -> Moved:
        copy = memo[id(self)] = Moved(self.data.clone(memory_format=torch.preserve_format))
        copy.held = self.held
        return copy

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _moved, (self.data, self.held)


def _moved(data: Tensor, held: bool) -> Moved:
    codes = Moved(data)
    codes.held = held
    return codes


class Codebook(Mirror, nn.Module):
    """Codes that are parameters, each row by itself.

    Attributes
    ----------
    trained : bool
        Whether an optimizer moves the codes by a gradient.
    has_rows : bool
        Whether each code has numbers of its own, so that it can be put somewhere by `place`.
    moves : bool
        Whether a forward pass moves codes. Such codes are kept in float32 at least, whatever the model is in: a small
        step of an average is lost in fewer digits.
    has_clock : bool
        Whether a pass depends on how many were before it.
    soft : bool
        Whether the rule passes the decoder's gradient by itself, in `soften`, and takes no estimator.
    """

    trained: ClassVar[bool] = True
    has_rows: ClassVar[bool] = True
    soft: ClassVar[bool] = False
    moves: bool = False
    has_clock: bool = False

    def __init__(self, rule: Rule, num_codes: int, dim: int) -> None:
        super().__init__()
        self.rule = rule
        codes = torch.zeros(num_codes, dim)
        self.weight = nn.Parameter(codes) if self.trained else Moved(wide(codes))

    @property
    def held(self) -> bool:
        """Whether the codes are to stay: after ``requires_grad_(False)``."""
        return self.weight.held if isinstance(self.weight, Moved) else not self.weight.requires_grad

    def _as_moved(self) -> None:
        """Torch puts a plain parameter in place of one on another kind of device, or on loading with ``assign=True``."""
        if not self.trained and not isinstance(self.weight, Moved):
            self.weight = Moved(self.weight.data)

    def is_empty(self) -> bool:
        """Whether there are no codes yet: all are zero."""
        return not bool(self.weight.any())

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `half` and the like do; codes that the forward pass moves keep their digits."""

        def careful(values: Tensor) -> Tensor:
            result = function(values)
            return result if not result.is_floating_point() or wide(result) is result else values.to(result.device)

        super()._apply(careful if self.moves else function, recurse)
        self._as_moved()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        if self.moves:
            own = {name for name in state_dict if name.startswith(prefix) and state_dict[name].is_floating_point()}
            state_dict.update({name: wide(state_dict[name]) for name in own})
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._as_moved()

    @classmethod
    def suited(cls, rule: Rule) -> type[Codebook]:
        """The class of a rule's codebook, which may depend on its hyperparameters."""
        return cls

    @staticmethod
    def check(owner: str, rule: Any) -> None:
        """Refuses a rule that moves its codes otherwise than a codebook in torch can."""

    def load(self, state: State) -> None:
        """Take over a start of the simulator's rule."""
        self.weight.data.copy_(tensor(state.codes))

    def place(self, rows: Tensor, codes: Tensor) -> None:
        """Put the codes with the numbers `rows` at `codes` [n, D], as new ones."""
        self.weight[rows] = codes

    def carry(self, moves: Tensor) -> None:
        """Move each code by its row of moves [K, D], in place; what is known of it stays."""
        self.weight.data.add_(moves.to(self.weight.dtype))

    def settle(self) -> None:
        """What has to be put right before a pass in training."""

    def prepare(self, batch: Batch) -> None:
        """What moves codes before a pass in training assigns this batch to them."""
        self.settle()

    def codes(self) -> Tensor:
        """The codes [K, D], with their gradient."""
        return self.weight

    def project(self, latents: Tensor) -> Tensor:
        """Latents [N, D] as they are compared with the codes."""
        return latents

    def startable(self, latents: Tensor) -> Tensor:
        """Of latents [N, D] the ones that a code can start on."""
        return latents

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes of the latents [N, D], and what is added to the loss for codes that are not chosen."""
        return assign(batch.latents, codes), codes.new_zeros(())

    def loss(self, batch: Batch, chosen: Tensor) -> Tensor:
        """E |x - c|^2 / D over the latents [N, D], which get no gradient, and their codes."""
        return mean((batch.latents - chosen).square().mean(dim=1), batch.keep)

    def soften(self, batch: Batch, latents: Tensor, codes: Tensor, chosen: Tensor) -> Soft:
        """Of a `soft` codebook: the quantized latents [N, D], which have a gradient here, and what is added to the loss."""
        raise NotImplementedError

    def update(self, batch: Batch, chosen: Tensor, indices: Tensor, displacement: Tensor | None) -> None:
        """What moves codes without a gradient. `indices` are those of the chosen codes, and K where nothing is kept."""


def tensor(values: Any) -> Tensor:
    """A tensor of an array's memory, or of a number."""
    if np.ndim(values):
        return torch.from_numpy(np.ascontiguousarray(values))
    return torch.tensor(float(values), dtype=torch.float64)
