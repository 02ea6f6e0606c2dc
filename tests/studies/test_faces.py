"""The face study on a small scale, and the table that is bundled."""

import sys
from dataclasses import replace

import joblib
import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

from paper_figures import faces as figure
from paper_figures import faces_ablation, faces_prediction, faces_table
from simulations import faces, faces_own, protocol
from simulations.tables import DATA
from vqtheory.nn.training.loop import train

NOTHING = pl.DataFrame()
pytestmark = pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on")  # of a few latents


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the study: on a machine that does other work too, two threads wait for each other."""
    with faces.one_thread():
        yield


def _point(group, label, table=NOTHING):
    return next(point for point in protocol.points(table) if (point.group, point.label, point.seed) == (group, label, 0))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A table of two trainings on a photograph, and where it is; in this process, which sees what is patched here."""
    results = tmp_path_factory.mktemp("results")
    wanted = [_point("named", "VQ with transport"), _point("search", "EMA at 0.5"), _point("sgd", "64 codes at 32")]
    with pytest.MonkeyPatch.context() as patch, joblib.parallel_config(backend="sequential"):
        patch.delenv("VQTHEORY_DATA", raising=False)
        patch.setattr(faces, "chosen_points", lambda table, fast: wanted)
        yield faces.run(fast=True, results=results), results


@pytest.fixture(scope="module")
def table():
    return pl.read_parquet(DATA / "faces.parquet")


def test_names_of_trainings_are_their_own(table):
    names = [point.name for point in protocol.points(table)]
    assert len(set(names)) == len(names)


def test_every_comparison_holds_all_but_one_thing_fixed(table):
    """Same encoder, estimator, start, images and budget, whatever the method; replacement only where it is the method."""
    varied = {"rule", "codebook_lr", "codebook_optimizer", "codes", "dim", "transport", "transport_images"}
    varied |= {"transport_neighbours", "validation", "steps"}
    methods = {"quantize_from", "replace_every", "replace_policy", "estimator", "alternate", "codebook_weight", "beta"}
    models, stages = {"model", "gate", "budget", "replace_every"}, {"replace_every", "freeze_encoder_at"}
    beside_methods = ("search", "named", "tuned", "models", "staged")
    points = protocol.points(table)
    for point in points:
        beside = {"models": models, "staged": stages}.get(point.group, methods)
        assert set(point.options) <= varied | (beside if point.group in beside_methods else set())
    assert not any(methods & set(protocol.METHODS[label].options) for label in protocol.COMPARED)
    starts = {(point.group, getattr(point.options["rule"], "start", None)) for point in points if "rule" in point.options}
    assert {group for group, start in starts if start == "published"} == {"published"}
    compared = [point for point in points if point.group not in ("sgd", "size")]
    assert {point.options["validation"] for point in compared} == {protocol.VALIDATION}
    assert {point.options.get("steps") for point in compared} == {None, protocol.SEARCH_STEPS}
    assert {point.group for point in compared if "steps" in point.options} == {"search"}


def test_every_method_with_a_rate_has_one_grid():
    grids = {label: list(method.grid) for label, method in protocol.METHODS.items()}
    assert set(map(tuple, grids.values())) == {(), protocol.RATES, protocol.DECAYS}
    assert {label for label, grid in grids.items() if not grid} == {"NSVQ", "NSVQ with transport", "FSQ", "LFQ", "BSQ"}


def test_the_rate_is_chosen_on_validation_images_once_the_search_is_done():
    psnr = dict(zip(protocol.DECAYS, (20.0, 23.0, 22.0, 21.0), strict=True))
    rows = [{"group": "search", "label": f"EMA at {decay:g}", "psnr": value} for decay, value in psnr.items()]
    assert protocol.chosen(pl.DataFrame(rows), "EMA") == 0.95
    assert protocol.chosen(pl.DataFrame(rows[:3]), "EMA") is None
    assert not any(point.group == "tuned" for point in protocol.points(pl.DataFrame(rows[:3])))
    tuned = [point for point in protocol.points(pl.DataFrame(rows)) if point.group == "tuned"]
    assert [(point.label, point.seed, point.options["rule"].decay) for point in tuned] == [
        ("EMA", seed, 0.95) for seed in range(3)
    ]
    rows[0]["psnr"] = 24.0  # the decay that EMA has by name: no training of its own
    assert not any(point.group == "tuned" for point in protocol.points(pl.DataFrame(rows)))


