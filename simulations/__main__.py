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
    "it trains VQ-VAEs for an hour or two, on this computer, needs the extra torch and VQTHEORY_DATA, and goes on where it "
    "was stopped."
)


def main(
    names: Annotated[command.Names, command.names(NAMES)] = (),
    fast: bool = False,
    anew: bool = False,
    minutes: float = math.inf,
    results: Path = RESULTS,
    scheduler: command.Scheduler = None,
) -> None:
    """Run experiments and write one table each, as parquet. A table that is there already is kept.

    Finished runs are kept beside the table, in NAME.points: whatever stops an experiment, it goes on where it was. Delete
    a table to have it made from them and from runs that are new, such as those of one more rule; delete NAME.points when
    you no longer need it.

    Args:
        fast: Fewer seeds and shorter runs, to see that it works.
        anew: Run everything, even where the table is there.
        minutes: Begin no training of faces after so many minutes.
        results: The folder of the tables.
        scheduler: The address of a Dask scheduler, to run on its workers, such as tcp://host:8786.
    """
    chosen = command.known(PROGRAM, names, (*EXPERIMENTS, "faces")) or EXPERIMENTS
    with command.workers(scheduler) as backend:
        for name in chosen:
            if name == "faces":
                print(faces.progress(faces.run(fast, results, minutes, anew), fast, results))
                continue
            rows = len(table(name, fast, results, anew, backend))
            print(f"{path_of(name, fast, results)}: {rows} rows")


if __name__ == "__main__":
    command.run(main, PROGRAM)
