"""Claims of your own, from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from vqtheory._base.own import load_module
from vqtheory.claims.laws import LAWS
from vqtheory.claims.statement import Claim


def load(path: str | Path) -> list[Claim]:
    """The claims that a file of Python defines at its top level, or lists in `CLAIMS`, in their order.

    The file is run. Raises `ValueError` where there is no such file, where it raises an error, and where it has no claim.
    """
    module = load_module(path)
    claims = list({id(one): one for one in _named(module)}.values())
    if not claims:
        raise ValueError(f"{Path(path).name} has no claim: vqtheory.claims.claim makes one of a function that measures.")
    return claims


def _named(module: ModuleType) -> Iterator[Claim]:
    """Claims by the names of the module, without those of the package that it has imported."""
    known = {id(one) for law in LAWS for one in law.CLAIMS}
    listed = getattr(module, "CLAIMS", ())
    for value in [*vars(module).values(), *(listed if isinstance(listed, (list, tuple)) else ())]:
        if isinstance(value, Claim) and id(value) not in known:
            yield value
