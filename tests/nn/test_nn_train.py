"""TrainingConfig: what is exact (resuming, processes, replay by the simulator), what is told, what is refused."""

import errno
import io
import pickle
import re
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import table
from PIL import Image
from processes import together

torch = pytest.importorskip("torch")
import vqtheory  # noqa: E402
from vqtheory import rules, streams  # noqa: E402
from vqtheory._base.extras import missing  # noqa: E402
from vqtheory._base.folder import locked, replace_together  # noqa: E402
from vqtheory.assign import nearest  # noqa: E402
from vqtheory.cli import app  # noqa: E402
from vqtheory.diagnosis.recording import Recording  # noqa: E402
from vqtheory.nn import VectorQuantize, compare, evaluate, resume, step_size, train  # noqa: E402
from vqtheory.nn.codebooks import RULES  # noqa: E402
from vqtheory.nn.models.vqvae import VQVAE  # noqa: E402
from vqtheory.nn.references import REFERENCES  # noqa: E402
from vqtheory.nn.training.config import TrainingConfig  # noqa: E402
from vqtheory.nn.training.recorder import Recorder, recorded  # noqa: E402
from vqtheory.nn.training.run import TrainingRun, parameters  # noqa: E402
from vqtheory.protocols import Batches  # noqa: E402
from vqtheory.schedules import exponential  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on")  # of a few latents
TWO_PROCESSES = table.LAYER[:4]  # gradients, statistics of EMA, a kernel, and displacements


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A zip of 50 images of 16x16, smooth as photographs are: 45 to train on."""
    return write_images(tmp_path_factory.mktemp("data") / "images.zip", 50)


def write_images(path, count, seed=0):
    random = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for row in range(count):
            file = io.BytesIO()
            coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
            coarse.resize((16, 16), Image.Resampling.BICUBIC).save(file, "PNG")
            archive.writestr(f"{row:02}.png", file.getvalue())
    return str(path)


@pytest.fixture
def tiny(images):
    """Updates of 4 images, 64 latents, 11 to an epoch."""
    return TrainingConfig(data=images, size=16, codes=8, dim=4, batch_size=4, steps=15, records=5, lr=0.01)


@pytest.fixture
def double():
    """float64 for all that is made without a dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def run(config, **options):
    return train(config, progress=False, **options)


def assert_same(one, other):
    """To the last bit: weights, codebook, state of the optimizers, history."""
    for name, part in one._parts.items():
        equal(part.state_dict(), other._parts[name].state_dict(), name)
    assert one.rows == other.rows
    assert (one.step, one.config) == (other.step, other.config)


def equal(one, other, name):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), name
    elif isinstance(one, (dict, list)):
        pairs = one.items() if isinstance(one, dict) else enumerate(one)
        assert len(one) == len(other)
        for key, value in pairs:
            equal(value, other[key], f"{name}.{key}")
    else:
        assert one == other, name


class TestModel:
    def test_the_presets(self):
        for name, width, layers in (("paper", 256, 6), ("small", 64, 2)):
            model = VQVAE.preset(name, VectorQuantize(8, 16))
            output = model(torch.zeros(1, 3, 64, 64))
            assert output.images.shape == (1, 3, 64, 64)
            assert output.latents.shape == (1, 8, 16, 16)
            assert sum(f"{width}, {width}, kernel_size=(3, 3)" in repr(part) for part in model.encoder) == layers + 1

    def test_any_sizes(self):
        model = VQVAE(VectorQuantize(8, 16), channels=(4, 6, 8), residual_layers=0, image_channels=1)
        assert model(torch.zeros(2, 1, 16, 24)).quantized.indices.shape == (2, 2, 3)

    def test_latents_come_from_the_encoder_and_images_from_the_codes(self):
        model = VQVAE.preset("small", VectorQuantize(8, 16)).eval()
        x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        model.quantizer.initialize(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)))
        output = model(x)
        assert torch.equal(output.latents, model.encode(x))
        codes = model.quantizer.codebook[output.quantized.indices].permute(0, 3, 1, 2)
        torch.testing.assert_close(output.images, model.decode(codes))


