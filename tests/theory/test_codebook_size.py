"""Which codebook latents keep as they drifted: a cloud of known answer, its distortion, and what is refused."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from vqtheory.reference import gaussian_norm, lloyd_max, zador
from vqtheory.rules import EMA, NSVQ, VQ
from vqtheory.streams import Gaussian
from vqtheory.theory import live_codes, which_codebook

NUMBER = 8192


@pytest.fixture(scope="module")
def cloud():
    """A Gaussian in two of six dimensions, and what a translation and growth per update make of it in 10 updates."""
    x = np.random.default_rng(0).standard_normal((NUMBER, 6)) * [1, 1, *[0.003] * 4]
    shift = np.eye(6)[0]
    return x, np.stack([x, 1.001 * x + 1e-3 * shift, 1.0011 * x + 1.1e-3 * shift])


def test_a_gaussian_of_known_answer(cloud):
    """The faster of two stretches decides: 1e-4 per update both ways, on the latents after it."""
    _, frames = cloud
    found = which_codebook(frames, 4096, every=10, rules=(VQ(0.05), VQ(0.5)))
    assert found.dim == 2
    for size, step_size in zip(found.sizes, (0.05, 0.5), strict=True):
        law = live_codes(Gaussian(2), velocity=1e-4, growth=1e-4, step_size=step_size).codes
        assert size.codes == pytest.approx(law, rel=0.12)
        kept = live_codes(Gaussian(2), velocity=1e-4, growth=1e-4, step_size=size.needed).codes
        assert kept == pytest.approx(4096, rel=0.25)
    assert found.sizes[0].needed == pytest.approx(found.sizes[1].needed, rel=1e-3)
    assert "resolve 2 dimensions" in str(found)
    assert len(str(found).splitlines()) == 6


def test_the_distortion_is_zador_s_and_near_lloyd_s(cloud):
    found = which_codebook(cloud[1], 256)
    assert found.distortion == pytest.approx(zador(gaussian_norm(2), 256, 2), rel=0.1)  # tails are where latents are few
    assert found.lloyd_over_zador == pytest.approx(1, abs=0.08)
    line = np.random.default_rng(0).standard_normal((NUMBER, 1))
    one = which_codebook(np.stack([line, line]), 32)
    assert one.distortion == pytest.approx(lloyd_max(stats.norm(), 32).distortion, rel=0.05)


def test_no_motion_keeps_any_codebook(cloud):
    x, _ = cloud
    found = which_codebook(np.stack([x, x]))
    assert [size.codes for size in found.sizes] == [math.inf] * 3
    assert {size.distortion for size in found.sizes} == {found.distortion}
    assert str(found).count("it does") == 3


def test_a_recording_has_its_own_steps(cloud):
    _, frames = cloud
    seen = SimpleNamespace(latents=frames[:2], steps=np.array([5, 15]))
    assert which_codebook(seen, 64, rules=(EMA(0.9),)) == which_codebook(frames[:2], 64, every=10, rules=(EMA(0.9),))


def test_a_faster_ema_keeps_more(cloud):
    _, frames = cloud
    slow, fast = which_codebook(frames, 4096, every=10, rules=(EMA(0.99), EMA(0.9))).sizes
    assert fast.codes == pytest.approx(10 * slow.codes, rel=1e-6)  # K goes as (1 - decay)^(D/2) in two dimensions
    assert slow.needed == pytest.approx(fast.needed, abs=1e-6)


def test_the_fastest_stretch_decides_where_it_leaves_too_few_for_a_law(cloud):
    """Also of one coordinate; a cloud that shrinks has no law under EMA."""
    x = cloud[0][:, :2]
    found = which_codebook(np.stack([x, x + 5, x + 5 + 1e-4]), 64)
    assert [math.isnan(size.codes) for size in found.sizes] == [True, True, True]
    assert "-: fewer than two codes" in str(found)
    shrunk = which_codebook(np.stack([x, 0.9 * x]), 64, rules=(EMA(0.99),))
    assert math.isnan(shrunk.sizes[0].codes)
    line = which_codebook(np.stack([x[:, :1], x[:, :1] + 1e-4]), 8)
    assert line.dim == 1


REFUSED = [
    (lambda x: which_codebook(np.zeros((2, 50, 2))), "not all at one place"),
    (lambda x: which_codebook(x), r"array \[T >= 2, N >= 20, D\]"),
    (lambda x: which_codebook(np.stack([x, x])[:, :10]), r"array \[T >= 2, N >= 20, D\]"),
    (lambda x: which_codebook(np.stack([x, x * np.nan])), "'latents' parameter of which_codebook"),
    (lambda x: which_codebook(np.stack([x, x]), 1), "'num_codes' parameter of which_codebook"),
    (lambda x: which_codebook(np.stack([x, x]), every=0), "'every' parameter of which_codebook"),
    (lambda x: which_codebook(np.stack([x, x + 1]), rules=(NSVQ(bandwidth=1.0),)), "VQ, EMA or TrainedVQ"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence, cloud):
    with pytest.raises(ValueError, match=sentence):
        call(cloud[0])


@pytest.mark.parametrize(
    "end", [lambda x, random: 0.6 * x, lambda x, random: random.permutation(x)], ids=["small", "swapped"]
)
def test_heavy_tails_of_which_a_few_latents_carry_all_codes_have_an_answer(end):
    """Too few to say how sure it is, so that there is none in numbers."""
    random = np.random.default_rng(0)
    x = random.standard_normal((1024, 8)) * np.exp(0.7 * random.standard_normal((1024, 1)))
    sizes = which_codebook(np.stack([x, end(x, random)]), 64, every=20).sizes
    assert not sizes[0].codes > 2
