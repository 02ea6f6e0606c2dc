"""`vqtheory phase`: which speeds of a drift codebooks of which sizes withstand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from vqtheory._base import check
from vqtheory.cli.options import number, option, picture_file, read, say


def phase(
    rule: Annotated[str, tyro.conf.Positional, option("TEXT")],
    /,
    *,
    codes: Annotated[tuple[str, ...], option("INT [INT ...]", "2 4 8 16")] = ("2", "4", "8", "16"),
    speeds: Annotated[tuple[str, str], option("FROM TO", "1e-5 3e-2")] = ("1e-5", "3e-2"),
    points: Annotated[str, option("INT", "8")] = "8",
    density: Annotated[str | None, option("TEXT", "uniform")] = None,
    batch_size: Annotated[str, option("INT", "32")] = "32",
    recovery: Annotated[str, option("INT", "0")] = "0",
    seeds: Annotated[str, option("INT", "1")] = "1",
    save: Annotated[Path | None, option("FOLDER")] = None,
    picture: Annotated[Path | None, option("FILE.png", "phase.png in the folder, else vqtheory-phase.png")] = None,
) -> None:
    """Draw which speeds of a drift codebooks of many sizes withstand, beside the law.

    Args:
        rule: How the codebook moves: "EMA(decay=0.9)", or a rule in a file, which is run: "mymodule.py:MyRule(leak=0.1)".
        codes: Numbers of codes, as in vqtheory phase "EMA(decay=0.9)" --codes 4 8 16 --speeds 1e-3 1e-1 --save ema.
        speeds: The slowest and the fastest drift per update, in the latents' unit; each run is as long as three widths.
        points: How many speeds, equally far apart on a log scale.
        density: A cloud that is not uniform, e.g. "Gaussian(dim=1)" or "Distribution('expon')".
        batch_size: Latents in an update.
        recovery: Updates after the drift, in which codes may come back.
        seeds: Runs at each point.
        save: Keep what is finished in this folder, from which the same command goes on, and the table, phase.parquet.
        picture: Where to draw the diagram; .pdf, .svg and .jpg too.
    """
    import numpy as np

    import vqtheory as vq

    target = picture_file(picture, save, "phase")
    slowest, fastest = (check.real("phase", "speeds", number(text), 0, above=True) for text in speeds)
    several: Any = number(points)
    rates = np.geomspace(slowest, fastest, check.integer("phase", "points", several))
    options: dict[str, Any] = {"batch_size": number(batch_size), "recovery": number(recovery), "seeds": number(seeds)}
    if density is not None:
        options["source"] = read("stream", density)
    diagram = vq.phase(read("rule", rule), [number(text) for text in codes], rates.tolist(), folder=save, **options)  # type: ignore[misc]
    say(diagram)
    target.parent.mkdir(parents=True, exist_ok=True)
    diagram.plot().savefig(target, dpi=150)
    say(f"Picture: {target}")
    if save is not None:
        diagram.table.write_parquet(save / "phase.parquet")
        say(f"Table: {save / 'phase.parquet'}")