class TestConfig:
    def test_repr_is_read_back(self, tiny):
        for config in (
            tiny,
            TrainingConfig("NSVQ(bandwidth=exponential(2.0, half_life=50))", latents=(3, 9), clip=1.0, amp=True),
        ):
            assert TrainingConfig.parse(repr(config)) == config
        with pytest.raises(ValueError, match="it is not a call of TrainingConfig"):
            TrainingConfig.parse("VQ()")

    def test_a_rule_s_name_is_its_call(self):
        assert TrainingConfig("nsvq").rule == TrainingConfig("NSVQ()").rule == rules.NSVQ()

    def test_a_folder_keeps_it(self, tiny, tmp_path):
        config = replace(tiny, rule="NSVQ(bandwidth=exponential(2.0, half_life=50))", clip=0.5, lr=1e-3, latents=(0, 1))
        run(config, save=tmp_path)
        assert TrainingRun.load(tmp_path).config == config


class TestExactness:
    @pytest.mark.parametrize("rule", table.LAYER, ids=repr)
    def test_stopped_and_resumed_is_as_if_not_stopped(self, tiny, tmp_path, monkeypatch, rule):
        monkeypatch.setattr("vqtheory.nn.training.loop._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        whole = run(tiny, rule=rule, lr_decay=0.9, clip=1.0)

        def stop(step, row):
            if step == 12:  # in the second epoch, before it is saved: the checkpoint is of update 9
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(tiny, rule=rule, lr_decay=0.9, clip=1.0, save=tmp_path, on_record=stop)
        assert TrainingRun.load(tmp_path).step == 9
        assert_same(resume(tmp_path, progress=False), whole)
        assert_same(TrainingRun.load(tmp_path), whole)

    def test_killed_and_resumed(self, tiny, tmp_path):
        """A process that dies without a word."""
        script = f"""
            import importlib, os, torch
            torch.set_num_threads({torch.get_num_threads()})
            from vqtheory.nn.training.config import TrainingConfig
            module = importlib.import_module("vqtheory.nn.training.loop")
            module._SECONDS_BETWEEN_CHECKPOINTS = 0.0
            die = lambda step, row: os._exit(9) if step == 9 else None
            module.train(TrainingConfig.parse({repr(tiny)!r}), save={str(tmp_path)!r}, latents=(2, 12), on_record=die)
        """
        assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True).returncode == 9
        assert (tmp_path / "latents.npy.new").exists()
        assert_same(resume(tmp_path, progress=False), run(tiny, save=tmp_path / "whole", latents=(2, 12)))
        for name in ("latents.npy", "codes.npy"):
            assert np.array_equal(np.load(tmp_path / name), np.load(tmp_path / "whole" / name)), name

    def test_resumed_to_more_updates(self, tiny, tmp_path):
        run(tiny, save=tmp_path, steps=6, records=2)
        longer = resume(tmp_path, 15, progress=False)
        equal(longer.model.state_dict(), run(tiny).model.state_dict(), "model")

    def test_images_that_memory_does_not_hold(self, tiny, tmp_path):
        """Decoded by other processes, in order and to the bit, in a part of the training or in all of it."""
        whole = run(tiny)
        torch.manual_seed(7)
        wanted = torch.rand(1)
        torch.manual_seed(7)
        assert_same(run(tiny, in_memory=45 * 16 * 16 * 3, save=tmp_path, steps=6, records=2), run(tiny, steps=6, records=2))
        assert torch.equal(torch.rand(1), wanted), "global randomness is left alone"
        longer = resume(tmp_path, 15, progress=False, in_memory=0)
        equal(longer.model.state_dict(), whole.model.state_dict(), "model")

    def test_by_the_seed_alone(self, tiny):
        torch.manual_seed(7)
        wanted = torch.rand(1)
        torch.manual_seed(7)
        first = run(tiny)
        assert torch.equal(torch.rand(1), wanted), "global randomness is left alone"
        assert_same(first, run(tiny))
        assert first.rows != run(tiny, seed=1).rows

    def test_every_image_once_in_an_epoch(self, tiny):
        from vqtheory.nn.training.loop import _batches, _images

        trained = TrainingRun.new(tiny)
        data = _images(trained, False)
        pixels = torch.cat([next(_batches(replaced(trained, step), data)) for step in range(11)])
        assert len({image.numpy().tobytes() for image in pixels}) == 44
        halves = [next(_batches(replaced(trained, 3), data, rank, 2)) for rank in range(2)]
        assert torch.equal(torch.cat(halves), next(_batches(replaced(trained, 3), data)))

    def test_two_processes_equal_one_with_the_joined_batch(self, tiny, tmp_path, double):
        """gloo, in float64: what is left is the order of sums."""
        script = f"""
            from vqtheory.nn.training.config import TrainingConfig
            from vqtheory.nn.training import train
            torch.set_default_dtype(torch.float64)
            for i, rule in enumerate({list(map(repr, TWO_PROCESSES))!r}):
                train(TrainingConfig.parse({repr(tiny)!r}), rule=rule, clip=0.1, save=f"{tmp_path}/two{{i}}", latents=(2, 5),
                      progress=False)
        """
        together(script, tmp_path, (0, 2), (1, 2))
        for i, rule in enumerate(TWO_PROCESSES):
            one = run(tiny, rule=rule, clip=0.1, save=tmp_path / f"one{i}", latents=(2, 5))
            two = TrainingRun.load(tmp_path / f"two{i}")
            torch.testing.assert_close(one.model.state_dict(), two.model.state_dict(), rtol=0, atol=1e-9)
            np.testing.assert_allclose(one.history.to_numpy(), two.history.to_numpy(), rtol=1e-9)
            for name in ("latents.npy", "codes.npy"):
                recorded = [np.load(tmp_path / f"{which}{i}" / name) for which in ("one", "two")]
                np.testing.assert_allclose(*recorded, rtol=0, atol=1e-9)


