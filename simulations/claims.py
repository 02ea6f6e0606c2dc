"""Every claim, measured and judged: the verdicts of `vqtheory verify` as a table."""

from __future__ import annotations

import polars as pl
from tqdm import tqdm

from vqtheory.claims import all_claims, verify
from vqtheory.claims.table import frame


def run(fast: bool = False) -> pl.DataFrame:
    """One row per claim."""
    verdicts = verify(effort="quick" if fast else "full")
    return frame(list(tqdm(verdicts, total=len(all_claims()), desc="claims", unit=" claims")))
