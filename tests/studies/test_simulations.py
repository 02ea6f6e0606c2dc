"""The experiments and their figures, on a small scale."""

import joblib
import matplotlib
import numpy as np
import polars as pl
import pytest

import paper_figures.convergence
import paper_figures.drift
import vqtheory as vq
from simulations import convergence, drift
from vqtheory.reference.density import Density
from vqtheory.streams import Patches, Stream

DIRECT = ["VQ", "VQ by wins", "EMA", "NSVQ", "NSVQ softmax", "NSVQ propagate"]  # rules that take the codes given


@pytest.fixture(scope="module")
def tables():
    """Both tables, tiny; in threads, which see what is patched here."""
    with pytest.MonkeyPatch.context() as patch, joblib.parallel_config(backend="threading"):
        patch.setattr(convergence, "WINDOWS", 2000)
        patch.setattr(convergence, "UPDATES_FAST", 200)
        patch.setattr(convergence, "RECORDS", 8)
        patch.setattr(drift, "WINDOWS", 4000)
        patch.setattr(drift, "STEPS_FAST", 80)
        patch.setattr(drift, "RECORDS", 4)
        patch.setattr(drift, "BRIGHTER_FAST", (0.3,))
        patch.setattr(drift, "FAINTER_FAST", (0.05,))
        forget()
        yield {"convergence": convergence.run(fast=True), "drift": drift.run(fast=True)}
    forget()


def forget():
    """Drop what was kept for other sizes."""
    for kept in (convergence.windows, convergence.truth_of, drift.windows, drift.spread, drift.best_lloyd):
        kept.cache_clear()


@pytest.mark.parametrize("law", convergence.LINES)
def test_exact_measures_agree_with_those_of_a_large_sample(law):
    source = convergence.LINES[law]
    latents = source.sample(np.random.default_rng(0), 400_000)
    codes = np.random.default_rng(1).permutation(latents[:8])
    residual, distortion = convergence.exact(Density("test", source.distribution()), codes)
    assert residual == pytest.approx(vq.measure.residual(latents, codes, unbiased=True), rel=0.02)
    assert distortion == pytest.approx(vq.measure.distortion(latents, codes), rel=0.02)


@pytest.mark.parametrize("law", convergence.LINES)
def test_the_optimum_has_residual_zero_and_ratio_one(law):
    optimum = vq.reference.lloyd_max(convergence.LINES[law].distribution(), convergence.NUM_CODES[law])
    row = convergence.describe(optimum.codes, convergence.truth_of(law, False, 1), ends=True)
    assert row["residual"] < 1e-12
    assert row["ratio"] == pytest.approx(1, abs=1e-12)


def test_a_code_without_mass_adds_nothing():
    density = Density("test", convergence.LINES["uniform"].distribution())
    alone = convergence.exact(density, np.array([[0.4]]))
    assert convergence.exact(density, np.array([[9.0], [0.4]])) == pytest.approx(alone)
    assert alone == pytest.approx((0.01, 1 / 12 + 0.01))


def test_relaxation_rates():
    num_codes = convergence.NUM_CODES["uniform"]
    assert convergence.relaxation_rate("uniform") == pytest.approx(np.pi**2 / (4 * num_codes**3), rel=0.02)
    assert abs(convergence.relaxation_rate("Laplace")) < 1e-6


def test_codes_off_the_optimum_come_back_at_the_relaxation_rate():
    """The mean motion by small steps, once all but the slowest mode has faded."""
    distribution = convergence.LINES["Gaussian"].distribution()
    density, best = Density("test", distribution), vq.reference.lloyd_max(distribution, 8).codes[:, 0]
    codes, step, distance = best + 0.01, 0.5, []
    for _ in range(1500):
        codes = codes + step * density.cells(codes).pull
        distance.append(np.linalg.norm(codes - best))
    rate = -np.polyfit(step * np.arange(750, 1500), np.log(distance[750:]), 1)[0]
    assert rate == pytest.approx(convergence.relaxation_rate("Gaussian"), rel=0.02)


def test_lloyd_settles_where_the_residual_is_zero():
    points = np.random.default_rng(0).normal(size=(500, 3))
    codes = convergence.settle(points, points[:5], lambda x: x)
    residual, distortion = convergence.of_points(points, codes, lambda x: x)
    assert residual < 1e-16
    assert distortion < vq.measure.distortion(points, points[:5])


def test_decades_end_at_the_last_update_and_do_not_overlap():
    assert convergence.decades(10_000) == [(-1, 10), (10, 100), (100, 1000), (1000, 10_000)]


