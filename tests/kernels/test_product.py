"""The product only proposes: assignments, distances and codes are the bits of the direct sum, in float32 and float64."""

import subprocess
import sys

import numpy as np
import pytest
import twins
from hypothesis import given
from hypothesis import strategies as st

import vqtheory as vq
from vqtheory import Batches
from vqtheory._kernels import product
from vqtheory.assign import nearest, threads
from vqtheory.rules import EMA, FSCL, GRITVQ, VQ, CosineVQ, NeuralGas, SimVQ, TrainedVQ
from vqtheory.schedules import harmonic

both = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture
def by_product(monkeypatch):
    """Small shapes go by the product too."""
    monkeypatch.setattr(product, "worthwhile", lambda *codes, **least: True)
    monkeypatch.setattr("vqtheory.rules.vq.worthwhile", lambda *codes, **least: True)


def clouds(num_codes, dim, samples, dtype):
    """Latents and codes that are hard on a product."""
    random = np.random.default_rng([num_codes, dim, samples])
    x, codes = random.normal(size=(samples, dim)), random.normal(size=(num_codes, dim))
    yield "plain", x, codes
    yield "far from the origin", 0.3 + 0.004 * x, 0.3 + 0.004 * codes
    yield "farther", 1e3 + 1e-3 * x, 1e3 + 1e-3 * codes
    yield "exact ties", np.round(x), np.round(codes)
    yield "duplicates", x, codes[random.integers(0, max(1, num_codes // 3), num_codes)]
    yield "one code wins all", 1e-3 * x, np.where(np.arange(num_codes)[:, None] == num_codes // 2, 0, 5 + codes)
    yield "collapsed", x, np.full_like(codes, 0.1)
    yield "left far behind", x, np.where(np.arange(num_codes)[:, None] % 3 == 0, codes, codes + 1e5)
    yield "one latent again and again", np.repeat(x[:1], samples, axis=0), codes
    for scale in (1e15, 1e18, 1e-19, 1e-23, 1e-40) if dtype == np.float32 else (1e150, 1e153, 1e-155, 1e-310):
        yield f"scale {scale}", scale * x, scale * codes
    yield "near and far", np.where(np.arange(samples)[:, None] % 7 == 0, 1e18 * x, x), codes


SHAPES = [(1, 1, 70), (3, 2, 1), (5, 1, 130), (63, 9, 64), (64, 8, 65), (65, 7, 129), (130, 33, 63), (257, 3, 40)]  # K, D, N


@both
@pytest.mark.parametrize(("num_codes", "dim", "samples"), SHAPES)
class TestBits:
    def test_of_every_assignment_and_distance(self, num_codes, dim, samples, dtype):
        for name, x, codes in clouds(num_codes, dim, samples, dtype):
            x, codes = x.astype(dtype), codes.astype(dtype)
            assignment, squared = np.empty(samples, np.int64), np.empty(samples, dtype)
            product.find_all(x, codes, assignment, squared)
            with np.errstate(all="ignore"):
                expected = [twins.nearest_in_order(sample, codes) for sample in x]
            np.testing.assert_array_equal(assignment, [k for k, _ in expected], err_msg=name)
            np.testing.assert_array_equal(squared, [distance for _, distance in expected], err_msg=name)

    def test_of_distances_with_prices(self, num_codes, dim, samples, dtype):
        least = np.finfo(dtype).tiny / np.finfo(dtype).eps
        for name, x, codes in clouds(num_codes, dim, samples, dtype):
            x, codes = x.astype(dtype), codes.astype(dtype)
            prices = np.maximum(np.random.default_rng(dim).choice([0, 1e-9, 0.01, 0.5, 1], num_codes), least).astype(dtype)
            assignment, costs = np.empty(samples, np.int64), np.empty(samples, dtype)
            product.find_cheapest(x, codes, prices, assignment, costs)
            with np.errstate(all="ignore"):
                expected = [twins.nearest_in_order(sample, codes, prices) for sample in x]
            np.testing.assert_array_equal(assignment, [k for k, _ in expected], err_msg=name)
            np.testing.assert_array_equal(costs, [cost for _, cost in expected], err_msg=name)

    @pytest.mark.parametrize("rule", [VQ(0.3), VQ(1.0), VQ(harmonic(1.0), clock="wins")], ids=repr)
    def test_of_codes_that_move_with_every_sample(self, num_codes, dim, samples, dtype, rule, by_product):
        for name, x, codes in clouds(num_codes, dim, samples, dtype):
            x, codes = x.astype(dtype), codes.astype(dtype)
            state, info = rule.advance(rule.init(codes), Batches(x[:, None]))
            with np.errstate(all="ignore"):
                expected, winners, distances = twins.one_by_one(codes, x, rule)
            np.testing.assert_array_equal(state.codes, expected, err_msg=name)
            np.testing.assert_array_equal(info["distortion"], distances, err_msg=name)
            np.testing.assert_array_equal(info["hits"], np.bincount(winners, minlength=num_codes), err_msg=name)
            last = [max(np.flatnonzero(np.equal(winners, k)), default=-1) for k in range(num_codes)]
            np.testing.assert_array_equal(info["last_hit"], last, err_msg=name)
            assert info["assignment"] == winners[-1]


BATCHED = [VQ(0.3), VQ(harmonic(1.0), clock="wins"), EMA(0.7), EMA(0.7, smoothing=1e-3), EMA(0.0)]
BATCHED += [FSCL(0.3), CosineVQ(0.3), TrainedVQ(0.1), SimVQ(0.3, start="published")]
BATCHED += [GRITVQ(0.3, start="published"), NeuralGas(0.3, range=0.5), NeuralGas(0.3, range=3.0)]


@both
@pytest.mark.parametrize("rule", BATCHED, ids=repr)
@pytest.mark.parametrize(("num_codes", "dim", "batch_size"), [(70, 9, 100), (257, 33, 64), (3, 2, 70), (3, 1, 70)])
def test_batches_take_the_same_steps(rule, num_codes, dim, batch_size, dtype, monkeypatch):
    for name in ("LARGE", "SHARE"):
        monkeypatch.setattr(f"vqtheory.rules.neural_gas.{name}", 1)
    for name, x, codes in clouds(num_codes, dim, 3 * batch_size, dtype):
        if name.startswith(("scale", "near")) and not isinstance(rule, (VQ, FSCL)):
            continue  # 0 * inf: not numbers, which compare unequal
        if isinstance(rule, CosineVQ) and (dim == 1 or not codes.any(axis=1).all()):
            continue  # there are no directions
        x = Batches(x.astype(dtype).reshape(3, batch_size, dim), weight=np.random.default_rng(0).random((3, batch_size)))
        after = []
        for by_product in (True, False):
            monkeypatch.setattr(product, "worthwhile", lambda *codes, answer=by_product, **least: answer)
            after.append(rule.advance(rule.init(codes.astype(dtype)), x))
        for one, other in zip(after[0][0], after[1][0], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
        for key, one in after[0][1].items():
            np.testing.assert_array_equal(one, after[1][1][key], err_msg=f"{name}, {key}")


@both
def test_the_least_shapes_that_take_it(dtype):
    """Against the naive loop, with nothing replaced; the codebook in several panels at the larger shape."""
    for num_codes, dim, samples in ((64, 128, 150), (1030, 130, 70), (4200, 65, 66)):
        random = np.random.default_rng(dim)
        x, codes = random.normal(size=(samples, dim)).astype(dtype), random.normal(size=(num_codes, dim)).astype(dtype)
        assert product.worthwhile(codes)
        state, _ = VQ(0.3).advance(VQ(0.3).init(codes), Batches(x[:, None]))
        np.testing.assert_array_equal(state.codes, twins.one_by_one(codes, x, VQ(0.3))[0])
        expected = [twins.nearest_in_order(sample, codes) for sample in x]
        np.testing.assert_array_equal(nearest(x, codes)[0], [k for k, _ in expected])
    assert not product.worthwhile(np.zeros((256, 8), dtype))
    assert not product.worthwhile(np.zeros((16, 2), dtype))


@pytest.mark.parametrize("cut", [1, 37, 63, 64, 65, 128, 149])
@pytest.mark.parametrize("rule", [VQ(0.3), VQ(harmonic(1.0), clock="wins")], ids=repr)
def test_a_call_may_be_cut_anywhere(rule, cut):
    random = np.random.default_rng(0)
    x, codes = random.normal(size=(150, 1, 128)).astype(np.float32), random.normal(size=(64, 128)).astype(np.float32)
    whole, _ = rule.advance(rule.init(codes), Batches(x))
    parts = rule.init(codes)
    for part in (x[:cut], x[cut:]):
        parts, _ = rule.advance(parts, Batches(part))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 70), st.integers(1, 3), st.integers(0, 2**32 - 1), st.booleans())
def test_ties_go_to_the_lowest_index(num_codes, dim, samples, most, seed, single):
    """On a lattice, where most distances are equal to others."""
    random, dtype = np.random.default_rng(seed), np.float32 if single else np.float64
    x = random.integers(-most, most + 1, (samples, dim)).astype(dtype)
    codes = random.integers(-most, most + 1, (num_codes, dim)).astype(dtype)
    assignment, squared = np.empty(samples, np.int64), np.empty(samples, dtype)
    product.find_all(x, codes, assignment, squared)
    expected = ((x[:, None] - codes) ** 2).sum(axis=2)
    np.testing.assert_array_equal(assignment, expected.argmin(axis=1))
    np.testing.assert_array_equal(squared, expected.min(axis=1))


class TestThreads:
    @pytest.mark.parametrize(("num_codes", "dim"), [(64, 128), (16, 2)])
    def test_leave_the_bits(self, num_codes, dim):
        random = np.random.default_rng(0)
        x, codes = random.normal(size=(2, 1030, dim)), random.normal(size=(num_codes, dim))
        for rule in (VQ(0.3), EMA(0.9)):
            one, _ = rule.advance(rule.init(codes), Batches(x))
            alone = nearest(x[0], codes)
            for number in (2, 3):
                with threads(number):
                    other, _ = rule.advance(rule.init(codes), Batches(x))
                    both = nearest(x[0], codes)
                np.testing.assert_array_equal(other.codes, one.codes)
                np.testing.assert_array_equal(both, alone)

    def test_cut_the_samples_into_as_many_whole_blocks(self):
        from vqtheory._kernels.threads import spread

        for size, number, block in ((1030, 3, 64), (64, 2, 64), (65, 2, 64), (5, 4, 1), (513, 3, 256), (800, 4, 256)):
            met, parts = np.zeros(size, int), []

            def meet(part, met=met, parts=parts):
                met[part] += 1
                parts.append(part)

            with threads(number):
                spread(meet, size, block)
            assert (met == 1).all()
            assert len(parts) == min(number, -(-size // block))
            assert all(part.start < part.stop for part in parts)
            assert all(part.start % block == 0 for part in parts)

    def test_of_simulate_leave_the_bits(self, tmp_path):
        stream = vq.streams.Stream(vq.streams.Gaussian(dim=64), vq.streams.Translation(speed=1e-3))
        options = {"codes": 200, "steps": 3, "batch_size": 600, "progress": False}
        one = vq.simulate(VQ(0.3), stream, **options)
        two = vq.simulate(VQ(0.3), stream, **options, threads=2, save=tmp_path)
        np.testing.assert_array_equal(one.codes, two.codes)
        np.testing.assert_array_equal(vq.resume(tmp_path, steps=3, progress=False, threads=2).codes, one.codes)

    def test_refuse_what_is_no_number(self):
        with pytest.raises(ValueError, match="The 'number' parameter of threads must be an int >= 1. Got 0."), threads(0):
            pass
        stream = vq.streams.Stream(vq.streams.Gaussian(dim=2))
        with pytest.raises(ValueError, match="The 'threads' parameter of simulate must be an int >= 1. Got 0."):
            vq.simulate(VQ(0.3), stream, codes=2, steps=1, threads=0)


def test_a_fork_has_threads_of_its_own():
    program = """
import multiprocessing as mp, numpy as np
from vqtheory.assign import nearest, threads
x, codes = np.random.default_rng(0).random((1024, 4)), np.eye(4)
def run(seed=0):
    with threads(2):
        return int(nearest(x, codes)[0].sum())
if __name__ == "__main__":
    here = run()
    with mp.get_context("fork").Pool(2) as pool:
        print(pool.map_async(run, range(2)).get(60) == [here, here])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr
