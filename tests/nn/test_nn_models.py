"""Models whose point is not a codebook rule: each does what its paper is for."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vqtheory.nn import VectorQuantize  # noqa: E402
from vqtheory.nn.models import DQVAE, MODELS  # noqa: E402
from vqtheory.nn.models.dqvae import entropy  # noqa: E402


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def dqvae(**options):
    """A small one, whose codes have started."""
    torch.manual_seed(0)
    model = DQVAE(VectorQuantize(8, 16), channels=(4, 8), residual_layers=0, **options)
    model.quantizer.initialize(rand(64, 8))
    return model


class TestDQVAE:
    @pytest.mark.parametrize(("grains", "tokens"), [(2, 64 + 16), (3, 64 + 16 + 4)])
    def test_each_region_is_coded_by_one_grain(self, grains, tokens):
        model = dqvae(grains=grains)
        output = model(rand(3, 3, 32, 32))
        assert output.latents.shape == (3, tokens, 8)
        assert output.images.shape == (3, 3, 32, 32)
        kept = (output.quantized.indices >= 0).float()[..., None]
        sizes = [4 ** (grains - 1 - grain) for grain in range(grains)]
        regions = [level.flatten() for level in model._levels(kept, (32 // model.downsampling,) * 2)]
        assert (
            sum(float(level.sum()) / size for level, size in zip(regions, sizes, strict=True))
            == 3 * (32 // model.downsampling) ** 2
        )
        assert int(output.quantized.info.hits.sum()) == int(kept.sum()), "each latent counts once"

    @pytest.mark.parametrize("gate", ["learned", "entropy"])
    def test_decoding_the_indices_gives_what_the_forward_pass_gave(self, gate):
        model = dqvae(grains=3, gate=gate).eval()
        images = rand(2, 3, 32, 32)
        model.calibrate(images)
        output = model(images)
        torch.testing.assert_close(model.decoded(output.quantized.indices), output.images)

    def test_an_entropy_gate_meets_its_budget_and_takes_what_is_busy(self):
        images = rand(32, 3, 32, 32) * torch.linspace(0, 1, 32)[:, None, None, None]
        model = dqvae(gate="entropy", budget=0.25).eval()
        model.calibrate(images)
        grain = model.grain_of(images)
        assert float((grain == 0).double().mean()) == pytest.approx(0.25, abs=1 / grain.numel() + 1e-9)
        values = entropy(images, model.downsampling)
        assert float(values[grain == 0].min()) > float(values[grain == 1].max())

    def test_the_entropy_is_that_of_a_histogram(self):
        """Gray values on the bins themselves, whose histogram is sharp."""
        bins = torch.linspace(-1, 1, 32, dtype=torch.float64)
        images = bins[torch.arange(64) % 8].reshape(1, 1, 8, 8)
        assert float(entropy(images, 8, sigma=0.01)) == pytest.approx(math.log(8), rel=1e-6)
        assert float(entropy(torch.full((1, 3, 8, 8), -1.0), 8, sigma=0.01)) == pytest.approx(0, abs=1e-6)

    def test_the_loss_of_the_budget_pulls_the_share_to_it(self):
        model, images = dqvae(budget=0.3), rand(8, 3, 32, 32)
        optimizer = torch.optim.Adam(model.router.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            model._gated(images)[2].backward()
            optimizer.step()
        with torch.no_grad():
            shares = [float(model._gated(images)[1][:, 0].mean()) for _ in range(50)]
        error = math.sqrt(0.3 * 0.7 / (50 * 8 * 16))
        assert np.mean(shares) == pytest.approx(0.3, abs=4 * error + 0.02)

    def test_the_gate_has_the_gradient_of_what_it_let_through(self):
        """By hand: dL/dlogits of the softmax at the chosen grain, times dL/dgate = <dL/dz, z> over its latents."""
        model = dqvae(budget_weight=0.0)
        latents, choice, _ = model._gated(rand(1, 3, 32, 32))
        tokens, mask = model._selected(latents, choice)
        assert torch.equal(tokens.detach(), latents.detach())
        weights = rand(*tokens.shape, seed=1)
        (given,) = torch.autograd.grad((tokens * weights).sum(), choice)
        wanted = [part.sum(dim=1) for part in model._levels((weights * latents * mask[..., None]).detach(), (4, 4))]
        fine = wanted[0].unfold(1, 2, 2).unfold(2, 2, 2).sum(dim=(-1, -2))
        torch.testing.assert_close(given, torch.stack([fine, wanted[1]], dim=1), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"budget": 1.5}, "'budget' parameter of DQVAE must be a number >= 0 and <= 1"),
            ({"budget": (0.5, 0.2)}, "'budget' parameter of DQVAE must be 1 shares for 2 grains"),
            ({"grains": 3, "budget": (0.7, 0.7)}, "'budget' parameter of DQVAE must be shares that add up to 1 at most"),
            ({"grains": 4}, "'grains' parameter of DQVAE must be an int in \\[2, 3\\]"),
            ({"gate": "entropie"}, "entropy"),
        ],
    )
    def test_bad_input(self, options, message):
        with pytest.raises(ValueError, match=message):
            dqvae(**options)

    def test_indices_of_no_image(self):
        with pytest.raises(ValueError, match=r"must have the shape \[b, 5 s\^2\]"):
            dqvae().decoded(torch.zeros(1, 7, dtype=torch.int64))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_has_the_sizes_that_it_declares(name):
    model = MODELS[name].build(VectorQuantize(8, 16))
    assert model.downsampling == MODELS[name].multiple
