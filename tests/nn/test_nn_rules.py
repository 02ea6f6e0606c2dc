"""One definition: under plain SGD the layer moves its codebook as the simulator's rule does, on the same batches."""

import numpy as np
import pytest
import table
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from vqtheory import Batches  # noqa: E402
from vqtheory.nn import VectorQuantize, step_size  # noqa: E402

ETA = 0.25
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("rule", table.UNDER_SGD, ids=repr)
@given(dim=st.integers(2, 6), num_codes=st.integers(2, 12), batch_size=st.integers(1, 20), seed=st.integers(0, 999))
@settings(max_examples=10, derandomize=True)  # some maps of two layers amplify the rounding of float32 beyond any bound
def test_sgd_at_the_matching_rate_is_the_simulator(rule, dtype, dim, num_codes, batch_size, seed):
    rule, random = rule.under("sgd", ETA) or rule, np.random.default_rng(seed)  # EMA has no step size
    codes, moved = random.normal(size=(num_codes, dim)), 0.1 * random.normal(size=(3, batch_size, dim))
    x = random.normal(size=(3, batch_size, dim))
    layer = VectorQuantize(dim, num_codes, rule, commitment_weight=0.0).to(dtype)
    state = rule.init(codes.astype(str(dtype).split(".")[1]), seed)
    layer._codebook.load(state)
    trained = [p for p in layer.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=step_size(eta=ETA, dim=dim)) if trained else None
    for batch, move in zip(x, moved, strict=True):
        latents = torch.tensor(batch[None], dtype=dtype)
        _, indices, loss, info = layer(latents, displacement=torch.tensor(move[None], dtype=dtype))
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        like = latents.numpy()
        state, expected = rule.advance(
            state, Batches(like, move[None].astype(like.dtype) if rule.needs_displacement else None)
        )
        assert indices[0].tolist() == expected["assignment"].tolist()
        assert info.hits.tolist() == expected["hits"].tolist()
        assert float(info.distortion) == pytest.approx(float(expected["distortion"][0]), rel=1e-4)
    # a map rounds at the size of its output, which is shifted to where the codes are
    size = max(np.ptp(state.codes), np.abs(state.codes - getattr(state, "shift", state.codes)).max()) + 1e-9
    np.testing.assert_allclose(layer.codebook.numpy(), state.codes, rtol=0, atol=TOLERANCE[dtype] * size)
