"""`python -m paper_figures`: draw every figure, running the simulations that are missing first."""

from __future__ import annotations

import importlib
from pathlib import Path

import matplotlib
import tyro

from paper_figures import FIGURES
from paper_figures.style import RC, save
from simulations.tables import RESULTS, table


def main(
    names: tyro.conf.Positional[tuple[str, ...]] = FIGURES,
    /,
    fast: bool = False,
    results: Path = RESULTS,
) -> None:
    """Draw figures from the tables of the simulations, which are run first where they are missing.

    Args:
        names: Which figures; all by default.
        fast: From smaller simulations, to see that it works.
        results: The folder of the tables; the pictures go to its folder `figures`.
    """
    matplotlib.use("Agg")
    matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
    folder = results / ("fast" if fast else "full") / "figures"
    for name in names:
        if name not in FIGURES:
            raise SystemExit(f"There is no figure {name!r}; there are {', '.join(FIGURES)}.")
        figure = importlib.import_module(f"paper_figures.{name}")
        save(folder / f"{name}{figure.SUFFIX}", figure.draw(table(figure.TABLE, fast, results)))
    print(f"The pictures are in {folder.resolve()}")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m paper_figures")
