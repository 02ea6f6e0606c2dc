"""Every figure is drawn from the table of its experiment, and of the laws in it from the laws themselves."""

import importlib
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy import stats

import paper_figures.dimensions
import paper_figures.mobilities
import paper_figures.shrinking
import paper_figures.tangent_table
from paper_figures.style import lines_of, stacked
from simulations import EXPERIMENTS, STUDIES, convergence, dimensions, hysteresis, phase
from simulations.lineup import LINEUP, in_order
from simulations.tables import path_of
from vqtheory.claims.laws import collapse
from vqtheory.reference import cell_moment
from vqtheory.streams import Uniform
from vqtheory.theory import adam_critical_speed, capture_speed, critical_speed, ema_critical_speed


def laws(axes: Axes) -> list:
    """What is drawn of a law."""
    return [artist for artist in axes.get_children() if artist.get_gid() == "law"]


def points(line) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a line."""
    x, y = line.get_data()
    return np.asarray(x, float), np.asarray(y, float)


def panels(figure: Figure) -> list[Axes]:
    """The axes of a figure, without colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def near(values) -> object:
    """Equal but for the rounding of a few operations."""
    return pytest.approx(np.asarray(values, float), rel=1e-9, nan_ok=True)


def survivors(figure: Figure, table: pl.DataFrame) -> None:
    """K codes live up to v_c(K), two codes of a uniform cloud up to 1/6 of its deviation; with noise up to a share of it."""
    *small, large = panels(figure)
    for axes, (name, cloud) in zip(small, collapse.CLOUDS.items(), strict=True):
        direction_of = {line.get_color(): {"forward": 1, "backward": -1}.get(line.get_label()) for line in axes.lines[1::2]}
        assert sorted(direction_of[line.get_color()] for line in laws(axes)) == sorted(cloud.directions)
        for line in laws(axes):
            speeds, counts = points(line)
            way = {"density": cloud.source, "direction": direction_of[line.get_color()]}
            law = critical_speed(counts[[0, -2]].astype(int), 1.0, **way) / cloud.source.distribution().std()
            assert speeds[[0, -2]] == near(law)
            assert (line.get_drawstyle(), counts[-2], counts[-1]) == ("steps-pre", 2, 1)
            assert name != "uniform" or speeds[-2] == near(1 / 6)
    line, level = laws(large)
    assert points(level)[1] == near([1, 1])
    etas, shares = points(line)
    steps = [collapse.run_length(2, eta, 1) for eta in etas]
    law = [critical_speed(2, eta, batch_size=1, steps=n) for eta, n in zip(etas, steps, strict=True)]
    assert shares == near(law / critical_speed(2, etas))


def swell(figure: Figure, table: pl.DataFrame) -> None:
    """The speed swells to 20 v_c and falls again; at each speed as many codes can live as have v_c(K) above it."""
    _, below, loop = panels(figure)
    area, level = laws(below)
    time, speed = area.get_paths()[0].vertices.T
    swelling = 20 * np.sin(np.pi * np.clip(time, 0, 1)) ** 2
    assert np.minimum(np.abs(speed), np.abs(speed - swelling)).max() < 1e-9  # the area is above 0
    assert speed.max() == pytest.approx(20, rel=1e-3)
    assert points(level)[1] == near([1, 1])
    (line,) = laws(loop)
    speed, alive = points(line)
    critical = critical_speed(np.arange(2, 17), hysteresis.STEP_SIZE)
    assert alive == near(1 + np.sum(critical[:, None] > speed * critical[-1], axis=0))


def cube(figure: Figure, table: pl.DataFrame) -> None:
    """n_0 = (D+2)/2 (M eta/v)^(D/(D+2)), M = 1/12 in one dimension; and with x_0 = beta_D a^(1/(D+1))."""
    left, middle, right = panels(figure)
    dims = {color: dim for dim, color in paper_figures.dimensions.HUES.items()}
    offset = {2: 0.35, 3: 0.33, 4: 0.25}
    assert cell_moment(1) == near(1 / 12)

    def share(dim: int, a: np.ndarray) -> np.ndarray:
        start, power = offset[dim] * a ** (1 / (dim + 1)), 2 / (dim + 2)
        return (1 + start) ** power - start**power

    drawn = [(dims[line.get_color()], line.get_linestyle(), *points(line)) for line in laws(left)]
    assert [(dim, style) for dim, style, *_ in drawn if style == "--"] == [(dim, "--") for dim in sorted(dims.values())]
    assert {dim for dim, style, *_ in drawn if style == "-"} == set(offset)
    for dim, style, a, counts in drawn:
        plain = (dim + 2) / 2 * (cell_moment(dim) / a) ** (dim / (dim + 2))
        assert counts == near(plain if style == "--" else plain * share(dim, a))
    assert [text.get_text()[-5:] for text in left.get_legend().get_texts()] == ["0.333", "0.500", "0.600", "0.667", "0.800"]
    *curves, level = laws(middle)
    assert points(level)[1] == near([1, 1])
    assert {dims[line.get_color()] for line in curves} == set(offset)
    for line in curves:
        dim, (plain, ratio) = dims[line.get_color()], points(line)
        assert ratio == near(share(dim, cell_moment(dim) * ((dim + 2) / (2 * plain)) ** ((dim + 2) / dim)))
    dots = {
        dims[line.get_color()]: points(line)
        for line in middle.lines
        if line.get_marker() in paper_figures.dimensions.MARKS.values()
    }
    for (dim,), runs in table.drop_nulls("survivors").group_by("dim"):
        lag = np.unique(runs["speed"]) / dimensions.STEP_SIZE
        assert dots[dim][0] == near((dim + 2) / 2 * (cell_moment(dim) / lag) ** (dim / (dim + 2)))
    (line,) = laws(right)
    assert points(line) == (near([0, 1]), near([0, 1]))


