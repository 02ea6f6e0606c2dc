"""`python -m simulations`: run the experiments and write their tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from simulations import EXPERIMENTS, command, faces
from simulations.tables import RESULTS, path_of, table

PROGRAM = "python -m simulations"
NAMES = (
    f"Which experiments: {', '.join(EXPERIMENTS)}. By default all of these. The study faces runs by its name alone: "
    "it trains VQ-VAEs for an hour or two, needs the extra torch and VQTHEORY_DATA, and goes on where it was stopped."
)


def main(
    names: Annotated[command.Names, command.names(NAMES)] = (),
    fast: bool = False,
    anew: bool = False,
    minutes: float = math.inf,
    results: Path = RESULTS,
) -> None:
    """Run experiments and write one table each, as parquet. A table that is there already is kept.

    Args:
        fast: Fewer seeds and shorter runs, to see that it works.
        anew: Run even where the table is there.
        minutes: Begin no training of faces after so many minutes.
        results: The folder of the tables.
    """
    for name in command.known(PROGRAM, names, (*EXPERIMENTS, "faces")) or EXPERIMENTS:
        if name == "faces":
            print(faces.progress(faces.run(fast, results, minutes, anew), fast, results))
            continue
        rows = len(table(name, fast, results, anew))
        print(f"{path_of(name, fast, results)}: {rows} rows")


if __name__ == "__main__":
    command.run(main, PROGRAM)
