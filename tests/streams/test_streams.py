"""What every stream promises: one table, one test per promise."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from vqtheory._base.config import arrays_of, parse
from vqtheory.streams import (
    Distribution,
    Fading,
    Gaussian,
    Jump,
    Latents,
    Mixture,
    Oscillation,
    Patches,
    RandomWalk,
    Recorded,
    Ring,
    Rotation,
    Scaling,
    Stationary,
    Stream,
    Translation,
    Uniform,
    drifts,
)
from vqtheory.streams._stream import block_steps

ROWS = np.random.default_rng(0).normal(size=(50, 3))
FRAMES = np.random.default_rng(1).normal(size=(40, 9, 2)).cumsum(axis=0)

SOURCES = [
    Uniform(1),
    Uniform(3),
    Gaussian(1),
    Gaussian(2),
    Ring(radius=1, width=0.4),
    Mixture(means=[[0.0], [3.0]], scale=0.5, weights=[1, 2]),
    Mixture(means=[[0.0, 0.0], [3.0, 1.0], [-1.0, 2.0]], scale=0.3),
    Distribution("beta", 2, 5),
    Distribution(stats.gamma(2.5, scale=0.5)),
    Latents(ROWS),
    Latents(ROWS.astype(np.float32)),
    Patches(size=3),
    Patches(size=2, colour=True),
]
DRIFTS = [
    Stationary(),
    Translation(speed=1e-3, direction=[1, 1]),
    Scaling(rate=1e-3, limit=2.0),
    Scaling(rate=-1e-2, limit=0.1),
    Rotation(rate=0.02),
    RandomWalk(scale=0.01),
    Oscillation(amplitude=0.3, period=77.7),
    Jump(at=33, by=[0.5, -2.0]),
    Jump(at=33, by=0.5),
    Fading(speed=0.01, half_life=20),
    Translation(speed=1e-3) + RandomWalk(scale=0.01) + Scaling(rate=1e-4) + Rotation(rate=-0.01),
]
STREAMS = [
    *(Stream(source, Translation(speed=1e-3) + Scaling(rate=-1e-3, limit=0.5)) for source in SOURCES),
    *(Stream(Mixture(means=[[2.0, 0.0], [1.0, 1.0]], scale=0.2), drift) for drift in DRIFTS),
    Stream(Uniform(1), RandomWalk(scale=0.01)),
    Recorded(FRAMES),
    Recorded(FRAMES.astype(np.float32), every=1000),
    Recorded(FRAMES, every=700, interpolate=True),
]
every_stream = pytest.mark.parametrize("stream", STREAMS, ids=repr)
every_drift = pytest.mark.parametrize("drift", DRIFTS, ids=repr)

# All z-tests of this file together reject a true stream once in 10,000 choices of the seed.
_COMPARISONS = 2000
Z = stats.norm.isf(1e-4 / (2 * _COMPARISONS))


def same(a, b):
    """Whether two batches are the same to the bit."""
    return all((p is None and q is None) or (p.dtype == q.dtype and np.array_equal(p, q)) for p, q in zip(a, b, strict=True))


def forget():
    """Drop what random walks remember."""
    drifts._block_path.cache_clear()
    drifts._known_starts.cache_clear()


def steps_of(stream, most):
    return min(most, getattr(stream, "steps", most))


@every_stream
def test_same_arguments_same_bits(stream):
    first = stream.draw(3, 20, 4, seed=5, displacement=True)
    stream.draw(1, 30, 2, seed=9)
    forget()
    assert same(first, stream.draw(3, 20, 4, seed=5, displacement=True))
    assert not np.array_equal(first.x, stream.draw(3, 20, 4, seed=6).x)


@every_stream
@pytest.mark.parametrize("batch_size", [1, 7, 600])
def test_cuts_do_not_show(stream, batch_size):
    length = block_steps(batch_size, stream.dim)
    total = steps_of(stream, 2 * length + length // 2 + 3)
    whole = stream.draw(0, total, batch_size, seed=1, displacement=True)
    cuts = sorted({min(cut, total) for cut in (0, 1, 2, 9, length - 1, length, length + 1, 2 * length - 3, total)})
    forget()
    pieces = [stream.draw(start, stop - start, batch_size, seed=1, displacement=True) for start, stop in pairwise(cuts)]
    assert np.array_equal(whole.x, np.concatenate([piece.x for piece in pieces]))
    assert np.array_equal(whole.displacement, np.concatenate([piece.displacement for piece in pieces]))


@every_stream
def test_float32_is_rounded_float64(stream):
    double = stream.draw(0, 30, 5, seed=2, displacement=True)
    single = stream.draw(0, 30, 5, seed=2, dtype=np.float32, displacement=True)
    assert same(single, type(double)(double.x.astype(np.float32), double.displacement.astype(np.float32)))


@every_stream
def test_shapes_and_finite(stream):
    batches = stream.draw(10, 6, 3, seed=3, displacement=True)
    assert batches.x.shape == batches.displacement.shape == (6, 3, stream.dim)
    assert batches.x.flags.c_contiguous
    assert np.isfinite(batches.x).all()
    assert np.isfinite(batches.displacement).all()
    law = stream.at(10, seed=3)
    assert law.mean.shape == law.velocity.shape == (stream.dim,)
    assert law.sample(11).shape == (11, stream.dim)
    assert stream.draw(10, 6, 3, seed=3).displacement is None


@every_stream
def test_displacement_is_zero_at_step_0(stream):
    assert not stream.draw(0, 1, 5, seed=0, displacement=True).displacement.any()
    assert not stream.at(0).velocity.any()


@pytest.mark.parametrize("stream", [s for s in STREAMS if isinstance(s, Stream)], ids=repr)
def test_displacement_is_the_move_of_the_same_sample(stream):
    batches = stream.draw(30, 8, 5, seed=4, displacement=True)
    for i, t in enumerate(range(30, 38)):
        law = stream.at(t, seed=4)
        samples = law.now.invert(batches.x[i][None], stream.source.mean)
        before = stream.at(t - 1, seed=4).now.apply(samples, stream.source.mean)[0]
        np.testing.assert_allclose(batches.x[i] - batches.displacement[i], before, atol=1e-12)


@every_stream
def test_velocities_sum_to_the_way_of_the_mean(stream):
    steps = steps_of(stream, 100)
    way = sum(stream.at(t, seed=6).velocity for t in range(steps))
    np.testing.assert_allclose(way, stream.at(steps - 1, seed=6).mean - stream.at(0, seed=6).mean, atol=1e-11)


def assert_mean(values, mean, slack=1e-12):
    """A z-test of the mean of values [N, D]."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - mean) <= Z * error + slack).all()


