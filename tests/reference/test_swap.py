"""Steps out of local optima, against proven minima, the exact optimum in one dimension, and a search as it is defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from vqtheory import reference
from vqtheory.assign import nearest
from vqtheory.reference import _swap

RUSPINI = np.fromstring(
    """
    4 53 5 63 10 59 9 77 13 49 13 69 12 88 15 75 18 61 19 65 22 74 27 72 28 76 24 58 27 55 28 60 30 52 31 60 32 61 36 72
    28 147 32 149 35 153 33 154 38 151 41 150 38 145 38 143 32 143 34 141 44 156 44 149 44 143 46 142 47 149 49 152
    50 142 53 144 52 152 55 155 54 124 60 136 63 139 86 132 85 115 85 96 78 94 74 96 97 122 98 116 98 124 99 119 99 128
    101 115 108 111 110 111 108 116 111 126 115 117 117 115 70 4 77 12 83 21 61 15 69 15 78 16 66 18 58 13 64 20 69 21
    66 23 61 25 76 27 72 31 64 30
    """,
    sep=" ",
).reshape(75, 2)
IRIS = load_iris().data  # as Fisher printed it; the file of the UCI repository differs in rows 34 and 37
# Least sums of squares that are proven: du Merle et al. 2000 and Aloise et al. 2012. Some are cut, and not rounded.
MINIMA = {
    "iris": (IRIS, "152.34795 78.851441 57.228473 46.446182 39.039987 34.298229 29.988943 27.786092 25.834055"),
    "ruspini": (RUSPINI, "89337.83 51063.48 12881.05 10126.72 8575.407 7126.198 6149.639 5181.652 4446.282"),
}


@pytest.mark.parametrize("name", MINIMA)
def test_every_published_minimum_is_reached_to_the_last_printed_digit(name):
    latents, minima = MINIMA[name]
    for num_codes, printed in enumerate(minima.split(), start=2):
        digit = 10.0 ** -len(printed.partition(".")[2])
        least = len(latents) * reference.random_swap(latents, num_codes).distortion
        assert abs(least - float(printed)) < digit, num_codes


def scatter(latents, assignment, num_codes):
    cells = [latents[assignment == k] for k in range(num_codes)]
    return sum(np.sum((cell - cell.mean(axis=0)) ** 2) for cell in cells if len(cell))


def naive_exchange(latents, assignment, num_codes):
    """Latents in turn to the cell of least scatter, the whole scatter computed anew for each, until a pass moves none."""
    assignment, moved = assignment.copy(), True
    while moved:
        moved = False
        for n, old in enumerate(assignment):
            totals = [
                scatter(latents, np.where(np.arange(len(latents)) == n, k, assignment), num_codes) for k in range(num_codes)
            ]
            if np.min(totals) < totals[old] * (1 - 1e-12):
                assignment[n], moved = np.argmin(totals), True
    return assignment


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("num_codes", "empty"), [(4, 0), (5, 2)])
def test_exchanges_are_the_search_as_it_is_defined(num_codes, empty, compiled):
    random = np.random.default_rng(num_codes)
    latents = random.normal(size=(30, 2)) + 100
    start = random.integers(num_codes - empty, size=30)
    counts = np.bincount(start, minlength=num_codes)
    codes = np.array([latents[start == k].mean(axis=0) if counts[k] else np.zeros(2) for k in range(num_codes)])
    assignment = start.copy()
    exchange = _swap._exchange if compiled else getattr(_swap._exchange, "py_func", _swap._exchange)
    exchange(latents, assignment, counts, codes)
    np.testing.assert_array_equal(assignment, naive_exchange(latents, start, num_codes))
    np.testing.assert_array_equal(counts, np.bincount(assignment, minlength=num_codes))
    np.testing.assert_allclose(codes, [latents[assignment == k].mean(axis=0) for k in range(num_codes)], rtol=1e-14)


@settings(max_examples=30)
@given(st.lists(st.integers(-100, 100), min_size=1, max_size=20), st.data())
def test_swaps_find_the_optimum_on_the_line(samples, data):
    num_codes = data.draw(st.integers(1, min(6, len(set(samples)))))
    _, distortion = reference.random_swap(np.array(samples, float)[:, None], num_codes, swaps=300)
    assert distortion == pytest.approx(reference.optimal_1d(samples, num_codes).distortion, rel=1e-12, abs=1e-12)


def test_swaps_end_at_a_centroidal_codebook_below_lloyd_s_and_repeat_to_the_bit():
    latents = np.random.default_rng(1).normal(size=(1000, 3)) + 100
    codes, distortion = reference.random_swap(latents, 20, swaps=50, seed=5)
    assignment, squared = nearest(latents, codes)
    means = np.array([latents[assignment == k].mean(axis=0) for k in range(20)])
    np.testing.assert_allclose(codes, means, rtol=1e-14)
    np.testing.assert_array_equal(np.lexsort(codes.T[::-1]), range(20))
    assert distortion == squared.mean() < reference.lloyd(latents, 20).distortion
    np.testing.assert_array_equal(codes, reference.random_swap(latents, 20, swaps=50, seed=5).codes)
    assert reference.random_swap(latents, 20, swaps=0, seed=5).distortion > distortion


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="The 'swaps' parameter of random_swap must be an int >= 0. Got -1."):
        reference.random_swap(IRIS, 3, swaps=-1)
    with pytest.raises(ValueError, match="'num_codes' parameter of random_swap must be at most 1, the number of distinct"):
        reference.random_swap(np.ones((3, 2)), 2)
    with pytest.raises(ValueError, match="'num_codes' parameter of random_swap must be .* differ by more than rounding"):
        reference.random_swap(np.array([[0.0], [1e-200], [1.0]]), 3)
