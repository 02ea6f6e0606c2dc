"""Measures against laws whose figures are known."""

import numpy as np
import pytest

from vqtheory import measure

CENTROIDS = np.array([[0.25], [0.75]])  # of the uniform distribution on [0, 1] in two cells


def test_residual_of_centroids_is_sampling_noise_and_unbiased_without_it():
    """Plain: distortion K / N = 2 / 48 / 100; unbiased: 0 within its own error."""
    random = np.random.default_rng(0)
    samples = [random.random((100, 1)) for _ in range(400)]
    plain = [measure.residual(sample, CENTROIDS) for sample in samples]
    unbiased = [measure.residual(sample, CENTROIDS, unbiased=True) for sample in samples]
    error = np.std(unbiased) / 20
    assert abs(np.mean(unbiased)) < 4 * error
    assert abs(np.mean(plain) - 2 / 48 / 100) < 4 * error
    assert np.mean(plain) > 8 * error


def test_residual_off_the_centroids():
    """Codes .35 and .85 have cells of mass .6 and .4 about .3 and .8; a sample of N adds sqrt(1/N) or so of R."""
    x = np.random.default_rng(1).random((200_000, 1))
    assert measure.residual(x, CENTROIDS + 0.1, unbiased=True) == pytest.approx(0.05**2, rel=4 * 0.012)
    assert measure.residual([[0.0], [0.5], [1.0]], [[0.0], [0.9]]) == pytest.approx(2 / 3 * 0.15**2, rel=1e-12)


def test_perplexity_usage_dead_and_distinct():
    assert measure.perplexity([3, 1, 0]) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert measure.perplexity([0, 0]) == 0
    assert measure.usage([1, 0, 0, 5]) == 0.5
    assert measure.dead([[0.0], [1.0]], [[0.1], [0.9], [7.0]]).tolist() == [False, False, True]
    assert measure.distinct([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]) == 2
    assert measure.lag([[1.0, 0.0], [3.0, 0.0]], [[1.0, 5.0], [1.0, 0.0]], [2.0, 0.0]) == pytest.approx(1.0)


def test_bad_input():
    with pytest.raises(ValueError, match=r"index \(1, 0\)"):
        measure.distortion([[0.0], [np.nan]], [[0.0]])
    with pytest.raises(ValueError, match="columns|2"):
        measure.distortion([[0.0]], [[0.0, 1.0]])


class TestDrift:
    def test_of_a_stream_is_that_of_its_law(self):
        """500 samples of a uniform box that moves, turned: speed exactly, width and dimension within sampling error."""
        random = np.random.default_rng(0)
        turn = np.linalg.qr(random.normal(size=(4, 4)))[0]
        box = random.random((500, 4)) * [1.0, 1.0, 1.0, 1e-9]
        latents = (box + 0.01 * np.arange(20)[:, None, None] * [0, 1, 0, 0]) @ turn.T
        found = measure.drift(latents, every=5)
        assert found.speed == pytest.approx(0.002, rel=1e-9)
        assert found.width == pytest.approx(1, abs=0.06)
        assert found.dimension == pytest.approx(3, abs=0.06)

    def test_what_goes_to_and_fro_is_no_drift(self):
        latents = np.random.default_rng(0).normal(size=(50, 2)) + np.cos(np.pi * np.arange(21))[:, None, None]
        assert measure.drift(latents).speed < 1e-12

    @pytest.mark.parametrize(
        ("latents", "sentence"),
        [(np.zeros((3, 4)), r"\[T >= 2, N >= 2, D\]. Got \(3, 4\)"), (np.ones((3, 4, 2)), "not all the same"),
         (np.full((3, 4, 2), np.nan), r"index \(0, 0, 0\)")],
    )  # fmt: skip
    def test_bad_input(self, latents, sentence):
        with pytest.raises(ValueError, match=sentence):
            measure.drift(latents)
