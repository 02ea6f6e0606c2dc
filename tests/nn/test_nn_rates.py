"""A codebook's rate that follows the drift, what a Monitor says of one that cannot, and the lines of a ranking."""

import re
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import vqtheory  # noqa: E402
import vqtheory.nn  # noqa: E402
from vqtheory import rules  # noqa: E402
from vqtheory.nn import FollowingRate, Monitor, TamingQuantizer, Transport, VectorQuantize, parameter_groups, start_on  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on")


class Model(nn.Module):
    """Latents [b, 4, h, w] that move by a bias."""

    def __init__(self, vq):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.vq = nn.Conv2d(3, 4, 1), vq

    def forward(self, images):
        return self.vq(self.encoder(images))


def drift(model, by=0.5):
    with torch.no_grad():
        model.encoder.bias += torch.tensor([by, 0.0, 0.0, 0.0])


IMAGES = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class TestFollowingRate:
    def test_is_twice_the_drift_and_at_most_a_tenth_of_the_cells(self):
        model = Model(VectorQuantize(4, 8))
        groups = parameter_groups(model, model.vq, lr=1e-3)
        assert [len(group["params"]) for group in groups] == [2, 1]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
        assert groups[1]["weight_decay"] == 0
        rate, seen = FollowingRate(Monitor(model.vq, every=1, optimizer=optimizer)), []
        for by in (0.0, 0.0, 1e-3, 0.5):
            drift(model, by)
            model(IMAGES)
            rate.step(model, IMAGES)
            seen.append(optimizer.param_groups[1]["lr"])
        latents, codes = model.encoder(IMAGES).detach().movedim(1, -1).reshape(-1, 4), model.vq.codebook
        cell = float((torch.cdist(latents, codes).min(dim=1).values ** 2).mean() / 4) ** 0.5
        assert seen == pytest.approx([1e-3, 1e-3, 2e-3, cell / 10], rel=1e-3)
        assert optimizer.param_groups[0]["lr"] == 1e-3
        assert vqtheory.diagnose(rate).recording.package == "vqtheory"

    @pytest.mark.parametrize(
        ("optimizer", "sentence"),
        [
            (
                lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
                "of a codebook that Adam moves, with its optimizer. Got 'sgd'",
            ),
            (
                lambda model: torch.optim.Adam(model.parameters()),
                "the codebook in a group of its own, as parameter_groups makes it",
            ),
        ],
    )
    def test_needs_adam_and_a_group(self, optimizer, sentence):
        model = Model(VectorQuantize(4, 8))
        with pytest.raises(ValueError, match=re.escape(sentence)):
            FollowingRate(Monitor(model.vq, optimizer=optimizer(model)))

    def test_codes_that_no_optimizer_moves_have_no_group(self):
        with pytest.raises(ValueError, match="one whose codes an optimizer moves. Got 'VectorQuantize'"):
            parameter_groups(model := Model(VectorQuantize(4, 8, "ema")), model.vq, lr=1e-3)


class TestWarning:
    """Given at the first drift that Adam's steps on the codes cannot follow."""

    def watched(self, rule="vq", lr=1e-3, carried=False):
        model = Model(VectorQuantize(4, 8, rule))
        monitor = Monitor(model.vq, every=1, optimizer=torch.optim.Adam(model.parameters(), lr=lr))
        transport = Transport(model.vq, model.encoder, IMAGES) if carried else None
        model(IMAGES)
        for _ in range(3):
            if transport is not None:
                transport.step()
            monitor.step(model, IMAGES)
            drift(model)
            model(IMAGES)

    def test_once_with_both_numbers_and_the_cure(self):
        with pytest.warns(UserWarning, match="drift by 0.5 per update .* learning rate, 0.001: codes stay behind") as caught:
            self.watched()
        assert len(caught) == 1
        assert "vqtheory.nn.FollowingRate" in str(caught[0].message)

    def test_not_where_codes_can_follow_or_something_else_moves_them(self):
        for options in ({"lr": 1.0}, {"rule": "ema"}, {"rule": "nsvq"}, {"rule": "simvq"}, {"carried": True}):
            self.watched(**options)


