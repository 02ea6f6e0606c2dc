"""Images to train on: formats that give the same, splits, what is damaged or missing."""

import io
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

pytest.importorskip("torch")

from vqtheory.nn.training import sources
from vqtheory.nn.training.data import grace_hopper, load
from vqtheory.nn.training.provenance import read_images
from vqtheory.nn.training.streamed import Streamed, batches


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pictures(count, height=8, width=8, seed=0):
    return [png(pixels) for pixels in np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)]


def folder_of(images, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for row, image in enumerate(images):
        (folder / f"{row:03}.png").write_bytes(image)
    return folder


def zip_of(images, path, top=""):
    with zipfile.ZipFile(path, "w") as archive:
        for row, image in enumerate(images):
            archive.writestr(f"{top}{row:03}.png", image)
    return path


def parquet_of(images, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"image": [{"bytes": image, "path": None} for image in images]}).write_parquet(path)
    return path


@pytest.fixture(autouse=True)
def no_data_set(monkeypatch):
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)


class TestFormats:
    def test_folder_zip_and_parquet_give_the_same(self, tmp_path):
        images = pictures(12)
        sets = [
            load(folder_of(images, tmp_path / "folder"), size=8),
            load(zip_of(images, tmp_path / "images.zip", "celeba/"), size=8),
            load(parquet_of(images, tmp_path / "images.parquet"), size=8),
        ]
        for other in sets[1:]:
            assert np.array_equal(sets[0].train, other.train)
            assert np.array_equal(sets[0].test, other.test)

    def test_several_parquet_files_are_one_data_set(self, tmp_path):
        images = pictures(12)
        parquet_of(images[:7], tmp_path / "data" / "part-0.parquet")
        parquet_of(images[7:], tmp_path / "data" / "part-1.parquet")
        whole = load(parquet_of(images, tmp_path / "whole.parquet"), size=8)
        assert np.array_equal(load(tmp_path / "data", size=8).train, whole.train)

    def test_the_central_square_is_scaled(self, tmp_path):
        stripe = np.zeros((16, 32, 3), np.uint8)
        stripe[:, 8:24] = 200  # the central square
        images = load(folder_of([png(stripe)] * 2, tmp_path), size=8)
        assert images.train.shape == (1, 8, 8, 3)
        assert (images.train == 200).all()

    def test_grey_images_get_three_colours(self, tmp_path):
        grey = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
        images = load(folder_of([png(grey)] * 2, tmp_path), size=8)
        assert np.array_equal(images.train[0], np.repeat(grey[:, :, None], 3, axis=2))

    def test_what_a_mac_adds_is_left_out(self, tmp_path):
        path = zip_of(pictures(3), tmp_path / "images.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("__MACOSX/._000.png", b"not an image")
            archive.writestr("notes.txt", b"not an image")
        assert len(load(path, size=8).train) == 2


class TestStreamed:
    """Images that are decoded when they are needed."""

    def test_every_format_gives_the_bits_that_memory_has(self, tmp_path):
        images = pictures(12, 9, 10)
        for path in (
            folder_of(images, tmp_path / "folder"),
            zip_of(images, tmp_path / "images.zip"),
            parquet_of(images[:5], tmp_path / "tables" / "a.parquet").parent,
        ):
            parquet_of(images[5:], tmp_path / "tables" / "b.parquet")
            whole, streamed = load(path, size=8), load(path, size=8, in_memory=0)
            for one, other in zip(whole[:2], streamed[:2], strict=True):
                assert isinstance(other, Streamed)
                assert one.shape == other.shape
                np.testing.assert_array_equal(np.asarray(other), one)
                np.testing.assert_array_equal(np.asarray(other[-1:][[0, 0]]), one[[-1, -1]])
            rows = [np.array([7, 1]), np.array([0, 9, 4]), np.array([2])]
            for batch, chosen in zip(batches(streamed.train, rows), rows, strict=True):
                np.testing.assert_array_equal(batch, whole.train[chosen])

    def test_copies_of_tables_end_with_the_images(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        streamed = load(parquet_of(pictures(5), tmp_path / "a.parquet"), size=8, in_memory=0)
        (copy,) = (tmp_path / "temporary").iterdir()
        assert copy.stat().st_size == sum(map(len, pictures(5)))
        del streamed
        assert not copy.exists()

    def test_a_damaged_image_is_named_before_the_first_update(self, tmp_path):
        images = pictures(4)
        images[2] = images[2][: len(images[2]) // 2]
        with pytest.raises(ValueError, match=r"^Cannot read the image in row 2 of '.*a.parquet': [^\n]*$"):
            read_images(str(parquet_of(images, tmp_path / "a.parquet")), 8, None, in_memory=0)

    def test_memory_has_room_for_a_few_batches(self, tmp_path):
        """160 images of 256 x 256 would be 31 MB."""
        path = folder_of([png(np.full((256, 256, 3), row, np.uint8)) for row in range(160)], tmp_path)
        tracemalloc.start()
        try:
            streamed, _ = read_images(str(path), 256, None, in_memory=2**20)
            for batch in batches(streamed.train, np.arange(144).reshape(18, 8)):
                assert (batch[:, 0, 0] == batch[:, -1, -1]).all()
            assert tracemalloc.get_traced_memory()[1] < 160 * 256 * 256 * 3 / 2
        finally:
            tracemalloc.stop()


class TestSplits:
    def test_disjoint_complete_and_by_the_seed(self, tmp_path):
        folder = folder_of(pictures(40), tmp_path)
        sets = [load(folder, size=8, seed=seed, test_share=0.25) for seed in (0, 0, 1)]
        names = [[{image.tobytes() for image in side} for side in images[:2]] for images in sets]
        for train, test in names:
            assert (len(train), len(test), len(train | test)) == (30, 10, 40)
        assert names[0] == names[1]
        assert names[0] != names[2]

    @pytest.mark.parametrize("name", ["test", "validation", "val"])
    def test_a_data_set_s_own_files(self, tmp_path, name):
        parquet_of(pictures(5, seed=1), tmp_path / "data" / "train-00000-of-00001.parquet")
        parquet_of(pictures(3, seed=2), tmp_path / "data" / f"{name}-00000-of-00001.parquet")
        images = load(tmp_path, size=8)
        assert (len(images.train), len(images.test)) == (5, 3)
        assert {image.tobytes() for image in images.test} == {
            np.asarray(Image.open(io.BytesIO(image))).tobytes() for image in pictures(3, seed=2)
        }

    def test_a_data_set_s_own_folders(self, tmp_path):
        folder_of(pictures(5, seed=1), tmp_path / "train")
        folder_of(pictures(3, seed=2), tmp_path / "test")
        folder_of(pictures(2, seed=3), tmp_path / "val")
        assert str(load(tmp_path, size=8)) == f"5 train and 3 test images of {tmp_path}"

    def test_the_environment_names_the_data_set(self, tmp_path, monkeypatch):
        parquet_of(pictures(5), tmp_path / "train.parquet")
        parquet_of(pictures(2), tmp_path / "test.parquet")
        monkeypatch.setenv("VQTHEORY_DATA", str(tmp_path))
        assert [len(side) for side in load(size=8)[:2]] == [5, 2]

    def test_without_data_windows_of_one_photograph_that_share_no_pixel(self):
        images = load(size=64)
        assert (images.train.shape, images.test.shape) == ((2380, 64, 64, 3), (952, 64, 64, 3))
        photograph = np.asarray(Image.open(grace_hopper()).convert("RGB"))
        border = 2 * photograph.shape[1] // 3
        assert np.array_equal(images.train[0], photograph[:64, :64])
        assert np.array_equal(images.test[0], photograph[:64, border : border + 64])
        per_row = len(range(0, border - 63, 8))
        assert np.array_equal(images.train[per_row - 1], photograph[:64, 8 * (per_row - 1) :][:, :64])
        assert 8 * (per_row - 1) + 64 <= border


class TestDamage:
    def test_a_damaged_image_is_named(self, tmp_path):
        images = pictures(4)
        images[2] = images[2][: len(images[2]) // 2]
        with pytest.raises(ValueError, match=r"Cannot read '.*folder/002.png' as an image: "):
            load(folder_of(images, tmp_path / "folder"), size=8)
        with pytest.raises(ValueError, match=r"Cannot read '002.png' in '.*images.zip': "):
            load(zip_of(images, tmp_path / "images.zip"), size=8)
        with pytest.raises(ValueError, match=r"Cannot read the image in row 2 of '.*images.parquet': "):
            load(parquet_of(images, tmp_path / "images.parquet"), size=8)

    def test_a_damaged_container_is_named(self, tmp_path):
        for name in ("a.zip", "b.parquet"):
            (tmp_path / name).write_bytes(b"PAR1 nothing")
            with pytest.raises(ValueError, match=f"Cannot read '.*{name}' as a "):
                load(tmp_path / name)

    def test_a_damaged_member_is_named(self, tmp_path):
        path = zip_of(pictures(3), tmp_path / "images.zip")
        content = path.read_bytes()
        place = content.index(b"IDAT") + 10
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"Cannot read '000.png' in '.*images.zip': Bad CRC-32"):
            load(path, size=8)

    def test_a_parquet_file_of_something_else(self, tmp_path):
        pl.DataFrame({"text": ["a", "b"]}).write_parquet(tmp_path / "other.parquet")
        with pytest.raises(ValueError, match="must have a column 'image'"):
            load(tmp_path)

    def test_nothing_to_read(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file or folder"):
            load(tmp_path / "none")
        with pytest.raises(ValueError, match="There are no images in"):
            load(tmp_path)
        with pytest.raises(ValueError, match=r"must be at least two, .* Got 1\."):
            load(folder_of(pictures(1), tmp_path), size=8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0}, "The 'size' parameter of load must be an int >= 1. Got 0."),
        ({"in_memory": -1}, "The 'in_memory' parameter of load must be an int >= 0. Got -1."),
        ({"size": 200}, "The 'size' parameter of load must be at most 171 without a data set. Got 200."),
        ({"test_share": 1.5}, "The 'test_share' parameter of load must be a number >= 0 and <= 1. Got 1.5."),
    ],
)
def test_bad_input_gets_one_clear_sentence(options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        load(**options)


def test_hidden_files_are_left_out(tmp_path):
    folder_of(pictures(3), tmp_path)
    Path(tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.png").write_bytes(b"not an image")
    assert len(load(tmp_path, size=8).train) == 2


class TestSides:
    @pytest.mark.parametrize(
        ("train", "test"),
        [
            ("train_0.parquet", "test_0.parquet"),
            ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
            ("faces_train.parquet", "faces.test.parquet"),
            ("training/a.parquet", "testing/a.parquet"),
            ("data/Train/a.parquet", "data/TEST/a.parquet"),
            ("trainA/a.parquet", "testA/a.parquet"),
            ("trainset.parquet", "validation_1.parquet"),
            ("train/test-pattern.parquet", "dev/a.parquet"),  # the folder decides
            ("rest.parquet", "test.parquet"),  # beside a test all else is trained on
            ("latest/contest.parquet", "eval/a.parquet"),  # no words of their own
        ],
    )
    def test_are_told_by_the_names_that_people_use(self, tmp_path, train, test):
        images = pictures(10)
        parquet_of(images[:7], tmp_path / train)
        parquet_of(images[7:], tmp_path / test)
        loaded = load(tmp_path, size=8)
        decoded = np.array([np.asarray(Image.open(io.BytesIO(image))) for image in images])
        np.testing.assert_array_equal(loaded.train, decoded[:7])
        np.testing.assert_array_equal(loaded.test, decoded[7:])


class TestPixels:
    def saved(self, tmp_path, image, suffix="png", **options):
        for name in "ab":
            image.save(tmp_path / f"{name}.{suffix}", **options)
        return load(tmp_path, size=8).train[0]

    def test_sixteen_bits_are_scaled(self, tmp_path):
        ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
        for suffix in ("png", "tif"):
            (tmp_path / suffix).mkdir()
            values = self.saved(tmp_path / suffix, Image.fromarray(ramp), suffix)
            np.testing.assert_array_equal(values[..., 0], np.rint(ramp / 257))

    def test_thirty_two_bits_are_refused(self, tmp_path):
        for values in (np.ones((8, 8), np.float32), np.ones((8, 8), np.int32)):
            with pytest.raises(ValueError, match=r"a\.tif' as an image: its pixels have 32 bits \(mode [FI]\)"):
                self.saved(tmp_path, Image.fromarray(values), "tif")

    def test_photographs_are_turned_upright(self, tmp_path):
        image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter
        turned = self.saved(tmp_path, image, exif=exif)
        np.testing.assert_array_equal(turned, np.rot90(np.asarray(image), -1))

    def test_what_is_transparent_is_white(self, tmp_path):
        values = np.full((8, 8, 4), 9, np.uint8)
        values[:4, :, 3], values[4:, :, 3] = 0, 255
        seen = self.saved(tmp_path, Image.fromarray(values))
        assert (seen[:4] == 255).all()
        assert (seen[4:] == 9).all()

    def test_bombs_are_refused(self, tmp_path, monkeypatch):
        (tmp_path / "png").mkdir()
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
        with pytest.raises(ValueError, match=r"a\.png' as an image: Image size \(64 pixels\) exceeds limit of 50"):
            self.saved(tmp_path / "png", Image.new("RGB", (8, 8)))
        monkeypatch.setattr(sources, "_MOST_BYTES", 100)
        with pytest.raises(ValueError, match=r"it unpacks to \d+ bytes, and at most 100 are read"):
            load(zip_of(pictures(2), tmp_path / "images.zip"), size=8)


class TestPlaces:
    def test_names_that_a_shell_would_expand(self, tmp_path):
        assert len(load(parquet_of(pictures(3), tmp_path / "faces [1].parquet"), size=8).train) == 2

    def test_suffixes_in_any_case(self, tmp_path):
        assert len(load(zip_of(pictures(3), tmp_path / "faces.ZIP"), size=8).train) == 2
        (tmp_path / "a.parquet").unlink(missing_ok=True)
        assert len(load(parquet_of(pictures(4), tmp_path / "t" / "a.PARQUET").parent, size=8).train) == 3

    def test_folders_behind_links_and_links_in_a_circle(self, tmp_path):
        folder_of(pictures(3), tmp_path / "elsewhere")
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "set")
        assert len(load(tmp_path / "set", size=8).train) == 2

    def test_a_table_beside_the_images(self, tmp_path):
        folder_of(pictures(3), tmp_path)
        pl.DataFrame({"name": ["a"], "age": [3]}).write_parquet(tmp_path / "labels.parquet")
        assert len(load(tmp_path, size=8).train) == 2

    def test_a_home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        folder_of(pictures(3), tmp_path / "faces")
        assert len(load("~/faces", size=8).train) == 2
