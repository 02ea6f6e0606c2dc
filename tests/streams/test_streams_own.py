"""Streams of their own: recorded latents, and the closed loop."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from vqtheory._base.config import arrays_of, parse
from vqtheory._base.randomness import Purpose, generator
from vqtheory.schedules import harmonic
from vqtheory.streams import ClosedLoop, Gaussian, Mixture, Recorded, Uniform
from vqtheory.streams.closed_loop import LoopState, turned_back

FRAMES = np.random.default_rng(1).normal(size=(4, 6, 2))
CODES = np.random.default_rng(2).normal(size=(5, 2))


# Recorded


def test_a_batch_of_all_samples_is_the_frame():
    batches = Recorded(FRAMES, every=2).draw(1, 3, 6, seed=0, displacement=True)
    assert np.array_equal(batches.x, FRAMES[[0, 1, 1]])
    assert np.array_equal(batches.displacement, [0 * FRAMES[0], FRAMES[1] - FRAMES[0], 0 * FRAMES[0]])


def test_other_batches_are_random_rows_of_the_frame():
    stream = Recorded(FRAMES)
    batches = stream.draw(0, 4, 5000, seed=0, displacement=True)
    for t in range(4):
        rows = (batches.x[t][:, None] == FRAMES[t]).all(axis=2)
        assert (rows.sum(axis=1) == 1).all()
        assert abs(rows.mean(axis=0) - 1 / 6).max() < 5 * np.sqrt(1 / 6 * 5 / 6 / 5000)
        before = FRAMES[max(t - 1, 0)][rows.argmax(axis=1)]
        np.testing.assert_allclose(batches.x[t] - batches.displacement[t], before, atol=1e-15)
    assert (stream.draw(0, 4, 3, seed=0).x != stream.draw(0, 4, 3, seed=1).x).any()


def test_the_law_of_recorded_latents_is_their_frame():
    stream = Recorded(FRAMES, every=3)
    assert stream.steps == 12
    law = stream.at(6)
    assert np.array_equal(law.support, FRAMES[2])
    np.testing.assert_allclose(law.mean, FRAMES[2].mean(axis=0))
    np.testing.assert_allclose(law.velocity, (FRAMES[2] - FRAMES[1]).mean(axis=0), atol=1e-15)
    assert not stream.at(7).velocity.any()
    assert np.array_equal(stream.at(12).support, FRAMES[3])  # what a codebook meets after the last step
    assert not stream.at(12).velocity.any()


def test_recorded_latents_move_from_frame_to_frame_in_equal_steps():
    stream = Recorded(FRAMES, every=4, interpolate=True)
    assert stream.steps == 13
    batches = stream.draw(0, 13, 6, seed=0, displacement=True)
    assert np.array_equal(batches.x[::4], FRAMES)
    np.testing.assert_allclose(batches.x[6], (FRAMES[1] + FRAMES[2]) / 2, atol=1e-15)
    np.testing.assert_allclose(batches.displacement[1:5], np.repeat((FRAMES[1:2] - FRAMES[0]) / 4, 4, axis=0), atol=1e-15)
    law = stream.at(6)
    np.testing.assert_allclose(law.support, batches.x[6])
    np.testing.assert_allclose(law.velocity, (FRAMES[2] - FRAMES[1]).mean(axis=0) / 4, atol=1e-15)
    assert np.array_equal(stream.at(13).support, FRAMES[3])
    with pytest.raises(ValueError, match="Got step 14"):
        stream.at(14)


def test_recorded_latents_from_a_file(tmp_path):
    path = tmp_path / "latents.npy"
    np.save(path, FRAMES.astype(np.float32))
    stream = Recorded(path)
    assert isinstance(stream.frames[0], np.memmap)
    for copy in (parse(repr(stream)), pickle.loads(pickle.dumps(stream))):
        assert np.array_equal(copy.draw(1, 2, 6, seed=0).x, FRAMES[1:3].astype(np.float32))


def test_recorded_latents_in_a_configuration():
    stream = Recorded(FRAMES, every=2)
    assert repr(stream).startswith("Recorded(array('4x6x2-float64-")
    assert parse(repr(stream), arrays_of(stream)).latents is FRAMES


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Recorded(FRAMES).draw(2, 3, 1, 0), "Recorded holds 4 steps, 4 frames of 1 each: .* Got step 4."),
        (lambda: Recorded(FRAMES, every=2).at(9), "Recorded holds 8 steps, 4 frames of 2 each: .* Got step 9."),
        (lambda: Recorded(FRAMES[0]), r"must be an array \[time, samples, dimensions\] .* Got shape \(6, 2\)"),
        (lambda: Recorded(FRAMES[:0]), "that is not empty"),
        (lambda: Recorded(np.where(np.isin(FRAMES, FRAMES[2, 3, 1]), np.inf, FRAMES)), r"Got inf at index \(2, 3, 1\)"),
        (lambda: Recorded(FRAMES, interpolate=1), "The 'interpolate' parameter of Recorded must be True or False. Got 1."),
        (lambda: Recorded(FRAMES, every=0), "The 'every' parameter of Recorded must be an int >= 1. Got 0."),
        (lambda: Recorded(FRAMES).draw(0, 1, 0, 0), "The 'batch_size' parameter of draw must be an int >= 1. Got 0."),
    ],
)
def test_bad_recordings(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_recording_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file '.*none.npy'"):
        _ = Recorded(tmp_path / "none.npy").steps


# The closed loop


def play(loop, steps, seed=0, codes=CODES, batch_size=20):
    state, drawn = loop.init(seed), []
    for _ in range(steps):
        state, batches = loop.respond(state, codes, batch_size)
        drawn.append(batches)
    return state, drawn


def test_the_loop_is_pure():
    loop = ClosedLoop(Uniform(3))
    (one, drawn), (other, again) = play(loop, 4), play(loop, 4)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(np.array_equal(a.x, b.x) for a, b in zip(drawn, again, strict=True))
    assert not np.array_equal(play(loop, 1, seed=1)[1][0].x, drawn[0].x)
    assert parse(repr(loop)) == loop


def test_latents_are_from_before_the_step_and_carry_their_own_move():
    loop = ClosedLoop(Gaussian(2), latent_dim=2, hidden=5)
    first, _ = play(loop, 1)
    second, batches = loop.respond(first, CODES, 20)
    samples = Gaussian(2).sample(generator(0, Purpose.SOURCE, 1), 20)
    latents = loop.encode(first.encoder, samples)
    assert np.array_equal(batches.x[0], latents)
    assert np.array_equal(batches.displacement[0], latents - loop.encode(loop.init(0).encoder, samples))
    assert batches.displacement.any()
    assert second.previous is first.encoder
    assert not play(loop, 1)[1][0].displacement.any()


def test_the_step_is_a_step_down_the_gradient():
    loop = ClosedLoop(Gaussian(3), hidden=4, step_size=harmonic(0.2))
    before, _ = play(loop, 3)
    after, _ = loop.respond(before, CODES, 20)
    samples = Gaussian(3).sample(generator(0, Purpose.SOURCE, 3), 20)
    _, encoder_slope, decoder_slope = loop.loss(before, samples, CODES)
    assert np.array_equal(after.encoder, before.encoder - 0.05 * encoder_slope)
    assert np.array_equal(after.decoder, before.decoder - 0.05 * decoder_slope)


def network(weights, inputs, hidden, outputs, x):
    """The same network, written sample by sample."""
    weights = iter(weights)
    first = [[next(weights) for _ in range(inputs)] for _ in range(hidden)]
    bias_first = [next(weights) for _ in range(hidden)]
    second = [[next(weights) for _ in range(hidden)] for _ in range(outputs)]
    bias_second = [next(weights) for _ in range(outputs)]
    inner = [[np.tanh(np.dot(row, s) + b) for row, b in zip(first, bias_first, strict=True)] for s in x]
    return np.array([[np.dot(row, h) + b for row, b in zip(second, bias_second, strict=True)] for h in inner])


def test_gradients_are_those_of_the_straight_through_loss():
    """Against differences of the loss in which what stands under sg(.) keeps its value."""
    loop, samples = (
        ClosedLoop(Gaussian(3), latent_dim=2, hidden=3, commitment=0.7),
        np.random.default_rng(5).normal(size=(7, 3)),
    )
    state = play(loop, 2)[0]
    latents = network(state.encoder, 3, 3, 2, samples)
    chosen = CODES[((latents[:, None] - CODES) ** 2).sum(axis=2).argmin(axis=1)]

    def surrogate(encoder, decoder):
        z = network(encoder, 3, 3, 2, samples)
        outputs = network(decoder, 2, 3, 3, z + (chosen - latents))
        return np.sum((outputs - samples) ** 2) / 7 + 0.7 * np.sum((z - chosen) ** 2) / 7

    loss, *slopes = loop.loss(state, samples, CODES)
    assert loss == pytest.approx(surrogate(state.encoder, state.decoder), rel=1e-12)
    for part, slope in enumerate(slopes):
        weights, measured = [state.encoder, state.decoder], np.empty_like(slope)
        for i in range(len(slope)):
            shift = 1e-5 * np.eye(len(slope))[i]
            above, below = (
                surrogate(*(w + sign * shift if j == part else w for j, w in enumerate(weights))) for sign in (1, -1)
            )
            measured[i] = (above - below) / 2e-5
        np.testing.assert_allclose(slope, measured, rtol=1e-6, atol=1e-8)


def test_a_rotated_gradient_is_the_surrogate_s_own():
    """Against differences of the loss with the rotation and the ratio of lengths held where they are."""
    loop = ClosedLoop(Gaussian(3), latent_dim=2, hidden=3, commitment=0.7, estimator="rotation")
    samples, state = np.random.default_rng(5).normal(size=(7, 3)), play(loop, 2)[0]
    latents = network(state.encoder, 3, 3, 2, samples)
    chosen = CODES[((latents[:, None] - CODES) ** 2).sum(axis=2).argmin(axis=1)]
    angles = np.subtract(*(np.arctan2(x[:, 1], x[:, 0]) for x in (chosen, latents)))
    turns = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in angles])
    turns *= (np.linalg.norm(chosen, axis=1) / np.linalg.norm(latents, axis=1))[:, None, None]

    def surrogate(encoder):
        z = network(encoder, 3, 3, 2, samples)
        outputs = network(state.decoder, 2, 3, 3, np.einsum("nij,nj->ni", turns, z))
        return np.sum((outputs - samples) ** 2) / 7 + 0.7 * np.sum((z - chosen) ** 2) / 7

    loss, slope, _ = loop.loss(state, samples, CODES)
    assert loss == pytest.approx(surrogate(state.encoder), rel=1e-12)
    steps = 1e-5 * np.eye(len(slope))
    measured = [(surrogate(state.encoder + step) - surrogate(state.encoder - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(slope, measured, rtol=1e-6, atol=1e-8)


def test_a_centred_rotation_does_not_know_where_the_origin_is():
    """Latents, codes and the decoder's inputs moved together."""
    loop, samples = ClosedLoop(Gaussian(3), estimator="rotation-centred"), np.random.default_rng(5).normal(size=(7, 3))
    state, move = play(loop, 2)[0], np.array([30.0, -40.0])
    encoder, decoder, first = state.encoder.copy(), state.decoder.copy(), 2 * loop.hidden
    encoder[-2:] += move
    decoder[first : first + loop.hidden] -= decoder[:first].reshape(-1, 2) @ move
    slope = loop.loss(state, samples, CODES)[1]
    moved = loop.loss(state._replace(encoder=encoder, decoder=decoder), samples, CODES + move)[1]
    np.testing.assert_allclose(moved, slope, rtol=1e-9, atol=1e-11)
    assert not np.allclose(slope, replace(loop, estimator="rotation").loss(state, samples, CODES)[1], rtol=1e-3)