def test_a_row_says_what_became_of_a_training(tiny):
    table, _ = tiny
    row = table.row(by_predicate=pl.col("group") == "named", named=True)
    small = "size=16, steps=8, batch_size=4, transport=1, validation=16, records=2, probe_every=4"
    assert row["config"] == f"TrainingConfig({small})"
    assert 0 < row["used"] <= 1024
    assert row["usage"] == row["used"] / 1024
    assert [record["step"] for record in row["history"]] == [4, 8]
    assert figure.strip(row["reconstructions"], 3).shape == (16, 48, 3)
    sgd = table.row(by_predicate=pl.col("group") == "sgd", named=True)
    assert len(sgd["replayed"]) == 3
    assert all(1 <= count <= 64 for count in sgd["replayed"])
    search = table.row(by_predicate=pl.col("group") == "search", named=True)
    assert search["psnr"] > 0
    assert search["history"] is None


def test_what_is_finished_is_not_trained_again(tiny, monkeypatch):
    table, results = tiny
    monkeypatch.setattr(faces, "finish", None)
    again = faces.run(fast=True, results=results)
    assert again.equals(table)
    assert "left" not in faces.progress(again, True, results)


def test_a_training_that_was_stopped_goes_on_to_the_same_row(tiny, tmp_path, monkeypatch):
    table, _ = tiny
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    point = _point("named", "VQ with transport")

    def stop(step, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(point.training(True), save=tmp_path / point.name, progress=False, on_record=stop)
    row, whole = faces.finish(point, tmp_path, True, np.inf), table.row(by_predicate=pl.col("group") == "named", named=True)
    assert all(row[name] == whole[name] for name in (*faces.METRICS, "config", "alive", "carrying", "reconstructions"))


def test_a_training_of_other_settings_is_begun_again(tiny, tmp_path, monkeypatch):
    table, _ = tiny
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    point = _point("named", "VQ with transport")
    train(replace(point.training(True), lr=1.0, steps=1), save=tmp_path / point.name, progress=False)
    whole = table.row(by_predicate=pl.col("group") == "named", named=True)
    assert faces.finish(point, tmp_path, True, np.inf)["distortion"] == whole["distortion"]


def test_what_the_titles_say(table):
    """By name VQ and EMA lose codes for good, transport at most 2, and NSVQ and TransVQ get theirs back, in every seed."""
    named = {label: table.filter(group="named", label=label) for label in figure.SHOWN}
    used = {label: rows["usage"].to_list() for label, rows in named.items()}
    assert {label: len(values) for label, values in used.items()} == dict.fromkeys(figure.SHOWN, 3)
    assert max(used["VQ"] + used["EMA"]) < 0.25
    assert min(used["NSVQ"] + used["TransVQ"] + used["VQ with transport"]) > 0.98
    least = {label: rows["history"].explode().struct.field("used").min() / 1024 for label, rows in named.items()}
    assert least["VQ with transport"] >= 1022 / 1024
    assert max(least["NSVQ"], least["TransVQ"]) < 0.8
    shares = table.filter(group="size", codes=512).sort("dim")["usage"].to_list()
    assert shares == sorted(shares, reverse=True)
    assert table.filter(group="sizes", dim=64)["usage"].min() >= 0.98


def test_what_the_ablation_says(table):
    every = dict(faces_ablation.values(table, "VQ with transport", "every", "psnr"))
    assert list(every) == [1, 5, 20, 100]
    assert every[5] - every[20] > 0.5
    kernel = dict(faces_ablation.values(table, "NSVQ with transport", "every", "psnr"))
    assert max(kernel.values()) - min(kernel.values()) < 0.3
    for what in ("neighbours", "images"):
        pairs = dict(faces_ablation.values(table, "VQ with transport", what, "psnr"))
        assert max(pairs.values()) - pairs[faces_ablation.BY_NAME[what]] < 0.1


def test_no_training_begins_too_late(tmp_path):
    assert faces.finish(protocol.points(NOTHING)[0], tmp_path, True, until=0) is None
    assert not list(tmp_path.iterdir())


def test_the_study_asks_for_faces(monkeypatch):
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    with pytest.raises(SystemExit, match="set VQTHEORY_DATA"):
        faces.run()


OWN = """
from dataclasses import dataclass

import torch

from vqtheory.nn import Codebook
from vqtheory.rules import VQ


@dataclass(frozen=True, repr=False)
class Mine(VQ):
    leak: float = 0.0


class MineCodebook(Codebook, of=Mine):
    moves = True

    @torch.no_grad()
    def update(self, batch, chosen, indices, displacement):
        codes = self.weight.data
        lost = torch.bincount(indices, minlength=len(codes) + 1)[:-1] == 0
        codes[lost] += self.rule.leak * (batch.latents.mean(dim=0) - codes[lost])
"""


def test_a_rule_of_your_own_has_a_search_and_two_rows_and_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    monkeypatch.setattr(protocol, "RATES", (protocol.RATE, 4e-2))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mymodule.py").write_text(OWN)
    call = f"{tmp_path / 'mymodule.py'}:Mine(leak=0.5)"
    table = faces_own.run(call, fast=True, results=tmp_path)
    tuned = [] if table["psnr"][0] >= table["psnr"][1] else [("tuned", "Mine(leak=0.5)")]
    searched = [("search", f"Mine(leak=0.5) at {rate:g}") for rate in protocol.RATES]
    assert table.select("group", "label").rows() == [*searched, ("named", "Mine(leak=0.5)"), *tuned]
    assert (table["used"] > 0).all()
    assert "Mine(leak=0.5)" in faces_own.beside_others(table, fast=True)
    with monkeypatch.context() as patch:
        patch.setattr(faces_own, "finish", None)
        assert faces_own.run(call, fast=True, results=tmp_path).equals(table)
    other = table.head(1).with_columns(label=pl.lit("another rule"))

    def finished_beside_another(*arguments):
        path = tmp_path / "fast" / "faces_own.parquet"
        written = pl.read_parquet(path)
        if "another rule" not in written["label"]:
            pl.concat([written, other]).write_parquet(path)
        return {**table.row(position.pop(0), named=True), "seconds": 0.5}

    position = list(range(len(table)))
    with monkeypatch.context() as patch:
        patch.setattr(faces_own, "finish", finished_beside_another)
        anew = faces_own.run(call, fast=True, results=tmp_path, anew=True)
    assert anew.drop("seconds").equals(table.drop("seconds"))
    assert set(anew["seconds"]) == {0.5}
    assert "another rule" in pl.read_parquet(tmp_path / "fast" / "faces_own.parquet")["label"]
    study = faces_own.beside_others(table.with_columns(label=pl.lit("ours")), fast=False)
    assert study.count("ours") == 1 + len(tuned)
    assert all(f"┆ {label} " in study for label in protocol.MAIN)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("class Mine:\n    pass", "The 'own' parameter of faces must be a rule that derives from vqtheory.rules.Rule"),
        (OWN.partition("class MineCodebook")[0], "one of yours, derived from it, with a Codebook of its own"),
    ],
)
def test_what_is_no_rule_of_the_layer_is_refused(tmp_path, monkeypatch, content, said):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mymodule.py").write_text(content)
    with pytest.raises(ValueError, match=said):
        faces_own.run(f"{tmp_path / 'mymodule.py'}:Mine()", fast=True, results=tmp_path)