def boundaries(figure: Figure, table: pl.DataFrame) -> None:
    """v_c of plain VQ, of EMA and of Adam; for the gaussian kernel v_c or v_NS, whichever is more; none for the rest."""
    captured = capture_speed(phase.RATE, phase.BANDWIDTH, source=Uniform(dim=1))
    law = {
        "VQ": lambda codes: critical_speed(codes, 0.1),
        "EMA": lambda codes: ema_critical_speed(codes, 0.9),
        "VQ with Adam": lambda codes: adam_critical_speed(codes, 4e-5, 256),
        "NSVQ gaussian": lambda codes: np.maximum(critical_speed(codes, 0.1), captured),
    }
    drawn = [axes for axes in panels(figure) if axes.axison]
    for axes, rule in zip(drawn, in_order(table["rule"]), strict=True):
        assert axes.get_title().startswith(rule)
        assert len(laws(axes)) == 2 * (rule in law)  # white on black
        for line in laws(axes):
            speeds, codes = points(line)
            assert speeds == near(law[rule](codes.astype(int)))
            assert rule != "VQ" or speeds[0] == near(0.1 * np.sqrt(3) / 36)


def displacements(figure: Figure, table: pl.DataFrame) -> None:
    """H^-1 times what pulls on the two outermost of four codes, and its log-log slopes."""
    left, right = panels(figure)
    hessian = (np.diag([3, 2, 2, 3]) - np.diag([1] * 3, 1) - np.diag([1] * 3, -1)) / 16
    per_pull = np.linalg.norm(np.linalg.solve(hessian, [1, 0, 0, -1]))
    first, second = laws(left)
    assert first.get_label().startswith("gaussian")
    sigma, distance = points(first)
    assert distance == near(per_pull * 0.5 * sigma**2 * (np.exp(-1 / (128 * sigma**2)) - np.exp(-49 / (128 * sigma**2))))
    assert second.get_label().startswith("softmax")
    sigma, distance = points(second)
    assert distance == near(per_pull * sigma**2 / 4 * 0.01 * 4 * np.log(2))
    first, second = laws(right)
    sigma, slope = points(first)
    assert slope == near(2 + 1 / (8 * sigma) ** 2)
    assert points(second)[1] == near([2, 2])


def captures(figure: Figure, table: pl.DataFrame) -> None:
    """v_NS = max kappa sigma^2 (e^(-u^2 / 2 sigma^2) - e^(-(1-u)^2 / 2 sigma^2)) over the places u, and v_c(4)."""
    curve, level = laws(*panels(figure))
    widths, speeds = points(curve)
    u = np.linspace(-8, 0.5, 20_001)[:, None] * np.maximum(widths, 0.5)
    pull = 0.5 * widths**2 * (np.exp(-(u**2) / (2 * widths**2)) - np.exp(-((1 - u) ** 2) / (2 * widths**2)))
    assert speeds == pytest.approx(pull.max(axis=0), rel=1e-5)
    assert points(level)[1] == near([critical_speed(4, 1.0)] * 2)


def slopes(figure: Figure, table: pl.DataFrame) -> None:
    """Guides fall as 1/t, gains by wins as t^(-2 K lambda_1); -2 K lambda_1 = cos(pi/K) - 1 for a uniform density, K = 8."""
    grid = np.reshape(panels(figure), (3, 4))
    for axes in grid[:2].flat:
        (guide,) = laws(axes)
        assert np.ptp(np.log(points(guide)[1])) == near(np.ptp(np.log(points(guide)[0])))
        assert points(guide)[1][0] > points(guide)[1][1]
    row = [label.get_text() for label in grid[2, 0].get_yticklabels()].index("VQ by wins")
    marks = {name: laws(axes) for name, axes in zip(convergence.DISTRIBUTIONS, grid[2], strict=True)}
    assert marks["patches"] == []
    (uniform,), (gaussian,), (laplace,) = (marks[name] for name in convergence.DENSITIES)
    assert points(uniform) == (near([np.cos(np.pi / 8) - 1]), near([row]))
    assert points(gaussian) == (pytest.approx(-16 * relaxation(stats.norm()), rel=1e-4), near([row]))
    assert points(laplace) == (pytest.approx(0, abs=1e-5), near([row]))


