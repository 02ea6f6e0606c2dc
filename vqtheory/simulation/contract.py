"""What rules and streams hand back to the loop, held against the contract in `vqtheory.protocols`."""

from __future__ import annotations

from typing import Any

import numpy as np

from vqtheory._base.check import short
from vqtheory.protocols import Batches, Rule, State


def held_state(owner: str, state: Any, shape: tuple[int, ...]) -> State:
    """A state of codes of this shape."""
    for field in ("codes", "step", "_asdict"):
        if not hasattr(state, field):
            requirement = "a named tuple whose first two fields are 'codes' and 'step'"
            raise ValueError(f"The state that {owner} returns must be {requirement}. Got {short(state)}.")
    if np.shape(state.codes) != shape:
        raise ValueError(f"The codes that {owner} returns must keep their shape {shape}. Got {np.shape(state.codes)}.")
    return state


def held_answer(rule: Rule, answer: Any, codes: np.ndarray) -> tuple[State, dict[str, Any]]:
    """The state after a call of `advance`, and what was counted."""
    owner = f"{type(rule).__name__}.advance"
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
        raise ValueError(f"{owner} must return the state and a dictionary of what was counted. Got {short(answer)}.")
    state, counted = answer
    if np.shape(counted.get("hits")) != codes.shape[:1]:
        got = "It has none" if "hits" not in counted else f"Got shape {np.shape(counted['hits'])}"
        raise ValueError(
            f"The dictionary that {owner} returns must have 'hits', how many samples each of the {len(codes)} codes has "
            f"won. {got}."
        )
    return held_state(owner, state, codes.shape), counted


def held_batches(stream: Any, batches: Any, shape: tuple[int, int, int]) -> Batches:
    """Batches of so many updates, samples and dimensions."""
    if not isinstance(batches, Batches) or np.shape(batches.x) != shape:
        got = f"latents of shape {np.shape(batches.x)}" if isinstance(batches, Batches) else short(batches)
        raise ValueError(f"The 'draw' of {short(stream)} must return Batches of latents [T, B, D], here {shape}. Got {got}.")
    return batches
