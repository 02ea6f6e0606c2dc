"""How dense codes are at rest, by the experiment of the claims in little: 16 codes, eight short runs."""

import numpy as np
import pytest

from vqtheory.claims.laws.magnification import Sizes, exponent, of_fscl
from vqtheory.rules import FSCL, VQ, NeuralGas


@pytest.mark.parametrize(
    ("rule", "power"),
    [(VQ(16 / 4), 1 / 3), (NeuralGas(16 / 6, 0.5), 1 / 3), (FSCL(16 / 8, decay=0.9), of_fscl(1))],
    ids=["vq", "neural-gas", "fscl"],
)
def test_the_power_is_the_law_s(rule, power):
    """Eight runs scatter by 1 to 2 % together, and the ends of 16 codes cost up to 2 %."""
    runs = [exponent(rule, 16, Sizes(updates=8), np.random.default_rng(seed)) for seed in range(8)]
    assert np.mean(runs) == pytest.approx(power, rel=0.08)