def test_without_a_direction_a_gradient_passes_straight_through():
    latents, gradient = np.array([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]]), np.array([[3.0, 4.0]]).repeat(3, axis=0)
    chosen = np.array([[1.0, 0.0], [0.0, 0.0], [-2.0, -4.0]])
    assert np.array_equal(turned_back(gradient, latents, chosen), gradient)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_at_any_angle_a_gradient_is_turned_by_an_orthogonal_map(dim):
    """For opposite vectors, but for rounding, and for squares that are no numbers there is none."""
    random = np.random.default_rng(dim)
    chosen, aside, gradient = random.normal(size=(3, 500, dim))
    size = random.uniform(0.1, 3, size=(500, 1))
    for latents in (-size * chosen, -np.nextafter(chosen, chosen + aside), 1e160 * chosen, 1e-160 * chosen):
        assert np.array_equal(turned_back(gradient, latents, chosen), gradient)
    aside -= np.sum(aside * chosen, axis=1, keepdims=True) / np.sum(chosen**2, axis=1, keepdims=True) * chosen
    angles = [0, 1e-14, 1e-7, 1e-3, 1] if dim > 1 else [0]
    pairs = [(scale, angle) for scale in (1, 1e-150, 1e150) for angle in angles]
    for scale, angle in pairs + [(-1, angle) for angle in angles[2:]]:
        latents = scale * size * (chosen + angle * aside)
        length, reach = (np.linalg.norm(x, axis=1, keepdims=True) for x in (latents, chosen))
        turned, back = (turned_back(x, latents, chosen) * length / reach for x in (gradient, chosen))
        np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(gradient, axis=1), rtol=1e-14)
        np.testing.assert_allclose(back / reach, latents / length, rtol=0, atol=1e-14)


