"""What `vqtheory train` does."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import Any

import polars as pl

from vqtheory._base import check
from vqtheory._base.folder import HISTORY
from vqtheory.nn._trained import Trained
from vqtheory.nn._training import Training
from vqtheory.nn.train import resume, train


def run_training(given: dict[str, Any], save: Path | None, folder: Path | None) -> None:
    """Train with what is given, or resume the folder's run, and say what came out."""
    if folder is not None and (save is not None or set(given) - {"steps"}):
        raise check.fail("train", "resume", "alone, or with --steps: the rest is the folder's", str(folder))
    kept = folder or save
    try:
        run = train(**given, save=save) if folder is None else resume(folder, given.get("steps"))
    except KeyboardInterrupt:
        if kept is None:
            raise KeyboardInterrupt("Nothing was kept: --save FOLDER makes a run that can be resumed.") from None
        raise KeyboardInterrupt(
            f"Kept up to update {_kept_steps(kept):,}. Go on with: vqtheory train --resume {shlex.quote(str(kept))}"
        ) from None
    if os.environ.get("RANK", "0") != "0":  # of torchrun's processes the first one speaks
        return
    print(sentences(run))
    if kept is not None:
        print(f"Run: {kept}; to go further, with --steps: vqtheory train --resume {shlex.quote(str(kept))}")


def _kept_steps(folder: Path) -> int:
    """Updates in the last checkpoint, each of which is at a row of the history."""
    rows = pl.read_parquet(folder / HISTORY)
    return int(rows["step"][-1]) if len(rows) else 0


def sentences(run: Trained) -> str:
    """What came out."""
    config, row = run.config, run.rows[-1]
    since = run.rows[-2]["step"] if len(run.rows) > 1 else 0
    psnr = 10 * math.log10(4 / row["reconstruction"])  # images span [-1, 1]
    default = Training(config.rule)
    about = f"{config.rule!r} in the {config.model} VQ-VAE" + ("" if config == default else f", of {config!r}")
    return (
        f"{about}.\nAfter {run.step:,} updates {row['used']:,} of {config.codes:,} codes are used from update "
        f"{since + 1:,} on (perplexity {row['perplexity']:.1f}), and images come back at {psnr:.1f} dB."
    )
