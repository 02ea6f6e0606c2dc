"""Latents in shards that memory need not hold: the same bits wherever they are, and what is said of bad shards."""

import os
import pickle
import re
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

import vqtheory as vq
from vqtheory._base.config import parse
from vqtheory._base.randomness import Purpose, generator
from vqtheory.streams import Latents, Recorded, Stream, photographs

ROWS = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
FRAMES = np.random.default_rng(1).normal(size=(4, 6, 2))
CUTS = (0, 20, 21, 60, 70)


def table(path, rows):
    pl.DataFrame(rows, schema=[f"d{i}" for i in range(rows.shape[1])]).write_parquet(path, row_group_size=7)


def lists(path, rows):
    pl.DataFrame({"latent": rows.tolist()}, schema={"latent": pl.List(pl.Float32)}).write_parquet(path)


@pytest.fixture
def folder(tmp_path):
    """Shards of all kinds, and a file that is none."""
    parts = [ROWS[low:high] for low, high in pairwise(CUTS)]
    np.save(tmp_path / "0.npy", parts[0])
    table(tmp_path / "1.parquet", parts[1])
    lists(tmp_path / "2.parquet", parts[2])
    np.save(tmp_path / "3.npy", np.asfortranarray(parts[3]))
    (tmp_path / "README.md").write_text("Latents of a run.")
    return tmp_path


def test_the_rows_of_shards_are_those_of_the_array(folder):
    source = Latents(folder)
    assert (source.dim, source.num_rows, len(source.files)) == (3, 70, 4)
    assert np.array_equal(source.support, ROWS)
    assert np.array_equal(np.concatenate(list(source.blocks())), ROWS)
    np.testing.assert_array_equal(source.mean, Latents(ROWS).mean)
    drawn = [Stream(one).draw(3, 5, 4, seed=0).x for one in (source, Latents(ROWS))]
    assert np.array_equal(*drawn)
    backwards = Latents([str(folder / "3.npy"), str(folder / "0.npy")])
    assert np.array_equal(backwards.support, np.concatenate([ROWS[60:], ROWS[:20]]))
    for copy in (parse(repr(backwards)), pickle.loads(pickle.dumps(backwards))):
        assert np.array_equal(copy.support, backwards.support)


def test_blocks_are_shuffled_by_a_key_and_each_row_comes_once_in_a_pass():
    source = Latents(ROWS, block=32)
    drawn = source.part(5, 0, 140)
    for cycle in range(2):
        for block, rows in enumerate((ROWS[:32], ROWS[32:64], ROWS[64:])):
            shuffled = rows[generator(5, Purpose.SOURCE, 3 * cycle + block).permutation(len(rows))]
            start = 70 * cycle + 32 * block
            assert np.array_equal(drawn[start : start + len(rows)], shuffled)
    assert (drawn[:70] != drawn[70:]).any()
    assert (source.part(6, 0, 32) != drawn[:32]).any()
    assert source.support is None
    np.testing.assert_allclose(source.mean, ROWS.mean(axis=0, dtype=np.float64), rtol=0, atol=1e-15)


def test_the_bits_do_not_depend_on_chunks_on_the_cache_or_on_where_the_rows_are(folder, monkeypatch):
    streams = [Stream(Latents(data, block=16)) for data in (folder, ROWS)]
    monkeypatch.setattr(photographs, "_IN_MEMORY", 0)
    monkeypatch.setattr(photographs, "default_block", lambda dim: 16)
    streams.append(Stream(Latents(folder)))
    whole = streams[0].draw(0, 300, 4, seed=1).x
    for stream in streams:
        for start in (290, 0, 157):  # back and forth, over the end of a pass
            assert np.array_equal(stream.draw(start, 10, 4, seed=1).x, whole[start : start + 10])
        assert np.array_equal(stream.source.mean, streams[0].source.mean)
    options = {"codes": 4, "steps": 100, "batch_size": 8, "records": 2, "progress": False}
    runs = [vq.simulate(vq.rules.VQ(0.05), stream, **options) for stream in streams]
    assert all(run.history.equals(runs[0].history) and np.array_equal(run.codes, runs[0].codes) for run in runs)


def test_fresh_latents_of_blocks_are_as_likely_as_any_other():
    source = Latents(ROWS, block=32)
    drawn = np.concatenate([source.sample(np.random.default_rng(seed), 30) for seed in range(2000)])
    hits = (drawn[:, None] == ROWS).all(axis=2)
    assert (hits.sum(axis=1) == 1).all()
    spread = np.sqrt(1 / 70 * (1 + 30 / 16 / 32 * 3) / len(drawn))  # samples of one block go together
    assert abs(hits.mean(axis=0) - 1 / 70).max() < 5 * spread


