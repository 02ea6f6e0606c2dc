"""The notebook: its cells run in order at a reduced size, draw what they say, and end with more codes than at first."""

from pathlib import Path

import matplotlib
import pytest

jupytext = pytest.importorskip("jupytext")
pytest.importorskip("torch")
matplotlib.use("Agg")

PAGE = Path(__file__).parents[2] / "docs" / "notebook.md"


@pytest.mark.filterwarnings("ignore:The latents drift by")  # of a codebook that is shown because it stays behind
def test_the_notebook_ends_with_a_cured_codebook(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_UPDATES", "50")
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    cells = jupytext.read(PAGE).cells
    namespace = {"__name__": "notebook"}
    for cell in cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, str(PAGE), "exec"), namespace)
    assert len(namespace["used"]) == 50
    (before, _), (after, _) = namespace["before"], namespace["after"]
    assert after > 2 * before
    assert f"codes used: {before} before, {after} after; PSNR: " in capsys.readouterr().out
    assert namespace["diagnosis"].forecast.kind == "too fast"
    left, right = namespace["figure"].axes
    assert [line.get_label() for line in left.lines] == ["plain VQ", "with replacement", "NSVQ"]
    assert right.images[0].get_array().shape == (4 * 32, 8 * 32, 3)


def test_the_notebook_opens_as_one():
    """Text and code in turns, its kernel named, and pictures that are there."""
    notebook = jupytext.reads(jupytext.writes(jupytext.read(PAGE), "ipynb"), "ipynb")
    assert notebook.metadata["kernelspec"]["language"] == "python"
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert kinds.count("code") == 9