def relaxation(density) -> float:
    """The slowest rate at which eight codes come back, from differences of the mean motion."""

    def pull(codes: np.ndarray) -> np.ndarray:
        ends = np.concatenate([[-np.inf], (codes[1:] + codes[:-1]) / 2, [np.inf]])
        return -np.diff(density.pdf(ends)) - codes * np.diff(density.cdf(ends))  # of a normal density

    best, small = convergence.vq.reference.lloyd_max(density, 8).codes[:, 0], 1e-5
    jacobian = [(pull(best + step) - pull(best - step)) / (2 * small) for step in small * np.eye(8)]
    return float(-np.linalg.eigvalsh(np.array(jacobian)).max())


def agreement(figure: Figure, table: pl.DataFrame) -> None:
    """Predicted = observed, and the factor of two about it; the law's numbers are those of the table."""
    scatter, _ = panels(figure)
    area, line = laws(scatter)
    assert points(line)[0] == near(points(line)[1])
    x, y = area.get_paths()[0].vertices.T
    assert sorted(set(np.round(y / x, 9))) == [0.5, 2]
    (dots,) = [line for line in scatter.lines if line.get_label().startswith("the law, ")]
    rows = table.filter(group="sgd")
    assert points(dots) == (near(rows["carrying"]), near(rows["predicted"]))


def diagonals(figure: Figure, table: pl.DataFrame) -> None:
    """Simulated = law, and 15 % about it; the law's numbers are those that `live_codes` has."""
    for axes in panels(figure):
        (line,) = laws(axes)
        assert points(line)[0] == near(points(line)[1])
        runs = table.filter(drift=axes.get_title())
        dots = [points(line) for line in axes.lines if line.get_gid() != "law"]
        assert sorted(np.concatenate([y for _, y in dots])) == sorted(runs["carrying"])
        for x, y in dots:
            assert set(zip(x, y, strict=True)) <= set(zip(runs["law"], runs["carrying"], strict=True))
    (row,) = table.filter(source="uniform", dim=1, drift="translation").iter_rows(named=True)
    lag = row["lag"] * 12**-0.5
    assert row["law"] == pytest.approx((9 / (32 * lag)) ** (1 / 3), rel=0.03)


def exponents(figure: Figure, table: pl.DataFrame) -> None:
    """K_live ~ v^(-e): D/(D+2) under SGD, D/2 under EMA, 2D/(D+2) under Adam; the fits are of the runs."""
    shares, right = panels(figure)
    (level,) = laws(shares)
    assert points(level)[1] == near([1, 1])
    law = {"vq": lambda d: d / (d + 2), "ema": lambda d: d / 2, "adam": lambda d: 2 * d / (d + 2)}
    of_color = {color: law[rule] for rule, (_, color) in paper_figures.mobilities.RULES.items()}
    drawn = {line.get_color(): points(line) for line in laws(right)}
    assert set(drawn) == set(of_color)
    for color, (dims, exponent) in drawn.items():
        assert exponent == near(of_color[color](dims))
    runs = table.filter(rule="ema", shape="ball", dim=1).sort("law")
    (dots,) = [line for line in right.lines if line.get_label() == "EMA, ball"]
    slope = np.log(runs["alive"][1] / runs["alive"][0]) / np.log(runs["law"][1] / runs["law"][0])
    assert points(dots)[1][0] == near(slope / 2)


HELD = {
    "convergence": slopes,
    "survivors": survivors,
    "hysteresis": swell,
    "dimensions": cube,
    "potential": diagonals,
    "mobilities": exponents,
    "phase": boundaries,
    "bias": displacements,
    "capture": captures,
    "faces_prediction": agreement,
}


@pytest.mark.parametrize("name", paper_figures.FIGURES)
def test_a_figure_is_drawn_and_what_it_draws_of_a_law_is_the_law(drawings, tables, name, tmp_path):
    drawing = drawings[name]
    assert any(laws(axes) for axes in (drawing.figure.axes if drawing.figure else [])) == (name in HELD)
    if name in HELD:
        HELD[name](drawing.figure, tables[importlib.import_module(f"paper_figures.{name}").TABLE])
    path = tmp_path / f"figure{drawing.suffix}"
    drawing.write(path)
    assert path.stat().st_size > (500 if drawing.figure is None else 10_000)


