"""The toy shows what the README says of it, and its figures draw from a small table."""

import importlib

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest

from simulations import shrinking, toy

mpl.use("Agg")
ENDS = [
    ("VQ", "translating", range(12), (1.5, 99)),
    ("VQ", "shrinking", range(12), (1.5, 99)),
    ("VQ", "expanding", [16], (1, 1.15)),
    ("NSVQ", "translating", [16], (1, 1.15)),
    ("NSVQ", "shrinking", [16], (1, 1.2)),
    ("NSVQ", "expanding", [16], (1, 1.15)),
    ("TransVQ", "translating", [16], (1, 1.15)),
    ("TransVQ", "expanding", [16], (1, 1.15)),
]


@pytest.fixture(scope="module")
def ends():
    """First and last record, and the fewest codes alive after the drift, of every run at step size 4."""
    return {
        (rule, drift): toy.simulate(rule, drift, 4.0, seed=0, records=4)
        for rule in ("VQ", "EMA", "NSVQ", "TransVQ")
        for drift in toy.drifts()
    }


@pytest.mark.parametrize(("rule", "drift", "alive", "ratio"), ENDS)
def test_the_toy_ends_as_the_paper_says(ends, rule, drift, alive, ratio):
    last = ends[rule, drift][-1]
    assert last["alive"] in alive
    assert ratio[0] <= last["ratio"] <= ratio[1]


def test_plain_vq_does_not_regain_what_it_lost(ends):
    """From the record after the drift on, living codes do not grow by more than the two that stood at the edge."""
    for drift in ("translating", "shrinking"):
        after = [row["alive"] for row in ends["VQ", drift] if row["step"] > toy.DRIFTING]
        assert after[-1] <= after[0] + 2


def test_all_rules_start_alike(ends):
    direct = [ends[rule, "translating"][0]["codes"] for rule in ("VQ", "EMA", "NSVQ")]
    assert direct[0] == direct[1] == direct[2]
    given, made = (np.reshape(ends[rule, "translating"][0]["codes"], (-1, 2)) for rule in ("VQ", "TransVQ"))
    np.testing.assert_allclose(made.mean(axis=0), given.mean(axis=0), atol=1e-12)


def test_the_shrinking_encoder_reaches_the_same_size_at_every_rate():
    for rate in (0.06, 0.01):
        drifting = int(np.ceil(shrinking.LOG_FACTOR / rate))
        limit = toy.drifts(drifting, rate)["shrinking"].limit
        assert limit == pytest.approx(np.exp(-shrinking.LOG_FACTOR), rel=rate)


@pytest.mark.parametrize("name", ["toy", "toy_usage", "toy_animation"])
def test_figures_draw(ends, name, tmp_path):
    rows = [row | {"step_size": step_size} for run in ends.values() for row in run for step_size in (4.0, 1.0)]
    figure = importlib.import_module(f"paper_figures.{name}")
    path = tmp_path / f"{name}{figure.SUFFIX}"
    figure.draw(pl.DataFrame(rows))(path)
    assert path.stat().st_size > 20_000


def test_shrinking_figure_draws(tmp_path):
    rows = [row for rate in (0.06, 0.03) for row in shrinking.simulate("VQ", rate, 0)]
    rows = [row | {"rule": rule} for row in rows for rule in ("VQ", "EMA", "NSVQ", "TransVQ")]
    importlib.import_module("paper_figures.shrinking").draw(pl.DataFrame(rows))(tmp_path / "shrinking.png")
    assert (tmp_path / "shrinking.png").stat().st_size > 20_000


def test_tables_are_kept_and_named_when_damaged(tmp_path, monkeypatch):
    from simulations import tables

    monkeypatch.setattr(toy, "run", lambda fast: pl.DataFrame({"step": [1]}))
    assert tables.table("toy", True, tmp_path)["step"].to_list() == [1]
    monkeypatch.setattr(toy, "run", lambda fast: pytest.fail("the table is there already"))
    assert tables.table("toy", True, tmp_path)["step"].to_list() == [1]
    path = tables.path_of("toy", True, tmp_path)
    assert "command" in pl.read_parquet_metadata(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SystemExit, match="toy.parquet is damaged"):
        tables.table("toy", True, tmp_path)