def test_a_run_on_shards_goes_on_to_the_same_bits(folder, tmp_path):
    stream, options = Stream(Latents(folder, block=16)), {"codes": 4, "batch_size": 8, "records": 2, "progress": False}
    whole = vq.simulate(vq.rules.VQ(0.05), stream, steps=200, **options)
    vq.simulate(vq.rules.VQ(0.05), stream, steps=90, save=tmp_path / "run", **options)
    assert np.array_equal(vq.resume(tmp_path / "run", steps=200, progress=False).codes, whole.codes)
    np.save(folder / "4.npy", ROWS[60:])
    with pytest.raises(ValueError, match=r"has read 4 files so far, and now there are 5"):
        vq.resume(tmp_path / "run", steps=300, progress=False)
    (folder / "4.npy").unlink()
    np.save(folder / "3.npy", ROWS[60:] + 1)
    with pytest.raises(ValueError, match=r"3.npy is not the file that the run has read so far"):
        vq.resume(tmp_path / "run", steps=300, progress=False)


def test_recorded_shards_are_the_array(tmp_path):
    np.save(tmp_path / "0.npy", FRAMES[:3])
    np.save(tmp_path / "1.npy", FRAMES[3:])
    (tmp_path / "frames").mkdir()
    for time, frame in enumerate(FRAMES):
        table(tmp_path / "frames" / f"{time}.parquet", frame)
    expected = Recorded(FRAMES, every=2, interpolate=True)
    for latents in (tmp_path, tmp_path / "frames", [tmp_path / "0.npy", tmp_path / "1.npy"]):
        stream = parse(repr(Recorded(latents, every=2, interpolate=True)))
        assert stream.steps == expected.steps
        for batch_size in (6, 4):
            drawn = [one.draw(0, 7, batch_size, seed=0, displacement=True) for one in (stream, expected)]
            assert all(map(np.array_equal, *drawn))
        assert np.array_equal(stream.at(3).support, expected.at(3).support)


# Bad shards


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path: np.save(path / "4.npy", np.zeros((5, 2))),
            r"All shards must hold rows of one shape. Got shape \(20, 3\) in '.*0.npy' and \(5, 2\) in '.*4.npy'.",
        ),
        (lambda path: np.save(path / "4.npy", np.zeros(5)), r"must hold arrays \[rows, columns\] .* Got shape \(5,\)"),
        (
            lambda path: np.save(path / "4.npy", np.array([[0, 0, 0], [0, np.inf, 0]])),
            r"The 'data' parameter of Latents must be finite. Got inf at index \(1, 1\) of '.*4.npy'.",
        ),
        (
            lambda path: pl.DataFrame({"name": ["a"], "d": [0.5]}).write_parquet(path / "4.parquet"),
            r"Cannot read '.*4.parquet' as latents: it must have numeric columns, or .* {'name': String, 'd': Float64}.",
        ),
        (lambda path: (path / "4.parquet").write_bytes(b"PAR1"), "Cannot read '.*4.parquet' as a parquet file"),
        (
            lambda path: pl.DataFrame({"z": [[0.0, 1.0, 2.0], [0.0]]}).write_parquet(path / "4.parquet"),
            "Cannot read '.*4.parquet' as a parquet file of numbers: all input arrays must have the same shape",
        ),
    ],
)
def test_bad_shards(folder, make, message):
    make(folder)
    with pytest.raises(ValueError, match=message):
        Stream(Latents(folder)).draw(0, 1, 70, seed=0)


def test_a_shard_that_changes_while_it_is_read(folder, tmp_path):
    stream = Stream(Latents(folder, block=16))
    stream.draw(0, 1, 4, seed=0)
    os.truncate(folder / "3.npy", 200)
    with pytest.raises(ValueError, match=r"The file '.*3.npy' has changed since it was opened: .* Make the stream"):
        stream.draw(15, 1, 4, seed=0)
    np.save(tmp_path / "frames.npy", FRAMES)
    recorded = Recorded(tmp_path / "frames.npy")
    recorded.draw(0, 1, 4, seed=0)
    os.truncate(tmp_path / "frames.npy", 200)
    with pytest.raises(ValueError, match=r"The file '.*frames.npy' has changed"):
        recorded.draw(0, 1, 4, seed=0)


def test_frames_that_do_not_belong_together(tmp_path):
    np.save(tmp_path / "0.npy", FRAMES)
    np.save(tmp_path / "1.npy", FRAMES[:, :5])
    with pytest.raises(ValueError, match=r"All shards must hold frames of one shape. Got shape \(4, 6, 2\) in '.*0.npy'"):
        _ = Recorded(tmp_path).steps
    (tmp_path / "empty").mkdir()
    for kind in (Latents, Recorded):
        with pytest.raises(FileNotFoundError, match=re.escape("There is no .npy or .parquet file in the folder")):
            _ = kind(tmp_path / "empty").dim
    with pytest.raises(ValueError, match="The 'block' parameter of Latents must be an int >= 1. Got 0."):
        Latents(ROWS, block=0)
