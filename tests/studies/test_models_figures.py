"""DQ-VAE and staged trainings in a figure and in tables, from a table that is made up."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt

import paper_figures.__main__ as command
from paper_figures import grains, models_table
from paper_figures.style import NotYet
from simulations.faces import png
from simulations.protocol import BUDGETS, GATES, MODELS, STAGED
from simulations.tables import DATA

PICTURES = {
    "originals": png(np.full((6, 8, 8, 3), 200, np.uint8)),
    "grains": png(np.repeat(np.eye(2, dtype=np.uint8)[None, ..., None] * 255, 6, axis=0).repeat(3, axis=3)),
}


def row(group, label, latents=0, psnr=0.0, codes=1024):
    numbers = {
        "codes": codes,
        "used": 1000.0,
        "perplexity": codes / 4,
        "relative_distortion": 0.2,
        "psnr": psnr,
        "ssim": 0.8,
    }
    return {"group": group, "label": label, "seed": 0, "images": 10, "latents": latents, "fine": 0.5} | numbers | PICTURES


@pytest.fixture
def table():
    """Grids of 64 and 256 codes an image at 20 and 24 dB, and gates between them."""
    of = {"grid of 64": (640, 20.0), "grid of 256": (2560, 24.0), "VQCT": (2560, 10.0)}
    models = [row("models", label, *of.get(label, (1600, 23.0))) for label in MODELS]
    staged = [row("staged", label, codes=8192 if "8,192" in label else 1024) for label in STAGED]
    return pl.DataFrame([row("named", "NSVQ"), *models, *staged])


def test_gates_stand_beside_grids_that_are_mixed_to_as_many_codes(table):
    assert models_table.mixed(table, 160) == pytest.approx(22.0)  # midway from 64 to 256
    text = models_table.grains(table)
    assert "| entropy gate, 0.25 | 50.0% | 160 | 1,000 | 256 | 0.200 | 23.00 | 0.800 | 22.00 |" in text
    assert "VQCT" not in text
    lines = models_table.staged(table).splitlines()[2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| NSVQ", "1,024"],
        ["| NSVQ, staged", "1,024"],
        ["| NSVQ", "8,192"],
        ["| NSVQ, staged", "8,192"],
    ]
    assert all(line.endswith("| 0.25 |") for line in lines)


def test_regions_that_are_coarse_are_darker(table, tmp_path):
    grains.draw(table)(tmp_path / "grains.png")
    rates, *strips = [axes for axes in plt.gcf().axes if axes.images or axes.lines]
    assert [line.get_ydata().tolist() for line in rates.lines] == [[20.0, 24.0], [23.0, 23.0], [23.0, 23.0]]
    shown = strips[1].images[0].get_array()[:8, :8, 0]
    assert np.array_equal(shown, np.kron([[200, 60], [60, 200]], np.ones((4, 4))))
    assert strips[1].get_title().startswith("entropy gate: 50% of the regions are fine")
    plt.close("all")


def test_a_figure_whose_trainings_are_missing_is_named_and_the_others_are_drawn(table, tmp_path, monkeypatch):
    with pytest.raises(NotYet, match="no trainings of the group 'models' yet"):
        grains.draw(table.filter(group="staged"))
    monkeypatch.setattr(command, "table", lambda *_: table.filter(pl.col("group") != "staged"))
    with pytest.raises(SystemExit, match="models_table is not drawn: the face study has no trainings of the group 'staged'"):
        command.main(("models_table", "grains"), results=tmp_path)
    assert [path.name for path in (tmp_path / "full" / "figures").iterdir()] == ["grains.png"]


def test_the_page_has_the_bundled_tables():
    """`python -m paper_figures models_table` writes them anew."""
    table = pl.read_parquet(DATA / "faces.parquet")
    page = (DATA.parents[1] / "docs" / "models.md").read_text("utf-8")
    for part in models_table.parts(table):
        assert part in page
    vqct = table.row(by_predicate=(pl.col("group") == "models") & (pl.col("label") == "VQCT"), named=True)
    assert f"{vqct['used']:.0f} of 1,024 codes in use, a perplexity of {vqct['perplexity']:.0f}" in " ".join(page.split())


def test_a_budget_is_met_in_training():
    """The share of fine regions, within 2 %."""
    table = pl.read_parquet(DATA / "faces.parquet").filter(group="models")
    for gate, budget in product(GATES, BUDGETS):
        (fine,) = table.filter(label=f"{gate} gate, {budget}")["fine"]
        assert abs(fine - budget) < 0.02
