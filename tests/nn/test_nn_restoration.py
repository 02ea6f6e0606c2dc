"""VQFR: degraded images are restored from codes of sharp ones, upon a stage 1 that is done."""

import io
import os
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

import vqtheory as vq  # noqa: E402
from vqtheory.cli import app  # noqa: E402
from vqtheory.nn import VectorQuantize, compare, evaluate, restoration, restore, resume, train  # noqa: E402
from vqtheory.nn.degradation import Degradation, blur  # noqa: E402
from vqtheory.nn.models import VQFR  # noqa: E402
from vqtheory.nn.models.deformable import TAPS, Deformable, warp  # noqa: E402
from vqtheory.nn.training import TrainingConfig  # noqa: E402
from vqtheory.nn.training.judges import Judges  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on"),  # of a few latents
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
STAGE_1 = "Reestimate(VQ(), every=2, until=4)"
PLAIN = Degradation(blur=(0, 0), downsampling=(1, 1), noise=(0, 0), quality=None)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def picture(height, width, seed=0):
    """Smooth, as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def model(**options):
    """A small one, whose main decoder has something to say."""
    torch.manual_seed(0)
    made = VQFR(VectorQuantize(8, 16), channels=(4, 8), residual_layers=0, **options)
    made.quantizer.initialize(rand(64, 8))
    with torch.no_grad():
        for parameter in made.main.parameters():
            parameter.normal_(std=0.2)
    return made


class TestDegradation:
    def test_it_is_a_function_of_seed_image_and_turn(self):
        first, second = picture(24, 18), picture(24, 18, seed=1)
        degraded = Degradation()(first, seed=3)
        assert degraded.dtype == np.uint8
        assert degraded.shape == (24, 18, 3)
        assert np.array_equal(degraded, Degradation()(first.copy(), seed=3))
        others = [Degradation()(first, seed=4), Degradation()(first, seed=3, turn=1), Degradation()(second, seed=3)]
        assert not any(np.array_equal(degraded, other) for other in others)

    def test_of_nothing_it_leaves_the_image(self):
        assert np.array_equal(PLAIN(picture(17, 9)), picture(17, 9))

    @pytest.mark.parametrize(("widths", "angle"), [((1.5, 1.5), 0.0), ((2.0, 0.5), 0.0), ((2.0, 0.5), np.pi / 2)])
    def test_a_blur_is_the_gaussian_of_scipy(self, widths, angle):
        from scipy.ndimage import gaussian_filter

        image = picture(21, 32)
        across, along = widths[::-1] if angle == 0 else widths
        wanted = np.stack(
            [gaussian_filter(image[..., c].astype(float), (across, along), mode="mirror", truncate=8) for c in range(3)]
        )
        assert np.abs(blur(image, widths, angle) - np.moveaxis(wanted, 0, -1)).max() < 1, "but for rounding"

    def test_noise_has_its_width(self):
        grey = np.full((64, 64, 3), 128, np.uint8)
        noisy = Degradation(blur=(0, 0), downsampling=(1, 1), noise=(10, 10), quality=None)(grey)
        count = noisy.size
        assert noisy.std() == pytest.approx(np.sqrt(100 + 1 / 12), abs=4 * 10 / np.sqrt(2 * count))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"blur": (2, 1)}, "'blur' parameter of Degradation must be two numbers, 0 <= low <= high <= 64"),
            ({"downsampling": (0.5, 1)}, "'downsampling' parameter of Degradation must be a number >= 1"),
            ({"noise": 3}, "'noise' parameter of Degradation must be two numbers"),
            ({"quality": (0, 90)}, "'quality' parameter of Degradation must be"),
            ({"anisotropic": 2}, "'anisotropic' parameter of Degradation must be"),
        ],
    )
    def test_bad_input(self, options, message):
        with pytest.raises(ValueError, match=message):
            Degradation(**options)

    def test_what_is_no_image(self):
        with pytest.raises(ValueError, match=r"The image of Degradation must be uint8 \[H, W, 3\]"):
            Degradation()(np.zeros((4, 4)))


class TestWarping:
    def test_without_offsets_it_is_the_identity(self):
        x = rand(2, 3, 8, 16)
        torch.testing.assert_close(warp(x, torch.zeros(2, 1, 2, 8, 16))[:, :, 0], x, rtol=0, atol=1e-6)

    def test_an_offset_reads_from_beside(self):
        """x in columns, y in rows, zeros outside, halves between two pixels."""
        x = rand(1, 1, 6, 5)
        offsets = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5, 0.0]]).reshape(1, 3, 2, 1, 1).expand(1, 3, 2, 6, 5)
        right, above, between = warp(x, offsets)[0, 0]
        zeros = torch.zeros(6, 1)
        wanted = torch.cat([x[0, 0, :, 1:], zeros], dim=1)
        torch.testing.assert_close(right, wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(above, torch.cat([torch.zeros(1, 5), x[0, 0, :-1]]), rtol=0, atol=1e-5)
        torch.testing.assert_close(between, (x[0, 0] + wanted) / 2, rtol=0, atol=1e-5)

    def test_groups_move_apart_and_modulations_weigh_taps(self):
        layer, x = Deformable(8, 6), rand(1, 8, 5, 7)
        offsets, modulation = torch.zeros(1, 4, TAPS, 2, 5, 7), torch.zeros(1, 4, TAPS, 5, 7)
        modulation[:, 1, 4] = 1  # the middle tap of the second group, channels 2 and 3
        wanted = torch.nn.functional.conv2d(x[:, 2:4], layer.weight[:, 2:4, 1:2, 1:2], layer.bias)
        torch.testing.assert_close(layer(x, offsets, modulation), wanted, rtol=1e-4, atol=1e-5)


class TestModel:
    def test_without_fidelity_it_is_the_texture_decoder_alone(self):
        made, x = model().eval(), rand(2, 3, 16, 24)
        plain = made.decode(made.quantizer(made.encode(x)).quantized)
        assert torch.equal(made.restore(x, 0.0), plain)
        assert not torch.allclose(made.restore(x, 1.0), plain, atol=1e-3)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"must be a tensor \[b, channels, H, W\]. Got \(3, 16, 16\)"):
            model().restore(rand(3, 16, 16))
        with pytest.raises(ValueError, match="'degradation' parameter of VQFR must be a Degradation or None"):
            model(degradation="blur")

    def test_fidelity_weighs_what_is_added(self):
        made, x = model().eval(), rand(1, 3, 16, 16)
        none, half, full = (torch.atanh(made.restore(x, rho)) for rho in (0.0, 0.5, 1.0))
        torch.testing.assert_close(half - none, (full - none) / 2, rtol=1e-3, atol=1e-3)

    def test_the_gradient_reaches_what_is_trained_and_nothing_else(self):
        made = model().train()
        output = made(rand(2, 3, 16, 16))
        (made.pixel_loss(output.images, rand(2, 3, 16, 16)) + output.quantized.loss).backward()
        for name, parameter in made.named_parameters():
            is_trained = name.split(".")[0] in ("encoder", "decoder", "main")
            assert (parameter.grad is not None and bool(parameter.grad.any())) == is_trained, name
        assert not made.quantizer.training

    def test_the_loss_is_that_of_the_docstring(self):
        made, x = model(degradation=PLAIN).eval(), picture(16, 16)
        x = torch.from_numpy(x.copy()).permute(2, 0, 1)[None] / 127.5 - 1
        latents, texture = made.encode(x), made.restore(x, 0.0)
        wanted = made.quantizer(made.prior(x)).quantized
        loss = (texture - x).abs().mean() + 0.25 * (latents - wanted).square().mean()
        torch.testing.assert_close(made(x).quantized.loss, loss)
        torch.testing.assert_close(made(x).images, made.restore(x))

    def test_degradations_are_drawn_in_training_and_stay_in_evaluation(self):
        made, x = model(seed=1), rand(2, 3, 16, 16)
        first, second = made.train().degraded(x), made.degraded(x)
        assert not torch.equal(first, second)
        assert int(made.turns) == 2
        fixed = made.eval().degraded(x)
        assert torch.equal(fixed, made.degraded(x))
        assert torch.equal(fixed[1:], made.degraded(x[1:])), "whatever else is in the batch"
        assert int(made.turns) == 2

    def test_in_half_precision(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model()(rand(2, 3, 16, 16)).images.isfinite().all()


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A zip of 24 images of 16x16, 22 to train on."""
    path = tmp_path_factory.mktemp("data") / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for row in range(24):
            file = io.BytesIO()
            Image.fromarray(picture(16, 16, seed=row)).save(file, "PNG")
            archive.writestr(f"{row:02}.png", file.getvalue())
    return {"data": str(path), "size": 16, "batch_size": 4, "records": 2, "probe_every": 1, "progress": False}


