"""`python -m paper_figures`: draw every figure, running the simulations that are missing first."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import matplotlib

from paper_figures import FAST, FIGURES
from paper_figures.style import RC, NotYet, save
from simulations import command
from simulations.tables import RESULTS, table

PROGRAM = "python -m paper_figures"
NAMES = (
    f"Which figures: {', '.join(FIGURES)}. By default all of these; with --fast all but the slowest, "
    f"{', '.join(name for name in FIGURES if name not in FAST)}."
)


def main(
    names: Annotated[command.Names, command.names(NAMES)] = (),
    fast: bool = False,
    results: Path = RESULTS,
) -> None:
    """Draw figures from the tables of the simulations, which are run first where they are missing.

    Args:
        fast: From smaller simulations, to see that it works; most figures, those of bundled tables first.
        results: The folder of the tables; the pictures go to a folder named figures beside them.
    """
    matplotlib.use("Agg")
    matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
    folder, missing = results / ("fast" if fast else "full") / "figures", list[str]()
    for name in command.known(PROGRAM, names, FIGURES) or (FAST if fast else FIGURES):
        figure = importlib.import_module(f"paper_figures.{name}")
        rows = table(figure.TABLE, fast, results)
        try:
            save(folder / f"{name}{figure.SUFFIX}", figure.draw(rows))
        except NotYet as reason:
            missing.append(f"{name} is not drawn: {reason}")
    print(f"The pictures are in {folder.resolve()}")
    if missing:
        raise SystemExit("\n".join(missing))


if __name__ == "__main__":
    command.run(main, PROGRAM)
