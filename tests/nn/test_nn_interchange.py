"""Codebooks of other packages' checkpoints, and layers that do what their modules do."""

import warnings

import pytest

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("vector_quantize_pytorch")
diffusers = pytest.importorskip("diffusers")

from diffusers.models.autoencoders.vae import VectorQuantizer  # noqa: E402
from torch import nn  # noqa: E402

from vqtheory import rules  # noqa: E402
from vqtheory.nn import Replacement, VectorQuantize  # noqa: E402
from vqtheory.nn.models import VQVAE  # noqa: E402

CODES = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))


def moved(quantizer, updates=4, image=False, rate=0.0):
    """The codes after updates by the same latents, which drift; with a rate under plain SGD."""
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=rate) if rate else None
    random = torch.Generator().manual_seed(2)
    for step in range(updates):
        latents = torch.randn(3, 40, 4, generator=random) + 0.1 * step
        latents = latents.movedim(2, 1).reshape(3, 4, 5, 8) if image else latents
        loss = next(
            part for part in quantizer(latents.requires_grad_()) if isinstance(part, torch.Tensor) and part.ndim == 0
        )
        if optimizer:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return loss


class TestStates:
    def test_lucidrains(self):
        """Codes, counts and means, from wherever they are in a model, and the projections."""
        quantizer = theirs.VectorQuantize(dim=6, codebook_size=16, codebook_dim=4, decay=0.9, rotation_trick=False)
        model, latents = nn.ModuleDict({"deep": nn.ModuleDict({"quantizer": quantizer})}), torch.randn(2, 30, 6)
        quantizer(latents)
        layer = VectorQuantize.from_state_dict(model.state_dict(), rule=rules.EMA(0.9, smoothing=1e-5))
        for _ in range(3):
            wanted, indices, _ = quantizer(latents)
            output = layer(latents)
            assert torch.equal(output.indices, indices)
            torch.testing.assert_close(output.quantized, wanted, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.codebook, quantizer.codebook, rtol=1e-5, atol=1e-6)

    def test_diffusers_taming_and_ours(self, tmp_path):
        model = diffusers.VQModel(
            block_out_channels=(16,),
            norm_num_groups=4,
            latent_channels=4,
            num_vq_embeddings=16,
            mid_block_add_attention=False,
        )
        model.quantize.embedding.weight.data.copy_(CODES)
        model.save_pretrained(tmp_path)
        saved = pytest.importorskip("safetensors.torch").load_file(tmp_path / "diffusion_pytorch_model.safetensors")
        nested = {"state_dict": {"quantize.embedding.weight": CODES, "loss.embedding.weight": CODES}, "epoch": 3}
        gumbel = {"quantize.embed.weight": CODES, "quantize.proj.weight": torch.zeros(4, 4, 1, 1)}
        ema = {"embedding.weight": CODES, "embedding.cluster_size": torch.ones(16), "embedding.embed_avg": 2 * CODES}
        ours = VectorQuantize.from_state_dict(nested).state_dict(prefix="model.vq.")
        for state in (saved, nested, gumbel, ema, ours):
            layer = VectorQuantize.from_state_dict(state, rule="ema", accept_image_fmap=True)
            assert torch.equal(layer.codebook, CODES)
            assert layer(torch.randn(1, 4, 2, 2)).indices.shape == (1, 2, 2)
        assert torch.equal(VectorQuantize.from_state_dict(ema, rule="ema")._codebook.means, 2 * CODES)
        directions = VectorQuantize.from_state_dict(ema, rule="cosine").codebook
        torch.testing.assert_close(directions, nn.functional.normalize(CODES))

    def test_projections_without_a_bias(self):
        maps = {"project_in.weight": torch.randn(4, 6), "project_out.weight": torch.randn(6, 4)}
        layer, latents = (
            VectorQuantize.from_state_dict({"_codebook.embed": CODES[None], **maps}).eval(),
            torch.randn(1, 9, 6),
        )
        nearest = torch.cdist(latents @ maps["project_in.weight"].T, CODES[None]).argmin(dim=2)
        torch.testing.assert_close(layer(latents).quantized, CODES[nearest] @ maps["project_out.weight"].T)

    def test_what_is_not_one_codebook(self):
        stack = theirs.ResidualVQ(dim=4, codebook_size=16, num_quantizers=2).state_dict()
        with pytest.raises(ValueError, match=r"has 2 codebooks: name one of them by `prefix`, 'layers.0.', 'layers.1.'"):
            VectorQuantize.from_state_dict(stack)
        second = VectorQuantize.from_state_dict(stack, prefix="layers.1")
        assert torch.equal(second.codebook, stack["layers.1._codebook.embed"][0])
        with pytest.raises(ValueError, match=r"has no codebook under the prefix 'layers.2'"):
            VectorQuantize.from_state_dict(stack, prefix="layers.2")
        words = {"words.embedding.weight": CODES, "linear.weight": torch.zeros(3, 2), "linear.bias": torch.zeros(3)}
        sentence = (
            r"has no codebook: a name must end with one of '_codebook.embed'.* seen: 'words.*' \[16, 4\], 'linear.weight'"
        )
        with pytest.raises(ValueError, match=sentence):
            VectorQuantize.from_state_dict(words)
        heads = theirs.VectorQuantize(dim=4, codebook_size=16, heads=2, separate_codebook_per_head=True).state_dict()
        with pytest.raises(ValueError, match=r"must be floating \[K, D\], or \[1, K, D\]. Got torch.float32 \[2, 16, 4\]"):
            VectorQuantize.from_state_dict(heads)
        with pytest.raises(ValueError, match="needs a rule with codes of its own"):
            VectorQuantize.from_state_dict({"embedding.weight": CODES}, rule="transvq")
        few = {"embedding.weight": CODES, "embedding.cluster_size": torch.ones(5), "embedding.embed_avg": CODES}
        with pytest.raises(ValueError, match=r"must be of the codes. Got \[5\] and \[16, 4\], beside codes \[16, 4\]"):
            VectorQuantize.from_state_dict(few, rule="ema")
        normed = theirs.VectorQuantize(dim=6, codebook_size=16, codebook_dim=4, layernorm_after_project_in=True)
        square = {"_codebook.embed": CODES, "project_in.weight": torch.eye(4)}
        for state, got in ((normed.state_dict(), r"project_out.weight \[6, 4\]"), (square, r"project_in.weight \[4, 4\]")):
            with pytest.raises(ValueError, match=f"must be linear maps from another width to the 4 dimensions.*{got}"):
                VectorQuantize.from_state_dict(state)
        with pytest.raises(ValueError, match="must be a dict of tensors by name"):
            VectorQuantize.from_state_dict("model.pt")
        with pytest.raises(
            ValueError, match="The 'prefix' parameter of VectorQuantize.from_state_dict must be a text or None"
        ):
            VectorQuantize.from_state_dict(stack, prefix=1)


