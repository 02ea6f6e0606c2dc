"""Hooks on a module that belong to whoever watches it, and not to the module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """Calls a function. A copy or a pickle of a hooked module, as for an average of weights, is not watched any more."""

    def __init__(self, function: Callable[..., None] | None = None) -> None:
        self.function = function

    def __call__(self, *args: Any) -> None:
        """What a hook is called with is passed on."""
        if self.function is not None:
            self.function(*args)

    def __deepcopy__(self, memo: dict) -> Hook:
        return Hook()

    def __reduce__(self) -> tuple:
        return Hook, ()
