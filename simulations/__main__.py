"""`python -m simulations`: run the experiments and write their tables."""

from __future__ import annotations

from pathlib import Path

import tyro

from simulations import EXPERIMENTS, faces
from simulations.tables import RESULTS, path_of, table


def main(
    names: tyro.conf.Positional[tuple[str, ...]] = EXPERIMENTS,
    /,
    fast: bool = False,
    anew: bool = False,
    minutes: float | None = None,
    results: Path = RESULTS,
) -> None:
    """Run experiments and write one table each, as parquet. Tables that are there already are kept.

    Args:
        names: Which experiments; all by default, but the study `faces`, which trains VQ-VAEs for an hour or two and needs
            the extra torch and VQTHEORY_DATA. It goes on where it was stopped.
        fast: Fewer seeds and shorter runs, to see that it works.
        anew: Run even where the table is there.
        minutes: Begin no training of `faces` after so many minutes.
        results: The folder of the tables.
    """
    if unknown := [name for name in names if name not in (*EXPERIMENTS, "faces")]:
        raise SystemExit(f"There is no experiment {unknown[0]!r}; there are {', '.join((*EXPERIMENTS, 'faces'))}.")
    for name in names:
        if name == "faces":
            print(faces.told(faces.run(fast, results, minutes, anew), fast, results))
            continue
        rows = len(table(name, fast, results, anew))
        print(f"{path_of(name, fast, results)}: {rows} rows")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m simulations")