def test_slope_of_a_power_law():
    steps = np.arange(1, 1001)
    rows = pl.DataFrame({"step": np.tile(steps, 2), "residual": np.concatenate([1.0 / steps, 3.0 / steps])})
    assert convergence.slope(rows, pl.col("residual")) == pytest.approx(-1)


def test_every_rule_converges_on_every_law(tables):
    table = tables["convergence"]
    for law in convergence.LAWS:
        rules = set(convergence.RULES) - (set() if law == "patches" else {"CosineVQ"})
        assert set(table.filter(law=law)["rule"]) == rules
    values = table.select("residual", "ratio").to_numpy()
    assert np.isfinite(values).all()
    assert (values > 0).all()
    assert table.filter(pl.col("law") != "patches")["ratio"].min() > 1 - 1e-12


@pytest.mark.parametrize("law", convergence.LAWS)
def test_direct_rules_start_from_the_same_codes(tables, law):
    start = tables["convergence"].filter(pl.col("rule").is_in(DIRECT), law=law, step=0)
    assert len(start) == len(DIRECT)
    assert len(start.select("residual", "ratio").unique()) == 1


@pytest.mark.parametrize("law", convergence.LAWS)
def test_on_a_standing_encoder_propagate_is_vq_and_vq_gets_nearer(tables, law):
    vq_rows, propagate = (tables["convergence"].filter(law=law, rule=rule).drop("rule") for rule in ("VQ", "NSVQ propagate"))
    assert vq_rows.equals(propagate)
    first, last = vq_rows.filter(step=0), vq_rows.filter(pl.col("step") == vq_rows["step"].max())
    assert last["residual"][0] < first["residual"][0] / 2
    assert last["ratio"][0] < first["ratio"][0]


def on_sphere(latents):
    return vq.rules.CosineVQ().project(latents)


def test_cosine_vq_is_measured_on_the_sphere():
    points = on_sphere(np.random.default_rng(0).normal(size=(400, 3)))
    codes = convergence.settle(points, points[:4], on_sphere)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1)
    assert convergence.of_points(points, codes, on_sphere)[0] < 1e-12


@pytest.mark.parametrize(("kind", "speed"), [("brighter", 0.3), ("fainter", 0.05)])
def test_the_encoder_drifts_as_far_as_it_says_and_then_stands(kind, speed):
    stream, stop = Stream(Patches(), drift.motion(kind, speed, steps=80)), drift.drifting(80)
    assert stop == 20
    moved = np.linalg.norm(stream.at(stop).mean - stream.at(0).mean)
    assert moved == pytest.approx(speed * stop if kind == "brighter" else 0, abs=1e-12)
    assert stream.at(stop).now.factor[0] == pytest.approx(1 if kind == "brighter" else np.exp(-speed * stop))
    for end in (stop + 1, 80):
        assert (stream.at(end).mean == stream.at(stop).mean).all()
        assert stream.at(end).now.factor == pytest.approx(stream.at(stop).now.factor)


def test_every_rule_drifts_and_only_cosine_vq_has_no_ratio(tables):
    table = tables["drift"]
    for _, of_drift in table.group_by("drift"):
        assert set(of_drift["rule"]) == set(drift.RULES)
    assert set(table.filter(pl.col("ratio").is_null())["rule"]) == {"CosineVQ"}
    later = table.filter(pl.col("step") > 0).drop("ratio")
    assert later.null_count().sum_horizontal()[0] == 0
    direct = table.filter(pl.col("rule").is_in(DIRECT), step=0)
    assert direct.group_by("drift").agg(pl.col("ratio", "dead").n_unique()).select("ratio", "dead").rows() == [(1, 1)] * 2


def test_a_fast_shift_kills_codes_of_vq_and_none_of_nsvq_propagate(tables):
    last = tables["drift"].filter(drift="brighter", step=80)
    dead = dict(last.select("rule", "dead").rows())
    assert dead["NSVQ propagate"] == 0
    assert dead["VQ"] > drift.CODES / 2
    assert last.filter(rule="NSVQ propagate")["ratio"][0] < last.filter(rule="VQ")["ratio"][0]


@pytest.mark.parametrize("figure", [paper_figures.convergence, paper_figures.drift])
def test_figures_draw(tables, figure, tmp_path):
    matplotlib.use("Agg")
    path = tmp_path / f"figure{figure.SUFFIX}"
    figure.draw(tables[figure.TABLE])(path)
    assert path.stat().st_size > 10_000
