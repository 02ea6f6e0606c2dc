"""Every law of the theory and every claim of the paper, as objects that can fail.

`verify` runs them; the same objects feed the command line, the tests and the figures. A claim of your own is such an
object too: `claim` makes it of a function that measures, and `verify(["threshold-of-two", my_claim])` verifies it beside
the others. `load` has the claims of a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from vqtheory._base import check
from vqtheory.claims.laws import LAWS
from vqtheory.claims.own import load
from vqtheory.claims.picture import plot
from vqtheory.claims.statement import Claim, Effort, Exact, Interval, Limit, Range, Scaling, Verdict, claim
from vqtheory.sweeps import Backend
from vqtheory.sweeps.places import check_sent, place_of

if TYPE_CHECKING:
    from distributed import Client

_PARAMETERS = ("keys", "keys")  # that what is sent comes from

__all__ = [
    "Claim",
    "Effort",
    "Exact",
    "Interval",
    "Limit",
    "Range",
    "Scaling",
    "Verdict",
    "all_claims",
    "claim",
    "in_order",
    "load",
    "plot",
    "verify",
]


@cache
def all_claims() -> dict[str, Claim]:
    """All claims by key, in the order of the laws."""
    return {claim.key: claim for law in LAWS for claim in law.CLAIMS}


def verify(
    keys: Iterable[str | Claim] = (),
    effort: Effort = "quick",
    seed: int = 0,
    backend: Backend | Client | str | None = None,
) -> Iterator[Verdict]:
    """Verdicts of the claims with these keys, all by default, as they come in, on all cores or where `backend` says.

    A claim of your own stands for itself in place of a key. `backend` is as in `sweep`: a Dask client, or the address of a
    scheduler. Raises `ValueError` for a key that is not known, for two claims with one key, and for a cluster that `sweep`
    would refuse.
    """
    check.choice("verify", "effort", effort, ["quick", "full"])
    groups: dict[str, list[Claim]] = {}
    for one in chosen(keys) or all_claims().values():
        groups.setdefault(one.runs or one.key, []).append(one)
    tasks = [(name, claims, effort, seed) for name, claims in groups.items()]
    with place_of("verify", backend) as place:
        check_sent("verify", place, _verify, [{one.key: one for one in claims} for claims in groups.values()], _PARAMETERS)
        for name, verdicts in place.map(_verify, tasks):
            for one, verdict in zip(groups[name], verdicts, strict=True):
                yield replace(verdict, claim=one)  # the one that was asked for, not the copy from the other process


def chosen(keys: Iterable[str | Claim]) -> list[Claim]:
    """The claims with these keys, and those that stand for themselves, whose keys must be their own."""
    claims = [_claim_of(key) for key in keys]
    by_key = dict(all_claims())
    for one in claims:
        if by_key.setdefault(one.key, one) is not one:
            of = "of the package" if one.key in all_claims() else "before it"
            raise ValueError(f"Two claims have the key {one.key!r}: give yours another one than the claim {of} has.")
    return claims


def in_order(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts in the order of the laws; those of claims that are not of the package after them."""
    place = {key: index for index, key in enumerate(all_claims())}
    return sorted(verdicts, key=lambda verdict: place.get(verdict.claim.key, len(place)))


def _claim_of(key: str | Claim) -> Claim:
    return key if isinstance(key, Claim) else all_claims()[check.choice("verify", "keys", key, all_claims())]


def _verify(name: str, claims: list[Claim], effort: Effort, seed: int) -> tuple[str, list[Verdict]]:
    return name, [one.verify(effort, seed) for one in claims]
