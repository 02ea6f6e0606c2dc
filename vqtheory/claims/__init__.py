"""Every law of the theory and every claim of the paper, as objects that can fail.

One file per law. `verify` runs them; the same objects feed the command line, the tests and the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module

from vqtheory._base import check
from vqtheory.claims.statement import Claim, Effort, Exact, Interval, Limit, Range, Scaling, Verdict

LAWS = (
    "online_kmeans",
    "stationary",
    "dead_codes",
    "collapse",
    "transients",
    "dimensions",
    "ema",
    "capture",
    "bias",
    "maps_preserve",
    "maps_shift",
    "maps_runaway",
    "straight_through",
    "trained",
)

__all__ = ["LAWS", "Claim", "Effort", "Exact", "Interval", "Limit", "Range", "Scaling", "Verdict", "all_claims", "verify"]


@cache
def all_claims() -> dict[str, Claim]:
    """All claims by key, in the order of the laws."""
    claims = [claim for law in LAWS for claim in import_module(f"vqtheory.claims.laws.{law}").CLAIMS]
    return {claim.key: claim for claim in claims}


def verify(keys: Iterable[str] = (), effort: Effort = "quick", seed: int = 0) -> Iterator[Verdict]:
    """Verdicts of the claims with these keys, all by default, as they come in, on all cores.

    Raises `ValueError` for a key that is not known.
    """
    from joblib import Parallel, delayed

    check.choice("verify", "effort", effort, ["quick", "full"])
    names = [check.choice("verify", "keys", key, all_claims()) for key in keys] or list(all_claims())
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(all_claims()[name].runs or name, []).append(name)
    verified = (delayed(_verify)(group, effort, seed) for group in groups.values())
    for verdicts in Parallel(n_jobs=-1, return_as="generator_unordered")(verified):
        yield from verdicts


def _verify(keys: list[str], effort: Effort, seed: int) -> list[Verdict]:
    return [all_claims()[key].verify(effort, seed) for key in keys]
