"""Transport: which codes move and how far, what it leaves alone, and that it fits anyone's loop."""

import copy
import functools
import re
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import table
from processes import ONE_THREAD, together

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from vqtheory import rules  # noqa: E402
from vqtheory.cli import app  # noqa: E402
from vqtheory.nn import Monitor, TamingQuantizer, Transport, VectorQuantize  # noqa: E402
from vqtheory.nn.training.config import TrainingConfig  # noqa: E402
from vqtheory.nn.training.loop import resume, train  # noqa: E402
from vqtheory.nn.training.replay import replay  # noqa: E402
from vqtheory.nn.training.run import TrainingRun  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on")  # of a few latents
CARRIED = [rule for rule in table.WITH_ROWS if not rule.needs_displacement]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(rule="vq", codes=16, dim=4, **options):
    """A layer whose codes are partly among the latents and partly far from them."""
    layer = VectorQuantize(dim, codes, rule, **options)
    layer.initialize(randn(codes, layer.codebook_dim, seed=1))
    if not isinstance(layer.rule, rules.CosineVQ):
        layer.set_codebook(torch.cat([layer.codebook[:-4], layer.codebook[-4:] + 5]))
    return layer


class Moves(nn.Module):
    """An encoder that gives latents which the test sets."""

    def __init__(self, *latents):
        super().__init__()
        self.latents, self.calls = list(latents), 0

    def forward(self, probe):
        self.calls += 1
        return self.latents[min(self.calls, len(self.latents)) - 1]


def expected(codes, before, after, neighbours=1):
    """Each code by itself: the mean move of the nearest latents that are finite."""
    keep = (before.isfinite() & after.isfinite()).all(dim=1)
    before, after = before[keep], after[keep]
    nearest = [(before - code).square().sum(dim=1).argsort(stable=True)[:neighbours] for code in codes]
    return codes + torch.stack([(after[rows] - before[rows]).mean(dim=0) for rows in nearest])


