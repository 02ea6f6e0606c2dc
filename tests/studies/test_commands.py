"""`python -m simulations` and `python -m paper_figures`: tables are kept, pictures are written, names are checked."""

import subprocess
import sys

import matplotlib as mpl
import polars as pl
import pytest

import paper_figures.__main__
import simulations.__main__
import simulations.benchmarks.__main__
from paper_figures import FIGURES
from simulations import EXPERIMENTS, tables, toy


def test_tables_are_kept_and_named_when_damaged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toy, "run", lambda fast: pl.DataFrame({"step": [1]}))
    simulations.__main__.main(("toy",), fast=True, results=tmp_path)
    assert "toy.parquet: 1 rows" in capsys.readouterr().out
    monkeypatch.setattr(toy, "run", lambda fast: pytest.fail("the table is there already"))
    assert tables.table("toy", True, tmp_path)["step"].to_list() == [1]
    path = tables.path_of("toy", True, tmp_path)
    assert "command" in pl.read_parquet_metadata(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SystemExit, match="toy.parquet is damaged"):
        tables.table("toy", True, tmp_path)


def test_a_picture_is_written_to_the_folder_of_figures_and_closed(tmp_path, capsys):
    with mpl.rc_context():
        paper_figures.__main__.main(("faces_sizes",), results=tmp_path)
    assert [path.name for path in (tmp_path / "full" / "figures").iterdir()] == ["faces_sizes.png"]
    assert not mpl.pyplot.get_fignums()
    assert str(tmp_path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "meant"),
    [(simulations.__main__, "tangent"), (paper_figures.__main__, "phase"), (simulations.benchmarks.__main__, "online")],
)
def test_a_name_that_is_not_known_is_answered_with_the_nearest(module, meant):
    with pytest.raises(SystemExit, match=f"{module.PROGRAM} must be one of the known names.*did you mean '{meant}'"):
        module.main((f"{meant}x",))


def test_neither_experiments_nor_figures_need_torch_before_they_train():
    """In a process of its own: faces and the benchmarks import torch inside of functions, and bundled tables are drawn."""
    names = [f"simulations.{name}" for name in (*EXPERIMENTS, "faces", "benchmarks.layer")]
    names += [f"paper_figures.{name}" for name in FIGURES]
    statements = f"import os, pathlib, sys, {', '.join(names)}; assert 'torch' not in sys.modules"
    statements += """
from simulations.tables import STUDIES, table
sys.modules["torch"] = None
for name in paper_figures.FIGURES:
    figure = sys.modules[f"paper_figures.{name}"]
    if figure.TABLE in STUDIES:
        write = figure.draw(table(figure.TABLE))
        if figure.SUFFIX == ".md":
            write(pathlib.Path(os.devnull))"""
    assert subprocess.run([sys.executable, "-c", statements], check=False).returncode == 0