@pytest.fixture(scope="module")
def stage_1(options, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages") / "stage1"
    return train(rule=STAGE_1, codes=8, dim=4, quantize_from=1, steps=5, save=folder, **options), folder


@pytest.fixture(scope="module")
def stage_2(options, stage_1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages") / "stage2"
    return train(model="vqfr", prior=stage_1[1], steps=4, save=folder, **options), folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of TorchScript: features, a discriminator, and one that is frozen."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    parts = torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.Sequential(torch.nn.Conv2d(3, 1, 4, stride=4), torch.nn.Flatten())
    files = {}
    for name, network in zip(("features", "discriminator"), parts, strict=True):
        files[name] = str(folder / f"{name}.pt")
        torch.jit.trace(network, rand(1, 3, 16, 16)).save(files[name])
    files["frozen"] = str(folder / "frozen.pt")
    torch.jit.freeze(torch.jit.trace(parts[1].eval(), rand(1, 3, 16, 16))).save(files["frozen"])
    files["held"] = str(folder / "held.pt")
    torch.jit.trace(parts[1].requires_grad_(False), rand(1, 3, 16, 16)).save(files["held"])
    return files


class TestTraining:
    def test_it_begins_with_stage_1_and_its_codes_stay(self, stage_1, stage_2):
        first, second = stage_1[0], stage_2[0]
        assert torch.equal(first.quantizer.codebook, second.quantizer.codebook)
        assert all(map(torch.equal, first.model.encoder.state_dict().values(), second.model.prior.state_dict().values()))
        assert not any(map(torch.equal, first.model.encoder.parameters(), second.model.encoder.parameters()))
        assert (second.config.rule, second.config.codes, second.config.dim) == (first.config.rule, 8, 4)
        assert TrainingConfig.parse(repr(second.config)) == second.config

    def test_it_goes_on_to_the_same_bits(self, options, stage_1, stage_2, tmp_path):
        chosen = {"degradation": "Degradation(noise=[1, 2])", "model": "vqfr", "prior": stage_1[1]}
        whole = train(steps=4, **chosen, **options)
        train(steps=2, **chosen, **options, save=tmp_path / "part")
        stage_1[1].rename(stage_1[1].with_name("away"))  # which is needed no more
        try:
            resumed = resume(tmp_path / "part", 4, progress=False)
        finally:
            stage_1[1].with_name("away").rename(stage_1[1])
        assert all(map(torch.equal, whole.model.state_dict().values(), resumed.model.state_dict().values()))
        assert whole.rows[-1] == resumed.rows[-1]
        assert resumed.config.degradation == Degradation(noise=(1, 2))
        assert not torch.equal(whole.model.main.end.weight, stage_2[0].model.main.end.weight), "other degradations"

    def test_it_is_watched_and_diagnosed(self, stage_2):
        recording = stage_2[0].monitor.recording
        assert recording.hits.sum() == 4 * 4 * 16, "of degraded images, and not of the sharp ones beside them"
        assert np.ptp(recording.codes - recording.first_codes) == 0
        assert "There is none for codes that stay as they are." in str(vq.diagnose(stage_2[1]))

    def test_it_is_evaluated_beside_what_it_is_better_than(self, stage_1, stage_2):
        found = evaluate(stage_2[1], progress=False)
        run, sharp = stage_2[0], found.originals
        degraded = np.stack([run.model.degradation(image, run.config.seed) for image in sharp])
        assert np.array_equal(found.shown["degraded"], degraded)
        errors = np.mean((degraded / 255 - sharp / 255) ** 2, axis=(1, 2, 3))
        assert found["psnr_degraded"] == pytest.approx(np.mean(-10 * np.log10(errors)), rel=1e-5)
        assert list(found.shown) == ["degraded", "texture", "reconstruction"]
        assert found["ssim_texture"] is not None
        assert np.array_equal(found.shown["texture"][0], restore(run, degraded[0], fidelity=0.0))
        assert np.array_equal(found.reconstructions[0], restore(run, degraded[0]))
        table = compare([stage_1[1], stage_2[1]], progress=False).table
        assert table["psnr_degraded"].is_null().to_list() == [True, False]

    @pytest.mark.parametrize("kind", ["small", "vqfr"])
    def test_networks_of_ones_own(self, options, stage_1, networks, tmp_path, kind):
        prior = {"prior": stage_1[1]} if kind == "vqfr" else {"codes": 8, "dim": 4}
        chosen = {
            "model": kind,
            "perceptual": networks["features"],
            "adversarial": networks["discriminator"],
            **prior,
            **options,
        }
        whole = train(steps=2, **chosen)
        train(steps=1, **chosen, save=tmp_path / "part")
        resumed = resume(tmp_path / "part", 2, progress=False)
        for one, other in zip(whole._parts.values(), resumed._parts.values(), strict=True):
            leaves = zip(*(torch.utils._pytree.tree_leaves(part.state_dict()) for part in (one, other)), strict=True)
            assert all(np.array_equal(mine, resumed_one) for mine, resumed_one in leaves)
        before = torch.jit.load(networks["discriminator"]).state_dict()
        after = resumed.judges.discriminator.module.state_dict()
        assert not torch.equal(before["0.weight"], after["0.weight"])

    def test_what_networks_add_to_the_loss(self, networks):
        config = TrainingConfig(
            perceptual=networks["features"],
            perceptual_weight=2,
            adversarial=networks["discriminator"],
            adversarial_weight=0.5,
        )
        images, others = rand(2, 3, 16, 16), rand(2, 3, 16, 16, seed=1).requires_grad_()
        features, discriminator = (torch.jit.load(networks[name]) for name in ("features", "discriminator"))
        distance = (features(others) - features(images)).square().mean()
        judges = Judges(config)
        torch.testing.assert_close(judges.loss(images, others), 2 * distance - 0.5 * discriminator(others).mean())
        assert judges.perceptual is not None
        assert not any(parameter.requires_grad for parameter in judges.perceptual.module.parameters())

    @pytest.mark.parametrize(
        ("chosen", "message"),
        [
            ({"model": "vqfr"}, "'prior' parameter of train must be the folder of stage 1 with model='vqfr'"),
            ({"prior": "there"}, "'prior' parameter of train must be None with model='small', which is trained in one"),
            ({"degradation": "Degradation()"}, "'degradation' parameter of train must be None with model='small'"),
            ({"model": "vqfr", "prior": "nowhere"}, "nowhere holds no run"),
            ({"model": "vqfr", "prior": "{stage2}"}, "must be a training with model='small'. .*stage2 has model='vqfr'"),
            ({"model": "vqfr-paper", "prior": "{stage1}"}, "must be a training with model='paper'. .*has model='small'"),
            (
                {"model": "vqfr", "prior": "{stage1}", "codes": 9},
                "'codes' parameter of train must be the one of .*, 8, or left",
            ),
            ({"model": "vqfr", "prior": "{stage1}", "replace_every": 9}, "must be None with model='vqfr', whose codes stay"),
            ({"perceptual_weight": 2}, "'perceptual_weight' parameter of train must be 1.0 without perceptual"),
            ({"perceptual": "nowhere.pt"}, "There is no file 'nowhere.pt'"),
            ({"perceptual": "{text}"}, "Cannot read .* as TorchScript, which torch.jit.save writes"),
            ({"adversarial": "{frozen}"}, "must have parameters that can be trained, as a discriminator"),
            ({"adversarial": "{held}"}, "must have parameters that can be trained, as a discriminator"),
        ],
    )
    def test_bad_input(self, options, stage_1, stage_2, networks, tmp_path, chosen, message):
        (tmp_path / "text.pt").write_text("no network")
        places = networks | {"stage1": stage_1[1], "stage2": stage_2[1], "text": tmp_path / "text.pt"}
        named = {name: value.format(**places) if isinstance(value, str) else value for name, value in chosen.items()}
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            train(steps=1, **named, **options)


class TestRestore:
    @pytest.mark.parametrize("size", [(1, 1), (16, 16), (13, 70)])
    def test_pictures_keep_their_size(self, stage_2, size):
        restored = restore(stage_2[0], picture(*size))
        assert restored.shape == (*size, 3)
        assert restored.dtype == np.uint8

    def test_tiles_leave_no_seam(self, monkeypatch):
        """With a margin as wide as what a pixel is made of, tiles are the parts of the whole."""
        made, image = model().eval(), picture(36, 100)
        whole = restoration._restored(made, image, 1.0, False)
        monkeypatch.setattr(restoration, "_TILE", 32)
        assert np.abs(restoration._restored(made, image, 1.0, False).astype(int) - whole).max() <= 1

    def test_the_command(self, stage_2, tmp_path, monkeypatch, capsys):
        """Each file that is left out is named, and the others are restored."""
        monkeypatch.chdir(tmp_path)
        for name in ("a.jpg", "b.png"):
            Image.fromarray(picture(20, 30)).save(name)
        os.mkdir("twice")
        Image.fromarray(picture(20, 30)).save("twice/a.png")
        (tmp_path / "text.png").write_text("no image")
        monkeypatch.setattr(restoration, "_MOST", 1000)
        Image.new("RGB", (100, 11)).save("wide.png")

        def call(*arguments):
            monkeypatch.setattr(sys, "argv", ["vqtheory", "restore", str(stage_2[1]), *arguments])
            return app.main(), *capsys.readouterr()

        status, out, _ = call("a.jpg", "b.png", "--out", "new/out", "--fidelity", "0.5")
        assert (status, out) == (0, "Pictures: new/out/a.png, new/out/b.png\n")
        with Image.open("new/out/b.png") as image:
            assert np.array_equal(np.asarray(image), restore(stage_2[0], picture(20, 30), fidelity=0.5))
        status, _, errors = call("a.jpg", "text.png", "wide.png", "gone.png", "twice", "twice/a.png", "--out", "out")
        assert status == 2
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png"]
        for sentence in (
            "Cannot read 'text.png' as an image",
            "'wide.png' is too large: it has 100 x 11 pixels, and at most 1,000 are restored",
            "Cannot read 'gone.png': No such file",
            "Cannot read 'twice': Is a directory",
            "twice/a.png would be written over out/a.png, another picture of the same name",
            "5 of 6 pictures were left out",
        ):
            assert sentence in errors
        assert "'images' parameter of restore must be one image file or more" in call("--out", "out")[2]
        before = (tmp_path / "b.png").read_bytes()
        status, _, errors = call("b.png", "--out", ".")
        assert status == 2
        assert errors.endswith("1 of 1 pictures were left out.\n")
        assert (tmp_path / "b.png").read_bytes() == before

    def test_of_another_model(self, stage_1, stage_2):
        with pytest.raises(ValueError, match="restored by a training with model='vqfr'. .*stage1 has model='small'"):
            restore(stage_1[1], picture(8, 8))
        with pytest.raises(ValueError, match="'fidelity' parameter of restore must be a number >= 0 and <= 1"):
            restore(stage_2[0], picture(8, 8), fidelity=1.5)
        with pytest.raises(ValueError, match="The image of restore must be uint8"):
            restore(stage_2[0], np.zeros((8, 8)))

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"paths": "a.png"}, "'paths' parameter of restore must be a sequence of paths. Got 'a.png'"),
            ({"paths": [None]}, "'paths' parameter of restore must be a sequence of paths. Got None"),
            ({"out": "{file}"}, "'out' parameter of restore must be a folder, and no file is one"),
            ({"run": 3}, "'run' parameter of restore must be a TrainingRun or the folder of one. Got 3"),
        ],
    )
    def test_what_is_no_list_of_files_or_no_folder(self, stage_2, tmp_path, change, sentence):
        (tmp_path / "file").write_text("here")
        arguments = {"run": stage_2[0], "paths": [], "out": tmp_path} | change
        if arguments["out"] == "{file}":
            arguments["out"] = tmp_path / "file"
        with pytest.raises(ValueError, match=sentence):
            restoration.restore_files(**arguments)
