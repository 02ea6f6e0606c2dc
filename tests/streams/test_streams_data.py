"""Sources made of data: arrays, files, photographs; and what is said of damaged files."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from PIL import Image

from vqtheory._base.config import arrays_of, parse, text
from vqtheory._base.files import DATA_VARIABLE, NO_DATA
from vqtheory.streams import Latents, Patches, Stream

needs_data = pytest.mark.skipif(DATA_VARIABLE not in os.environ, reason=NO_DATA)
ROWS = np.random.default_rng(0).normal(size=(30, 3))
PHOTOGRAPHS = np.random.default_rng(1).integers(0, 256, size=(5, 6, 7, 3), dtype=np.uint8)


def encoded(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def parquet(path, images):
    kind = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    rows = [{"bytes": image, "path": f"{row}.png"} for row, image in enumerate(images)]
    pl.DataFrame({"image": rows}, schema={"image": kind}).write_parquet(path)
    return str(path)


@pytest.fixture
def photographs(tmp_path):
    return parquet(tmp_path / "train.parquet", [encoded(image) for image in PHOTOGRAPHS])


# Latents


def test_rows_are_equally_likely():
    drawn = Latents(ROWS).sample(np.random.default_rng(0), 30_000)
    hits = (drawn[:, None] == ROWS).all(axis=2)
    assert (hits.sum(axis=1) == 1).all()
    assert abs(hits.mean(axis=0) - 1 / 30).max() < 5 * np.sqrt(1 / 30 / 30_000)
    assert Latents(ROWS).support is ROWS


def test_the_optimum_on_a_line():
    rows = np.array([[0.0], [1.0], [10.0], [12.0], [20.0], [20.0]])
    assert Latents(rows).optimum(3) == pytest.approx((0.5 + 2) / 6)
    assert Latents(rows).optimum(5) == Latents(rows).optimum(6) == 0
    assert Latents(ROWS).optimum(3) is None


def test_an_array_is_named_in_a_configuration():
    source = Latents(ROWS)
    assert text(source).startswith("Latents(array('30x3-float64-")
    stream = Stream(source)
    assert parse(repr(stream), arrays_of(stream)).source.data is ROWS
    assert source != Latents(ROWS)
    assert {source: 1}[source] == 1


@pytest.mark.parametrize("name", ["rows.npy", "one.npz", "many.npz"])
def test_array_files(tmp_path, name):
    path = tmp_path / name
    if name == "rows.npy":
        np.save(path, ROWS)
    elif name == "one.npz":
        np.savez(path, anything=ROWS)
    else:
        np.savez(path, other=np.zeros(3), latents=ROWS)
    source = Latents(path)
    assert repr(source) == f"Latents({str(path)!r})"
    for copy in (source, parse(repr(source)), pickle.loads(pickle.dumps(source))):
        assert np.array_equal(copy.support, ROWS)


def test_integers_are_numbers_and_not_images():
    assert Latents(np.array([[0, 255]], np.uint8)).mean.tolist() == [0, 255]


def test_images_are_latents_from_0_to_1(photographs):
    source = Latents(photographs)
    expected = PHOTOGRAPHS.reshape(5, -1) / 255
    assert np.array_equal(source.support, expected)
    assert source.dim == 6 * 7 * 3
    np.testing.assert_allclose(source.mean, expected.mean(axis=0))
    drawn = source.sample(np.random.default_rng(0), 40)
    assert (drawn[:, None] == expected).all(axis=2).any(axis=1).all()
    assert source._rows[0].dtype == np.uint8


def test_grey_images_have_one_channel(tmp_path):
    path = parquet(tmp_path / "grey.parquet", [encoded(image[..., 0]) for image in PHOTOGRAPHS])
    assert np.array_equal(Latents(path).support, PHOTOGRAPHS[..., 0].reshape(5, -1) / 255)


def test_a_file_that_changes_is_read_anew(photographs, tmp_path):
    Latents(photographs).mean  # noqa: B018 - what is remembered of the file
    os.utime(parquet(tmp_path / "train.parquet", [encoded(PHOTOGRAPHS[0])]), ns=(1, 1))
    assert len(Latents(photographs).support) == 1


def test_the_data_set_is_found_by_the_environment(photographs, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert len(Latents().support) == 5
    assert repr(Latents()) == "Latents()"
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"There is no file '.*nowhere.train\.parquet'"):
        _ = Latents().dim
    monkeypatch.delenv(DATA_VARIABLE)
    with pytest.raises(
        ValueError, match="set the environment variable VQTHEORY_DATA to a folder that holds train.parquet, or"
    ):
        _ = Latents().dim


@needs_data
def test_real_photographs():
    source = Latents()
    drawn = source.sample(np.random.default_rng(0), 500)
    assert source.dim == drawn.shape[1] >= 3
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert abs(drawn.mean() - source.mean.mean()) < 5 * drawn.mean(axis=1).std() / np.sqrt(500)


# Patches


def test_patches_are_windows_of_the_photograph(tmp_path):
    path = tmp_path / "photograph.png"
    Image.fromarray(PHOTOGRAPHS[0]).save(path)
    source = Patches(path, size=3, colour=True)
    pixels = PHOTOGRAPHS[0] / 255
    centred = pixels - pixels.mean(axis=(0, 1))
    windows = np.array([centred[i : i + 3, j : j + 3].ravel() for i in range(4) for j in range(5)])
    drawn = source.sample(np.random.default_rng(0), 20_000)
    hits = (abs(drawn[:, None] - windows) < 1e-12).all(axis=2)
    assert (hits.sum(axis=1) == 1).all()
    assert abs(hits.mean(axis=0) - 1 / 20).max() < 5 * np.sqrt(1 / 20 / 20_000)
    np.testing.assert_allclose(source.mean, windows.mean(axis=0), atol=1e-14)
    assert parse(repr(source)) == source


def test_patches_of_many_photographs(photographs):
    source = Patches(photographs, size=6, colour=True)
    pixels = PHOTOGRAPHS / 255
    windows = np.concatenate([pixels[:, :, j : j + 6].reshape(5, -1) for j in (0, 1)]) - np.tile(
        pixels.mean(axis=(0, 1, 2)), 36
    )
    drawn = source.sample(np.random.default_rng(0), 100)
    hits = (abs(drawn[:, None] - windows) < 1e-12).all(axis=2)
    assert (hits.sum(axis=1) == 1).all()
    assert hits.any(axis=0).all()
    np.testing.assert_allclose(source.mean, windows.mean(axis=0), atol=1e-14)


def test_the_default_photograph():
    grey, colour = Patches(), Patches(colour=True)
    assert (grey.dim, colour.dim) == (16, 48)
    drawn = grey.sample(np.random.default_rng(0), 5000)
    assert 0.2 < drawn.std() < 0.4  # a photograph uses its range
    neighbours = np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]
    assert neighbours > 0.9  # and is smooth


def test_matplotlib_is_not_imported_for_its_photograph():
    code = "import sys; from vqtheory.streams import Patches; Patches().mean; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "PIL" in loaded
    assert not {"matplotlib", "numba", "scipy", "torch"} & set(loaded)


# Damage


def npz_without_latents(path):
    np.savez(path / "two.npz", a=ROWS, b=ROWS)
    return path / "two.npz"


def pickled(path):
    np.save(path / "pickled.npy", np.array([[{}]]), allow_pickle=True)
    return path / "pickled.npy"


def cut(path, name):
    np.save(path / "whole.npy", ROWS) if name.endswith("npy") else np.savez(path / "whole.npz", ROWS)
    data = (path / f"whole{name[-4:]}").read_bytes()
    (path / name).write_bytes(data[: len(data) // 2])
    return path / name


def written(path, name, data):
    (path / name).write_bytes(data)
    return path / name


def not_finite(path):
    np.save(path / "nan.npy", np.array([[0.0, 1.0], [np.nan, 0.0]]))
    return path / "nan.npy"


def without_images(path):
    pl.DataFrame({"picture": ["1.png"]}).write_parquet(path / "other.parquet")
    return path / "other.parquet"


JPEG = encoded(PHOTOGRAPHS[0], "JPEG")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (npz_without_latents, r"Cannot read '.*two.npz' as a NumPy array: .* one named 'latents'; it holds \['a', 'b'\]"),
        (pickled, "Cannot read '.*pickled.npy' as a NumPy array: .*allow_pickle=False"),
        (lambda path: cut(path, "cut.npy"), "Cannot read '.*cut.npy' as a NumPy array"),
        (lambda path: cut(path, "cut.npz"), "Cannot read '.*cut.npz' as a NumPy array"),
        (lambda path: written(path, "empty.npy", b""), "Cannot read '.*empty.npy' as a NumPy array"),
        (not_finite, r"The 'data' parameter of Latents\('.*nan.npy'\) must be finite. Got nan at index \(1, 0\)"),
        (lambda path: written(path, "noise.parquet", b"PAR1 no more"), "Cannot read '.*noise.parquet' as a parquet file"),
        (without_images, "Cannot read '.*other.parquet' as images: it must have a column 'image', .* {'picture': String}"),
        (lambda path: parquet(path / "none.parquet", []), "Cannot read '.*none.parquet' as images: .* at least one row"),
        (
            lambda path: parquet(path / "cut.parquet", [JPEG, JPEG, JPEG[: len(JPEG) // 2]]),
            "Cannot read the image in row 2 of '.*cut.parquet': (?i:.*truncated)",
        ),
        (
            lambda path: parquet(path / "text.parquet", [JPEG, b"no image"]),
            "Cannot read the image in row 1 of '.*text.parquet': cannot identify",
        ),
        (
            lambda path: parquet(path / "null.parquet", [None]),
            "Cannot read the image in row 0 of '.*null.parquet': it is empty",
        ),
        (
            lambda path: parquet(path / "sizes.parquet", [JPEG, encoded(PHOTOGRAPHS[0][:3])]),
            r"Cannot read the image in row 1 of '.*': its shape is \(3, 7, 3\), that of row 0 is \(6, 7, 3\)",
        ),
    ],
)
def test_damaged_files(tmp_path, make, message):
    source = Latents(make(tmp_path))
    with pytest.raises(ValueError, match=message):
        _ = source.dim


def test_a_damaged_photograph(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot read '.*half.jpg' as an image: (?i:.*truncated)"):
        _ = Patches(written(tmp_path, "half.jpg", JPEG[: len(JPEG) // 2])).mean


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Latents(ROWS[0]), r"The 'data' parameter of Latents must be a \[rows, columns\] array"),
        (lambda: Latents([[0.0], [np.inf]]), r"The 'data' parameter of Latents must be finite. Got inf at index \(1, 0\)"),
        (lambda: Latents("faces.zip"), "must be an array or the path of a .npy, .npz or .parquet file, .* Got 'faces.zip'"),
        (lambda: Patches(3), "The 'photograph' parameter of Patches must be the path of an image"),
        (lambda: Patches(size=0), "The 'size' parameter of Patches must be an int >= 1. Got 0."),
        (lambda: Patches(colour="red"), "The 'colour' parameter of Patches must be True or False. Got 'red'."),
        (
            lambda: Patches(size=513).mean,
            "The 'size' parameter of Patches must be at most the photograph's 512 x 600 pixels",
        ),
    ],
)
def test_bad_input(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_photograph_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="There is no file 'nowhere.jpg'"):
        _ = Patches("nowhere.jpg").mean