class TestWhatItDoes:
    @pytest.mark.parametrize("neighbours", [1, 3])
    @pytest.mark.parametrize("rule", CARRIED, ids=repr)
    def test_every_code_moves_as_the_latents_nearest_to_it(self, rule, neighbours):
        layer, z = layer_of(rule), [randn(2, 20, 4, seed=seed) for seed in (2, 3)]
        z[1][0, 3] = float("nan")
        transport = Transport(layer, Moves(*z), torch.zeros(1), neighbours=neighbours)
        before = layer.codebook.clone()
        transport.step()
        assert torch.equal(layer.codebook, before), "the first call only encodes"
        transport.step()
        rows = [layer._codebook.project(part.reshape(-1, 4)) for part in z]
        wanted = layer._codebook.project(expected(before, *rows, neighbours))
        torch.testing.assert_close(layer.codebook, wanted, rtol=0, atol=2e-6)
        if layer.rule.key == "ema":
            assert torch.equal(layer._codebook.means, layer.codebook)
            assert (layer._codebook.counts == 1).all()

    def test_of_projected_latents_in_another_layout(self):
        layer, z = layer_of(codes=8, dim=6, codebook_dim=3), [randn(2, 6, 4, 5, seed=seed) for seed in (2, 3)]
        before = layer.codebook.clone()
        transport = Transport(TamingQuantizer(layer), Moves(*z), torch.zeros(1))
        transport.step()
        transport.step()
        with torch.no_grad():
            wanted = expected(before, *(layer.project(part) for part in z))
        torch.testing.assert_close(layer.codebook, wanted, rtol=0, atol=2e-6)

    def test_every_so_many_calls_by_all_that_was_since(self):
        layer, encoder = layer_of(), Moves(*(randn(1, 9, 4) + shift for shift in (0.0, 6.0, 0.0)))
        before = layer.codebook.clone()
        transport = Transport(layer, encoder, torch.zeros(1), every=3)
        for call in range(6):
            transport.step()
            moved = (layer.codebook - before).mean().item()
            assert (moved, encoder.calls) == (pytest.approx(0 if call < 3 else 6, abs=1e-5), 1 if call < 3 else 2)
        transport.step()
        torch.testing.assert_close(layer.codebook, before, rtol=0, atol=1e-5)

    def test_no_code_gets_farther_from_a_fixed_probe(self):
        """Whatever the latents do: here each goes its own way, as far as it likes."""
        layer, steps = layer_of(), [randn(1, 30, 4, seed=seed) for seed in range(30)]
        encoder = Moves(*torch.stack(steps).cumsum(dim=0))
        transport, gaps = Transport(layer, encoder, torch.zeros(1)), []
        for _ in steps:
            transport.step()
            apart = layer.codebook[:, None] - transport.latents()
            gaps.append(apart.norm(dim=2).amin(dim=1))
        gaps = torch.stack(gaps)
        assert encoder.calls == len(steps), "the pass of an update is not made twice"
        assert float((gaps[1:] - gaps[:-1]).max()) < 1e-5
        assert float((gaps[0] - gaps[-1]).max()) > 0.1

    def test_codes_that_are_held_or_have_not_started_stay(self):
        z = [randn(1, 9, 4), randn(1, 9, 4) + 1]
        fresh, held = VectorQuantize(4, 8), layer_of().requires_grad_(False)
        for layer in (fresh, held):
            before, transport = layer.codebook.clone(), Transport(layer, Moves(*z), torch.zeros(1))
            for _ in range(2):
                transport.step()
            assert torch.equal(layer.codebook, before)

    def test_latents_that_are_not_finite_move_nothing(self):
        layer, bad = layer_of(), torch.full((1, 9, 4), float("inf"))
        before, transport = layer.codebook.clone(), Transport(layer, Moves(bad, bad, randn(1, 9, 4)), torch.zeros(1))
        for _ in range(3):
            transport.step()
        assert torch.equal(layer.codebook, before)

    def test_is_streamed(self):
        """At K = 16,384 and as many latents of 64 dimensions: 100 MB above the layer's own."""
        script = """
            import resource, torch
            from vqtheory.nn import Transport, VectorQuantize
            size, peak = 2**14, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
            layer, probe = VectorQuantize(64, size), torch.randn(1, size, 64)
            layer.set_codebook(torch.randn(size, 64))
            with torch.no_grad():
                layer(probe)
            own, transport = peak(), Transport(layer, lambda z: z * 1.0, probe)
            transport.step()
            transport.step()
            print(peak() - own)
        """
        program = [sys.executable, "-c", textwrap.dedent(script)]
        printed = subprocess.run(program, env=ONE_THREAD, capture_output=True, text=True, check=True).stdout
        assert float(printed) < 100


class Autoencoder(nn.Module):
    """Noise and batch statistics, which evaluation mode must leave alone, and a record of the modes it was called in."""

    def __init__(self, layer, dim=4):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder = nn.Sequential(nn.Linear(3, dim), nn.BatchNorm1d(dim), nn.Dropout(0.2))
        self.quantizer, self.modes = layer, []

    def encode(self, x):
        self.modes.append((self.training, self.encoder[2].training, torch.is_grad_enabled()))
        flat = self.encoder(x.flatten(0, 1))
        return flat.reshape(*x.shape[:2], -1)

    def forward(self, x):
        return self.quantizer(self.encode(x))


class Trainer:
    """A loop's object that has a model."""

    def __init__(self, model):
        self.model = model

    def encode(self, x):
        return self.model.encode(x)


