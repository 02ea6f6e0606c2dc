"""Codes in tiles: nothing is lost or moved, and distances are those of `nearest`, to the bit."""

import numpy as np
import pytest
import twins
from hypothesis import given
from hypothesis import strategies as st

from vqtheory._kernels.tiles import TILE, any_below, first_least, lay, lift, measure

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@dtypes
@given(num_codes=st.integers(1, 3 * TILE), dim=st.integers(1, 5))
def test_codes_come_back_in_the_memory_of_the_tiles(dtype, num_codes, dim):
    codes = np.random.default_rng(0).normal(size=(num_codes, dim)).astype(dtype)
    tiles = lay(codes)
    assert tiles.ctypes.data % 64 == 0
    for k in (0, num_codes - 1):
        np.testing.assert_array_equal(tiles[k // TILE, :, k % TILE], codes[k])
    assert not tiles[-1, :, (num_codes - 1) % TILE + 1 :].any()
    back = lift(tiles, num_codes)
    np.testing.assert_array_equal(back, codes)
    assert np.shares_memory(back, tiles)
    assert back.flags.c_contiguous


@dtypes
def test_distances_are_summed_in_the_order_of_the_dimensions(dtype):
    random = np.random.default_rng(1)
    codes, x = random.normal(size=(TILE, 7)).astype(dtype), random.normal(size=(2, 3, 7)).astype(dtype)
    distances = np.empty(TILE, dtype)
    measure(x, 1, 2, lay(codes), 0, distances)
    np.testing.assert_array_equal(distances, twins.nearest(x[1, 2], codes)[1])


@given(st.lists(st.integers(0, 9), min_size=TILE, max_size=TILE))
def test_the_least_goes_to_the_lowest_index(values):
    distances = np.array(values, float)
    assert first_least(distances) == np.argmin(distances)
    assert any_below(distances, distances.min() + 1)
    assert not any_below(distances, distances.min())


def test_the_least_of_nan_is_a_place():
    assert first_least(np.full(TILE, np.nan)) == 0