class OfTaming(nn.Module):
    """The EMA quantizer of taming-transformers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Module()
        self.embedding.weight = nn.Parameter(torch.randn(16, 4) + 9, requires_grad=False)
        self.embedding.embed_avg = nn.Parameter(self.embedding.weight.clone(), requires_grad=False)
        self.embedding.cluster_size = nn.Parameter(torch.zeros(16), requires_grad=False)
        self.embedding.decay, self.embedding.eps = 0.99, 1e-5

    def forward(self, z):
        rows = z.movedim(1, -1).reshape(-1, 4)
        indices = torch.cdist(rows, self.embedding.weight).argmin(dim=1)
        quantized = self.embedding.weight[indices].reshape(z.movedim(1, -1).shape).movedim(-1, 1)
        return z + (quantized - z).detach(), (quantized - z).square().mean(), (None, None, indices)


def lucidrains():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("vector_quantize_pytorch")
    return package.VectorQuantize(dim=4, codebook_size=16, accept_image_fmap=True)


def diffusers():
    return pytest.importorskip("diffusers.models.autoencoders.vae").VectorQuantizer(16, 4, beta=0.25)


QUANTIZERS = {
    "ours": (lambda: VectorQuantize(4, 16), rules.VQ()),
    "adapter": (lambda: TamingQuantizer(VectorQuantize(4, 16, "ema")), rules.EMA()),
    "lucidrains": (lucidrains, rules.EMA(0.8, smoothing=1e-5)),
    "diffusers": (diffusers, rules.VQ()),
    "taming": (OfTaming, rules.EMA(0.99, smoothing=1e-5)),
}


@pytest.mark.filterwarnings("ignore:The latents drift by")
@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_lines_of_a_ranking_run(name):
    """Each as it stands, in a loop that has `model`, `optimizer` and `images`; what it makes is in the model's place."""
    make, rule = QUANTIZERS[name]
    model = Model(make())
    model.encode = lambda images: type("Output", (), {"latents": model.encoder(images)})
    groups = parameter_groups(model, model.vq, lr=1e-3) if rule == rules.VQ() else model.parameters()
    optimizer = torch.optim.Adam(groups, lr=1e-3)
    monitor = Monitor(model.vq, every=1, optimizer=optimizer)
    for _ in range(6):
        model(IMAGES)
        monitor.step(model, IMAGES)
        drift(model)
    assert (monitor.recording.rule, monitor.recording.place) == (rule, "model.vq")
    ranking = vqtheory.diagnose(monitor).ranked(0.3, progress=False)
    lines = dict(ranking.table.select("change", "call").iter_rows())
    assert {"NSVQ", "dead codes replaced every 25 updates"} <= set(lines)
    scope = {"vqtheory": vqtheory, "model": model, "optimizer": optimizer, "images": IMAGES}
    later = [line for line in lines.values() if line.startswith("model") and " = vq" in line]
    for line in [*(line for line in lines.values() if line not in later), *later]:
        exec(line, scope)
    quantizer = vqtheory.nn.Monitor(model.vq).quantizer
    assert isinstance(quantizer, VectorQuantize)
    assert model(IMAGES)[0].shape == (2, 4, 6, 6)


@pytest.mark.parametrize("name", ["lucidrains", "diffusers", "taming"])
def test_others_can_be_started_and_their_dead_codes_replaced(name):
    model = Model(QUANTIZERS[name][0]())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    monitor, latents = Monitor(model.vq), model.encoder(IMAGES).detach()
    with torch.no_grad():
        monitor._codes()[:] += 50
    replacement = vqtheory.nn.Replacement(model.vq, optimizer, every=1)
    model(IMAGES)[0].sum().backward()
    optimizer.step()
    assert 14 <= replacement.replaced <= 16
    rows = latents.movedim(1, -1).reshape(-1, 4)
    near = torch.cdist(monitor._codes(), rows).min(dim=1).values
    assert int((near < 1e-3).sum()) == replacement.replaced
    for part in (part for part in model.vq.modules() if hasattr(part, "embed_avg")):
        made = part.embed_avg / vqtheory.nn.foreign._smoothed(part)[..., None]
        torch.testing.assert_close(made.reshape(16, 4)[near < 1e-3], monitor._codes()[near < 1e-3], atol=1e-3, rtol=0)
    start_on(model.vq, latents)
    assert float(torch.cdist(monitor._codes(), rows).min(dim=1).values.max()) < 1e-3
    with pytest.raises(ValueError, match="at least one latent that is finite"):
        start_on(model.vq, latents * float("nan"))
