"""Models whose point is not a codebook rule: each does what its paper is for."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vqtheory.nn import Monitor, Replacement, Transport, VectorQuantize, evaluate, resume, train  # noqa: E402
from vqtheory.nn.branches import BranchQuantize  # noqa: E402
from vqtheory.nn.models import DQVAE, MODELS, VQCT  # noqa: E402
from vqtheory.nn.models.dqvae import entropy  # noqa: E402
from vqtheory.nn.training import TrainingConfig  # noqa: E402
from vqtheory.nn.training.replay import replay  # noqa: E402
from vqtheory.rules import EMA, VQ, GraphVQ  # noqa: E402


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

    def test_of_other_shapes_they_are_decoded_too(self):
        model = dqvae().eval()
        output = model(rand(1, 3, 16, 64))
        torch.testing.assert_close(model.decoded(output.quantized.indices, (2, 8)), output.images)

    def test_in_half_precision(self):
        """Gumbel's numbers are drawn in float32: in bfloat16 one of them may be 1, whose logarithm is 0."""
        model = dqvae()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for seed in range(3):
                output = model(rand(16, 3, 64, 64, seed=seed))
                assert output.images.isfinite().all()
                assert output.quantized.loss.isfinite()

    def test_a_pass_is_not_repeated(self):
        images = rand(1, 3, 32, 32).requires_grad_()
        output = torch.utils.checkpoint.checkpoint(dqvae(), images, use_reentrant=False)
        with pytest.raises(RuntimeError, match="cannot repeat a pass of DQVAE"):
            output.quantized.loss.backward()

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
        assert np.mean(shares) == pytest.approx(0.3, abs=4 * error + 0.02)  # within 2 % of the regions, and their noise

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
            ({"budget": "much"}, "'budget' parameter of DQVAE must be a number"),
        ],
    )
    def test_bad_input(self, options, message):
        with pytest.raises(ValueError, match=message):
            dqvae(**options)

    def test_images_that_cannot_be_coded(self):
        with pytest.raises(ValueError, match="multiples of 8. Got"):
            dqvae()(rand(1, 3, 36, 36))
        with pytest.raises(ValueError, match="no thresholds yet: call `calibrate`"):
            dqvae(gate="entropy")(rand(1, 3, 32, 32))

    def test_trainings_that_cannot_be(self):
        with pytest.raises(ValueError, match="one of the layer's own with model='dq-vae'"):
            TrainingConfig("fsq", codes=1000, model="dq-vae")
        with pytest.raises(ValueError, match="'latents' parameter of train must be None with model='dq-vae'"):
            TrainingConfig(model="dq-vae", latents=(0, 1))
        with pytest.raises(ValueError, match="'budget' parameter of train must be None with model='small'"):
            TrainingConfig(budget=0.5)
        with pytest.raises(ValueError, match="'budget' parameter of train must be a number >= 0 and <= 1. Got 2"):
            TrainingConfig(model="dq-vae", budget=2)
        with pytest.raises(ValueError, match="'budget' parameter of train must be 2 shares for 3 grains"):
            TrainingConfig(model="dq-vae-triple", budget=[0.5])
        with pytest.raises(ValueError, match="'gate' parameter of train must be .*did you mean 'entropy'"):
            TrainingConfig(model="dq-vae", gate="entropie")
        config = TrainingConfig(model="dq-vae-triple", gate="entropy", budget=[0.25, 0.5])
        assert TrainingConfig.parse(repr(config)) == config
        assert config.model_options == {"gate": "entropy", "budget": (0.25, 0.5)}

    def test_indices_of_no_image(self):
        with pytest.raises(ValueError, match=r"must have the shape \[b, 5 h w\]"):
            dqvae().decoded(torch.zeros(1, 7, dtype=torch.int64))


def graph_file(folder, kinds):
    """A file of a graph whose codes have these kinds."""
    features = np.random.default_rng(0).normal(size=(len(kinds), 5))
    np.savez(folder / "graph.npz", features=features, edges=[[i, i + 1] for i in range(len(kinds) - 1)], kind=kinds)
    return GraphVQ(features=folder / "graph.npz", width=8)


