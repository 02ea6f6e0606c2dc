"""Quantizers of vector-quantize-pytorch in a training: what is read off them, and that nothing of a training is lost."""

import numpy as np
import pytest
import torch
from PIL import Image

import vqtheory as vq
from vqtheory.nn.evaluation import evaluate
from vqtheory.nn.ops.search import assign
from vqtheory.nn.references import BSQ, FSQ, LFQ, ExpiringEMA, ReferenceQuantize
from vqtheory.nn.training import loop
from vqtheory.nn.training.config import TrainingConfig
from vqtheory.nn.training.loop import resume, train
from vqtheory.nn.training.run import TrainingRun

pytestmark = [
    pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
KINDS = {FSQ((4, 3, 3)): 36, LFQ(): 32, BSQ(): 32, ExpiringEMA(): 32}
TINY = {"dim": 4, "size": 16, "batch_size": 4, "records": 2, "probe_every": 2, "progress": False}


@pytest.fixture(autouse=True, scope="module")
def _images(tmp_path_factory):
    """80 images of 16x16, 72 of them to train on."""
    folder = tmp_path_factory.mktemp("images")
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (80, 4, 4, 3), np.uint8)):
        Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VQTHEORY_DATA", str(folder))
        yield


@pytest.mark.parametrize(("kind", "codes"), KINDS.items(), ids=lambda value: getattr(value, "key", value))
def test_a_latent_is_given_the_code_that_it_is_nearest_to(kind, codes):
    """In the space of `project`: so distortion and drift mean what they mean for a codebook."""
    layer = ReferenceQuantize(kind, 4, codes)
    latents = 2 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    layer(latents)  # a start by k-means
    layer.eval()
    quantized, indices, loss, info = layer(latents)
    assert torch.equal(assign(layer.project(latents), layer.codebook), indices.reshape(-1))
    error = layer.project(latents) - layer.codebook[indices.reshape(-1)]
    torch.testing.assert_close(info.distortion, error.square().sum(dim=1).mean())
    assert info.hits.sum() == 128
    assert quantized.shape == latents.shape
    assert loss.ndim == 0


@pytest.mark.parametrize(("kind", "codes"), KINDS.items(), ids=lambda value: getattr(value, "key", value))
def test_a_training_is_kept_and_goes_on_to_the_same_bits(kind, codes, tmp_path):
    whole = train(rule=kind, codes=codes, steps=4, seed=3, **TINY)
    half = train(rule=repr(kind), codes=codes, steps=2, seed=3, save=tmp_path, **TINY)
    assert half.config.rule == kind
    resumed = resume(tmp_path, 4, progress=False)
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    found = evaluate(resumed, images=8, progress=False)
    assert 0 < found["used"] <= codes
    assert np.isfinite(found["psnr"])
    assert 0 < vq.diagnose(resumed).alive.sum() <= codes