class TestModules:
    @pytest.mark.parametrize(
        "options",
        [{}, {"decay": 0.99, "eps": 1e-3, "commitment_weight": 0.25}, {"rotation_trick": False, "accept_image_fmap": True}],
        ids=str,
    )
    def test_lucidrains_averages(self, options):
        quantizer = theirs.VectorQuantize(dim=4, codebook_size=16, **options)
        quantizer.codebook = CODES
        quantizer._codebook.embed_avg.copy_(quantizer._codebook.embed)
        layer, image = VectorQuantize.from_module(quantizer), "accept_image_fmap" in options
        assert torch.equal(layer.codebook, CODES)
        assert moved(layer, image=image).item() == pytest.approx(moved(quantizer, image=image).item(), rel=1e-5)
        torch.testing.assert_close(layer.codebook, quantizer.codebook, rtol=1e-5, atol=1e-6)
        again = VectorQuantize.from_module(quantizer)  # of one that has been trained
        moved(again, image=image)
        moved(quantizer, image=image)
        torch.testing.assert_close(again.codebook, quantizer.codebook, rtol=1e-5, atol=1e-6)

    def test_a_training_around_lucidrains_and_around_ours(self):
        """The same weights of encoder and decoder after updates, up to rounding: the gradient is rotated in both."""

        def trained(of_module):
            torch.manual_seed(0)
            model = VQVAE(VectorQuantize(4, 32), (4, 8), residual_layers=0)
            model.quantizer = of_module(theirs.VectorQuantize(4, 32, accept_image_fmap=True))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for _ in range(8):
                images = torch.rand(4, 3, 16, 16)
                quantized, _, loss, *_ = model.quantizer(model.encode(images))
                optimizer.zero_grad()
                (nn.functional.mse_loss(model.decode(quantized), images) + loss).backward()
                optimizer.step()
            return [model.quantizer.codebook, *model.encoder.parameters(), *model.decoder.parameters()]

        for ours, wanted in zip(trained(VectorQuantize.from_module), trained(lambda quantizer: quantizer), strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-4)

    def test_codes_by_a_gradient(self):
        """Under SGD: a learnable codebook, and both versions of diffusers' loss."""
        learnable = theirs.VectorQuantize(
            dim=4, codebook_size=16, learnable_codebook=True, ema_update=False, commitment_weight=0.5
        )
        pairs = [(learnable, learnable._codebook.embed), *_of_diffusers(legacy=True), *_of_diffusers(legacy=False)]
        for quantizer, codes in pairs:
            codes.data.copy_(CODES.expand_as(codes))
            layer, image = VectorQuantize.from_module(quantizer), quantizer is not learnable
            parts = 1 if image else 2  # of one sum there, which has the gradients of both
            wanted = parts * moved(quantizer, image=image, rate=0.5).item()
            assert moved(layer, image=image, rate=0.5).item() == pytest.approx(wanted, rel=1e-5)
            torch.testing.assert_close(layer.codebook, codes.detach().reshape(16, 4), rtol=1e-5, atol=1e-6)
            assert (layer.codebook - CODES).abs().max() > 0.01

    def test_dead_codes_go_where_theirs_do(self):
        """On latents of the batch, with the count of the threshold, in the same update."""
        quantizer = theirs.VectorQuantize(dim=4, codebook_size=16, threshold_ema_dead_code=2)
        quantizer.codebook = CODES
        quantizer.codebook[8:] += 50
        quantizer._codebook.embed_avg.copy_(quantizer._codebook.embed)
        with pytest.warns(
            UserWarning, match=r"threshold_ema_dead_code=2: vqtheory.nn.Replacement\(layer, optimizer, every=1"
        ):
            layer = VectorQuantize.from_module(quantizer)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        Replacement(layer, optimizer, every=1, least=2, policy="count")
        latents = torch.randn(2, 40, 4)
        quantizer(latents)
        layer(latents)
        optimizer.step()
        dead = quantizer._codebook.cluster_size[0] == 2
        assert torch.equal(layer._codebook.counts == 2, dead)
        assert dead[8:].all()
        torch.testing.assert_close(layer.codebook[~dead], quantizer.codebook[~dead])
        for codes in (layer.codebook[dead], quantizer.codebook[dead]):
            squares = (codes[:, None] - latents.reshape(-1, 4)).square().sum(dim=2)
            assert squares.amin(dim=1).max() < 1e-10

    def test_what_takes_a_line_beside_the_layer(self):
        options = {"kmeans_init": True, "threshold_ema_dead_code": 1, "ema_update": False, "learnable_codebook": True}
        quantizer = theirs.VectorQuantize(dim=4, codebook_size=16, in_place_codebook_optimizer=torch.optim.Adam, **options)
        with pytest.warns(UserWarning, match=r"kmeans_init.*; in_place_codebook_optimizer: layer.step_inside\(Adam\("):
            layer = VectorQuantize.from_module(quantizer)
        assert not layer.started
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            frozen = VectorQuantize.from_module(theirs.VectorQuantize(dim=4, codebook_size=16, freeze_codebook=True).eval())
            turned = theirs.VectorQuantize(dim=4, codebook_size=8, accept_3d_fmap=True, codebook_dim=2)
            assert VectorQuantize.from_module(turned)(torch.randn(1, 4, 2, 2, 2)).indices.shape == (1, 2, 2, 2)
        assert (frozen._codebook.held, frozen.training) == (True, False)

    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({"heads": 2}, "heads"),
            ({"use_cosine_sim": True}, "use_cosine_sim"),
            ({"affine_param": True}, "affine_param"),
            ({"orthogonal_reg_weight": 0.1, "ema_update": False}, "orthogonal_reg_weight"),
            ({"codebook_diversity_loss_weight": 0.1, "stochastic_sample_codes": True}, "diversity.*stochastic_sample_codes"),
            ({"codebook_dim": 2, "layernorm_after_project_in": True}, "layernorm_after_project_in"),
            ({"manual_ema_update": True}, "manual_ema_update"),
        ],
        ids=str,
    )
    def test_what_we_do_not_have_is_named(self, options, name):
        with pytest.raises(ValueError, match=f"from_module has nothing for these options: .*{name}"):
            VectorQuantize.from_module(theirs.VectorQuantize(dim=4, codebook_size=8, **options))

    def test_another_version_is_named(self):
        """Older ones have whether codes are directions in the class of the codebook alone."""
        older = theirs.VectorQuantize(dim=4, codebook_size=8, use_cosine_sim=True)
        del older.use_cosine_sim, older.rotation_trick
        with pytest.raises(ValueError, match="is of another version, without use_cosine_sim, rotation_trick: "):
            VectorQuantize.from_module(older)

    def test_what_is_no_quantizer(self):
        for module in (nn.Linear(2, 2), theirs.FSQ([3, 3])):
            with pytest.raises(
                ValueError, match="'theirs' parameter of VectorQuantize.from_module must be a VectorQuantize of"
            ):
                VectorQuantize.from_module(module)


def _of_diffusers(legacy):
    quantizer = VectorQuantizer(16, 4, beta=0.25, legacy=legacy)
    return [(quantizer, quantizer.embedding.weight)]
