"""Folders that modules are saved in and made from, and the hub, of which nothing is fetched here."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
hub = pytest.importorskip("huggingface_hub")
safetensors = pytest.importorskip("safetensors.torch")

from torch import nn  # noqa: E402

from vqtheory import rules  # noqa: E402
from vqtheory.nn import (  # noqa: E402
    Codebook,
    GroupedQuantize,
    MultiHeadQuantize,
    MultiScaleQuantize,
    ResidualQuantize,
    VectorQuantize,
)
from vqtheory.nn.branches import BranchQuantize  # noqa: E402
from vqtheory.nn.degradation import Degradation  # noqa: E402
from vqtheory.nn.models import DQVAE, VQCT, VQFR, VQVAE, Autoencoder  # noqa: E402
from vqtheory.schedules import exponential  # noqa: E402


@dataclass(frozen=True)
class Mine(rules.Rule):
    leak: float = 0.0

    def init(self, codes, seed):
        return rules.VQ().init(codes, seed)


class MineCodebook(Codebook, of=Mine):
    pass


class Foreign(nn.Module):
    dim = 4


SMALL = {"channels": (4, 8), "residual_layers": 0}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Whatever reaches for a network fails."""

    def refuse(*_, **__):
        raise AssertionError("something was fetched")

    for name in ("snapshot_download", "hf_hub_download", "HfApi"):
        monkeypatch.setattr(hub, name, refuse)


def features():
    return np.random.default_rng(0).random((16, 3))


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (rules.EMA(0.8, smoothing=1e-5), {"codebook_dim": 2, "commitment_weight": 1.0, "estimator": "rotation"}),
        (rules.NSVQ(form="softmax", bandwidth=exponential(2.0, half_life=20)), {"channel_last": False, "seed": 3}),
        (rules.Affine(rules.VQ()), {"estimator": "DiVeQ(variance=0.01)", "beta_on_codebook": True}),
        ("transvq", {"start": "published"}),
        (rules.GraphVQ(features=features(), edges=np.arange(16).reshape(8, 2)), {}),
        (Mine(leak=0.1), {}),
    ],
    ids=["ema", "nsvq", "affine", "transvq", "graph with an array", "your own"],
)
def test_a_layer_is_the_same_again(rule, options, tmp_path):
    layer, latents = VectorQuantize(4, 16, rule, **options), torch.randn(2, 4, 5, 5)
    layer(latents)
    layer.save_pretrained(tmp_path / "new" / "layer")
    assert sorted(path.name for path in (tmp_path / "new/layer").iterdir()) == ["config.json", "model.safetensors"]
    again = VectorQuantize.from_pretrained(tmp_path / "new" / "layer")
    assert repr(again) == repr(layer)
    assert not again.training
    assert int(again.step) == 1
    for output, wanted in zip(again.train()(latents)[:3], layer(latents)[:3], strict=True):
        assert torch.equal(output, wanted)
    assert torch.equal(again.codebook, layer.codebook)


@pytest.mark.parametrize(
    "made",
    [
        lambda: ResidualQuantize(4, [8, 16], levels=2, rule=["ema", rules.NSVQ()], beams=2, dropout=0.5, codebook_dim=2),
        lambda: ResidualQuantize(4, 8, levels=3, shared=True, accept_image_fmap=True, commitment_weight=1.0),
        lambda: GroupedQuantize(4, 8, groups=2, levels=2, rule="ema", shared=True, shared_levels=True),
        lambda: GroupedQuantize(4, 8, groups=2, beta_on_codebook=True),
        lambda: MultiHeadQuantize(4, 8, heads=2, rule="ema", shared=False),
        lambda: MultiScaleQuantize(4, 8, scales=(1, (2, 2), 4), rule="nsvq"),
    ],
    ids=["residual", "shared", "grouped levels", "grouped", "heads", "scales"],
)
def test_a_stack_is_the_same_again(made, tmp_path):
    torch.manual_seed(0)
    stack, latents = made(), torch.randn(2, 4, 4, 4)
    stack(latents)
    stack.save_pretrained(tmp_path)
    again = type(stack).from_pretrained(tmp_path)
    assert repr(again) == repr(stack)
    assert again.arguments() == stack.arguments()
    for output, wanted in zip(again.train()(latents)[:3], stack(latents)[:3], strict=True):
        pairs = zip(output, wanted, strict=True) if isinstance(output, tuple) else [(output, wanted)]
        assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    "made",
    [
        lambda: VQVAE(VectorQuantize(8, 16, "nsvq"), **SMALL),
        lambda: VQVAE(ResidualQuantize(8, 16, levels=2), **SMALL),
        lambda: DQVAE(VectorQuantize(8, 16, "ema"), **SMALL, grains=3, budget=(0.2, 0.3), gate="entropy"),
        lambda: VQFR(VectorQuantize(8, 16), **SMALL, degradation=Degradation(noise=(5, 10), quality=None)),
        lambda: VQCT(BranchQuantize(8, 16, adjectives=3), **SMALL),
    ],
    ids=["VQVAE", "VQVAE with a stack", "DQVAE", "VQFR", "VQCT"],
)
def test_a_model_is_the_same_again(made, tmp_path):
    torch.manual_seed(0)
    model, images = made(), torch.rand(2, 3, 32, 32)
    model.calibrate(images)
    model(images)  # which starts the codes
    model.save_pretrained(tmp_path)
    again = Autoencoder.from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert again.options == model.options
    assert torch.equal(again(images).images, model.eval()(images).images)