def replaced(trained, step):
    trained.step = step
    return trained


class TestReplay:
    @pytest.mark.parametrize("rule", [rules.VQ(), rules.NSVQ(form="gaussian")], ids=repr)
    def test_the_simulator_follows_the_recorded_latents_alike(self, tiny, tmp_path, rule):
        """SGD on the codebook at the rate lr is the rule at eta = 2 lr / D, update by update."""
        sgd = {"codebook_optimizer": "sgd", "codebook_lr": 0.4, "clip": 0.01}
        trained = run(tiny, rule=rule, save=tmp_path, latents=(5, 15), **sgd)
        rule = replace(rule, step_size=step_size(lr=0.4, dim=4))
        recorded, codes = streams.Recorded(tmp_path / "latents.npy"), np.load(tmp_path / "codes.npy")
        assert (recorded.steps, codes.shape) == (10, (10, 8, 4))
        state = rule.init(codes[0])
        for step in range(10):
            x = recorded.draw(step, 1, 64, seed=0, dtype=np.float32).x
            np.testing.assert_allclose(state.codes, codes[step], rtol=1e-4, atol=1e-6)
            assert np.array_equal(nearest(x[0], state.codes)[0], nearest(x[0], codes[step])[0])
            state, _ = rule.advance(state, Batches(x))
        np.testing.assert_allclose(state.codes, trained.model.quantizer.codebook, rtol=1e-4, atol=1e-6)

    def test_through_simulate(self, tiny, tmp_path):
        trained = run(tiny, rule="ema", save=tmp_path, latents=(0, 15))
        codes, recorded = np.load(tmp_path / "codes.npy")[0], streams.Recorded(tmp_path / "latents.npy")
        played = vqtheory.simulate(
            rules.EMA(), recorded, codes=codes, steps=15, batch_size=64, dtype="float32", records=5, progress=False
        )
        np.testing.assert_allclose(played.codes, trained.model.quantizer.codebook, rtol=1e-4, atol=1e-6)
        assert [row["used"] for row in played.rows[1:]] == trained.history["used"].to_list()
        np.testing.assert_allclose(
            [row["distortion"] for row in played.rows[1:]], trained.history["distortion"].to_list(), rtol=1e-4
        )

    def test_the_displacement_is_the_encoder_s_own_move(self, tiny):
        """Propagate at an endless bandwidth moves every code by the mean displacement of the batch."""
        one, two = (
            run(tiny, rule="NSVQ(bandwidth=1e6, form='propagate')", steps=steps, codebook_lr=1e-30) for steps in (1, 2)
        )
        from vqtheory.nn.training.loop import _batches, _images

        pixels = next(_batches(replaced(two, 1), _images(two, False)))
        with torch.no_grad():
            moved = one.model.encode(pixels) - TrainingRun.new(one.config).model.encode(pixels)
        change = two.model.quantizer.codebook - one.model.quantizer.codebook
        torch.testing.assert_close(change, moved.mean(dim=(0, 2, 3)).expand(8, 4), rtol=1e-3, atol=1e-6)

    def test_a_window_survives_a_kill_at_any_moment(self, tmp_path):
        codes, latents = torch.ones(2, 1), torch.arange(3.0)[:, None]
        (tmp_path / "latents.npy.new").write_bytes(b"\x93NUMPY")  # killed before its header
        recorder = Recorder(tmp_path, (0, 2), 0, 1)
        recorder(0, codes, latents)
        recorder.flush()
        again = Recorder(tmp_path, (0, 2), 0, 1)
        again(1, 2 * codes, 2 * latents)
        wanted = [np.load(tmp_path / name).ravel().tolist() for name in ("codes.npy", "latents.npy")]
        assert wanted == [[1, 1, 2, 2], [0, 1, 2, 0, 2, 4]]
        (tmp_path / "latents.npy").rename(tmp_path / "latents.npy.new")  # as between the two renamings
        assert recorded(tmp_path, (0, 2), 5)[0].ravel().tolist() == wanted[1]
        assert not Recorder(tmp_path, (0, 2), 0, 1).covers(1), "all is there"
        assert not list(tmp_path.glob("*.new"))

    def test_files_of_a_window_that_are_not_its_own(self, tiny, tmp_path, monkeypatch):
        codes, latents = torch.ones(2, 1), torch.arange(3.0)[:, None]
        (tmp_path / "codes.npy").write_text("of someone")
        with pytest.raises(ValueError, match=r"codes.npy is there already, and is not of this training"):
            run(tiny, save=tmp_path, latents=(0, 2))
        with pytest.raises(ValueError, match=r"codes.npy is there already"):
            Recorder(tmp_path, (0, 2), 0, 1)
        (tmp_path / "codes.npy").unlink()
        recorder = Recorder(tmp_path, (0, 2), 0, 1)
        with pytest.raises(ValueError, match=r"latents.npy.new is missing or not whole: updates 0 to 1 of the window were"):
            recorder(1, codes, latents)

        def full(file, size):
            raise OSError(errno.ENOSPC, "No space left on device", str(file.name))

        monkeypatch.setattr("vqtheory.nn.training.recorder.reserve", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*latents.npy.new'"):
            recorder(0, codes, latents)
        assert {path.name for path in tmp_path.iterdir()} == {".lock"}, "nothing half-written stays"

    def test_the_files_take_their_room_at_once(self, tmp_path):
        Recorder(tmp_path, (0, 1000), 0, 1)(0, torch.ones(64, 8), torch.ones(64, 8))
        assert (tmp_path / "latents.npy.new").stat().st_blocks * 512 >= 1000 * 64 * 8 * 4


class TestOptimizers:
    def test_clipping_never_touches_the_codebook(self, tiny):
        free, clipped = run(tiny, steps=1, codebook_optimizer="sgd"), run(tiny, steps=1, codebook_optimizer="sgd", clip=1e-9)
        assert torch.equal(free.model.quantizer.codebook, clipped.model.quantizer.codebook)
        start = TrainingRun.new(tiny).model.encoder.state_dict()
        moved = [
            max(float((value - start[name]).abs().max()) for name, value in trained.model.encoder.state_dict().items())
            for trained in (free, clipped)
        ]
        assert moved[1] < 0.2 * moved[0]

    def test_rates(self, tiny):
        trained = run(tiny, lr_decay=0.5, codebook_lr=0.2)  # 11 updates to an epoch
        assert trained.history["lr"].to_list() == [0.01] * 3 + [0.005] * 2
        assert trained.optimizers[1].param_groups[0]["lr"] == 0.1

    def test_the_codebook_has_a_schedule_of_its_own(self, tiny, tmp_path):
        trained = run(
            tiny, lr_decay=0.5, codebook_lr=exponential(0.8, half_life=7), save=tmp_path
        )  # its last update is the 15th
        assert trained.optimizers[1].param_groups[0]["lr"] == pytest.approx(0.5 * 0.8 * 0.5**2)
        assert replace(tiny, codebook_lr=np.float32(0.5)).codebook_lr == 0.5
        with pytest.raises(ValueError, match="The 'codebook_lr' parameter of train must be a .*number > 0. Got 'fast'."):
            replace(tiny, codebook_lr="fast")
        assert (
            TrainingRun.load(tmp_path).config == trained.config == replace(trained.config, codebook_lr="exponential(0.8, 7)")
        )

    @pytest.mark.parametrize("rule", table.PLAIN_LAYER, ids=repr)
    def test_every_rule_trains_from_its_published_start(self, tiny, rule):
        assert np.isfinite(run(tiny, rule=rule.starting("published"), steps=2).rows[-1]["loss"])

    def test_all_that_is_trained_is_in_one_of_the_two(self, tiny):
        for rule in table.LAYER:
            model = TrainingRun.new(TrainingConfig(rule, dim=4, codes=8, codebook_dim=2)).model
            wanted = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
            rest, codebook = parameters(model)
            assert {id(parameter) for parameter in rest + codebook} == wanted
            assert bool(codebook) == (rule.step_size is not None)

    def test_it_learns(self, tiny):
        errors = [row["reconstruction"] for row in run(tiny, rule="ema", codes=64, steps=200, lr=2e-3).rows]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.7 * errors[0]

    def test_in_bfloat16(self, tiny):
        full, half = (run(tiny, amp=amp).rows[0]["loss"] for amp in (False, True))
        assert full != half
        assert half == pytest.approx(full, rel=0.2)

    def test_projections(self, tiny, tmp_path):
        run(tiny, codebook_dim=2, save=tmp_path, latents=(0, 3))
        assert np.load(tmp_path / "latents.npy").shape == (3, 64, 2)


class TestRecords:
    def test_rows(self, tiny):
        called = []
        trained = run(tiny, on_record=lambda step, row: called.append((step, row)))
        assert [step for step, _ in called] == [3, 6, 9, 12, 15]
        assert [row for _, row in called] == trained.rows
        assert trained.history["epoch"].to_list() == [0, 0, 0, 1, 1]
        for row in trained.rows:
            assert row["loss"] == pytest.approx(row["reconstruction"] + row["quantization"])
            assert row["usage"] == row["used"] / 8
            assert 1 <= row["perplexity"] <= 8
        # VQ: quantization = (1 + beta) distortion / D
        np.testing.assert_allclose(trained.history["quantization"], 1.25 / 4 * trained.history["distortion"], rtol=1e-5)

    def test_the_bar_shows_usage_and_loss(self, tiny, capsys):
        train(tiny)
        told = capsys.readouterr().err
        assert "45 train and 5 test images of " in told
        assert re.search(r"15/15 .*usage=\d\.\d+", told)
        assert re.search(r"loss=\d", told)

    def test_a_damaged_folder_is_named(self, tiny, tmp_path):
        run(tiny, save=tmp_path, steps=1)
        content = (tmp_path / "checkpoint.pt").read_bytes()
        (tmp_path / "checkpoint.pt").write_bytes(content[:-1])
        with pytest.raises(ValueError, match=r"checkpoint.pt is damaged or altered: its SHA-256"):
            resume(tmp_path)
        (tmp_path / "checkpoint.pt").unlink()
        with pytest.raises(ValueError, match=r"checkpoint.pt is missing"):
            TrainingRun.load(tmp_path)

    def test_other_images_than_before(self, tiny, tmp_path, images, monkeypatch):
        """As many or more, under the same name; found again from any folder, and needed only where they are looked at."""
        for folder in ("here", "there"):
            (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / "here")
        Path("images.zip").write_bytes(Path(images).read_bytes())
        run(tiny, data="images.zip", save="run", steps=1)
        monkeypatch.chdir(tmp_path / "there")
        kept, data = Path("../here/run"), Path("../here/images.zip")
        assert resume(kept, 2, progress=False).step == 2
        assert evaluate(kept, progress=False)["images"] == 5
        for count, sentence in (
            (50, "not the ones that the run was on so far: the SHA-256 of their pixels"),
            (30, "45 images"),
        ):
            write_images(data, count, seed=1)
            for call in (partial(resume, kept, 3), partial(evaluate, kept), partial(compare, [kept, kept])):
                with pytest.raises(ValueError, match=sentence):
                    call(progress=False)
        assert evaluate(kept, data=data, progress=False)["images"] == 3, "others are taken where they are named"
        data.unlink()
        assert TrainingRun.load(kept).step == 2
        vqtheory.diagnose(kept)
        for call in (partial(resume, kept, 3), partial(evaluate, kept)):
            with pytest.raises(FileNotFoundError, match="There is no file or folder 'images.zip'."):
                call(progress=False)
        Path("images.zip").write_bytes(Path(images).read_bytes())  # beside whoever calls
        assert resume(kept, 3, progress=False).step == 3

    def test_a_rule_s_arrays_are_in_a_file_that_stays(self, tiny, tmp_path):
        random, path, kept = np.random.default_rng(0), tmp_path / "graph.npz", tmp_path / "run"
        arrays = {"features": random.normal(size=(8, 4)), "edges": [[code, code + 1] for code in range(7)]}
        with pytest.raises(ValueError, match=r"without arrays where it is saved: put them into a .npz file"):
            run(tiny, rule=rules.GraphVQ(**arrays, width=4), save=kept)
        assert not kept.exists()
        unsaved = run(tiny, rule=rules.GraphVQ(**arrays, width=4), steps=1)
        with pytest.raises(ValueError, match="put them into a .npz file"):
            unsaved.save(kept)
        np.savez(path, **arrays)
        run(tiny, rule=rules.GraphVQ(features=str(path), width=4), steps=1, save=kept)
        assert resume(kept, 2, progress=False).step == 2
        np.savez(path, features=2 * arrays["features"], edges=arrays["edges"])
        for call in (partial(resume, kept, 3), partial(evaluate, kept)):
            with pytest.raises(ValueError, match=r"graph.npz is not the file that the run has read so far"):
                call(progress=False)

    def test_one_process_at_a_time(self, tiny, tmp_path):
        with locked(tmp_path), pytest.raises(ValueError, match=r"is in use by process \d+: wait for it"):
            run(tiny, save=tmp_path, steps=1)
        run(tiny, save=tmp_path, steps=1)
        with locked(tmp_path), pytest.raises(ValueError, match=r"is in use by process \d+: wait for it"):
            resume(tmp_path, 2, progress=False)
        with pytest.raises(ValueError, match="holds no run"):
            resume(tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_the_threads_of_before(self, tiny, tmp_path, monkeypatch):
        """They are taken again, and given back; a warning says where there are not so many cores."""
        torch.set_num_threads(1)
        run(tiny, save=tmp_path, steps=3, records=1)
        torch.set_num_threads(2)
        seen = []
        resume(tmp_path, 6, progress=False, on_record=lambda step, row: seen.append(torch.get_num_threads()))
        assert (set(seen), torch.get_num_threads()) == ({1}, 2)
        many = TrainingRun.load(tmp_path)
        many.threads, many.processes = 4096, 2
        many.save(tmp_path)
        with pytest.warns(UserWarning, match="its last bits will differ") as told:
            assert resume(tmp_path, 7, progress=False).threads == 2
        assert [str(warning.message) for warning in told] == [
            "The training was on 4096 threads, and goes on with 2: its last bits will differ.",
            "The training was on 2 processes, and goes on with 1: its last bits will differ.",
        ]


def forged(change):
    """A change of what a checkpoint has, by its file."""

    def write(folder):
        stored = torch.load(folder / "checkpoint.pt", weights_only=True)
        change(stored)
        file = io.BytesIO()
        torch.save(stored, file)
        return {"checkpoint.pt": file.getvalue()}

    return write


def _history(change):
    def write(folder):
        file = io.BytesIO()
        change(pl.read_parquet(folder / "history.parquet")).write_parquet(file)
        return {"history.parquet": file.getvalue()}

    return write


def _monitor(**changed):
    def write(folder):
        recording = Recording.load(folder / "monitor.npz")
        arrays = {name: change(getattr(recording, name)) for name, change in changed.items()}
        return {"monitor.npz": replace(recording, **arrays).contents()}

    return write


WEIGHT = "quantizer._codebook.weight"
FORGED = {
    "no checkpoint": (lambda folder: {"checkpoint.pt": b"no archive"}, "checkpoint.pt is not one of a training: "),
    "a pickle": (lambda folder: {"checkpoint.pt": pickle.dumps(Path("x"))}, "checkpoint.pt is not one of a training: "),
    "a list": (forged(lambda stored: stored.clear()), "checkpoint.pt is not one of a training: it has no 'step'."),
    "a step": (forged(lambda stored: stored.update(step=99)), "checkpoint.pt is not one of a training: its step is 99."),
    "a float": (forged(lambda stored: stored.update(step=3.0)), "checkpoint.pt is not one of a training: its step is 3.0."),
    "threads": (forged(lambda stored: stored.update(threads=0)), "its threads is 0."),
    "images": (forged(lambda stored: stored.update(images={"path": 3, "train_images": 1})), "its images are not described"),
    "part": (forged(lambda stored: stored.pop("optimizer 1")), "it has no 'optimizer 1'."),
    "K": (
        forged(lambda stored: stored["model"].update({WEIGHT: torch.zeros(9, 4)})),
        "checkpoint.pt is not one of a training",
    ),
    "nan": (forged(lambda stored: stored["model"][WEIGHT].fill_(np.nan)), f"{WEIGHT} of the model is not finite."),
    "moments": (
        forged(lambda stored: stored["optimizer 1"]["state"][0].update(exp_avg=torch.zeros(9, 4))),
        "the optimizer's memory is not of these parameters.",
    ),
    "no moments": (forged(lambda stored: stored["optimizer 1"]["state"][0].pop("exp_avg")), "memory is not of these"),
    "settings": (
        forged(lambda stored: stored["optimizer 0"]["param_groups"][0].update(betas="x")),
        "the optimizer's settings are others than in config.toml.",
    ),
    "replacement": (forged(lambda stored: stored["replacement"].update(hits=torch.zeros(9))), "must be of 8 codes. Got 9."),
    "no table": (lambda folder: {"history.parquet": b"PAR1"}, "history.parquet is not one of a training: "),
    "no column": (_history(lambda table: table.drop("loss")), "history.parquet is not one of a training: "),
    "text": (_history(lambda table: table.with_columns(loss=pl.lit("x"))), "not all of its entries are numbers."),
    "rows": (_history(lambda table: table[:0]), "history.parquet is not one of a training: "),
    "late rows": (_history(lambda table: table.with_columns(step=pl.lit(7))), "ends at update 7, and the checkpoint at 3."),
    "config": (
        lambda folder: {"config.toml": b"kodes = 3"},
        "config.toml is not one of a training: TrainingConfig.__init__",
    ),
    "no toml": (lambda folder: {"config.toml": b"\xff"}, "config.toml is not one of a training: "),
    "codes": (_monitor(codes=lambda codes: codes[:5]), "monitor.npz is not one of a training: monitor.npz is no recording"),
    "hits": (_monitor(hits=lambda hits: hits[:, :5]), "its hits must be numbers of shape (2, 8)"),
    "latents": (_monitor(latents=lambda latents: latents * np.nan), "its latents and codes must be finite."),
    "back": (_monitor(steps=lambda steps: steps[::-1]), "its steps must grow"),
}


def test_forged_folders(tiny, tmp_path, monkeypatch):
    """Whatever is in a folder whose manifest fits: one sentence that names the file."""
    folder = tmp_path / "run"
    run(tiny, save=folder, steps=3, records=1, replace_every=3)
    names = ("config.toml", "history.parquet", "checkpoint.pt", "monitor.npz")
    whole = {name: (folder / name).read_bytes() for name in names}
    changes = {kind: write(folder) for kind, (write, _) in FORGED.items()}
    monkeypatch.setattr("os.fsync", lambda file: None)  # of which the disk makes most of the time
    for kind, (_, sentence) in FORGED.items():
        replace_together(folder, whole | changes[kind])
        with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
            TrainingRun.load(folder)
        assert str(refused.value).startswith(str(folder)), kind
        assert "\n" not in str(refused.value), kind
    replace_together(folder, whole)
    assert TrainingRun.load(folder).step == 3


REFUSED = [
    ({"codes": 0}, "The 'codes' parameter of train must be an int >= 1. Got 0."),
    ({"steps": 1.5}, "The 'steps' parameter of train must be an int >= 1. Got 1.5."),
    ({"lr": -1}, "The 'lr' parameter of train must be a number > 0. Got -1."),
    ({"lr": None}, "The 'lr' parameter of train must be a number > 0. Got None."),
    ({"clip": 0}, "The 'clip' parameter of train must be a number > 0. Got 0."),
    ({"amp": "yes"}, "The 'amp' parameter of train must be True or False. Got 'yes'."),
    ({"size": 18}, "The 'size' parameter of train must be a multiple of 4, by which the model 'small' divides. Got 18."),
    (
        {"rule": "vqq"},
        f"Got 'vqq' (known: {', '.join(sorted({**RULES, **REFERENCES}))}; did you mean 'vq'?).",
    ),
    ({"rule": "Uniform(dim=1)"}, "The 'rule' parameter of VectorQuantize must be one of"),
    ({"model": "large"}, "The 'model' parameter of train must be one of the known names. Got 'large'"),
    ({"batch_size": 46}, "The 'batch_size' parameter of train must be at most 45, the images to train on. Got 46."),
    ({"latents": (3, 16)}, "The 'latents' parameter of train must be two steps, start < stop <= steps = 15. Got (3, 16)."),
    ({"latents": (0, 5)}, "The 'latents' parameter of train must be None where no folder is given to `save` them in."),
    ({"lr": 1e30}, "The training diverged: its loss is "),
]


class TestRefusals:
    @pytest.mark.parametrize(("options", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
    def test_bad_input_gets_one_clear_sentence(self, tiny, options, sentence):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            run(tiny, **options)

    def test_a_folder_that_holds_a_run(self, tiny, tmp_path):
        run(tiny, save=tmp_path, steps=1)
        with pytest.raises(ValueError, match="must be a folder that holds no run yet"):
            run(tiny, save=tmp_path)
        with pytest.raises(ValueError, match=r"The 'steps' parameter of resume must be an int >= 1. Got 0."):
            resume(tmp_path, 0)


class TestCommand:
    @pytest.fixture
    def call(self, monkeypatch, capsys, tmp_path, images):
        monkeypatch.chdir(tmp_path)

        def call(*arguments):
            monkeypatch.setattr(sys, "argv", ["vqtheory", "train", *arguments])
            return app.main(), *capsys.readouterr()

        return call

    def test_trains_and_goes_on(self, call, images):
        small = ["--data", images, "--size", "16", "--codes", "8", "--dim", "4", "--batch-size", "4", "--records", "5"]
        status, out, _ = call(*small, "--rule", "ema", "--steps", "1e1", "--latents", "0", "3", "--save", "kept")
        assert status == 0
        assert "After 10 updates " in out
        assert "of 8 codes are used from update 9 on" in out
        assert streams.Recorded("kept/latents.npy").steps == 3
        status, out, _ = call("--resume", "kept", "--steps", "12")
        assert (status, "After 12 updates " in out) == (0, True)
        assert "vqtheory train --resume kept" in out

    def test_refuses(self, call, images):
        for arguments, sentence in (
            (["--codes", "many"], "The 'codes' parameter of train must be an int >= 1. Got 'many'."),
            (["--data", "none"], "There is no file or folder 'none'."),
            (["--resume", "none"], "none holds no run: none/manifest.json is missing."),
            (["--resume", "none", "--lr", "1"], "The 'resume' parameter of train must be alone, or with --steps"),
        ):
            status, out, err = call(*arguments)
            assert (status, out) == (2, "")
            assert sentence in err
            assert err.count("\n") == 1

    def test_stopped(self, call, images, monkeypatch):
        def stop(step, row):
            raise KeyboardInterrupt

        monkeypatch.setattr("vqtheory.nn.training.train", lambda **given: train(**given, on_record=stop))
        small = ["--data", images, "--size", "16", "--codes", "8", "--dim", "4", "--steps", "3"]
        status, _, err = call(*small, "--save", "my run")
        assert status == 130
        assert err.endswith("vqtheory: Stopped. Kept up to update 0. Go on with: vqtheory train --resume 'my run'\n")
        assert call(*small)[2].endswith("Nothing was kept: --save FOLDER makes a run that can be resumed.\n")

    def test_stopped_while_images_are_read(self, call, images, monkeypatch):
        def stop(*arguments, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr("vqtheory.nn.training.provenance.load", stop)
        small = ["--data", images, "--size", "16", "--codes", "8", "--dim", "4", "--steps", "3"]
        for _ in range(2):
            status, out, err = call(*small, "--save", "kept")
            assert (status, out, err) == (130, "", "vqtheory: Stopped. Nothing was kept yet.\n")

    def test_without_torch(self):
        program = """
            import sys
            class Absent:
                def find_spec(self, name, *_):
                    if name == "torch":
                        raise ModuleNotFoundError(name)
            sys.meta_path.insert(0, Absent())
            from vqtheory.cli import main
            sys.exit(main())
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), "train"], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr == f"vqtheory: {missing('vqtheory.nn', 'torch', 'torch')}\n"
