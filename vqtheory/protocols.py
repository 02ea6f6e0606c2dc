"""The contract between streams, rules and loops, in one page.

A *rule* says how a codebook moves, a *stream* how latents come, a *loop* is an encoder that is itself trained through
the quantizer, and a *snapshot* says where latents are at one step. `simulate` needs no more of them than what stands
here, so that an object of your own needs no base class. What a rule may claim of itself beside this, and what is assumed
where it says nothing, is in `vqtheory.rules.Rule`; the same for a snapshot is in `vqtheory.streams.Snapshot`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from vqtheory._base import check


class Diverged(ValueError):
    """A closed loop whose encoder has run away; `simulate` ends the run there and says so."""


class Ended(ValueError):
    """A stream that has no further latents; `simulate` ends the run there and says so.

    `steps` is how many of the updates that were asked for it still has latents for.
    """

    def __init__(self, message: str, steps: int = 0) -> None:
        super().__init__(message)
        self.steps = steps


class Batches(NamedTuple):
    """Latents for T updates of the codebook, from B samples each.

    Attributes
    ----------
    x : float [T, B, D]
        The latents, C-contiguous, in the dtype of the codes.
    displacement : float [T, B, D], optional
        How far each sample itself moved since the step before; 0 at step 0. For
        rules with `needs_displacement`.
    weight : float [T, B], optional
        Weight of each sample in its batch's sums; 1 where not given.
    """

    x: np.ndarray
    displacement: np.ndarray | None = None
    weight: np.ndarray | None = None


class State(Protocol):
    """What a rule carries from one call to the next: a named tuple of arrays, of which the first two are these."""

    @property
    def codes(self) -> np.ndarray:
        """The codes [K, D] that the rule assigns with."""

    @property
    def step(self) -> Any:
        """Updates done, an int."""

    def _asdict(self) -> dict[str, Any]:
        """All fields by name, as any named tuple gives them."""


AnyState = TypeVar("AnyState", bound=State)
LoopState = TypeVar("LoopState")


class Rule(Protocol[AnyState]):
    """How a codebook moves: a pure object of hyperparameters, without hidden state and global randomness.

    ``advance`` over T1 + T2 updates equals ``advance`` over T1 and then T2, to the bit. A random rule draws from a
    stateless function of (key, step, index); the key comes from `seed` and is part of the state.
    """

    def init(self, codes: np.ndarray, seed: int) -> AnyState:
        """The state that starts from codes [K, D]."""

    def advance(self, state: AnyState, batches: Batches) -> tuple[AnyState, dict[str, np.ndarray]]:
        """The state after T updates from batches.x [T, B, D], and what was counted on the way.

        The dictionary is never carried on. It has `hits` [K], the samples that each code has won, and where the rule
        has them `distortion` [T] (of each batch before its update), `last_hit` [K], and `assignment` [B] of the last
        batch.
        """


class Snapshot(Protocol):
    """Where latents are at one step."""

    def sample(self, size: int) -> np.ndarray:
        """Fresh latents [size, D], none of which the updates of a run with the same seed meet."""


@runtime_checkable
class Drawn(Protocol):
    """Latents that are drawn, as a pure function: the same arguments give the same latents, in chunks of any size."""

    def draw(self, start: int, steps: int, batch_size: int, seed: int, dtype: Any = ...) -> Batches:
        """Latents of steps ``start .. start + steps - 1``.

        For a rule with `needs_displacement` it is called with ``displacement=True`` as well.
        """


class Stream(Drawn, Protocol):
    """Latents that drift."""

    @property
    def dim(self) -> int:
        """D, the dimension of the latents."""


@runtime_checkable
class Located(Protocol):
    """A stream that says where its latents are: runs on it are measured on fresh latents."""

    def at(self, t: int, seed: int = ...) -> Snapshot:
        """Where they are at step t."""


@runtime_checkable
class Blocks(Protocol):
    """Latents [N, D] that are read block by block, and may be more than memory holds."""

    @property
    def dim(self) -> int:
        """D, the dimension of the latents."""

    @property
    def num_rows(self) -> int:
        """N, how many there are."""

    def blocks(self) -> Iterator[np.ndarray]:
        """All latents in their order, [n, D] at a time; anew with each call."""


@runtime_checkable
class Begins(Protocol):
    """A stream that says which latents a run may begin on."""

    def first(self, size: int) -> np.ndarray:
        """Latents [N, D], `size` of them or more where there are so many; the updates of the run meet them too."""


@runtime_checkable
class Finite(Protocol):
    """A stream that ends."""

    @property
    def steps(self) -> int:
        """How many steps there are."""


@runtime_checkable
class Reads(Protocol):
    """A stream or a rule that reads files: a saved run keeps their SHA-256, and refuses others under the same names."""

    @property
    def files(self) -> tuple[str, ...]:
        """Their paths, as the stream was given them."""


@runtime_checkable
class Loop(Protocol[LoopState]):
    """A closed loop: an encoder that is trained through the quantizer as the codebook learns; one update at a time."""

    @property
    def dim(self) -> int:
        """D, the dimension of the latents."""

    def init(self, seed: int) -> LoopState:
        """The state at step 0, a named tuple of arrays: the weights of encoder and decoder are in it."""

    def respond(self, state: LoopState, codes: np.ndarray, batch_size: int) -> tuple[LoopState, Batches]:
        """Encode a batch and take one step of encoder and decoder through the quantizer at these codes.

        Returned are the state after the step and the latents from before it, with their displacement.
        """

    def at(self, state: LoopState) -> Snapshot:
        """Where the latents of the next response are."""


def checked(owner: str, batches: Batches, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The latents and their weights, ready for a kernel.

    Raises `ValueError` where shape or dtype do not fit the codes, and at the
    first latent that is not finite.
    """
    if not isinstance(batches, Batches) or not isinstance(batches.x, np.ndarray):
        raise check.fail(owner, "batches", "Batches that hold an array [T, B, D]", type(batches).__name__)
    x = batches.x
    if x.ndim != 3 or x.shape[2] != codes.shape[1] or 0 in x.shape[1:]:
        raise ValueError(
            f"The 'batches' parameter of {owner} must hold latents [T, B, D] for codes [K, D]. "
            f"Got latents of shape {x.shape} and codes of shape {codes.shape}."
        )
    if x.dtype != codes.dtype:
        raise ValueError(
            f"The 'batches' parameter of {owner} must have the dtype of the codes, {codes.dtype}. Got {x.dtype}."
        )
    check.finite(owner, "batches", x)
    if batches.weight is None:
        return np.ascontiguousarray(x), np.ones(x.shape[:2], x.dtype)
    if batches.weight.shape != x.shape[:2] or not (batches.weight >= 0).all():
        raise ValueError(
            f"The 'weight' of the batches of {owner} must be >= 0 and of shape {x.shape[:2]}, [T, B]. "
            f"Got shape {batches.weight.shape}."
        )
    return np.ascontiguousarray(x), np.ascontiguousarray(check.finite(owner, "weight", batches.weight), x.dtype)
