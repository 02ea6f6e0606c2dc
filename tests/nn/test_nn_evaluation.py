"""Evaluation: every figure computed a second way, networks of the user's, what is told, kept and refused."""

import io
import re
import subprocess
import sys
import textwrap
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import table
from PIL import Image
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from scipy.stats import entropy

torch = pytest.importorskip("torch")

from vqtheory._base.extras import missing  # noqa: E402
from vqtheory.cli import app  # noqa: E402
from vqtheory.nn import frechet_distance  # noqa: E402
from vqtheory.nn.evaluation.measure import compare, evaluate  # noqa: E402
from vqtheory.nn.evaluation.metrics import _codebook, _of_pixels  # noqa: E402
from vqtheory.nn.training.config import TrainingConfig  # noqa: E402
from vqtheory.nn.training.data import load  # noqa: E402
from vqtheory.nn.training.loop import resume, train  # noqa: E402
from vqtheory.nn.training.run import TrainingRun  # noqa: E402
from vqtheory.rules import IBQ, HyperVQ  # noqa: E402

METRICS = ["images", "latents", "used", "usage", "perplexity", "distortion", "relative_distortion"]
METRICS += ["psnr", "ssim", "ms_ssim", "rfid", "lpips"]


def write_images(path, count, size):
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for row in range(count):
            file = io.BytesIO()
            coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
            coarse.resize((size, size), Image.Resampling.BICUBIC).save(file, "PNG")
            archive.writestr(f"{row:03}.png", file.getvalue())
    return str(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """120 smooth images of 16x16: 108 to train on, 12 to test."""
    return write_images(tmp_path_factory.mktemp("data") / "images.zip", 120, 16)


@pytest.fixture(scope="module")
def tiny(images):
    return TrainingConfig(data=images, size=16, codes=8, dim=4, batch_size=4, steps=6, records=2, lr=0.01, seed=3)


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Folders of two trainings."""
    top = tmp_path_factory.mktemp("runs")
    for rule in ("vq", "ema"):
        train(tiny, rule=rule, save=top / rule, progress=False)
    return {rule: top / rule for rule in ("vq", "ema")}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """TorchScript files by the name of what they do."""
    top = tmp_path_factory.mktemp("networks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for kind in (Colours, Probabilities, Halves, Pixels, Raises, Nothing, Absolute, Sums):
            torch.jit.script(kind()).save(top / f"{kind.__name__}.pt")
        torch.jit.trace(Colours(), torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).save(top / "traced.pt")
    return top


class Colours(torch.nn.Module):
    def forward(self, x):
        assert x.dtype == torch.uint8
        y = x.float().flatten(2) / 255
        return torch.cat([y.mean(2), y.std(2)], dim=1)


class Probabilities(torch.nn.Module):
    """As the Inception of the FID literature: features only if they are asked for."""

    def forward(self, x, return_features: bool = False):
        y = x.float().mean((2, 3)) / 255
        return y if return_features else y.softmax(1)


class Halves(torch.nn.Module):
    def forward(self, x):
        return x[: len(x) // 2].float().mean((2, 3))


class Pixels(torch.nn.Module):
    def forward(self, x):
        return x.float()


class Raises(torch.nn.Module):
    def forward(self, x):
        assert x.shape[1] == 1, "one channel is wanted"
        return x


class Nothing(torch.nn.Module):
    def forward(self, x):
        return x.float().mean((2, 3)) * torch.nan


class Absolute(torch.nn.Module):
    def forward(self, x, y):
        return (x - y).abs().mean((1, 2, 3), keepdim=True)


class Sums(torch.nn.Module):
    def forward(self, x, y):
        return (x - y).abs().sum()


def value(run, **options):
    return evaluate(run, progress=False, **options)


def images_of(run):
    """The test images as float64 in [0, 1]."""
    return load(run.config.data, run.config.size).test / 255


@torch.no_grad()
def there_and_back(run):
    """Latents as they are compared with the codes, codes, chosen codes and reconstructions in [0, 1], in NumPy."""
    quantizer, model = run.quantizer, run.model.eval()
    x = torch.from_numpy(2 * images_of(run) - 1).float().permute(0, 3, 1, 2)
    latents = model.encode(x)
    z = latents.permute(0, 2, 3, 1).reshape(-1, run.config.dim).numpy()
    if run.config.codebook_dim is not None:
        z = z @ quantizer.project_in.weight.numpy().T + quantizer.project_in.bias.numpy()
    if type(run.config.rule).__name__ == "CosineVQ":
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    codes = quantizer.codebook.numpy()
    chosen = np.argmin(((z[:, None].astype(float) - codes) ** 2).sum(axis=2), axis=1)
    if isinstance(run.config.rule, IBQ) and run.config.rule.similarity == "dot":
        chosen = np.argmax(z.astype(float) @ codes.T, axis=1)
    if isinstance(run.config.rule, HyperVQ):  # whose cells have more numbers than codes; they have tests of their own
        chosen = quantizer(latents).indices.flatten().numpy()
    back = quantizer.project_out(torch.from_numpy(codes[chosen])).reshape(*latents.permute(0, 2, 3, 1).shape)
    images = model.decode(back.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    return z.astype(float), codes.astype(float), chosen, (images.astype(float) + 1) / 2


def ssim_of(x, y):
    """Wang et al. 2004, eq. 13, over one channel [H, W]."""

    def smooth(image):
        return gaussian_filter(image, 1.5, mode="mirror", radius=5)

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    return np.mean((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))


class TestMetrics:
    @pytest.mark.parametrize(("rule", "codebook_dim"), [*((rule, None) for rule in table.LAYER), ("vq", 2)])
    def test_against_numpy(self, tiny, rule, codebook_dim):
        run = train(tiny, rule=rule, codebook_dim=codebook_dim, progress=False)
        found, (z, codes, chosen, back), x = value(run), there_and_back(run), images_of(run)
        hits = np.bincount(chosen, minlength=8)
        distortion = np.mean(np.sum((z - codes[chosen]) ** 2, axis=1))
        wanted = {"images": 12, "latents": 12 * 16, "used": (hits > 0).sum(), "usage": (hits > 0).mean()}
        wanted |= {"perplexity": np.exp(entropy(hits)), "distortion": distortion}
        wanted |= {"relative_distortion": distortion / z.var(axis=0).sum()}
        wanted |= {"psnr": np.mean([10 * np.log10(1 / np.mean((a - b) ** 2)) for a, b in zip(x, back, strict=True)])}
        planes = [(a[..., i], b[..., i]) for a, b in zip(x, back, strict=True) for i in range(3)]
        wanted |= {"ssim": np.mean([ssim_of(a, b) for a, b in planes])}
        assert found.table["metric"].to_list() == METRICS
        for name, figure in wanted.items():
            assert found[name] == pytest.approx(figure, rel=1e-4, abs=1e-6), name  # float32 of the model

    def test_known_pictures(self):
        x = torch.rand(3, 3, 176, 176, generator=torch.Generator().manual_seed(0)) * 2 - 1
        same = _of_pixels(x, x)
        assert same["psnr"].tolist() == [torch.inf] * 3
        torch.testing.assert_close(torch.stack([same["ssim"], same["ms_ssim"]]), torch.ones(2, 3))
        tenth = _of_pixels(torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.2))
        assert float(tenth["psnr"]) == pytest.approx(20.0, abs=1e-4)
        other = _of_pixels(x, x.flip(0))
        assert float(other["ssim"][0]) < 0.1
        assert not {"ssim", "ms_ssim"} & set(_of_pixels(x[..., :8, :8], x[..., :8, :8]))

    def test_large_enough_for_all_scales(self, tmp_path):
        from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

        data = write_images(tmp_path / "large.zip", 4, 176)
        run = train(rule="ema", data=data, size=176, codes=4, dim=2, batch_size=1, steps=1, progress=False)
        x, back = (torch.from_numpy(each).permute(0, 3, 1, 2).float() for each in (images_of(run), there_and_back(run)[3]))
        assert value(run)["ms_ssim"] == pytest.approx(
            float(MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0)(back, x)), rel=1e-4
        )

    def test_what_is_not_there_says_why(self, runs):
        notes = dict(value(runs["vq"]).table.filter(pl.col("value").is_null()).select("metric", "note").iter_rows())
        assert [*notes] == ["ms_ssim", "rfid", "lpips"]
        assert notes["ms_ssim"] == "needs 176 pixels a side; these are 16"
        assert "--features FILE.pt" in notes["rfid"]
        assert "--lpips FILE.pt" in notes["lpips"]

    def test_few_latents_are_flagged(self, tiny):
        notes = [value(train(tiny, codes=codes, steps=1, progress=False)).table["note"][2] for codes in (9, 10)]
        assert [("fewer than 20 latents per code" in note) for note in notes] == [False, True]  # 192 latents

    def test_an_image_without_a_finite_latent_counts_for_nothing(self, tiny):
        run = train(tiny, progress=False)
        lost = torch.tensor([0])
        run.model.encoder.register_forward_hook(lambda _, inputs, latents: latents.index_fill(0, lost, torch.nan))
        found, (z, codes, chosen, _) = value(run), there_and_back(run)
        distortion = np.mean(np.sum((z - codes[chosen])[16:] ** 2, axis=1))
        assert found["distortion"] == pytest.approx(distortion, rel=1e-4)
        assert found["relative_distortion"] == pytest.approx(distortion / z[16:].var(axis=0).sum(), rel=1e-4)
        assert found.table["note"][1] == "14.7 per image"
        lost.resize_(12).copy_(torch.arange(12))
        with pytest.raises(ValueError, match=r"Nothing can be measured of VQ\(\): it quantizes none of the latents"):
            value(run)

    def test_latents_per_image_are_counted_to_the_last(self, tiny):
        of_each = np.ones(2)
        found = {"indices": np.zeros((2, 16_384), int), "latents": 16_384 * of_each, "mean": np.ones((2, 4))}
        rows = _codebook(TrainingRun.new(tiny), found | {"distortion": of_each, "square": 5 * of_each}, "a test")
        assert rows[1].note == "16,384 per image"

    def test_equal_latents_have_no_relative_distortion(self, tiny):
        run = train(tiny, progress=False)
        with torch.no_grad():
            run.model.encoder[-1].weight.zero_()
        assert value(run)["relative_distortion"] is None


class TestImages:
    def test_none_was_trained_on(self, runs):
        """Whatever the seed of the run: its 3 is not that of the split."""
        from vqtheory.nn.training.loop import _images

        run = TrainingRun.load(runs["vq"])
        seen = {image.tobytes() for image in _images(run, False)}
        shown = value(run).originals
        assert shown.shape == (8, 16, 16, 3)
        assert not seen & {image.tobytes() for image in shown}

    def test_a_part_of_them_equally_far_apart(self, runs, tiny):
        found = value(runs["vq"], images=4)
        assert np.array_equal(found.originals, load(tiny.data, 16).test[[0, 4, 7, 11]])
        assert found["images"] == 4

    def test_reconstructions_are_those_of_the_model(self, runs):
        back = there_and_back(TrainingRun.load(runs["vq"]))[3]
        found = value(runs["vq"], images=12).reconstructions
        wanted = back[np.linspace(0, 11, 8).round().astype(int)] * 255
        assert np.abs(found - wanted).max() < 0.5 + 1e-3  # rounding to 8 bits

    def test_of_another_path(self, runs, tmp_path):
        other = write_images(tmp_path / "other.zip", 30, 16)
        assert value(runs["vq"], data=other)["images"] == 3

    def test_other_images_than_before(self, runs, tmp_path):
        run = TrainingRun.load(runs["vq"])
        run.config = replace(run.config, data=write_images(tmp_path / "other.zip", 30, 16))
        with pytest.raises(ValueError, match=r"The run was on 108 images. There are 27 train and 3 test images of"):
            value(run)


class TestExactness:
    @pytest.mark.parametrize("rule", table.LAYER, ids=repr)
    def test_nothing_is_changed(self, tiny, rule):
        run = train(tiny, rule=rule, progress=False)
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        torch.manual_seed(7)
        wanted = torch.rand(1)
        torch.manual_seed(7)
        first, second = value(run), value(run)
        assert torch.equal(torch.rand(1), wanted), "global randomness is left alone"
        assert first.table.equals(second.table)
        assert np.array_equal(first.reconstructions, second.reconstructions)
        assert run.model.training
        assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())

    def test_whatever_the_batches(self, runs, networks):
        whole, parts = (
            value(runs["vq"], batch_size=size, features=networks / "Colours.pt", lpips=networks / "Absolute.pt").table
            for size in (64, 5)
        )
        np.testing.assert_allclose(whole["value"].drop_nulls(), parts["value"].drop_nulls(), rtol=1e-4)

    def test_a_folder_is_the_run(self, runs):
        assert value(runs["ema"]).table.equals(value(TrainingRun.load(runs["ema"])).table)


class TestNetworks:
    @pytest.mark.parametrize("name", ["Colours", "traced"])
    def test_rfid(self, runs, networks, name):
        """By the eigenvalues of S1 S2, whose roots have the trace of its root."""
        run = TrainingRun.load(runs["vq"])
        pair = images_of(run), np.round(there_and_back(run)[3] * 255) / 255
        pixels = [each.reshape(12, -1, 3) for each in pair]
        features = [np.concatenate([x.mean(axis=1), x.std(axis=1, ddof=1)], axis=1) for x in pixels]
        (m, s), (n, t) = ((each.mean(axis=0), np.cov(each, rowvar=False)) for each in features)
        overlap = np.sum(np.sqrt(np.linalg.eigvals(s @ t).real.clip(0)))
        wanted = np.sum((m - n) ** 2) + np.trace(s) + np.trace(t) - 2 * overlap
        found = value(run, features=networks / f"{name}.pt")
        assert found["rfid"] == pytest.approx(wanted, rel=1e-4)
        assert found.table["note"][10] == f"Fréchet distance of 6 features by {name}.pt, images to reconstructions"

    def test_features_are_asked_for(self, runs, networks):
        means = images_of(TrainingRun.load(runs["vq"])).mean(axis=(1, 2))
        run = TrainingRun.load(runs["vq"])
        with torch.no_grad():
            for parameter in run.model.decoder.parameters():
                parameter.zero_()  # all reconstructions are grey: their features have no variance
        wanted = np.sum((means.mean(axis=0) - 128 / 255) ** 2) + np.trace(np.cov(means, rowvar=False))
        assert value(run, features=networks / "Probabilities.pt")["rfid"] == pytest.approx(wanted, rel=1e-4)

    def test_few_images_are_flagged(self, runs, networks):
        notes = [value(runs["vq"], images=n, features=networks / "Colours.pt").table.row(10)[1:] for n in (7, 6, 1)]
        assert ["too few for 6 features" in note for _, note in notes] == [False, True, False]
        assert notes[2] == (None, "needs two images or more")
        assert notes[1][0] >= 0

    def test_lpips(self, runs, networks):
        run = TrainingRun.load(runs["vq"])
        wanted = 2 * np.mean(np.abs(images_of(run) - there_and_back(run)[3]))
        assert value(run, lpips=networks / "Absolute.pt")["lpips"] == pytest.approx(wanted, rel=1e-4)

    @pytest.mark.parametrize(
        ("option", "name", "sentence"),
        [
            ("features", "Halves", "must give features [12, d] of uint8 images [12, 3, 16, 16]. Got [6, 3]."),
            ("features", "Pixels", "must give features [12, d] of uint8 images [12, 3, 16, 16]. Got [12, 3, 16, 16]."),
            (
                "features",
                "Raises",
                "fails on uint8 images [12, 3, 16, 16]: RuntimeError: AssertionError: one channel is wanted.",
            ),
            ("features", "Nothing", "must give finite numbers. Got NaN or infinity."),
            ("features", "Absolute", "fails on uint8 images [12, 3, 16, 16]: forward() is missing value for argument 'y'."),
            ("lpips", "Sums", "must give distances [12] of two batches of images [12, 3, 16, 16]. Got []."),
            ("lpips", "Colours", "fails on two batches of images [12, 3, 16, 16]: "),
        ],
    )
    def test_one_that_does_something_else(self, runs, networks, option, name, sentence):
        with pytest.raises(ValueError, match=re.escape(f"{name}.pt' {sentence}")):
            value(runs["vq"], **{option: networks / f"{name}.pt"})

    def test_no_network(self, runs, networks, tmp_path):
        torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt")
        (tmp_path / "half.pt").write_bytes((networks / "Colours.pt").read_bytes()[:500])
        (tmp_path / "text.pt").write_text("no network")
        for name in ("weights.pt", "half.pt", "text.pt"):
            with pytest.raises(ValueError, match=rf"^Cannot read '.*{name}' as TorchScript, .*[a-z]\.$"):
                value(runs["vq"], lpips=tmp_path / name)
        with pytest.raises(FileNotFoundError, match=r"There is no file '.*none.pt'."):
            value(runs["vq"], features=tmp_path / "none.pt")


class TestFrechet:
    def test_on_the_line(self):
        assert frechet_distance([1.0], [[4.0]], [-2.0], [[0.25]]) == pytest.approx(9 + 1.5**2, rel=1e-12)

    def test_of_commuting_covariances(self):
        random = np.random.default_rng(0)
        axes = np.linalg.qr(random.normal(size=(5, 5)))[0]
        a, b, m, n = random.uniform(0.1, 3, (4, 5))
        wanted = np.sum((m - n) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
        assert frechet_distance(m, axes * a @ axes.T, n, axes * b @ axes.T) == pytest.approx(wanted, rel=1e-10)

    def test_against_the_matrix_root(self):
        random = np.random.default_rng(1)
        (s, t), (m, n) = (x @ x.T for x in random.normal(size=(2, 8, 20))), random.normal(size=(2, 8))
        wanted = np.sum((m - n) ** 2) + np.trace(s + t - 2 * sqrtm(s @ t).real)
        assert frechet_distance(m, s, n, t) == pytest.approx(wanted, rel=1e-10)
        assert frechet_distance(n, t, m, s) == pytest.approx(wanted, rel=1e-10)

    def test_of_singular_covariances(self):
        """tr (u u^T v v^T)^(1/2) = |u . v|; of fewer samples than dimensions to themselves it is 0."""
        u, v, zero = np.array([3.0, 0, 4]), np.array([1.0, 2, 2]), np.zeros(3)
        wanted = u @ u + v @ v - 2 * abs(u @ v)
        assert frechet_distance(zero, np.outer(u, u), zero, np.outer(v, v)) == pytest.approx(wanted, rel=1e-6)
        assert frechet_distance(zero, np.zeros((3, 3)), zero, np.outer(v, v)) == pytest.approx(v @ v)
        x = np.random.default_rng(2).normal(size=(10, 200))
        mean, cov = x.mean(axis=0), np.cov(x, rowvar=False)
        assert frechet_distance(mean, cov, mean, cov) <= 1e-6 * np.trace(cov)

    def test_of_samples(self):
        """Within four standard errors of the distance of the laws; the bias, about D / N, is a tenth of one."""
        random = np.random.default_rng(3)
        root, mean = random.normal(size=(3, 3)), np.array([1.0, 0, -0.5])
        wanted = frechet_distance(np.zeros(3), np.eye(3), mean, root @ root.T)
        found = []
        for _ in range(30):
            x, y = random.normal(size=(2, 20_000, 3))
            moments = [(each.mean(axis=0), np.cov(each, rowvar=False)) for each in (x, mean + y @ root.T)]
            found.append(frechet_distance(*moments[0], *moments[1]))
        assert abs(np.mean(found) - wanted) < 4 * np.std(found, ddof=1) / np.sqrt(30)

    @pytest.mark.parametrize(
        ("place", "given", "sentence"),
        [
            (0, [[0.0, 0.0]], "The 'mean1' parameter of frechet_distance must be an array [D]. Got (1, 2)."),
            (2, [0.0], "The 'mean2' parameter of frechet_distance must be an array [2]. Got (1,)."),
            (3, np.eye(3), "The 'cov2' parameter of frechet_distance must be an array [2, 2]. Got (3, 3)."),
            (0, [0.0, np.nan], "The 'mean1' parameter of frechet_distance must be finite. Got nan at index (1,)."),
            (1, [[1.0, 0.5], [0.0, 1.0]], "The 'cov1' parameter of frechet_distance must be symmetric."),
            (1, [[1.0, 0], [0, -0.5]], "must be without negative eigenvalues. Got -0.5."),
        ],
    )
    def test_refuses(self, place, given, sentence):
        arguments = [[0.0, 0.0], np.eye(2), [0.0, 0.0], np.eye(2)]
        arguments[place] = given
        with pytest.raises(ValueError, match=re.escape(sentence)):
            frechet_distance(*arguments)


class TestCompare:
    def test_rows_are_the_evaluations(self, runs):
        found = compare([*runs.values()], progress=False)
        assert found.table.columns == ["run", "rule", *METRICS]
        assert found.table["rule"].to_list() == ["VQ()", "EMA()"]
        for row, folder in zip(found.table.iter_rows(named=True), runs.values(), strict=True):
            assert row["run"] == str(folder)
            assert [row[name] for name in METRICS] == value(folder).table["value"].to_list()
        assert np.array_equal(found.evaluations[0].originals, found.evaluations[1].originals)

    def test_what_differs_is_told(self, runs, tiny):
        other = train(tiny, codes=4, clip=1.0, steps=2, records=1, progress=False)
        found = compare([runs["vq"], other], progress=False)
        assert found.table.columns[:5] == ["run", "rule", "codes", "clip", "updates"]
        assert found.table.select("codes", "clip", "updates").rows() == [(8, None, 6), (4, 1.0, 2)]
        labels = [axes.get_ylabel() for axes in found.plot().axes if axes.get_ylabel()]
        assert labels[0] == "original"
        assert [label.replace("\n", " ").split(" dB")[0][:-5] for label in labels[1:]] == [
            "VQ() codes 8, clip -, updates 6",
            "VQ() codes 4, clip 1, updates 2",
        ]

    def test_the_best_are_bold(self, runs):
        found = compare([*runs.values()], progress=False)
        heading, _, *rows = [line.strip("|").split("|") for line in str(found).splitlines() if line.startswith("|")]
        cells = {name.strip(): [row[i].strip() for row in rows] for i, name in enumerate(heading)}
        best = {"used": max, "usage": max, "perplexity": max, "relative_distortion": min, "psnr": max, "ssim": max}
        assert not {"ms_ssim", "rfid", "lpips"} & set(cells), "nothing to show"
        for name, texts in cells.items():
            values = found.table[name].to_list()
            marked = [text.startswith("**") and text.endswith("**") for text in texts]
            picked = best[name](values) if name in best and values[0] != values[1] else None
            assert marked == [value == picked for value in values], name
        assert any("**" in text for text in cells["psnr"])
        assert "- ms_ssim: needs 176 pixels a side" in str(found)
        assert "**" not in str(compare([runs["vq"], runs["vq"]], progress=False)), "no one is better"

    def test_on_different_images(self, runs, tiny, images, tmp_path):
        other = write_images(tmp_path / "other.zip", 30, 16)
        small = {"steps": 1, "records": 1, "progress": False}
        elsewhere, larger = train(tiny, data=other, **small), train(tiny, size=20, **small)
        with pytest.raises(ValueError, match=r"must be on the same images, or data must name some for all. Got '.*', '.*'."):
            compare([runs["vq"], elsewhere], progress=False)
        assert compare([runs["vq"], elsewhere], data=other, progress=False).table["images"].to_list() == [3, 3]
        with pytest.raises(ValueError, match=r"must be on images of one size. Got \[16, 20\] pixels a side."):
            compare([runs["vq"], larger], data=images, progress=False)

    @pytest.mark.parametrize("given", [lambda run: [run], lambda run: run, str])
    def test_one_alone(self, runs, given):
        with pytest.raises(ValueError, match=r"The 'runs' parameter of compare must be two trainings or more. Got \['/"):
            compare(given(runs["vq"]))


class TestCommand:
    @pytest.fixture
    def call(self, monkeypatch, capsys, tmp_path):
        monkeypatch.chdir(tmp_path)

        def call(*arguments):
            monkeypatch.setattr(sys, "argv", ["vqtheory", *map(str, arguments)])
            return app.main(), *capsys.readouterr()

        return call

    def test_evaluate(self, call, tiny):
        train(tiny, save="kept", progress=False)
        before = {path.name for path in Path("kept").iterdir()}
        status, out, _ = call("evaluate", "kept")
        assert status == 0
        page = Path("kept/evaluation.md").read_text()
        assert page.startswith("# VQ() with 8 codes, after 6 updates\n\n| metric ")
        assert out == f"{page}\nTables: kept/evaluation.md, kept/evaluation.parquet\nPicture: kept/reconstructions.png\n"
        assert pl.read_parquet("kept/evaluation.parquet").equals(value("kept").table)
        with Image.open("kept/reconstructions.png") as picture:
            assert picture.width > 1000
        added = {path.name for path in Path("kept").iterdir()} - before
        assert added == {"evaluation.md", "evaluation.parquet", "reconstructions.png"}
        assert resume("kept", 7, progress=False).step == 7, "the run is still a run"

    def test_evaluate_elsewhere(self, call, runs, networks):
        status, out, _ = call(
            "evaluate",
            runs["vq"],
            "--save",
            "new/table.csv",
            "--picture",
            "p.svg",
            "--images",
            "5",
            "--features",
            networks / "Colours.pt",
            "--lpips",
            networks / "Absolute.pt",
        )
        assert status == 0
        assert out.endswith("\nTables: new/table.csv\nPicture: p.svg\n")
        assert pl.read_csv("new/table.csv")["metric"].to_list() == METRICS
        assert "<svg" in Path("p.svg").read_text()
        assert "| rfid                | -" not in out
        assert sorted(path.name for path in runs["vq"].iterdir() if "evaluation" in path.name) == []

    def test_compare(self, call, runs):
        status, out, _ = call("compare", *runs.values())
        assert status == 0
        assert Path("compare.md").read_text() in out
        assert out.endswith("\nTables: compare.md, compare.parquet\nPicture: compare.png\n")
        assert pl.read_parquet("compare.parquet")["rule"].to_list() == ["VQ()", "EMA()"]
        with Image.open("compare.png") as picture:
            assert picture.height > 500
        assert call("compare", *runs.values(), "--save", "there")[0] == 0
        assert {path.name for path in Path("there").iterdir()} == {"compare.md", "compare.parquet", "compare.png"}

    def test_refuses(self, call, runs):
        Path("text.txt").write_text("")
        vq = runs["vq"]
        for arguments, sentence in (
            (["evaluate", "none"], "none holds no run: none/manifest.json is missing."),
            (["evaluate", vq, "--data", "none"], "There is no file or folder 'none'."),
            (["evaluate", vq, "--images", "13"], "The 'images' parameter of evaluate must be an int in [1, 12]. Got 13."),
            (["evaluate", vq, "--images", "few"], "must be an int in [1, 12]. Got 'few'."),
            (["evaluate", vq, "--features", "text.txt"], "Cannot read 'text.txt' as TorchScript"),
            (["evaluate", vq, "--save", "text.txt"], "The 'save' parameter of evaluate must be a folder, or a .md, .csv"),
            (["evaluate", vq, "--picture", "text.txt"], "The picture must be a .png, .pdf, .svg or .jpg file."),
            (["compare", vq], f"The 'runs' parameter of compare must be two trainings or more. Got ['{vq}']."),
        ):
            status, out, err = call(*arguments)
            assert (status, out) == (2, ""), arguments
            assert sentence in err
            assert err.endswith("\n")
        assert not Path("none").exists()

    def test_without_torchmetrics(self, call, runs, monkeypatch):
        monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
        status, out, err = call("evaluate", runs["vq"])
        assert (status, out) == (2, "")
        assert err == f"vqtheory: {missing('An evaluation', 'torchmetrics', 'torch')}\n"

    def test_a_damaged_run_is_named(self, call, tiny):
        train(tiny, save="kept", progress=False)
        with open("kept/checkpoint.pt", "ab") as file:
            file.write(b"x")
        assert "kept/checkpoint.pt is damaged or altered" in call("evaluate", "kept")[2]
        assert not Path("kept/evaluation.md").exists()

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
        for arguments in (["evaluate", "kept"], ["compare", "one", "two"]):
            done = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(program), *arguments], capture_output=True, text=True
            )
            assert done.returncode == 2
            assert done.stderr == (f"vqtheory: {missing('vqtheory.nn', 'torch', 'torch')}\n")
