"""The face study on a small scale, and the figures of the table that comes along."""

import importlib
from dataclasses import replace

import joblib
import matplotlib
import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

import paper_figures
from paper_figures import benchmarks, faces_prediction, faces_reconstructions, faces_sizes, faces_table
from paper_figures import faces as figure
from simulations import EXPERIMENTS, STUDIES, faces
from simulations.tables import DATA, path_of
from vqtheory.nn.training.loop import train


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A table of two trainings on a photograph, and where it is; in this process, which sees what is patched here."""
    results = tmp_path_factory.mktemp("results")
    wanted = [point for point in faces.points() if (point.label, point.seed) in (("VQ quick", 0), ("1024 codes at 32", 0))]
    with pytest.MonkeyPatch.context() as patch, joblib.parallel_config(backend="sequential"):
        patch.delenv("VQTHEORY_DATA", raising=False)
        patch.setattr(faces, "chosen", lambda fast: wanted)
        yield faces.run(fast=True, results=results), results


@pytest.fixture(scope="module")
def table():
    return pl.read_parquet(DATA / "faces.parquet")


def test_names_of_trainings_are_their_own():
    names = [point.name for point in faces.points()]
    assert len(set(names)) == len(names)


def test_every_group_holds_all_but_one_thing_fixed():
    """Same encoder, estimator, replacement policy, start and budget, whatever the rule."""
    varied = {"rule", "codebook_lr", "codebook_optimizer", "codes", "dim"}
    assert all(set(point.options) <= varied for point in faces.points())
    starts = {(point.group, point.options["rule"].start) for point in faces.points() if "rule" in point.options}
    assert starts == {("rules", "matched"), ("forms", "matched"), ("published", "published")}


def test_a_row_says_what_became_of_a_training(tiny):
    table, _ = tiny
    row = table.row(by_predicate=pl.col("group") == "rules", named=True)
    assert row["config"] == "TrainingConfig(size=16, steps=8, batch_size=4, codebook_lr=0.04, records=2, probe_every=4)"
    assert 0 < row["used"] <= 1024
    assert row["usage"] == row["used"] / 1024
    assert [each["step"] for each in row["history"]] == [4, 8]
    assert figure.strip(row["reconstructions"], 3).shape == (16, 48, 3)
    sgd = table.row(by_predicate=pl.col("group") == "sgd", named=True)
    assert len(sgd["replayed"]) == 3
    assert all(1 <= count <= 1024 for count in sgd["replayed"])


def test_what_is_finished_is_not_trained_again(tiny, monkeypatch):
    table, results = tiny
    monkeypatch.setattr(faces, "finish", None)
    again = faces.run(fast=True, results=results)
    assert again.equals(table)
    assert "left" not in faces.told(again, True, results)


def test_a_training_that_was_stopped_goes_on_to_the_same_row(tiny, tmp_path, monkeypatch):
    table, _ = tiny
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    point = next(point for point in faces.points() if point.label == "VQ quick")

    def stop(step, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(point.training(True), save=tmp_path / point.name, progress=False, on_record=stop)
    row, kept = faces.finish(point, tmp_path, True, np.inf), table.row(by_predicate=pl.col("group") == "rules", named=True)
    assert all(row[name] == kept[name] for name in (*faces.METRICS, "config", "alive", "carrying", "reconstructions"))


def test_a_training_of_other_settings_is_begun_again(tiny, tmp_path, monkeypatch):
    table, _ = tiny
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    point = next(point for point in faces.points() if point.label == "VQ quick")
    train(replace(point.training(True), lr=1.0, steps=1), save=tmp_path / point.name, progress=False)
    kept = table.row(by_predicate=pl.col("group") == "rules", named=True)
    assert faces.finish(point, tmp_path, True, np.inf)["distortion"] == kept["distortion"]


def test_what_the_titles_say(table):
    """That VQ and EMA lose codes for good, and NSVQ and TransVQ keep them, in every seed."""
    used = {label: table.filter(group="rules", label=label)["usage"].to_list() for label in figure.SHOWN}
    assert {label: len(values) for label, values in used.items()} == dict.fromkeys(figure.SHOWN, 3)
    assert max(used["VQ quick"]) < 0.1
    assert max(used["EMA"]) < 0.25
    assert min(used["NSVQ quick"] + used["TransVQ quick"]) > 0.95
    shares = table.filter(group="size", codes=512).sort("dim")["usage"].to_list()
    assert shares == sorted(shares, reverse=True)


def test_no_training_begins_too_late(tmp_path):
    assert faces.finish(faces.points()[0], tmp_path, True, until=0) is None
    assert not list(tmp_path.iterdir())


def test_the_study_asks_for_faces(monkeypatch):
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    with pytest.raises(SystemExit, match="set VQTHEORY_DATA"):
        faces.run()


@pytest.mark.parametrize("module", [figure, faces_sizes, faces_prediction, faces_reconstructions, faces_table])
def test_figures_draw(table, module, tmp_path):
    matplotlib.use("Agg")
    path = tmp_path / f"figure{module.SUFFIX}"
    module.draw(table)(path)
    assert path.stat().st_size > 1000


def test_agreement_of_predictions():
    observed = np.array([4, 8, 16, 32, 64, 128])
    rows = pl.DataFrame({"carrying": observed, "thrice": observed * np.tile([2.0, 4.5], 3), "against": observed[::-1]})
    found = faces_prediction.agreement(rows, "thrice")
    assert found.ratio == pytest.approx(3)
    assert found.high / 3 == pytest.approx(3 / found.low)
    assert found.within == 0.5
    assert faces_prediction.agreement(rows.with_columns(carrying="thrice"), "thrice").rank == pytest.approx(1)
    assert faces_prediction.agreement(rows, "against").rank == pytest.approx(-1)


def test_the_page_has_the_table_as_it_is(table):
    """`python -m paper_figures faces_table` writes it anew."""
    assert faces_table.markdown(table) in (DATA.parents[1] / "docs" / "faces.md").read_text("utf-8")


def test_a_cell_has_the_median_and_the_range():
    assert faces_table.cell([3.0], "{:.1f}") == "3.0"
    assert faces_table.cell([3.0, 1.0, 5.0], "{:.0f}") == "3 (1 to 5)"


def test_every_figure_has_a_table_that_comes_along_or_can_be_made():
    for name in paper_figures.FIGURES:
        table = importlib.import_module(f"paper_figures.{name}").TABLE
        assert path_of(table, fast=True).is_file() if table in STUDIES else table in EXPERIMENTS


def test_benchmarks_draw(tmp_path):
    matplotlib.use("Agg")
    benchmarks.draw(pl.read_parquet(DATA / "benchmarks.parquet"))(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