@every_stream
def test_draws_follow_their_law(stream):
    size, t = 20_000, 35
    batches, law = stream.draw(t, 1, size, seed=7, displacement=True), stream.at(t, seed=7)
    fresh = law.sample(size)
    assert_mean(batches.x[0], law.mean)
    assert_mean(fresh, law.mean)
    assert_mean(batches.displacement[0], law.velocity)
    for drawn, probed in zip(batches.x[0].T, fresh.T, strict=True):
        assert stats.ks_2samp(drawn, probed).pvalue > 1e-4 / _COMPARISONS


def test_a_run_never_meets_what_measures_it():
    stream = Stream(Uniform(1))
    met = stream.draw(0, 2**15, 1, seed=0).x
    for t in (0, 1, 2**14):
        assert not np.isin(stream.at(t, seed=0).sample(1000), met).any()
    assert not np.isin(stream.at(0, seed=0).sample(1000), stream.at(1, seed=0).sample(1000)).any()


@every_stream
def test_text_describes_the_stream(stream):
    again = parse(repr(stream), arrays_of(stream))
    assert repr(again) == repr(stream)
    assert same(stream.draw(2, 9, 4, seed=8, displacement=True), again.draw(2, 9, 4, seed=8, displacement=True))


@pytest.mark.parametrize("stream", [s for s in STREAMS if s.dim == 1], ids=repr)
def test_density_on_the_line_integrates_to_1(stream):
    law = stream.at(500, seed=0)
    latents = law.sample(10_000)
    low, high = latents.mean() - 15 * latents.std(), latents.mean() + 15 * latents.std()
    grid, step = np.linspace(low, high, 2**18, retstep=True)
    density = law.density(grid[:, None])
    assert abs(density.sum() * step - 1) < step * (density.max() + np.abs(np.diff(density)).sum())  # its jumps, and its ends
    cdf = np.cumsum(density) * step
    assert stats.kstest(latents[:, 0], lambda x: np.interp(x, grid, cdf)).pvalue > 1e-4 / _COMPARISONS


