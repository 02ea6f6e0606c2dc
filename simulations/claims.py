"""`python -m simulations.claims`: the verdicts at full effort that the page and the picture of the claims are drawn from.

With keys only those claims are measured, and take their places among the verdicts that are there; these stay, under
the present words of their claims. Ctrl-C stops it, and what has been judged by then is kept.
"""

from __future__ import annotations

import polars as pl
import tyro
from tqdm import tqdm

from simulations import command
from simulations.tables import DATA
from vqtheory.claims import Interval, Range, Verdict, all_claims, in_order, verify
from vqtheory.claims.table import keep

PATH = DATA / "claims.parquet"


def main(keys: tyro.conf.Positional[tuple[str, ...]] = (), /, scheduler: command.Scheduler = None) -> None:
    """Measure claims at full effort, on an idle machine in twenty minutes or so, and keep their verdicts.

    Args:
        keys: Which claims; all of them by default.
        scheduler: The address of a Dask scheduler, to measure on its workers, such as tcp://host:8786.
    """
    verdicts = kept() if PATH.is_file() else {}
    with command.workers(scheduler) as backend:
        try:
            for verdict in tqdm(verify(keys, "full", backend=backend), total=len(keys) or len(all_claims()), unit=" claims"):
                verdicts[verdict.claim.key] = verdict
        finally:
            keep(PATH, in_order(verdicts.values()))


def kept() -> dict[str, Verdict]:
    """The verdicts of the table by key, of claims that there still are."""
    rows = pl.read_parquet(PATH).iter_rows(named=True)
    return {row["claim"]: verdict_of(row) for row in rows if row["claim"] in all_claims()}


def verdict_of(row: dict) -> Verdict:
    """The verdict that a row was made from."""
    low, high = row["predicted_low"], row["predicted_high"]
    predicted = low if low == high else Range(low, high)
    interval = Interval(row["low"], row["high"])
    return Verdict(all_claims()[row["claim"]], predicted, row["measured"], interval, row["outcome"])


if __name__ == "__main__":
    tyro.cli(main, prog="python -m simulations.claims")
