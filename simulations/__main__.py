"""`python -m simulations`: run the experiments and write their tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import tyro

from simulations import EXPERIMENTS, command, faces, faces_own
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
    own: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:CALL")] = None,
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
        own: With faces: train a rule of your own instead, such as "mymodule.py:MyRule(leak=0.1)", whose file has its
            codebook in torch too, and show its rows beside those of the study. After a change of its code: --anew.
        scheduler: The address of a Dask scheduler, to run on its workers, such as tcp://host:8786.
    """
    chosen = command.known(PROGRAM, names, (*EXPERIMENTS, "faces")) or EXPERIMENTS
    if own is not None:
        return _own(names, own, fast, results, anew)
    with command.workers(scheduler) as backend:
        for name in chosen:
            if name == "faces":
                print(faces.progress(faces.run(fast, results, minutes, anew), fast, results))
                continue
            rows = len(table(name, fast, results, anew, backend))
            print(f"{path_of(name, fast, results)}: {rows} rows")


def _own(names: tuple[str, ...], own: str, fast: bool, results: Path, anew: bool) -> None:
    """The rows of a rule of your own in the face study."""
    if names != ("faces",):
        raise SystemExit("--own is for the study faces: python -m simulations faces --own FILE.py:CALL.")
    try:
        print(faces_own.beside_others(faces_own.run(own, fast, results, anew), fast))
    except ValueError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    command.run(main, PROGRAM)