def test_what_does_not_fit_is_refused():
    for options, message in (
        ({"rule": "fsq", "codes": 1024}, "must be 1,000, the product of FSQ's levels"),
        ({"rule": "lfq", "codes": 1000}, "must be a power of two for LFQ, of which 1,024 is the nearest. Got 1000."),
        ({"rule": "lfq", "codes": 1}, "must be a power of two for LFQ, of which 2 is the nearest. Got 1."),
        ({"rule": "bsq", "codes": 700}, "must be a power of two for BSQ, of which 512 is the nearest. Got 700."),
        (
            {"rule": "fsq", "codes": 1000, "estimator": "rotation"},
            "'estimator' parameter of train must be 'straight-through'",
        ),
        ({"rule": "expiring-ema", "transport": 1}, "'transport' parameter of train must be None with a quantizer"),
        ({"rule": "fsq", "codes": 1000, "transport_images": 5}, "'transport_images' parameter of train must be None with a"),
        (
            {"rule": "lfq", "replace_policy": "count"},
            "'replace_policy' parameter of train must be 'random' with a quantizer",
        ),
        ({"replace_policy": "split"}, "'replace_policy' parameter of train must be 'random' without replace_every"),
        ({"rule": "FSQ(levels=8)", "codes": 8}, "'levels' parameter of FSQ must be a sequence of int. Got 8"),
        ({"rule": "ExpiringEMA(decay=1)"}, "'decay' parameter of ExpiringEMA must be a number >= 0 and < 1"),
        ({"rule": "SOM(grid=(4, 4))", "codes": 15}, r"needs 4 x 4 = 16 codes"),
        ({"rule": "FSQ(levels=[2, 5])", "codes": 10}, "'levels' parameter of FSQ must be an int >= 3"),
        ({"rule": "EMA()", "transport_images": 4}, "'transport_images' parameter of train must be None without transport"),
        ({"rule": "expiring-emma"}, "did you mean 'expiring-ema'"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainingConfig(**options)
    assert TrainingConfig.parse(repr(TrainingConfig("fsq", codes=1000))) == TrainingConfig(FSQ(), codes=1000)


def test_validation_images_are_left_out_of_the_training_and_measured():
    run = train(rule="ema", codes=8, steps=3, validation=40, **TINY)
    assert run.num_images == 32
    assert run.epoch == 0
    assert train(rule="ema", codes=8, steps=9, validation=40, **TINY).epoch == 1
    assert evaluate(run, part="validation", progress=False)["images"] == 40
    with pytest.raises(ValueError, match="'part' parameter of evaluate must be 'test' where a training has no validation"):
        evaluate(train(rule="ema", codes=8, steps=1, **TINY), part="validation", progress=False)
    with pytest.raises(ValueError, match="'validation' parameter of train must be below"):
        train(rule="ema", codes=8, steps=1, validation=10**6, **TINY)


@pytest.mark.parametrize("rule", ["vq", "ema"])
def test_a_deferred_start_is_on_latents_of_the_trained_encoder(rule, tmp_path, monkeypatch):
    """No code is hit before, and a run that was stopped there goes on to the same bits."""
    options = TINY | {"rule": rule, "codes": 8, "quantize_from": 4, "transport": 1, "lr": 1e-2, "steps": 6, "records": 3}
    whole = train(**options)
    assert whole.history["used"].to_list()[:2] == [0, 0]
    assert whole.history["used"][2] > 0
    assert whole.history["quantization"][1] == 0
    assert whole.quantizer.step == 2  # whose clock begins then
    looks, early = whole.monitor.recording, train(**options | {"quantize_from": 0, "steps": 1}).monitor.recording
    assert looks.steps.tolist() == [4, 6]  # what was before no codebook has met
    assert np.abs(looks.latents[0] - early.latents[0]).max() > 0.01

    def stop(step, row):
        if step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    with pytest.raises(KeyboardInterrupt):
        train(**options, save=tmp_path, on_record=stop)
    assert TrainingRun.load(tmp_path).step == 4
    resumed = resume(tmp_path, progress=False)
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="'quantize_from' parameter of train must be below steps = 4"):
        TrainingConfig(steps=4, quantize_from=4)


def test_a_frozen_encoder_stays_and_the_rest_goes_on(tmp_path):
    """A run that was stopped goes on to the same bits, and Adam's averages of the encoder are left as they are."""
    options = TINY | {"rule": "nsvq", "codes": 8, "lr": 1e-2, "steps": 6, "records": 3, "freeze_encoder_at": 3}
    whole, half = train(**options), train(**options | {"steps": 3}, save=tmp_path)
    pairs = zip(whole.model.encoder.parameters(), half.model.encoder.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    pairs = zip(whole.model.decoder.parameters(), half.model.decoder.parameters(), strict=True)
    assert not any(torch.equal(one, other) for one, other in pairs)
    assert not torch.equal(whole.quantizer.codebook, half.quantizer.codebook)
    resumed = resume(tmp_path, steps=6, progress=False)
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_start_gathers_batches_until_there_are_four_latents_to_a_code():
    """At 16 latents to an image and 4 images to a batch, 128 codes take 8 batches."""
    run = train(rule="vq", codes=128, steps=1, lr=1e-12, **TINY)
    assert len(run.quantizer.codebook.unique(dim=0)) == 128
    with pytest.raises(ValueError, match="'transport_images' parameter of train must be at most"):
        train(rule="vq", codes=8, steps=1, transport=1, transport_images=10**6, **TINY)
