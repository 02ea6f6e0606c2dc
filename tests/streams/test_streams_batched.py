"""Latents that a program makes, batch by batch."""

import pickle

import numpy as np
import polars as pl
import pytest

import vqtheory as vq
from vqtheory.protocols import Ended
from vqtheory.streams import Batched, Recorded

ROWS = np.random.default_rng(0).normal(size=(130, 2))
DAYS = [ROWS[:50], ROWS[50:50], ROWS[50:53], ROWS[53:130]]


def rounds(stream, steps, **options):
    return vq.simulate(vq.rules.VQ(0.05), stream, codes=4, steps=steps, batch_size=8, records=4, progress=False, **options)


def generated(days=DAYS):
    yield from days


def test_ragged_batches_are_cut_anew():
    for iterable in (DAYS, generated()):
        stream = Batched(iterable, dim=2)
        drawn = [stream.draw(start, steps, 8, seed) for start, steps, seed in ((0, 3, 0), (1, 2, 5), (3, 9, 0), (14, 2, 0))]
        rows = [ROWS[:24], ROWS[8:24], ROWS[24:96], ROWS[112:128]]  # one update twice, and two skipped
        assert all(np.array_equal(batches.x.reshape(-1, 2), want) for batches, want in zip(drawn, rows, strict=True))


def test_a_batch_may_be_a_file(tmp_path):
    table = pl.DataFrame(DAYS[3], schema=["a", "b"])
    np.save(tmp_path / "0.npy", DAYS[0])
    table.write_csv(tmp_path / "1.csv")
    table.write_parquet(tmp_path / "2.parquet")
    x = Batched(sorted(tmp_path.iterdir()), dim=2).draw(0, 1, 204, seed=0).x[0]
    assert np.array_equal(x, np.concatenate([DAYS[0], DAYS[3], DAYS[3]]))
    pl.DataFrame({"a": ["x"], "b": [1.0]}).write_csv(tmp_path / "3.csv")
    with pytest.raises(ValueError, match="Cannot read '.*3.csv' as latents: it must have numeric columns. .*'a': String"):
        Batched([tmp_path / "3.csv"], dim=2).draw(0, 1, 1, seed=0)
    with pytest.raises(FileNotFoundError, match="There is no file '.*4.csv'"):
        Batched([tmp_path / "4.csv"], dim=2).draw(0, 1, 1, seed=0)


def test_the_first_codes_are_latents_of_the_first_batch():
    for codes, rows in ((4, 50), (51, 53), (100, 130)):
        stream = Batched(DAYS, dim=2)
        assert np.array_equal(stream.first(codes), ROWS[:rows])
        assert np.array_equal(stream.draw(0, 1, 90, seed=0).x[0], ROWS[:90])
        assert np.array_equal(stream.first(codes), ROWS[:rows])  # whatever was read since
    first = rounds(Batched(generated([ROWS[:4], ROWS[4:]]), dim=2), steps=1, on_record=None)
    start = vq.simulate(vq.rules.VQ(0.0001), Batched([ROWS[:4], ROWS[4:]], dim=2), codes=4, steps=1, progress=False)
    assert len(first.rows) == 2
    assert np.abs(np.sort(start.codes, axis=0) - np.sort(ROWS[:4], axis=0)).max() < 0.01


def test_runs_begin_anew_and_go_on_where_the_iterable_can_be_read_again(tmp_path):
    stream = Batched(DAYS, dim=2)
    whole = rounds(stream, 16)
    assert whole.status == "finished"
    assert np.array_equal(rounds(stream, 16).codes, whole.codes)
    assert np.array_equal(rounds(pickle.loads(pickle.dumps(stream)), 16).codes, whole.codes)
    rounds(stream, 7, save=tmp_path / "run")
    with pytest.raises(ValueError, match="Unknown name 'Batched' in a configuration .* is given, as stream="):
        vq.resume(tmp_path / "run", progress=False)
    resumed = vq.resume(tmp_path / "run", steps=16, stream=Batched(generated(), dim=2), progress=False)
    assert np.array_equal(resumed.codes, whole.codes)


def test_a_generator_can_be_read_once():
    stream = Batched(generated(), dim=2)
    rounds(stream, 10)
    with pytest.raises(ValueError, match=r"must be one that can be iterated over again, .* which can be read once"):
        rounds(stream, 10)


def test_an_iterable_that_ends_early_ends_the_run_there(tmp_path):
    whole = rounds(Batched(DAYS, dim=2), 16)
    said = "The iterable of Batched has ended after 4 batches of 130 latents. The run ends after update 16 of 100."
    with pytest.warns(UserWarning, match=said):
        run = rounds(Batched(DAYS, dim=2), 100, save=tmp_path / "run")
    assert (run.status, run.step, run.row["step"]) == ("running", 16, 16)
    assert np.array_equal(run.codes, whole.codes)
    assert run.hits.sum() == 128
    further = vq.resume(tmp_path / "run", steps=32, stream=Batched(DAYS + DAYS, dim=2), progress=False)
    assert np.array_equal(further.codes, rounds(Batched(DAYS * 2, dim=2), 32).codes)
    with pytest.raises(ValueError, match="'iterable' parameter of Batched must have latents to begin with. It has none."):
        rounds(Batched([], dim=2), 100)


def test_a_stream_of_ones_own_may_end_too():
    class Short:
        dim = 2

        def draw(self, start, steps, batch_size, seed, dtype=np.float64):
            if start + steps > 13:
                raise Ended("The disk is full.")
            return vq.Batches(np.resize(ROWS, (steps, batch_size, 2)).astype(dtype))

    with pytest.warns(UserWarning, match="The disk is full. The run ends after update 13 of 100."):
        assert rounds(Short(), 100).step == 13


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Batched(3, dim=2), r"The 'iterable' parameter of Batched must be an iterable of arrays \[rows, dim\]"),
        (lambda: Batched("latents.npy", dim=2), "must be an iterable of arrays .* Got 'latents.npy'"),
        (lambda: Batched(DAYS, dim=0), "The 'dim' parameter of Batched must be an int >= 1. Got 0."),
        (
            lambda: Batched([ROWS[:3], ROWS[:3, :1]], dim=2).draw(0, 1, 8, seed=0),
            r"The 'iterable\[1\]' parameter of Batched must be an array \[rows, 2\] of numbers. Got shape \(3, 1\)",
        ),
        (
            lambda: Batched([[[0.0, np.nan]]], dim=2).draw(0, 1, 8, seed=0),
            r"The 'iterable\[0\]' parameter of Batched must be finite. Got nan at index \(0, 1\)",
        ),
        (
            lambda: vq.simulate(
                vq.rules.Transport(vq.rules.VQ(0.1)), Batched(DAYS, dim=2), codes=2, steps=2, progress=False
            ),
            "Batched does not know how far each latent has moved .* Recorded does",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_recorded_and_batched_latents_of_one_frame_are_the_same():
    frames = ROWS.reshape(5, 26, 2)
    streams = (Recorded(frames), Batched(list(frames), dim=2))
    codes = [
        vq.simulate(vq.rules.EMA(0.9), stream, codes=ROWS[:3], steps=5, batch_size=26, progress=False).codes
        for stream in streams
    ]
    assert np.array_equal(*codes)
