"""Monitor: what it sees, that it changes nothing, and that any quantizer can be watched."""

import collections
import copy
import dataclasses
import errno
import io
import pickle
import sys
import types
import warnings

import numpy as np
import pytest
import table

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import vqtheory as vq  # noqa: E402
from vqtheory import rules  # noqa: E402
from vqtheory.cli import app  # noqa: E402
from vqtheory.diagnosis.recording import Recording  # noqa: E402
from vqtheory.nn import Monitor, Replacement, TamingQuantizer, VectorQuantize, step_size  # noqa: E402
from vqtheory.nn import monitor as monitor_module  # noqa: E402
from vqtheory.nn.training.loop import resume, train  # noqa: E402
from vqtheory.nn.training.run import TrainingRun  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on")  # of a few latents
SMALL = {"codes": 16, "dim": 4, "size": 16, "batch_size": 4, "records": 2, "probe_every": 2, "progress": False}


class Model(nn.Module):
    """An encoder, a quantizer, and noise and batch statistics that evaluation mode must leave alone."""

    def __init__(self, quantizer, dim=4):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(3, dim), nn.BatchNorm1d(dim, affine=False), nn.Dropout(0.2))
        self.quantizer = quantizer

    def forward(self, x):
        flat = self.encoder(x.flatten(0, 1))
        return self.quantizer(flat.reshape(*x.shape[:2], -1))


def fit(model, optimizer, watch, updates=7, **options):
    torch.manual_seed(1)
    seen = Monitor(model.quantizer, every=2, optimizer=optimizer, **options) if watch else None
    for _ in range(updates):
        x = torch.randn(2, 12, 3)
        output = model(x)
        optimizer.zero_grad()
        (output[0].square().mean() + output[2].sum()).backward()
        optimizer.step()
        if seen:
            seen.step(model, x)
    return seen


def same(one, other):
    """To the bit."""
    files = [np.load(io.BytesIO(each.contents())) for each in (one, other)]
    assert files[0].files == files[1].files
    return all(files[0][name].tobytes() == files[1][name].tobytes() for name in files[0].files)