def branches(rule=None, **options):
    """A layer whose codes have started, latents, and their halves [N, 2, 4]."""
    layer = BranchQuantize(8, 12, rule or GraphVQ(width=8), **options)
    latents = rand(2, 8, 3, 3)
    layer.initialize(layer.project(latents))
    return layer, latents, latents.movedim(1, -1).reshape(-1, 2, 4)


class TestVQCT:
    @pytest.mark.parametrize("adjectives", [1, 2, 3])
    def test_each_half_has_the_nearest_of_its_own_kind(self, tmp_path, adjectives):
        """By all distances; adjectives and nouns take turns in the graph's file."""
        layer, latents, halves = branches(graph_file(tmp_path, ["noun", "adjective"] * 6), adjectives=adjectives)
        codes = layer.codebook
        several = 2 * torch.cdist(halves[:, 0], codes[1::2]).argsort(dim=1)[:, :adjectives] + 1
        one = 2 * torch.cdist(halves[:, 1], codes[::2]).argmin(dim=1)
        quantized, indices, loss, info = layer(latents)
        assert indices.shape == (2, 3, 3, adjectives + 1)
        assert torch.equal(indices[..., :-1].reshape(-1, adjectives).sort().values, several.sort().values)
        assert torch.equal(indices[..., -1].ravel(), one)
        chosen = torch.stack([codes[several].mean(dim=1), codes[one]], dim=1)
        torch.testing.assert_close(quantized, chosen.reshape(2, 3, 3, 8).movedim(-1, 1))
        errors = (halves - chosen).square()
        torch.testing.assert_close(loss, 1.25 * errors.mean(dim=(0, 2)).sum())
        torch.testing.assert_close(info.distortion, errors.sum(dim=(1, 2)).mean())
        assert torch.equal(info.hits, torch.bincount(torch.cat([several.ravel(), one]), minlength=12))
        shares = info.hits[info.hits > 0].double() / info.hits.sum()
        assert float(info.perplexity) == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-6)

    def test_each_adjective_has_its_share_of_the_gradient(self):
        layer, latents, halves = branches(commitment_weight=0.0)
        latents.requires_grad_(True)
        quantized, indices, loss, _ = layer(latents)
        given = torch.autograd.grad(loss, layer.codebook_parameters())
        flat, codes = indices.reshape(-1, 3), layer._codebook.codes()
        pull = 2 * (layer.chosen(flat) - halves) / halves[:, 0].numel()
        wanted = torch.zeros_like(codes).index_add_(0, flat[:, 2], pull[:, 1])
        for column in range(2):
            wanted.index_add_(0, flat[:, column], pull[:, 0] / 2)
        for got, by_hand in zip(given, torch.autograd.grad(codes, layer.codebook_parameters(), wanted), strict=True):
            torch.testing.assert_close(got, by_hand, rtol=1e-4, atol=1e-6)
        weights = rand(*latents.shape, seed=1)
        assert torch.equal(torch.autograd.grad((quantized * weights).sum(), latents)[0], weights)

    @pytest.mark.parametrize("training", [True, False])
    def test_decoding_the_indices_gives_the_bits_of_the_forward_pass(self, training):
        model = VQCT(branches()[0], channels=(4, 8), residual_layers=1).train(training)
        output = model(rand(3, 3, 16, 16))
        assert torch.equal(model.decoded(output.quantized.indices), output.images)

    def test_latents_that_are_not_finite_count_nowhere(self):
        layer, latents, _ = branches()
        latents[0, 5, 1, 1] = torch.nan
        quantized, indices, loss, info = layer(latents)
        assert (indices == -1).sum() == (indices[0, 1, 1] == -1).sum() == 3
        assert info.hits.sum() == 3 * 17
        assert loss.isfinite()
        assert torch.equal(quantized[0, :, 1, 1].isnan(), latents[0, :, 1, 1].isnan())
        assert not layer.chosen(indices)[0, 1, 1].any()

    @pytest.mark.parametrize(
        ("indices", "message"),
        [
            ([0, 1], "Got torch.int64 of shape"),
            ([0, 1, 5], r"Got \[0, 1, 5\]"),  # a noun counted among nouns alone, as the official code does
            ([0, 1, 12], r"Got \[0, 1, 12\]"),
            ([0, -1, 6], r"Got \[0, -1, 6\]"),
            ([0.0, 1.0, 6.0], "Got torch.float32"),
        ],
    )
    def test_indices_that_no_forward_pass_gives(self, indices, message):
        with pytest.raises(
            ValueError, match="must be 2 adjectives and a noun .* by their numbers among 12 codes.*" + message
        ):
            branches()[0].indices_to_codes(torch.tensor([indices]))

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda _: BranchQuantize(7, 12), "'dim' parameter of BranchQuantize must be even"),
            (lambda _: BranchQuantize(8, 12, EMA()), "must be GraphVQ, whose codes are adjectives and nouns. Got EMA"),
            (lambda _: BranchQuantize(8, 3), "must be enough for 2 adjectives and a noun. Got '1 adjectives and 2 nouns'"),
            (
                lambda _: BranchQuantize(8, 2, GraphVQ(features=np.eye(2), edges=[[0, 1]])),
                "a file with the kind of each code",
            ),
            (lambda folder: BranchQuantize(8, 2, graph_file(folder, ["noun", "verb"])), "Got 'verb' for code 1"),
            (lambda folder: BranchQuantize(8, 3, graph_file(folder, ["noun"] * 3)), "Got '0 adjectives and 3 nouns'"),
            (lambda _: VQCT(VectorQuantize(8, 12)), "'quantizer' parameter of VQCT must be a BranchQuantize"),
            (lambda _: Transport(branches()[0], torch.nn.Identity(), rand(1, 8, 3, 3)), "are made of other numbers"),
            (lambda _: Replacement(branches()[0], torch.optim.SGD([rand(1)], lr=1)), "are made of other numbers"),
            (lambda _: branches()[0].step_inside(torch.optim.SGD([rand(1)], lr=1)), "use a VectorQuantize"),
            (lambda _: TrainingConfig(VQ(), model="vqct"), "must be GraphVQ"),
            (lambda _: TrainingConfig(model="vqct", estimator="rotation"), "'estimator' parameter of train must be"),
        ],
    )
    def test_bad_input(self, make, message, tmp_path):
        with pytest.raises((ValueError, NotImplementedError, TypeError), match=message):
            make(tmp_path)

    def test_training_knows_the_branches(self, tmp_path, monkeypatch):
        monkeypatch.delenv("VQTHEORY_DATA", raising=False)
        options = {"codes": 16, "dim": 8, "size": 16, "batch_size": 4, "records": 2, "probe_every": 1, "progress": False}
        whole = train(model="vqct", steps=4, latents=(2, 4), **options, save=tmp_path / "whole")
        train(model="vqct", steps=2, **options, save=tmp_path / "part")
        resumed = resume(tmp_path / "part", 4, progress=False)
        assert all(map(torch.equal, whole.model.state_dict().values(), resumed.model.state_dict().values()))
        assert whole.config.rule == GraphVQ()
        assert TrainingConfig.parse(repr(whole.config)) == whole.config
        hits = whole.monitor.recording.hits
        assert hits.sum() == 4 * 4 * 16 * 3, "all codes that were chosen in four updates"
        assert 0 < whole.history["used"].max() <= 16
        table = evaluate(whole, images=4, progress=False)
        assert table["latents"] == 2 * 4 * 16
        assert table["distortion"] > 0
        with pytest.raises(ValueError, match="must be of a model that gives each latent its nearest code. Got model='vqct'"):
            replay(tmp_path / "whole", progress=False)

    def test_the_monitor_counts_what_was_chosen(self):
        """Where latents are as many as codes the hits must not be taken for indices."""
        layer = BranchQuantize(8, 18)
        monitor = Monitor(layer, every=1)
        latents = rand(2, 8, 3, 3)
        indices = layer(latents).indices
        assert torch.equal(monitor.pending, torch.bincount(indices.ravel(), minlength=18))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_has_the_sizes_that_it_declares(name):
    model = MODELS[name].build(MODELS[name].kind.layer(8, 16, MODELS[name].kind.rule))
    assert model.downsampling == MODELS[name].multiple
