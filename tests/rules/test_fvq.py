"""FVQ's layout and its published start; equations in the twins, its claims in `vqtheory.claims`."""

import re

import numpy as np
import pytest

from vqtheory import Batches
from vqtheory.rules import FVQ, VQ

SMALL = {"patch": 2, "width": 8, "depth": 1, "heads": 2}


def test_a_square_is_the_published_layout_and_runs_are_it_up_to_the_order_of_the_codes():
    """Code row * sqrt(K) + column, slot (row mod p) * p + column mod p; the same base in another order is the same map."""
    square, runs = FVQ(layout="square", **SMALL), FVQ(**SMALL)
    grid = square.grid(36)
    for code in range(36):
        row, column = divmod(code, 6)
        assert grid[row // 2 * 3 + column // 2, row % 2 * 2 + column % 2] == code
    codes = np.random.default_rng(0).normal(size=(36, 2))
    state, order = square.init(codes, 1), grid.ravel()
    reordered = runs.init(codes, 1)._replace(base=state.base[order])
    made, _ = runs.advance(reordered, Batches(np.empty((0, 1, 2))))
    raw, expected = ((part.codes - part.shift) / part.scale for part in (made, state))
    np.testing.assert_allclose(raw, expected[order], rtol=1e-10)


@pytest.mark.parametrize(("num_codes", "patch", "nearest"), [(8192, 4, 8464), (7, 4, 16), (17, 2, 16), (64, 3, 81)])
def test_a_number_of_codes_that_the_square_does_not_hold_is_named_with_the_nearest(num_codes, patch, nearest):
    sentence = f"square of a multiple of {patch}. Got {num_codes}; the nearest that it can have is {nearest}."
    with pytest.raises(ValueError, match=re.escape(sentence)):
        FVQ(layout="square", patch=patch).init(np.random.default_rng(0).normal(size=(num_codes, 2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FVQ(heads=3), "'heads' parameter of FVQ must be a divisor of the width 256. Got 3"),
        (lambda: FVQ(eps=0), "'eps' parameter of FVQ must be a number > 0. Got 0"),
        (lambda: FVQ(layout="rows"), "'layout' parameter of FVQ must be one of the known names. Got 'rows'"),
        (lambda: FVQ(residual=1), "'residual' parameter of FVQ must be True or False. Got 1"),
        (lambda: FVQ(depth=-1), "'depth' parameter of FVQ must be an int >= 0. Got -1"),
    ],
)
def test_errors_say_what_was_wrong(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_the_published_start_is_one_code_in_the_layer_too():
    torch = pytest.importorskip("torch")
    from vqtheory.nn import VectorQuantize

    layer = VectorQuantize(2, 20, FVQ(start="published", **SMALL))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    _, indices, loss, *_ = layer(torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(0)))
    loss.backward()
    optimizer.step()
    assert not indices.any()
    assert layer.codebook.any(dim=1).nonzero().flatten().tolist() == [0, 4, 8, 12, 16]


def saved(rule, number):
    """Bytes that a pass in training of so many latents leaves for its way back."""
    torch = pytest.importorskip("torch")
    from vqtheory.nn import VectorQuantize

    layer, seen = VectorQuantize(4, 64, rule), {}
    layer(torch.randn(1, number, 4, generator=torch.Generator().manual_seed(0)))
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: seen.setdefault(tensor.data_ptr(), tensor), lambda tensor: tensor
    ):
        layer(torch.randn(1, number, 4, generator=torch.Generator().manual_seed(1)))
    return sum(tensor.numel() * tensor.element_size() for tensor in seen.values())


def test_the_memory_of_the_map_does_not_depend_on_the_batch():
    own = [saved(FVQ(**SMALL), number) - saved(VQ(), number) for number in (256, 2048)]
    assert own[0] == own[1] > 0