def test_the_mixin_of_the_hub_saves_a_model_around_the_layer(tmp_path):
    class Mine(nn.Module, hub.PyTorchModelHubMixin):
        def __init__(self, codes: int = 8):
            super().__init__()
            self.quantizer = VectorQuantize(2, codes, "ema")

    model, latents = Mine(codes=16), torch.randn(1, 50, 2)
    model.quantizer(latents)
    model.save_pretrained(tmp_path)
    again = Mine.from_pretrained(tmp_path, local_files_only=True)
    assert torch.equal(again.quantizer(latents).indices, model.eval().quantizer(latents).indices)


class TestTheHub:
    def test_a_folder_that_is_not_there_is_not_looked_for_elsewhere(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        sentence = r"There is no folder 'owner.name'. Nothing was fetched: .* named as hf://owner/name"
        with pytest.raises(FileNotFoundError, match=sentence):
            VectorQuantize.from_pretrained("owner/name")
        Path("owner/name").mkdir(parents=True)
        with pytest.raises(FileNotFoundError, match="There is no file 'owner.name.config.json'"):
            VectorQuantize.from_pretrained("owner/name")

    def test_what_is_named_is_fetched_and_put_there(self, tmp_path, monkeypatch):
        """By huggingface_hub's own functions, of which here stand twins."""
        calls = {}

        def fetched(name, **options):
            calls["fetched"] = name, options
            return str(tmp_path)

        class Api:
            def __init__(self, token):
                calls["token"] = token

            def create_repo(self, name, private, exist_ok):
                return hub.RepoUrl(f"https://huggingface.co/{name}")

            def upload_folder(self, repo_id, folder_path, commit_message):
                calls["put"] = repo_id, sorted(path.name for path in Path(folder_path).iterdir())
                return "https://huggingface.co/owner/name/commit/1"

        monkeypatch.setattr(hub, "snapshot_download", fetched)
        monkeypatch.setattr(hub, "HfApi", Api)
        layer = VectorQuantize(2, 4)
        layer.save_pretrained(tmp_path)
        assert repr(VectorQuantize.from_pretrained("hf://owner/name", revision="main")) == repr(layer)
        assert calls["fetched"][0] == "owner/name"
        assert calls["fetched"][1]["allow_patterns"] == ["config.json", "model.safetensors"]
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(FileNotFoundError, match="There is no file 'model.safetensors' in hf://owner/name"):
            VectorQuantize.from_pretrained("hf://owner/name")
        assert layer.push_to_hub("owner/name", token="secret") == "https://huggingface.co/owner/name/commit/1"
        assert calls["put"] == ("owner/name", ["config.json", "model.safetensors"])

    @pytest.mark.parametrize("missing", ["safetensors.torch", "huggingface_hub"])
    def test_a_missing_package_is_named(self, missing, monkeypatch):
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(ImportError, match=rf"needs {missing.split('.')[0]}, .* pip install '.\[hub\]'"):
            _ = (
                VectorQuantize(2, 4).save_pretrained("x")
                if "safe" in missing
                else VectorQuantize.from_pretrained("hf://a/b")
            )


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda config: config | {"class": "Popen"}, "there is no class 'Popen'"),
            (lambda config: config | {"arguments": {"dim": 2, "codebook_size": 5}}, "size mismatch"),
            (
                lambda config: config | {"arguments": config["arguments"] | {"shell": "rm"}},
                "unexpected keyword argument 'shell'",
            ),
            (
                lambda config: config | {"arguments": config["arguments"] | {"rule": {"text": "__import__('os')"}}},
                "Unknown name '__import__'",
            ),
            (lambda config: [], "list indices"),
        ],
    )
    def test_a_configuration_of_something_else(self, change, sentence, tmp_path):
        VectorQuantize(2, 4).save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
        with pytest.raises(
            ValueError, match=r"config.json and model.safetensors are not of a module of vqtheory: .*" + sentence
        ):
            VectorQuantize.from_pretrained(tmp_path)

    def test_tensors_that_cannot_be_read(self, tmp_path):
        VectorQuantize(2, 4).save_pretrained(tmp_path)
        torch.save({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")  # a pickle
        with pytest.raises(ValueError, match=r"Cannot read '.*model.safetensors' as safetensors"):
            VectorQuantize.from_pretrained(tmp_path)

    def test_another_class_and_another_quantizer(self, tmp_path):
        VectorQuantize(2, 4).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"has a VectorQuantize: VectorQuantize.from_pretrained reads it"):
            VQVAE.from_pretrained(tmp_path)
        with pytest.raises(
            ValueError, match=r"'quantizer' parameter of VQVAE.save_pretrained must be a quantizer of vqtheory"
        ):
            VQVAE(Foreign(), **SMALL).save_pretrained(tmp_path)
        shadow = type("VectorQuantize", (VectorQuantize,), {})
        with pytest.raises(ValueError, match="whose arguments can be written"):
            shadow(2, 4).save_pretrained(tmp_path)  # which would be read as the package's own class
        with pytest.raises(ValueError, match="The 'repo' parameter of VectorQuantize.push_to_hub must be a text"):
            VectorQuantize(2, 4).push_to_hub(3)
        with pytest.raises(ValueError, match=r"'folder' parameter of VectorQuantize.save_pretrained must be"):
            VectorQuantize(2, 4).save_pretrained(tmp_path / "config.json")