def test_agreement_of_predictions():
    observed = np.array([4, 8, 16, 32, 64, 128])
    rows = pl.DataFrame({"carrying": observed, "thrice": observed * np.tile([2.0, 4.5], 3), "against": observed[::-1]})
    thrice = faces_prediction.agreement(rows, "thrice")
    assert thrice.ratio == pytest.approx(3)
    assert thrice.high / 3 == pytest.approx(3 / thrice.low)
    assert thrice.within == 0.5
    assert faces_prediction.agreement(rows.with_columns(carrying="thrice"), "thrice").rank == pytest.approx(1)
    assert faces_prediction.agreement(rows, "against").rank == pytest.approx(-1)


def test_the_page_has_the_tables_as_they_are(table):
    """`python -m paper_figures faces_table` writes the first five anew."""
    page = (DATA.parents[1] / "docs" / "faces.md").read_text("utf-8")
    for part in faces_table.parts(table):
        assert part in page
    rows = table.filter(group="sgd").with_columns(**faces_prediction.PREDICTIONS)
    for name in faces_prediction.PREDICTIONS:
        ratio, low, high, within, rank, rank_low, rank_high = faces_prediction.agreement(rows, name)
        ratios, ranks = f"{ratio:.2f} [{low:.2f}, {high:.2f}]", f"{rank:.2f} [{rank_low:.2f}, {rank_high:.2f}]"
        assert f"| {name} | {ratios} | {within:.0%} | {ranks} |" in page
    over = rows["the law of a growing ball"] / rows["carrying"]
    page = " ".join(page.split())
    fast = over.filter(rows["label"].str.contains(r"at (8|32)$"))
    slow = over.filter(rows["label"].str.contains(r"at (0.5|2)$"))
    assert f"it predicts {fast.min():.2f} to {fast.max():.2f} of the survivors at the rates 8" in page
    assert f"and {slow.min():.2f} to {slow.max():.2f} of them at 0.5 and 2" in page


def test_a_cell_has_the_median_and_the_range():
    assert faces_table.cell([3.0], "{:.1f}") == "3.0"
    assert faces_table.cell([3.0, 1.0, 5.0], "{:.0f}") == "3 (1 to 5)"
