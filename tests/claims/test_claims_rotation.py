"""Claims of the rotation trick, and that what they rest on is what they say."""

import numpy as np
import pytest

from vqtheory.claims import all_claims
from vqtheory.claims.laws import rotation


@pytest.mark.parametrize("key", ["rotation-is-a-pull", "rotation-far-from-the-origin"])
def test_holds(key):
    assert all_claims()[key].verify("quick", seed=1).outcome == "holds"


def test_a_pull_of_another_strength_is_refuted(monkeypatch):
    pull = rotation.rotation_pull
    monkeypatch.setattr(rotation, "rotation_pull", lambda latents, codes: 1.001 * pull(latents, codes))
    assert all_claims()["rotation-is-a-pull"].verify("quick", seed=1).outcome == "refuted"


def test_a_placed_start_gives_the_same_outputs():
    loop = rotation.loop("straight-through")
    start, samples = loop.init(3), np.random.default_rng(0).normal(size=(50, rotation.INPUTS))
    moved = rotation.placed(start, 5.0, 6.0)
    latents, others = loop.encode(start.encoder, samples), loop.encode(moved.encoder, samples)
    np.testing.assert_allclose(others, 5 * latents + 3.0, rtol=1e-12)
    losses = [loop.loss(*case)[0] for case in ((start, samples, latents), (moved, samples, others))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)


def test_slow_codes_are_helped_where_latents_grow_and_lost_off_the_origin():
    """One seed of the claims' runs."""
    ends = {name: rotation.trained(name, rotation.SLOW, 0.1, 0.0, seed=7) for name in ("rotation", "straight-through")}
    assert ends["rotation"].usage > ends["straight-through"].usage + 0.2
    assert ends["rotation"].growth < 5 < ends["straight-through"].growth
