"""The table of every experiment on tiny settings, run once, and the figure of every table, drawn once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from simulations import STUDIES, phase
from simulations.tables import path_of
from simulations.transfer import in_clusters
from vqtheory.claims import verify
from vqtheory.claims.laws.dimensions import SIZES

matplotlib.use("Agg")

FASTER = phase.CASES | {  # what takes the longest: a recovery, and maps at speeds below 1e-3
    "NSVQ gaussian": phase.CASES["NSVQ gaussian"]._replace(recovery=6000),
    **{rule: phase.CASES[rule]._replace(speeds=(-3.0, -1.5)) for rule in ("TransVQ", "FVQ", "GraphVQ", "SimVQ")},
}
CLAIMS = ("threshold-of-two", "threshold-of-many", "survivors-uniform")
TINY: dict[str, dict[str, Any]] = {  # what is different in a module of simulations
    "toy": {"STEP_SIZES": (4.0,), "RECORDS_FAST": 4},
    "shrinking": {"RATES_FAST": (0.06, 0.03)},
    "convergence": {"WINDOWS": 2000, "UPDATES_FAST": 200, "RECORDS": 8},
    "drift": {"WINDOWS": 4000, "STEPS_FAST": 80, "RECORDS": 4, "BRIGHTER_FAST": (0.3,), "FAINTER_FAST": (0.05,)},
    "tangent": {"UPDATES_FAST": 300, "SEEDS_FAST": 1, "RECORDS": 6},
    "survivors": {"CODES_FAST": 6, "FACTORS_FAST": np.array([10.0]), "STEP_SIZES_FAST": {2: (0.2,)}},
    "hysteresis": {"PERIOD_FAST": 2**13, "RECORDS": 30},
    "potential": {"LAGS": {1: (1e-2, 1e-3), 2: (1e-2, 1e-3)}},
    "mobilities": {"NUMBERS": {1: (4, 8), 2: (8, 16), 3: (8, 16)}},
    "dimensions": {"SIZES": dict.fromkeys(SIZES), "sizes_of": lambda dim, effort: [12, 16], "SEEDS_FAST": 2},
    "phase": {"CODES_FAST": (2, 4), "POINTS_FAST": 2, "WIDTHS": 1.0, "RECOVERY": 6000, "CASES": FASTER},
    "bias": {"COMPUTED": [0.05, 0.1, 0.2], "SIMULATED": (("gaussian", 0.2),)},
    "rotation": {},
    "transfer": {"LATENTS": {"clusters": in_clusters}, "SPEEDS": (0.0,)},
    "stacks": {"CODES": 64, "LEVELS": 3, "STEPS": 120, "RECORDS": 4, "FRESH": 2048, "PROBE": 512, "BATCH": 64},
    "capture": {"CODES": (4,), "BANDWIDTHS_FAST": (0.2, 0.3)},
    "claims": {"verify": lambda effort: verify(CLAIMS, effort)},
}


class Tables(dict[str, pl.DataFrame]):
    """By the name of the experiment, each made when it is first asked for."""

    def __missing__(self, name: str) -> pl.DataFrame:
        self[name] = pl.read_parquet(path_of(name, fast=True)) if name in STUDIES else tiny(name)
        return self[name]


def tiny(name: str) -> pl.DataFrame:
    """The table on tiny settings; in threads, which see what is patched here."""
    module = importlib.import_module(f"simulations.{name}")
    with pytest.MonkeyPatch.context() as patch, joblib.parallel_config(backend="threading"):
        for attribute, value in TINY[name].items():
            patch.setattr(module, attribute, value)
        forget(module)
        table = module.run(fast=True)
    forget(module)
    return table


def forget(module: Any) -> None:
    """Drop what an experiment has cached for other sizes."""
    for function in vars(module).values():
        if hasattr(function, "cache_clear") and function.__module__ == module.__name__:
            function.cache_clear()


class Drawing(NamedTuple):
    """A figure, None where the picture is a text, and what writes it to a file."""

    figure: Figure | None
    write: Callable[[Path], None]
    suffix: str


class Drawings(dict[str, Drawing]):
    """By the name of the figure, each drawn when it is first asked for."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def __missing__(self, name: str) -> Drawing:
        module = importlib.import_module(f"paper_figures.{name}")
        table = self.tables[module.TABLE]
        plt.close("all")
        write = module.draw(table)
        self[name] = Drawing(plt.gcf() if plt.get_fignums() else None, write, module.SUFFIX)
        return self[name]


@pytest.fixture(scope="session")
def tables() -> Tables:
    return Tables()


@pytest.fixture(scope="session")
def drawings(tables: Tables) -> Drawings:
    return Drawings(tables)