def test_a_deferred_loop_is_an_autoencoder_until_it_quantizes():
    """Its gradient is that of the loss without codes, which do not matter until then."""
    loop = ClosedLoop(Gaussian(3), latent_dim=2, hidden=3, quantize_from=3)
    others = CODES + 5
    assert np.array_equal(play(loop, 3)[0].encoder, play(loop, 3, codes=others)[0].encoder)
    assert not np.array_equal(play(loop, 4)[0].encoder, play(loop, 4, codes=others)[0].encoder)
    state, samples = loop.init(0), np.random.default_rng(5).normal(size=(7, 3))
    latents = network(state.encoder, 3, 3, 2, samples)
    wanted = np.sum((network(state.decoder, 2, 3, 3, latents) - samples) ** 2) / 7
    loss, slope, _ = loop.loss(state, samples, CODES)
    assert loss == pytest.approx(wanted, rel=1e-12)
    step = 1e-5 * slope / np.linalg.norm(slope)
    above, below = (loop.loss(state._replace(encoder=state.encoder + sign * step), samples, CODES)[0] for sign in (1, -1))
    assert (above - below) / 2e-5 == pytest.approx(np.linalg.norm(slope), rel=1e-6)


def test_the_loop_learns():
    source = Mixture(means=[[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]], scale=0.05)
    loop = ClosedLoop(source, step_size=0.02)
    start, samples = loop.init(0), source.sample(np.random.default_rng(0), 500)
    codes = loop.at(start).sample(8)
    end, _ = play(loop, 300, codes=codes)
    assert loop.loss(end, samples, codes)[0] < 0.2 * loop.loss(start, samples, codes)[0]