def fit(model, encode=None, call=None, updates=6, accumulate=1):
    """Training of a model with transport by `encode`, or without."""
    torch.manual_seed(1)
    call, optimizer = model if call is None else call, torch.optim.Adam(model.parameters(), 0.01)
    transport = None if encode is None else Transport(model.quantizer, encode, randn(2, 12, 3))
    for _ in range(updates):
        for _ in range(accumulate):
            output = call(torch.randn(2, 12, 3))
            (output.quantized.square().mean() + output.loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        if transport:
            transport.step()


ENCODES = {
    "method": lambda model: model.encode,
    "function": lambda model: lambda x: model.encode(x),
    "trainer": lambda model: Trainer(model).encode,
    "partial": lambda model: functools.partial(Trainer.encode, Trainer(model)),
}


class TestInALoop:
    @pytest.mark.parametrize("encode", ENCODES.values(), ids=ENCODES)
    def test_nothing_else_of_the_training_is_touched(self, encode):
        """With codes that stay there is no other difference to a training without transport."""
        plain, carried = (Autoencoder(layer_of().requires_grad_(False)) for _ in range(2))
        fit(plain)
        wanted = torch.get_rng_state()
        fit(carried, encode(carried))
        assert torch.equal(torch.get_rng_state(), wanted)
        for one, other in zip(plain.state_dict().values(), carried.state_dict().values(), strict=True):
            assert torch.equal(one, other)
        assert carried.modes == [(True, True, True), (False, False, False)] * 6

    def test_compiled_and_accumulated(self):
        """A compiled model gets the same codes, from batches in two halves."""
        models = [Autoencoder(layer_of()) for _ in range(2)]
        compiled = torch.compile(models[1], backend="eager")
        fit(models[0], models[0].encode, accumulate=2)
        fit(models[1], compiled.encode, call=compiled, accumulate=2)
        assert not torch.equal(models[0].quantizer.codebook, layer_of().codebook)
        torch.testing.assert_close(models[1].quantizer.codebook, models[0].quantizer.codebook)

    def test_autocast_takes_no_digits(self):
        """Moves far below the digits of bfloat16, summed over many updates."""
        encoder, layer = nn.Linear(1, 1), layer_of(dim=1)
        before, transport = layer.codebook.clone(), Transport(layer, encoder, randn(1, 30, 1))
        with torch.autocast("cpu", torch.bfloat16):
            transport.step()
            for _ in range(20):
                encoder.bias.data += 1e-4
                transport.step()
        torch.testing.assert_close(layer.codebook, before + 2e-3, rtol=0, atol=1e-5)

    def test_the_monitor_reuses_its_pass(self):
        model, encoder = nn.ModuleDict({"quantizer": layer_of()}), Moves(*(randn(1, 30, 4) + t for t in range(9)))
        transport = Transport(model["quantizer"], encoder, torch.zeros(1))
        monitor = Monitor(model["quantizer"], every=2, transport=transport)
        for _ in range(7):
            model["quantizer"](randn(1, 30, 4))
            transport.step()
            monitor.step()
        assert encoder.calls == 7
        assert monitor.table["speed"].round(5).to_list() == [None, 2.0, 2.0, 2.0]  # each coordinate by 1
        with pytest.raises(ValueError, match="'transport' parameter of Monitor must be the one of the same quantizer"):
            Monitor(layer_of(), transport=transport)

    def test_goes_on_from_a_checkpoint(self):
        latents = [randn(1, 9, 4, seed=seed) for seed in range(7)]
        layers, found = [layer_of(), layer_of()], []
        for layer, stops in zip(layers, (False, True), strict=True):
            encoder = Moves(*latents)
            transport = Transport(layer, encoder, torch.ones(3), every=2)
            for call in range(12):
                transport.step()
                if stops and call == 4:
                    state = copy.deepcopy(transport.state_dict())
                    transport = Transport(layer, encoder, torch.zeros(3), every=2)
                    transport.load_state_dict(state)
            found.append((layer.codebook, transport.probe, transport.updates))
        for one, other in zip(*found, strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
        for broken, sentence in (
            ({"probe": [torch.ones(4)]}, "must be of a probe of [3]. Got [4]."),
            ({"latents": torch.ones(9, 5)}, "must have latents [N, 4]. Got (9, 5)."),
        ):
            with pytest.raises(ValueError, match=re.escape(sentence)):
                transport.load_state_dict(state | broken)

    def test_two_processes_end_with_the_codes_of_the_first_one_s_probe(self, tmp_path):
        script = f"""
            from torch import nn
            from vqtheory.nn import Transport, VectorQuantize
            torch.manual_seed(0)
            layer, encoder = VectorQuantize(4, 8, "ema"), nn.Linear(3, 4)
            layer.set_codebook(torch.randn(8, 4))
            probes = torch.randn(2, 1, 20, 3)
            transport = Transport(layer, encoder, probes[rank])
            for _ in range(4):
                transport.step()
                encoder.weight.data.mul_(1.5)
            torch.save((layer.codebook, layer._codebook.means), f"{tmp_path}/{{rank}}of{{world}}")
        """
        together(script, tmp_path, (0, 1), (0, 2), (1, 2))
        alone, first, second = (torch.load(tmp_path / name) for name in ("0of1", "0of2", "1of2"))
        for wanted, one, other in zip(alone, first, second, strict=True):
            assert torch.equal(one, wanted)
            assert torch.equal(other, wanted)


class OfTaming(nn.Module):
    """The EMA quantizer of taming-transformers, as far as its codes go."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Module()
        self.embedding.weight = nn.Parameter(randn(8, 4, seed=1), requires_grad=False)
        self.embedding.cluster_size = nn.Parameter(torch.linspace(0, 3, 8), requires_grad=False)
        self.embedding.eps = 1e-5
        self.embedding.embed_avg = nn.Parameter(self.smoothed()[:, None] * self.embedding.weight, requires_grad=False)

    def smoothed(self):
        counts = self.embedding.cluster_size
        return (counts + 1e-5) / (counts.sum() + 8 * 1e-5) * counts.sum()


class TestOthers:
    """Quantizers of other packages, at a translation by 3 in each coordinate."""

    def carried(self, quantizer, *shape):
        z = randn(*shape)
        transport = Transport(quantizer, Moves(z, z + 3), torch.zeros(1))
        transport.step()
        transport.step()

    def test_taming(self):
        quantizer = OfTaming()
        before = quantizer.embedding.weight.clone()
        self.carried(quantizer, 2, 4, 3, 3)
        torch.testing.assert_close(quantizer.embedding.weight.data, before + 3)
        made_anew = quantizer.embedding.embed_avg / quantizer.smoothed()[:, None]
        torch.testing.assert_close(made_anew.data, before + 3)

    def test_diffusers(self):
        vae = pytest.importorskip("diffusers.models.autoencoders.vae")
        quantizer = vae.VectorQuantizer(32, 4, beta=0.3)
        before = quantizer.embedding.weight.detach().clone()
        self.carried(quantizer, 2, 4, 3, 3)
        torch.testing.assert_close(quantizer.embedding.weight.detach(), before + 3)

    @pytest.mark.parametrize("options", [{}, {"learnable_codebook": True, "ema_update": False}], ids=["ema", "learnable"])
    def test_lucidrains(self, options):
        lucidrains = pytest.importorskip("vector_quantize_pytorch")
        quantizer = lucidrains.VectorQuantize(4, 16, rotation_trick=False, **options)
        quantizer(randn(2, 20, 4))
        before = quantizer.codebook.detach().clone()
        self.carried(quantizer, 2, 20, 4)
        torch.testing.assert_close(quantizer.codebook.detach(), before + 3)
        if not options:
            quantizer._codebook.update_ema()
            torch.testing.assert_close(quantizer.codebook, before + 3, rtol=0, atol=1e-5)

    def test_codes_that_are_made_of_something_else_are_refused(self):
        lucidrains = pytest.importorskip("vector_quantize_pytorch")
        with pytest.raises(ValueError, match="keeps its codes, and does not make them of something else. Got 'SimVQ'"):
            Transport(lucidrains.SimVQ(4, 16), Moves(randn(1, 9, 4)), torch.zeros(1))


class TestInTraining:
    tiny = TrainingConfig(size=16, codes=64, dim=4, batch_size=4, steps=12, records=4, lr=0.01, transport=2)

    def test_stopped_and_resumed_is_as_if_not_stopped(self, tmp_path, monkeypatch):
        monkeypatch.setattr("vqtheory.nn.training.loop._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        tiny = replace(self.tiny, steps=6, records=2)
        whole = train(tiny, progress=False)

        def stop(step, row):
            if step == 6:  # the checkpoint is of update 3, between two transports
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(tiny, progress=False, save=tmp_path, on_record=stop)
        again = resume(tmp_path, progress=False)
        assert again.rows == whole.rows
        for one, other in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
            assert torch.equal(one, other)

    def test_it_keeps_codes_in_use(self):
        """At the worst record, since plain VQ loses most codes at first and wins some back."""
        options = {"codes": 128, "batch_size": 16, "steps": 25, "records": 5, "lr": 1e-3, "progress": False}
        runs = (train(self.tiny, transport=every, **options) for every in (None, 1))
        plain, carried = (min(row["usage"] for row in run.rows) for run in runs)
        assert carried > 0.9
        assert plain < 0.6

    def test_by_the_command(self, monkeypatch, capsys, tmp_path):
        small = {"size": 16, "codes": 16, "dim": 4, "batch-size": 4, "steps": 3, "transport": 2, "save": tmp_path}
        words = [word for name, value in small.items() for word in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["vqtheory", "train", *words, "--latents", "0", "3"])
        assert app.main() == 0
        assert "transport=2" in capsys.readouterr().out
        assert TrainingRun.load(tmp_path).transport.updates == 4  # one of them before the first update
        with pytest.raises(
            ValueError, match="to replay must be without transport, whose probe is not recorded. Got transport=2"
        ):
            replay(tmp_path)


def probe(*shape):
    return torch.zeros(*shape)


def stepped(layer, latents, **options):
    transport = Transport(layer, Moves(*latents), probe(1), **options)
    for _ in latents:
        transport.step()


REFUSED = [
    (lambda: Transport(3, Moves(), probe(1)), "'quantizer' parameter of Transport must be a module with a codebook. Got 3."),
    (lambda: Transport(VectorQuantize(4, 8, "simvq"), Moves(), probe(1)), "those of SimVQ are made of other numbers"),
    (lambda: Transport(VectorQuantize(4, 8, rules.NSVQ(form="propagate")), Moves(), probe(1)), "pass displacements on by"),
    (lambda: Transport(nn.Linear(3, 3), Moves(), probe(1)), "must be a module with a codebook [K, D]. Got 'Linear'."),
    (
        lambda: Transport(layer_of(), 7, probe(1)),
        "'encode' parameter of Transport must be a function that gives the latents",
    ),
    (lambda: Transport(layer_of(), Moves(), probe(1) / 0), "'probe' parameter of Transport must be finite"),
    (lambda: Transport(layer_of(), Moves(), probe(1).to("meta")), "must be on cpu, where the codes are. Got meta."),
    (
        lambda: Transport(layer_of(), Moves(), probe(1), every=0),
        "'every' parameter of Transport must be an int >= 1. Got 0.",
    ),
    (lambda: stepped(layer_of(), [randn(1, 2, 4)], neighbours=3), "must be at most 2, the latents of the probe. Got 3."),
    (lambda: stepped(layer_of(), [randn(1, 2, 5)]), "latents of Transport must have the shape [b, n, 4]. Got (1, 2, 5)."),
    (lambda: stepped(layer_of(), [(randn(1, 2, 4),)]), "'encode' parameter of Transport must be a dense tensor"),
    (lambda: stepped(layer_of(), [randn(1, 2, 4), randn(1, 3, 4)]), "must keep its 2 latents. Got 3."),
    (lambda: stepped(OfTaming(), [randn(1, 2, 5)]), "must have an axis of 4. Got (1, 2, 5)."),
    (
        lambda: VectorQuantize(4, 8, rules.Transport(rules.VQ())),
        "the rule inside, whose codes vqtheory.nn.Transport carries",
    ),
    (lambda: Monitor(layer_of()).step(), "'model' parameter of Monitor.step must be the model that the quantizer"),
    (lambda: TrainingConfig(transport=0), "'transport' parameter of train must be an int >= 1. Got 0."),
    (lambda: TrainingConfig("transvq", transport=5), "'rule' parameter of train must be one with codes of its own"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()
