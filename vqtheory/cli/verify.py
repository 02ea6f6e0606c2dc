"""`vqtheory verify`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vqtheory._base import check
from vqtheory.cli.options import option, say

if TYPE_CHECKING:
    from vqtheory.claims import Verdict


def verify(
    keys: Annotated[tuple[str, ...], tyro.conf.Positional, option("[CLAIM ...]", "all of them")] = (),
    /,
    *,
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    effort: Literal["quick", "full"] = "quick",
    seed: int = 0,
    save: Annotated[Path | None, option("FILE.md")] = None,
    scheduler: Annotated[str | None, option("ADDRESS")] = None,
) -> None:
    """Measure what the theory claims, and judge it. Exit status 1 if a claim is refuted, or undecided at full effort.

    Ctrl-C stops it; what has been judged by then is shown and kept.

    Args:
        keys: Which claims; all of them if none is named.
        list: Only tell which claims there are, and how strong each is: a law, a tolerance or a description.
        effort: How much evidence: quick takes a minute or two, full much longer.
        seed: Of all experiments.
        save: Keep the verdicts as a page; or as a table, .csv or .parquet.
        scheduler: Of a Dask cluster, to measure on its workers. Needs the extra cluster.
    """
    from tqdm import tqdm

    from vqtheory import claims
    from vqtheory.claims.table import keep, table

    if save is not None and (save.suffix.lower() not in (".md", ".csv", ".parquet") or not save.parent.is_dir()):
        raise ValueError(f"The verdicts go to a .md, .csv or .parquet file in a folder that exists. Got {str(save)!r}.")
    if list:
        say("\n".join(f"{one.key} ({one.strength}): {one.statement}" for one in claims.all_claims().values()))
        return
    for key in keys:  # before there is a bar
        check.choice("verify", "CLAIM", key, claims.all_claims())
    total = len(keys) or len(claims.all_claims())
    judged, stopped = _until_stopped(tqdm(claims.verify(keys, effort, seed, scheduler), total=total, unit=" claims"))
    verdicts = claims.in_order(judged)
    if verdicts:
        say(table(verdicts))
        if save is not None:
            keep(save, verdicts)
    if stopped:
        raise KeyboardInterrupt(f"{len(verdicts)} of {total} claims were judged.")
    failing = {"refuted"} | ({"undecided"} if effort == "full" else set())
    if any(verdict.outcome in failing for verdict in verdicts):
        raise SystemExit(1)


def _until_stopped(verdicts: Iterable[Verdict]) -> tuple[list[Verdict], bool]:
    """What has come in by the end or by Ctrl-C, and whether it was Ctrl-C."""
    judged: list[Verdict] = []
    try:
        for verdict in verdicts:
            judged.append(verdict)
    except KeyboardInterrupt:
        return judged, True
    return judged, False
