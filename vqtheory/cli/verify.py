"""`vqtheory verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from vqtheory.cli.options import option


def verify(
    keys: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[CLAIM ...]")] = (),
    /,
    *,
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    effort: Literal["quick", "full"] = "quick",
    seed: int = 0,
    save: Annotated[Path | None, option("FILE.md")] = None,
) -> None:
    """Measure what the theory claims, and judge it. Exit status 1 if a claim is refuted, or undecided at full effort.

    Args:
        keys: Which claims; all of them if none is named.
        list: Only tell which claims there are.
        effort: How much evidence: quick takes a minute or two, full much longer.
        seed: Of all experiments.
        save: Keep the verdicts as a page; or as a table, .csv or .parquet.
    """
    from tqdm import tqdm

    from vqtheory.claims import all_claims
    from vqtheory.claims import verify as verdicts_of
    from vqtheory.claims.table import keep, table

    if save is not None and (save.suffix.lower() not in (".md", ".csv", ".parquet") or not save.parent.is_dir()):
        raise ValueError(f"The verdicts go to a .md, .csv or .parquet file in a folder that exists. Got {str(save)!r}.")
    if list:
        print("\n".join(f"{claim.key}: {claim.statement}" for claim in all_claims().values()))
        return
    order = [*all_claims()]
    found = [*tqdm(verdicts_of(keys, effort, seed), total=len(keys) or len(order), unit=" claims")]
    print(table(sorted(found, key=lambda verdict: order.index(verdict.key))))
    if save is not None:
        keep(save, found)
    failing = {"refuted"} | ({"undecided"} if effort == "full" else set())
    if any(verdict.outcome in failing for verdict in found):
        raise SystemExit(1)
