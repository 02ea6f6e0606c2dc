"""`vqtheory verify`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vqtheory._base import check
from vqtheory.cli.options import option, picture_file, say

if TYPE_CHECKING:
    from vqtheory.claims import Claim, Verdict


def verify(
    keys: Annotated[tuple[str, ...], tyro.conf.Positional, option("[CLAIM|FILE.py ...]", "all of them")] = (),
    /,
    *,
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    effort: Literal["quick", "full"] = "quick",
    seed: int = 0,
    save: Annotated[Path | None, option("FILE.md")] = None,
    picture: Annotated[Path | None, option("FILE.png")] = None,
    scheduler: Annotated[str | None, option("ADDRESS")] = None,
) -> None:
    """Measure what the theory claims, and judge it. Exit status 1 if a claim is refuted, or undecided at full effort.

    Ctrl-C stops it; what has been judged by then is shown and kept.

    Args:
        keys: Which claims; all of them if none is named. A file of Python, which is run, stands for the claims of yours that
            it defines, or for those of them that are named after it.
        list: Only tell which claims there are, and how strong each is: a law, a tolerance or a description.
        effort: How much evidence: quick takes a minute or two, full much longer.
        seed: Of all experiments.
        save: Keep the verdicts as a page; or as a table, .csv or .parquet.
        picture: Where to draw the verdicts, a bar each; .pdf, .svg and .jpg too.
        scheduler: Of a Dask cluster, to measure on its workers. Needs the extra cluster.
    """
    from tqdm import tqdm

    from vqtheory import claims
    from vqtheory.claims.table import keep, table

    if save is not None and (save.suffix.lower() not in (".md", ".csv", ".parquet") or not save.parent.is_dir()):
        raise ValueError(f"The verdicts go to a .md, .csv or .parquet file in a folder that exists. Got {str(save)!r}.")
    target = None if picture is None else picture_file(picture)
    asked = _chosen(keys) or [*claims.all_claims().values()]
    if list:
        say("\n".join(f"{one.key} ({one.strength}): {one.statement}" for one in asked))
        return
    bar = tqdm(claims.verify(asked, effort, seed, scheduler), total=len(asked), unit=" claims")
    judged, stopped = _until_stopped(bar)
    place = {one.key: index for index, one in enumerate(asked)}
    verdicts = claims.in_order(sorted(judged, key=lambda verdict: place.get(verdict.claim.key, len(place))))
    if verdicts:
        say(table(verdicts))
        if save is not None:
            keep(save, verdicts)
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            claims.plot(verdicts).savefig(target, dpi=150)
            say(f"Picture: {target}")
    if stopped:
        raise KeyboardInterrupt(f"{len(verdicts)} of {len(asked)} claims were judged.")
    failing = {"refuted"} | ({"undecided"} if effort == "full" else set())
    if any(verdict.outcome in failing for verdict in verdicts):
        raise SystemExit(1)


def _chosen(names: Sequence[str]) -> list[Claim]:
    """The claims of keys and of files; refused before there is a bar."""
    from vqtheory import claims

    files = {name: claims.load(name) for name in names if name.endswith(".py")}
    claims.chosen(one for of_file in files.values() for one in of_file)  # refuses two of one key
    known = claims.all_claims() | {one.key: one for of_file in files.values() for one in of_file}
    asked: list[Claim] = []
    for name in names:
        if name not in files:
            asked.append(known[check.choice("verify", "CLAIM", name, known)])
        elif not any(one.key in names for one in files[name]):  # or those of its claims that are named
            asked += files[name]
    return claims.chosen(asked)


def _until_stopped(verdicts: Iterable[Verdict]) -> tuple[list[Verdict], bool]:
    """What has come in by the end or by Ctrl-C, and whether it was Ctrl-C."""
    judged: list[Verdict] = []
    try:
        for verdict in verdicts:
            judged.append(verdict)
    except KeyboardInterrupt:
        return judged, True
    return judged, False