def test_the_law_of_the_loop():
    loop = ClosedLoop(Uniform(2))
    state, _ = play(loop, 2)
    law = loop.at(state)
    assert law.sample(11).shape == (11, 2)
    assert not np.array_equal(law.sample(20), loop.respond(state, CODES, 20)[1].x[0])
    np.testing.assert_allclose(law.mean - law.velocity, loop.at(state._replace(encoder=state.previous)).mean, atol=1e-14)
    assert law.velocity.any()
    assert not loop.at(loop.init(0)).velocity.any()
    assert law.density(np.zeros((1, 2))) is None
    assert law.optimum(3) is None


def test_a_state_is_plain_arrays(tmp_path):
    loop = ClosedLoop(Uniform(2))
    state, _ = play(loop, 3)
    np.savez(tmp_path / "loop.npz", **state._asdict())
    with np.load(tmp_path / "loop.npz", allow_pickle=False) as saved:
        again = LoopState(**saved)
    for one, other in zip(loop.respond(state, CODES, 5), loop.respond(again, CODES, 5), strict=True):
        assert all(a is None or np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_latents_have_the_dtype_of_the_codes():
    _, batches = ClosedLoop(Uniform(2)).respond(ClosedLoop(Uniform(2)).init(0), CODES.astype(np.float32), 5)
    assert batches.x.dtype == batches.displacement.dtype == np.float32


def test_a_loop_that_diverges_says_so():
    with pytest.raises(ValueError, match=r"ClosedLoop diverged at step \d+: make its step_size smaller. It was 1000"):
        play(ClosedLoop(Gaussian(4), step_size=1000), 2000)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ClosedLoop(3), "The 'source' parameter of ClosedLoop must be a source"),
        (
            lambda: ClosedLoop(Uniform(1), latent_dim=0),
            "The 'latent_dim' parameter of ClosedLoop must be an int >= 1. Got 0.",
        ),
        (lambda: ClosedLoop(Uniform(1), hidden=0), "The 'hidden' parameter of ClosedLoop must be an int >= 1. Got 0."),
        (
            lambda: ClosedLoop(Uniform(1), step_size=-1),
            "The 'step_size' parameter of ClosedLoop must be a number >= 0. Got -1.",
        ),
        (lambda: ClosedLoop(Uniform(1), commitment=-1), "The 'commitment' parameter of ClosedLoop must be a number >= 0."),
        (lambda: ClosedLoop(Uniform(1)).init(-1), "The 'seed' parameter of ClosedLoop.init must be an int in"),
        (
            lambda: play(ClosedLoop(Uniform(1)), 1, codes=CODES[:, :1]),
            r"The 'codes' parameter of ClosedLoop.respond must be a \[rows, 2\]",
        ),
    ],
)
def test_bad_loops(act, message):
    with pytest.raises(ValueError, match=message):
        act()