@pytest.mark.parametrize(
    "stream", [s for s in STREAMS if s.dim == 2 and s.at(0).density(np.zeros((1, 2))) is not None], ids=repr
)
def test_density_in_the_plane(stream):
    """Integrates to 1, and its mean over latents is the integral of its square."""
    law = stream.at(50, seed=0)
    latents = law.sample(20_000)
    sides = [np.linspace(side.min() - 1, side.max() + 1, 700, retstep=True) for side in latents.T]
    cell = sides[0][1] * sides[1][1]
    density = law.density(np.stack(np.meshgrid(sides[0][0], sides[1][0]), axis=-1).reshape(-1, 2))
    assert density.sum() * cell == pytest.approx(1, abs=5e-3)
    assert_mean(law.density(latents)[:, None], np.sum(density**2) * cell, slack=5e-3 * density.max())


@every_drift
def test_motion_at_a_step_does_not_depend_on_what_else_is_asked(drift):
    whole = drift.motion(-1, 20_001, dim=2, seed=1)
    forget()
    late = drift.motion(12_345, 7_000, dim=2, seed=1)
    for start, steps in [(-1, 1), (0, 1), (8_190, 5), (19_999, 1), (1, 8_193)]:
        piece = drift.motion(start, steps, dim=2, seed=1)
        for part, total in zip(piece, whole, strict=True):
            assert np.array_equal(part, total[start + 1 : start + 1 + steps])
    assert all(np.array_equal(part, total[12_346:19_346]) for part, total in zip(late, whole, strict=True))


@every_drift
def test_nothing_has_moved_at_step_0(drift):
    assert not any(part.any() for part in drift.motion(0, 1, dim=2, seed=3))


def test_motion_is_the_same_for_every_batch_size():
    stream = Stream(Latents(np.zeros((1, 2))), RandomWalk(scale=1.0))
    single, triple = stream.draw(0, 500, 1, seed=0), stream.draw(0, 500, 300, seed=0)
    assert np.array_equal(np.broadcast_to(single.x, triple.x.shape), triple.x)


def test_drifts_add():
    total = Translation(speed=1.0) + (Jump(at=2, by=5.0) + Rotation(rate=0.1))
    motion = total.motion(0, 4, dim=2, seed=0)
    assert motion.shift[:, 0].tolist() == [0, 1, 7, 8]
    assert motion.angle.tolist() == [0, 0.1, 0.2, 0.1 * 3]
    assert repr(total) == "Translation(speed=1.0) + Jump(at=2, by=5.0) + Rotation(rate=0.1)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stream(Translation(1.0)), "The 'source' parameter of Stream must be a source"),
        (lambda: Stream(Uniform(1), Uniform(1)), "The 'drift' parameter of Stream must be a drift"),
        (lambda: Stream(Uniform(1), Rotation(0.1)), "at least 2 dimensions. Got 1"),
        (lambda: Stream(Uniform(1), Translation(1.0, direction=[1, 0])), "has 2 entries, the latents have 1"),
        (lambda: Stream(Uniform(1), Jump(1, by=[1.0, 0.0])), "The 'by' parameter of Jump has 2 entries, the latents have 1"),
        (lambda: Stream(Uniform(1)).draw(-1, 1, 1, 0), "The 'start' parameter of draw must be an int >= 0. Got -1"),
        (lambda: Stream(Uniform(1)).draw(0, 0, 1, 0), "The 'steps' parameter of draw must be an int >= 1. Got 0"),
        (lambda: Stream(Uniform(1)).at(-1), "The 't' parameter of at must be an int >= 0. Got -1"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