def test_claims_are_drawn_in_units_of_their_prediction(drawings, tables):
    """The predicted range spans -1 to 1; what was measured lies where it does in that range."""
    dots = {}
    for axes in drawings["claims"].figure.axes:
        keys = dict(zip(axes.get_yticks(), (label.get_text() for label in axes.get_yticklabels()), strict=True))
        dots |= {
            keys[line.get_ydata()[0]]: float(line.get_xdata()[0])
            for line in axes.lines
            if line.get_marker() in paper_figures.dimensions.MARKS.values()
        }
    rows = {row["claim"]: row for row in tables["claims"].iter_rows(named=True)}
    assert set(dots) == set(rows)
    for key in ("threshold-of-many", "survivors-uniform"):
        low, high = rows[key]["predicted_low"], rows[key]["predicted_high"]
        assert dots[key] == pytest.approx((2 * rows[key]["measured"] - low - high) / (high - low))
        assert abs(dots[key]) < 1


def test_the_spectra_have_as_many_eigenvalues_as_the_rules_can_move_coordinates(drawings, tables):
    """All 2 K of a transformer, and of a linear map in the plane one for each of its 4 or 6 parameters."""
    legend = drawings["tangent"].figure.axes[0].get_legend()
    numbers = dict(text.get_text().split(": ") for text in legend.get_texts())
    transformers = ("TransVQ", "TransVQ without positions", "FVQ", "FVQ residual", "GraphVQ")
    assert numbers == dict.fromkeys(transformers, "32") | {"SimVQ": "6", "SimVQ without bias": "4", "GRITVQ": "4"}
    written = paper_figures.tangent_table.markdown(tables["tangent"])
    assert [line.split(" | ")[0][2:] for line in written.splitlines()[2:]] == in_order(numbers)


def test_the_fast_figures_are_few_and_begin_with_bundled_tables():
    assert set(paper_figures.FAST) < set(paper_figures.FIGURES)
    assert len(paper_figures.FAST) == len(set(paper_figures.FAST)) <= 20
    bundled = [importlib.import_module(f"paper_figures.{name}").TABLE in STUDIES for name in paper_figures.FAST]
    assert bundled == [*sorted(bundled[:-1], reverse=True), True]
    assert paper_figures.FAST[-1] == "claims"


def test_every_figure_has_a_table_that_is_bundled_or_can_be_made():
    for name in paper_figures.FIGURES:
        table = importlib.import_module(f"paper_figures.{name}").TABLE
        assert path_of(table, fast=True).is_file() if table in STUDIES else table in EXPERIMENTS


def test_rules_come_in_the_order_of_the_line_up_and_an_unknown_one_is_refused():
    assert in_order(["SimVQ", "VQ", "NSVQ", "VQ"]) == ["VQ", "NSVQ", "SimVQ"]
    with pytest.raises(ValueError, match="did you mean 'NSVQ softmax'"):
        in_order(["NSVQ sofmax"])


def test_a_rule_that_is_new_in_a_table_is_drawn_as_the_line_up_has_it(tables):
    table = tables["shrinking"]
    paper_figures.shrinking.draw(pl.concat([table, table.filter(rule="VQ").with_columns(rule=pl.lit("CosineVQ"))]))
    left, _ = plt.gcf().axes
    drawn = {line.get_label(): line.get_color() for line in left.get_legend().get_lines()}
    assert list(drawn.items()) == [(rule, LINEUP[rule].color) for rule in in_order([*table["rule"], "CosineVQ"])]


DICHROMATS = {  # linear RGB as it is seen without one kind of cones; Machado, Oliveira and Fernandes 2009, severity 1
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}


def apart(color: str, other: str, seen: np.ndarray) -> float:
    """The distance of two colours in CIE Lab, as one sees them: 2 to 3 can just be told apart, side by side."""
    return float(np.linalg.norm(lab(color, seen) - lab(other, seen)))


def lab(color: str, seen: np.ndarray) -> np.ndarray:
    """CIE Lab of a colour, under D65."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(seen @ linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / 3 / (6 / 29) ** 2 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_each_rule_has_a_line_of_its_own():
    assert len({(entry.color, entry.dashes) for entry in LINEUP.values()}) == len(LINEUP)
    assert {entry.family for entry in LINEUP.values()} <= set(LINEUP)
    sighted = [*DICHROMATS.values(), np.eye(3)]
    for (label, entry), (other, another) in combinations(LINEUP.items(), 2):
        if entry.dashes == another.dashes:
            assert min(apart(entry.color, another.color, seen) for seen in sighted) > 11, (label, other)
    (line,) = lines_of(["NSVQ softmax"])
    assert (line.get_color(), line.get_linestyle()) == (LINEUP["NSVQ softmax"].color, "--")
    assert stacked(["VQ", "NSVQ", "NSVQ softmax"]) == ["NSVQ", "VQ", "NSVQ softmax"]
