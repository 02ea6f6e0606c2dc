"""The layer in other packages' models: diffusers' VQModel, and what is written for vector-quantize-pytorch."""

import copy
from dataclasses import replace

import pytest
import table

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import l1_loss, mse_loss  # noqa: E402

from vqtheory.nn import TamingQuantizer, VectorQuantize, start_on  # noqa: E402
from vqtheory.rules import HyperVQ  # noqa: E402


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def diffusers():
    """Its import takes three seconds."""
    return pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def lucidrains():
    return pytest.importorskip("vector_quantize_pytorch")


def smooth_images(count, channels, size):
    """Fixed images in [-1, 1], smooth as photographs are."""
    coarse = 2 * torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(0)) - 1
    return nn.functional.interpolate(coarse, size=size, mode="bilinear")


class TestDiffusers:
    @pytest.fixture
    def model(self, diffusers):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return diffusers.VQModel(
                block_out_channels=(16,),
                latent_channels=4,
                num_vq_embeddings=32,
                norm_num_groups=4,
                mid_block_add_attention=False,
                lookup_from_codebook=True,
            )

    @pytest.mark.parametrize("rule", table.PLAIN_LAYER, ids=repr)
    def test_a_model_trains(self, model, rule):
        model.quantize = TamingQuantizer(VectorQuantize(4, 32, rule))
        images, optimizer, errors = smooth_images(4, 3, 16), torch.optim.Adam(model.parameters(), lr=2e-3), []
        model(images)
        start = model.quantize.quantizer.codebook.clone()
        for _ in range(30):
            output = model(images)
            loss = mse_loss(output.sample, images) + output.commit_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            errors.append((loss.item(), mse_loss(output.sample, images).item()))
        assert errors[-1][0] < 0.7 * errors[0][0]
        assert errors[-1][1] < 0.7 * errors[0][1]
        moved = (model.quantize.quantizer.codebook - start).norm(dim=1)
        assert (moved > 0).sum() > 16

    def test_images_come_back_from_indices(self, model):
        model.quantize = TamingQuantizer(VectorQuantize(4, 32))
        images = smooth_images(2, 3, 16)
        model(images)  # starts the codebook
        model.eval()
        latents = model.encode(images).latents
        *_, (_, _, indices) = model.quantize(latents)
        shape = (2, 16, 16, 4)
        assert indices.shape == (2 * 16 * 16,)
        codes = model.quantize.get_codebook_entry(indices, shape)
        torch.testing.assert_close(codes, model.quantize(latents)[0], rtol=1e-5, atol=1e-6)
        wanted = model.decode(latents).sample
        found = model.decode(indices, force_not_quantize=True, shape=shape).sample
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        model.register_to_config(lookup_from_codebook=False)
        torch.testing.assert_close(model.decode(codes, force_not_quantize=True).sample, wanted, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("legacy", [True, False])
    def test_equals_its_own_quantizer(self, diffusers, legacy):
        """Its legacy loss, its default and that of `VQModel`, has beta on the codebook: `beta_on_codebook`."""
        from diffusers.models.autoencoders.vae import VectorQuantizer

        with torch.random.fork_rng():
            theirs = VectorQuantizer(32, 4, beta=0.3, legacy=legacy)
        layer = VectorQuantize(4, 32, commitment_weight=0.3, beta_on_codebook=legacy)
        layer.initialize(randn(32, 4, seed=1))
        theirs.embedding.weight.data.copy_(layer.codebook)
        ours, found = TamingQuantizer(layer), []
        for quantizer, codes in ((theirs, theirs.embedding.weight), (ours, layer._codebook.weight)):
            z = randn(3, 4, 5, 6).requires_grad_()
            quantized, loss, (_, _, indices) = quantizer(z)
            gradients = torch.autograd.grad(loss + (quantized * randn(3, 4, 5, 6, seed=2)).sum(), (z, codes))
            found.append((indices, quantized, loss, *gradients))
        assert torch.equal(found[0][0], found[1][0])
        for wanted, mine in zip(found[0][1:], found[1][1:], strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)
        entries = [quantizer.get_codebook_entry(found[0][0], (3, 5, 6, 4)) for quantizer in (theirs, ours)]
        assert torch.equal(*entries)

    def test_the_other_convention_is_not_the_same(self, diffusers):
        z, losses = randn(3, 4, 5, 6), []
        for swapped in (True, False):
            layer = VectorQuantize(4, 32, commitment_weight=0.3, beta_on_codebook=swapped)
            layer.initialize(randn(32, 4, seed=1))
            loss = TamingQuantizer(layer)(z)[1]
            losses.append(torch.autograd.grad(loss, layer._codebook.weight)[0])
        torch.testing.assert_close(losses[0], 0.3 * losses[1])


KEYWORDS = {"dim": 16, "codebook_size": 64, "codebook_dim": 8, "commitment_weight": 1.0, "accept_image_fmap": True}


class TestLucidrains:
    """An autoencoder as in the examples of vector-quantize-pytorch, its quantizer made with the same keywords."""

    @staticmethod
    def autoencoder(quantizer):
        down = [nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.GELU(), nn.Conv2d(8, 16, 3, padding=1), nn.MaxPool2d(2)]
        up = [nn.Upsample(scale_factor=2), nn.Conv2d(16, 8, 3, padding=1), nn.GELU()]
        up += [nn.Upsample(scale_factor=2), nn.Conv2d(8, 1, 3, padding=1)]
        return nn.ModuleDict({"encoder": nn.Sequential(*down), "vq": quantizer, "decoder": nn.Sequential(*up)})

    def train(self, make):
        images, errors = smooth_images(8, 1, 16), []
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = self.autoencoder(make(**KEYWORDS))
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
            for _ in range(60):
                quantized, _, loss = model["vq"](model["encoder"](images))[:3]
                error = l1_loss(model["decoder"](quantized), images)
                optimizer.zero_grad()
                (error + 10 * loss).sum().backward()
                optimizer.step()
                errors.append(error.item())
        return errors

    @pytest.mark.parametrize("rule", table.PLAIN_LAYER, ids=repr)
    def test_it_trains(self, rule):
        if isinstance(rule, HyperVQ):  # whose temperature is a length, here of latents of some hundredths
            rule = replace(rule, temperature=0.01)
        errors = self.train(lambda **given: VectorQuantize(rule=rule, **given))
        assert errors[-1] < 0.8 * errors[0]

    def test_as_theirs_does(self, lucidrains):
        errors = self.train(lambda **given: lucidrains.VectorQuantize(kmeans_init=True, **given))
        assert errors[-1] < 0.8 * errors[0]

    def test_a_start_is_theirs_too_or_is_refused(self, lucidrains):
        """Their first pass runs no k-means over it; codes that a map makes are not written into a copy."""
        theirs, z = lucidrains.VectorQuantize(dim=4, codebook_size=16, kmeans_init=True), randn(1, 40, 4)
        start_on(theirs, z)
        codes = theirs.codebook.clone()
        assert bool((codes[:, None] == z[0]).all(dim=2).any(dim=1).all())
        theirs.train()(z, freeze_codebook=True)
        assert torch.equal(theirs.codebook, codes)
        with pytest.raises(ValueError, match="of start_on must be one that keeps its codes, .* Got 'SimVQ'"):
            start_on(lucidrains.SimVQ(dim=4, codebook_size=16), z)

    @pytest.fixture
    def pair(self, lucidrains):
        """Theirs and ours with the same projections and codes."""
        with torch.random.fork_rng():
            theirs = lucidrains.VectorQuantize(**KEYWORDS, rotation_trick=False)
        ours = VectorQuantize(rule="ema", **KEYWORDS)
        ours.initialize(randn(64, 8, seed=1))
        for name in ("project_in", "project_out"):
            getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
        with torch.no_grad():
            theirs.codebook = ours.codebook.clone()
        return theirs, ours

    def test_indices_and_codes_equal_theirs(self, pair):
        z, (theirs, ours) = 3 * randn(4, 16, 9, 9), pair
        wanted, found = (copy.deepcopy(each).eval()(z)[:2] for each in (theirs, ours))
        assert torch.equal(found[1], wanted[1])
        assert len(found[1].unique()) > 20
        torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.indices_to_codes(found[1]), wanted[0], rtol=1e-5, atol=1e-6)

    def test_the_loss_in_training_is_theirs(self, pair):
        z, (theirs, ours) = 3 * randn(4, 16, 9, 9), pair
        torch.testing.assert_close(ours(z).loss, theirs(z)[2].sum(), rtol=1e-5, atol=1e-6)