@pytest.mark.filterwarnings("ignore:The latents drift by")
class TestSeeing:
    @pytest.mark.parametrize("rule", table.PLAIN_LAYER, ids=repr)
    def test_changes_nothing(self, rule):
        """The same bits with a monitor and without, running statistics and random numbers included."""
        models = [Model(VectorQuantize(4, 8, rule)) for _ in range(2)]
        for model, watch in zip(models, (False, True), strict=True):
            fit(model, torch.optim.Adam(model.parameters(), 1e-2), watch)
        states = [model.state_dict() for model in models]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert all(part.training for part in models[1].modules())

    def test_counts_every_hit_once(self):
        model = Model(VectorQuantize(4, 8))
        seen = fit(model, torch.optim.SGD(model.parameters(), 0.1), True)
        recording = seen.recording
        assert recording.steps.tolist() == [1, 3, 5, 7]
        assert recording.hits.sum(axis=1).tolist() == [24, 48, 48, 48]
        assert recording.batch_size == 24
        assert recording.used.tolist() == [(hits > 0).sum() for hits in recording.hits]

    def test_the_probe_is_seen_without_noise(self):
        """A model that does not learn does not drift, whatever its dropout and batch statistics."""
        model = Model(VectorQuantize(4, 8))
        with torch.no_grad():
            for _ in range(200):
                model.encoder(torch.randn(64, 3))
        model.encoder[1].momentum = 0.0
        seen = Monitor(model.quantizer, every=1)
        for _ in range(3):
            x = torch.randn(2, 12, 3)
            model(x)
            seen.step(model, x)
        assert seen.recording.motion.moved.tolist() == [0.0, 0.0]

    def test_measures_drift_and_spread(self):
        layer = VectorQuantize(2, 4)
        encoder = nn.Linear(3, 2)
        model, x = nn.Sequential(encoder, layer), torch.randn(5, 20, 3)
        seen = Monitor(layer, every=10)
        for _ in range(31):
            model(x)
            seen.step(model, x)
            with torch.no_grad():
                encoder.bias += torch.tensor([0.03, 0.04])
        latents = encoder(x).detach().reshape(-1, 2).numpy()
        assert seen.table["speed"][1:].to_list() == pytest.approx([0.05] * 3, rel=1e-4)
        assert seen.table["spread"][3] == pytest.approx(np.sqrt(latents.var(axis=0).sum()), rel=1e-4)

    def test_masked_latents_are_not_counted(self):
        layer = VectorQuantize(2, 4)
        seen = Monitor(layer)
        layer(torch.randn(1, 10, 2), mask=torch.arange(10)[None] < 5)
        assert seen.pending.sum() == 5

    def test_projected_latents_are_compared_with_codes(self):
        layer = VectorQuantize(6, 4, codebook_dim=2)
        x = torch.randn(2, 9, 6)
        layer(x)
        seen = Monitor(layer)
        seen.step(layer, x)
        assert np.allclose(seen.recording.latents[0], layer.project_in(x).detach().reshape(-1, 2).numpy())

    def test_rates(self):
        layer = VectorQuantize(4, 8, codebook_weight=2.0)
        optimizer = torch.optim.SGD(
            [{"params": [nn.Parameter(torch.ones(1))]}, {"params": layer.parameters(), "lr": 0.3}], 0.1
        )
        optimizer.param_groups[1]["momentum"] = 0.5
        seen = Monitor(layer, optimizer=optimizer)
        layer(torch.randn(1, 20, 4))
        seen.step(layer, torch.randn(1, 20, 4))
        assert seen.recording.optimizer == "sgd"
        assert seen.recording.rates[0] == pytest.approx(step_size(lr=0.6, dim=4, weight=2.0))
        seen.optimizer = torch.optim.AdamW(layer.parameters(), 0.02, weight_decay=0.1)
        assert (seen.recording.optimizer, seen.recording.weight_decay) == ("adam", 0.1)

    def test_rates_of_other_setups(self):
        def rate(quantizer, optimizer):
            seen = Monitor(quantizer, optimizer=optimizer)
            return seen._kind(), seen._rate(3)

        parameters = (layer := Foreign()).parameters()
        slow = torch.optim.SGD(parameters, 0.3, momentum=0.9, dampening=0.9)
        assert rate(layer, slow) == ("sgd", pytest.approx(0.2))  # eta = 2 lr / D
        layer.legacy, layer.beta = True, 0.25  # whose beta weighs the codebook loss, as in diffusers
        assert rate(layer, slow) == ("sgd", pytest.approx(0.05))
        kind, lr = rate(layer, torch.optim.RMSprop(layer.parameters(), 0.01))
        assert (kind, lr) == ("RMSprop", 0.01)
        with pytest.raises(ValueError, match="of Monitor must be the one that has the quantizer's codes"):
            rate(layer, torch.optim.SGD(nn.Linear(3, 3).parameters(), 0.1))

    def test_a_long_run_is_thinned(self, monkeypatch):
        monkeypatch.setattr(monitor_module, "_RECORDS", 4)
        layer, x = VectorQuantize(2, 4), torch.randn(1, 5, 2)
        seen = Monitor(layer, every=1)
        for _ in range(21):
            layer(x)
            seen.step(layer, x)
        recording = seen.recording
        assert len(recording.steps) <= 8
        assert len(set(np.diff(recording.steps))) == 1
        assert recording.hits.sum() + recording.pending.sum() == 21 * 5

    def test_goes_on_from_a_recording(self):
        layer, x = VectorQuantize(2, 4), torch.randn(1, 30, 2)
        seen = Monitor(layer, every=1)
        for _ in range(3):
            layer(x)
            seen.step(layer, x)
        layer(x)
        other = Monitor(copy.deepcopy(layer), every=1)
        other.restore(Recording.read(seen.recording.contents(), "it"))
        for each in (seen, other):
            each.look(7, each.quantizer, x)
        assert same(seen.recording, other.recording)

    def test_what_was_seen_stays_as_it_was(self):
        layer, x = VectorQuantize(2, 4), torch.randn(1, 30, 2)
        layer(x)
        seen = Monitor(layer)
        seen.step(layer, x)
        codes = seen.recording.codes.copy()
        with torch.no_grad():
            layer.codebook_parameters()[0].add_(1.0)
            x.add_(1.0)
        assert np.array_equal(seen.recording.codes, codes)
        assert np.allclose(seen.recording.latents[0] + 1, x[0].numpy())

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
    def test_a_copy_is_not_watched(self, copied):
        """As for an average of the weights."""
        layer = VectorQuantize(2, 4)
        optimizer = torch.optim.Adam(layer.parameters())
        seen, replacement = Monitor(layer, optimizer=optimizer), Replacement(layer, optimizer, every=1)
        copied(layer)(torch.randn(1, 5, 2))
        optimizer.step()
        assert seen.pending.sum() == replacement.replaced == 0
        layer(torch.randn(1, 5, 2))
        assert seen.pending.sum() == 5

    def test_made_too_late(self):
        """A compiled model does not call hooks that came later, and then nothing is counted."""
        layer, x = VectorQuantize(2, 4), torch.randn(1, 5, 2)
        layer(x)
        seen = Monitor(layer, every=1)
        seen.step(layer, x)
        with pytest.raises(ValueError, match=r"before torch\.compile"):
            seen.step(layer, x)

    def test_what_is_not_finite_is_left_out(self):
        layer, x = VectorQuantize(2, 4), torch.randn(1, 5, 2)
        seen = Monitor(layer, every=1)
        for factor in (1.0, float("nan"), 1.0):
            layer(x)
            seen.look(seen.updates + 1, layer, factor * x)
            seen.updates += 1
        assert seen.recording.steps.tolist() == [1, 3]
        assert seen.recording.hits.sum(axis=1).tolist() == [5, 10]

    def test_draws_no_random_number(self):
        class Noisy(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = VectorQuantize(2, 4)

            def forward(self, x):
                return self.layer(x + 1e-3 * torch.randn_like(x))

        model, x = Noisy(), torch.randn(1, 5, 2)
        seen = Monitor(model.layer)
        model(x)
        before = torch.get_rng_state()
        seen.step(model, x)
        assert torch.equal(torch.get_rng_state(), before)

    def test_closed(self):
        layer = VectorQuantize(2, 4)
        seen = Monitor(layer)
        seen.close()
        layer(torch.randn(1, 5, 2))
        assert seen.pending.sum() == 0


class Foreign(nn.Module):
    """A quantizer in the manner of others."""

    def __init__(self, indices=True):
        super().__init__()
        self.embedding = nn.Embedding(6, 3)
        self.indices = indices

    def forward(self, z):
        found = torch.cdist(z.movedim(1, -1).reshape(-1, 3), self.embedding.weight).argmin(dim=1)
        return z, z.sum(), (None, None, found if self.indices else found.float())


@dataclasses.dataclass
class Held:
    x: torch.Tensor
    note: str = "of a loader"


class Bag(dict):
    """As transformers' own, a dict with attributes."""

    def __init__(self, **values):
        super().__init__(values)
        self.__dict__ = self


KINDS = {
    "dict": (lambda x: {"x": x, "name": "a"}, lambda batch: batch.pop("x")),
    "list": (lambda x: [x, 3], lambda batch: batch.pop(0)),
    "nested": (lambda x: {"a": [(x, None)]}, lambda batch: batch.pop("a")[0][0]),
    "dataclass": (Held, lambda batch: vars(batch).pop("x")),
    "namespace": (lambda x: types.SimpleNamespace(x=x), lambda batch: vars(batch).pop("x")),
    "user dict": (lambda x: collections.UserDict(x=x), lambda batch: batch.pop("x")),
    "deque": (lambda x: collections.deque([x]), lambda batch: batch.popleft()),
    "bag": (lambda x: Bag(x=x), lambda batch: batch.pop("x")),
    "tensor": (lambda x: x, lambda batch: batch),
}


class Popping(nn.Module):
    """A model that takes its images out of the batch, and writes over its latents."""

    def __init__(self, quantizer, take):
        super().__init__()
        self.encoder, self.quantizer, self.take = nn.Linear(4, 4), quantizer, take

    def forward(self, batch):
        latents = self.encoder(self.take(batch)) * 1.0
        found = self.quantizer(latents)
        latents.detach().fill_(9.0)
        return found


class TestBatches:
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_kept_is_a_copy(self, kind):
        """The encoder does not move, and so nothing drifts, whatever the loop does with its batch afterwards."""
        make, take = KINDS[kind]
        model = Popping(VectorQuantize(4, 8), take)
        seen, buffer = Monitor(model.quantizer, every=1), torch.empty(2, 20, 4)
        for update in range(3):
            buffer.copy_(update + torch.randn(2, 20, 4))
            made = make(buffer * torch.ones((), requires_grad=True) if kind == "list" and update == 0 else buffer)
            model(make(buffer))
            seen.step(model, batch=made)
        assert seen.table["speed"].to_list() == [None, 0.0, 0.0]
        assert seen.recording.latents.std() < 9.0
        assert (seen.recording.latents != 9.0).all()
        assert seen.recording.hits.sum(axis=1).tolist() == [40] * 3

    def test_what_cannot_be_copied_is_refused(self):
        layer = VectorQuantize(2, 4)
        with pytest.raises(ValueError, match="of Monitor must be values that can be copied, such as tensors: cannot pickle"):
            Monitor(layer).step(layer, (part for part in ()))

    def test_frozen_and_masked(self):
        """A frozen layer has no rate, one in evaluation the hits of the probe, and a batch that is all masked counts."""
        layer, x = VectorQuantize(4, 8), torch.randn(2, 20, 4)
        layer(x)
        optimizer = torch.optim.Adam(layer.parameters())
        seen = Monitor(layer, every=1, optimizer=optimizer)
        layer.requires_grad_(False)
        for mask in (None, torch.zeros(2, 20, dtype=torch.bool)):
            layer(x, mask=mask) if mask is None else seen._passed(layer, (x,), {}, torch.full((2, 20), -1))
            seen.step(layer, x)
        layer.eval()
        for _ in range(2):
            layer(x)
            seen.step(layer, x)
        recording = seen.recording
        assert (recording.optimizer, np.isnan(recording.rates).all()) == (None, True)
        assert recording.hits.sum(axis=1).tolist() == [40, 0, 40, 40]

    def test_a_pass_that_is_computed_again_counts_once(self):
        layer = VectorQuantize(4, 8)
        optimizer = torch.optim.SGD(layer.parameters(), 0.1)
        seen, replacement = Monitor(layer), Replacement(layer, optimizer)
        x = torch.randn(2, 20, 4, requires_grad=True)
        checkpoint(layer, x, use_reentrant=False).loss.backward()
        assert seen.pending.sum() == replacement._fresh.sum() == 40

    def test_a_first_batch_that_is_not_finite_is_no_probe(self):
        layer, x = VectorQuantize(2, 4), torch.randn(1, 5, 2)
        seen = Monitor(layer, every=1)
        for factor in (float("nan"), 1.0, 1.0):
            layer(x)
            seen.step(layer, factor * x)
        assert seen.recording.steps.tolist() == [2, 3]


class Accelerated(torch.optim.Optimizer):
    """As accelerate has it: a subclass that was never initialized."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups


WRAPPERS = {
    "adapter": TamingQuantizer,
    "parallel": nn.DataParallel,
    "average": lambda layer: torch.optim.swa_utils.AveragedModel(layer, device="cpu"),
    "compiled": lambda layer: torch.compile(layer, backend="eager"),
    "both": lambda layer: torch.compile(nn.DataParallel(TamingQuantizer(layer)), backend="eager"),
}


@pytest.mark.filterwarnings("ignore:Replacement has at least")  # the threshold that replaces every code
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_what_is_inside_a_wrapper_is_watched(wrap):
    """By Monitor and by Replacement, and so for the optimizer."""
    layer = VectorQuantize(4, 8)
    layer(torch.randn(2, 20, 4))
    wrapped = wrap(layer)
    parameters = list(wrapped.parameters())
    optimizer = Accelerated(torch.optim.Adam(parameters, 0.5))
    seen, replacement = Monitor(wrapped, every=1, optimizer=optimizer), Replacement(wrapped, optimizer, every=1, least=99)
    x = torch.randn(2, 4, 5, 5)
    for _ in range(2):
        wrapped(x)
        optimizer.optimizer.step()
        seen.step(wrapped, x)
    assert seen.recording.hits.sum(axis=1).tolist() == [50, 50]
    assert (seen.recording.optimizer, seen.recording.rates.tolist()) == ("adam", [0.5, 0.5])
    assert (replacement.updates, replacement.replaced) == (2, 16)


class TestOthers:
    def test_codebook_and_indices_are_found(self):
        layer, z = Foreign(), torch.randn(2, 3, 4, 4)
        seen = Monitor(layer, rule=rules.VQ(0.05))
        layer(z)
        seen.step(layer, z)
        assert seen.recording.hits.sum() == 32
        assert np.allclose(seen.recording.codes, layer.embedding.weight.detach())
        assert np.allclose(seen.recording.latents[0], z.movedim(1, -1).reshape(-1, 3))

    def test_one_hot_encodings_are_no_indices(self):
        class Tutorial(Foreign):
            def forward(self, z):
                z, loss, (*_, found) = super().forward(z)
                return loss, z, nn.functional.one_hot(found, 6)

        layer, z = Tutorial(), torch.randn(2, 3, 4, 4)
        seen = Monitor(layer)
        assert torch.equal(layer(z)[2].sum(dim=0), seen.pending)

    def test_our_adapter(self):
        layer = TamingQuantizer(VectorQuantize(3, 6))
        seen = Monitor(layer)
        layer(torch.randn(2, 3, 4, 4))
        assert seen.pending.sum() == 32

    def test_lucidrains(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = pytest.importorskip("vector_quantize_pytorch")
        layer, x = package.VectorQuantize(dim=8, codebook_dim=4, codebook_size=16, decay=0.8), torch.randn(2, 32, 8)
        optimizer = torch.optim.AdamW(layer.parameters(), weight_decay=0.1)  # of its projections, not of the codes
        seen = Monitor(layer, every=1, rule=rules.EMA(decay=0.8), optimizer=optimizer)
        for _ in range(3):
            layer(x)
            seen.step(layer, x)
        recording = seen.recording
        assert (recording.optimizer, recording.weight_decay) == (None, 0.0)
        assert recording.hits.sum(axis=1).tolist() == [64] * 3
        assert recording.latents.shape == (3, 64, 4)
        moving = np.random.default_rng(0).random((3, 64, 4)) + np.arange(3)[:, None, None]
        diagnosis = vq.diagnose(dataclasses.replace(recording, latents=moving))
        assert "A law of many codes for a uniform ball" in diagnosis.forecast.validity

    @pytest.mark.parametrize("part", [nn.Linear(3, 3), nn.Identity()])
    def test_no_codebook(self, part):
        with pytest.raises(ValueError, match=r"'quantizer' parameter of Monitor must be a module with a codebook"):
            Monitor(part)

    def test_without_indices_the_nearest_codes_are_counted(self):
        layer, z = Foreign(indices=False), torch.randn(2, 3, 4, 4)
        seen = Monitor(layer)
        indices = layer(z)[2][2].long()
        assert torch.equal(seen.pending, torch.bincount(indices, minlength=6))

    def test_not_part_of_the_model(self):
        seen = Monitor(Foreign())
        with pytest.raises(ValueError, match="must be part of the model"):
            seen.step(nn.Identity(), torch.randn(2, 3))

    def test_nothing_seen(self):
        with pytest.raises(ValueError, match="has seen nothing yet"):
            Monitor(Foreign()).recording  # noqa: B018


class TestTraining:
    def test_keeps_what_was_seen(self, tmp_path):
        run = train(**SMALL, steps=7, save=tmp_path / "run")
        recording = Recording.load(tmp_path / "run" / "monitor.npz")
        assert recording.steps.tolist() == [0, 2, 4, 6, 7]
        assert recording.hits.sum() == 7 * 4 * 16
        assert np.array_equal(recording.codes, run.quantizer.codebook.numpy())
        assert (recording.optimizer, recording.rates[0]) == ("adam", 5e-4)
        assert str(vq.diagnose(tmp_path / "run")) == str(vq.diagnose(run))
        of_somebody = types.SimpleNamespace(monitor=run.monitor, config={})
        packages = [vq.diagnose(source).recording.package for source in (tmp_path / "run", run, of_somebody)]
        assert packages == ["vqtheory train", "vqtheory train", "vqtheory"], "the command is named to its own runs alone"

    def test_a_killed_run_has_seen_the_same(self, tmp_path, monkeypatch):
        """Killed after it has been thinned, at a checkpoint that is no multiple of the looks."""

        def kill(step, row):
            if step == 15:
                raise KeyboardInterrupt

        monkeypatch.setattr(monitor_module, "_RECORDS", 3)
        monkeypatch.setattr("vqtheory.nn.training.loop._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        options = SMALL | {"records": 6, "steps": 30}
        whole = train(**options)
        with pytest.raises(KeyboardInterrupt):
            train(**options, save=tmp_path, on_record=kill)
        assert TrainingRun.load(tmp_path).step == 10
        resumed = resume(tmp_path, progress=False)
        assert same(resumed.monitor.recording, whole.monitor.recording)

    def test_what_is_missing_or_damaged_is_named(self, tmp_path, monkeypatch, capsys):
        """By the folder: monitor.npz, the manifest, a checkpoint; and by who reads simulations alone."""
        folder = tmp_path / "run"
        train(**SMALL, steps=2, save=folder)
        whole = (folder / "monitor.npz").read_bytes()
        for change, sentence in ((b"", r"monitor\.npz is damaged or altered"), (None, r"monitor\.npz is missing")):
            (folder / "monitor.npz").unlink()
            if change is not None:
                (folder / "monitor.npz").write_bytes(change)
            for read in (vq.diagnose, resume):
                with pytest.raises(ValueError, match=sentence):
                    read(folder)
            (folder / "monitor.npz").write_bytes(whole)
        for read in (vq.Run.load, vq.resume):
            with pytest.raises(
                ValueError, match="run is a training, not a simulation: vqtheory train --resume goes on with it"
            ):
                read(folder)
        (folder / "checkpoint.pt").unlink()
        monkeypatch.setattr(sys, "argv", ["vqtheory", "show", str(folder)])
        assert app.main() == 2
        assert capsys.readouterr().err.startswith(f"vqtheory: {folder} is a training")
        assert len(vq.diagnose(folder).recording.steps) == 3, "which needs no checkpoint"
        (folder / "manifest.json").unlink()
        with pytest.raises(ValueError, match=r"run holds no run: .*manifest.json is missing"):
            vq.diagnose(folder)
        for path in (tmp_path / "none.npz", str(tmp_path / "none.npz")):
            with pytest.raises(FileNotFoundError, match=r"There is no file '.*none.npz'."):
                vq.diagnose(path)

    def test_a_full_disk_leaves_no_half_of_a_recording(self, tmp_path, monkeypatch):
        layer, x = VectorQuantize(2, 4), torch.randn(1, 5, 2)
        layer(x)
        seen = Monitor(layer)
        seen.step(layer, x)

        def full(file):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*seen.npz.new'"):
            seen.recording.save(tmp_path / "seen.npz")
        assert not list(tmp_path.iterdir())
