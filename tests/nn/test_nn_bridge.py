"""The bridge: a recorded training played again by the simulator."""

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from vqtheory.nn.training.config import TrainingConfig  # noqa: E402
from vqtheory.nn.training.loop import resume, train  # noqa: E402
from vqtheory.nn.training.replay import replay  # noqa: E402
from vqtheory.nn.training.run import TrainingRun  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The codebook of .* codes starts on")  # of a few latents
TINY = TrainingConfig(size=16, codes=32, dim=8, batch_size=4, steps=40, latents=(10, 40), records=1, lr=2e-3)
SGD = replace(TINY, codebook_optimizer="sgd", codebook_lr=3.0)  # eta = 3/4
FROM_THE_START = replace(TINY, latents=(0, 20), steps=20)


def trained(config, folder, **options):
    train(config, save=folder, progress=False, **options)
    return folder


class TestUnderSGD:
    @pytest.mark.parametrize("rule", ["vq", "NSVQ(form='gaussian')"])
    def test_usage_is_that_of_the_training_within_two_percent(self, rule, tmp_path):
        """And the codes are the same up to the rounding of float32 in thirty updates."""
        found = replay(trained(SGD, tmp_path, rule=rule))
        assert found.window == (10, 40)
        assert abs(found.usage - found.replayed_usage) <= 0.02 * found.usage
        assert found.largest_difference < 1e-4
        assert found.agreement.min() > 0.98
        assert found.hits.sum() == found.replayed_hits.sum() == 30 * 4 * 16

    def test_it_is_the_training_s_own_usage(self, tmp_path):
        """The last record counts the hits of the same updates."""
        config = replace(SGD, codes=200, steps=30, latents=(20, 30), records=3)
        found = replay(trained(config, tmp_path))
        assert 0 < found.usage < 1
        assert found.usage == TrainingRun.load(tmp_path).rows[-1]["usage"]

    @pytest.mark.parametrize(
        "options",
        [
            {"rule": "cosine", "codebook_lr": 0.4},
            {"codebook_lr": "exponential(3.0, half_life=4)", "lr_decay": 0.7},
            {"rule": "NSVQ(bandwidth=exponential(1.0, half_life=10))"},
            {"codebook_dim": 3},
            {"rule": "VQ(start='published')", "codebook_lr": 16.0},
            {"clip": 0.01, "beta": 1.0},
            {"amp": True, "codebook_dim": 4},
        ],
        ids=str,
    )
    def test_other_trainings(self, options, tmp_path):
        found = replay(trained(SGD, tmp_path, **options))
        assert found.largest_difference < 1e-4
        assert found.usage == found.replayed_usage

    def test_the_rate_falls_from_epoch_to_epoch(self, tmp_path, monkeypatch):
        """With a wrong rate it is not the training: an epoch is one of the training's, not of the window's."""
        pixels = np.random.default_rng(0).integers(0, 256, (30, 2, 2, 3), np.uint8)
        (tmp_path / "images").mkdir()
        for row, image in enumerate(pixels):
            Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC).save(tmp_path / "images" / f"{row:02}.png")
        folder = trained(SGD, tmp_path / "run", data=str(tmp_path / "images"), lr_decay=0.8)  # 6 updates to an epoch
        assert TrainingRun.load(folder).epoch == 6
        assert replay(folder).largest_difference < 1e-4
        monkeypatch.setattr("vqtheory.nn.training.replay._rates", lambda unit, run: unit * run.config.codebook_lr)
        found = replay(folder)
        assert found.largest_difference > 0.01
        assert 10 < found.first_difference < 40


class TestFromTheStart:
    @pytest.mark.parametrize("rule", ["vq", "ema", "nsvq", "EMA(decay=0.9, smoothing=1e-3, start='published')"])
    def test_moments_and_counts_begin_at_nothing(self, rule, tmp_path):
        found = replay(trained(FROM_THE_START, tmp_path, rule=rule))
        assert found.largest_difference < 1e-4
        assert found.usage == found.replayed_usage

    @pytest.mark.parametrize("optimizer", ["adam", "sgd"])
    @pytest.mark.parametrize("rule", ["simvq", "TransVQ(width=8)", "TransVQ(width=8, start='published')"])
    def test_maps_are_drawn_by_the_seed(self, rule, optimizer, tmp_path):
        config = replace(FROM_THE_START, seed=3, codebook_optimizer=optimizer, codebook_lr=1e-3)
        found = replay(trained(config, tmp_path, rule=rule))
        assert found.largest_difference < 1e-4
        assert abs(found.usage - found.replayed_usage) <= 0.02 * found.usage


def test_it_is_told_in_one_line(tmp_path):
    found = replay(trained(SGD, tmp_path))
    told = str(found)
    assert told.startswith("Updates 10 to 40: ")
    assert f"{(found.hits > 0).sum()} of 32 codes used in the training" in told
    if found.first_difference is None:
        assert "the same codes in all updates" in told
    worse = found._replace(agreement=np.where(np.arange(30) == 7, 0.5, 1.0))
    assert worse.first_difference == 17
    assert "until update 17, and 98.33% of all" in str(worse)


REFUSED = [
    ({"latents": None}, "must be a training that keeps latents=(start, stop). Got"),
    ({"rule": "ema"}, "one whose window starts at update 0, since its counts are not recorded. Got (10, 40)."),
    ({"rule": "simvq"}, "since the parameters of its map are not recorded. Got (10, 40)."),
    ({"codebook_optimizer": "adam"}, "since the moments of Adam are not recorded. Got (10, 40)."),
    (
        {"rule": "NSVQ(bandwidth=1.0)", "codebook_optimizer": "adam"},
        "with codebook_optimizer='sgd': under Adam there are FVQ, GRITVQ, VQ, GraphVQ, SimVQ and",
    ),
    (
        {"rule": "NSVQ(form='propagate')"},
        "how far each latent has moved, which is not recorded. Got NSVQ(form='propagate').",
    ),
    ({"estimator": "code-gradient"}, "one whose codes the decoder does not move. Got estimator='code-gradient'."),
    ({"replace_every": 5}, "without replacement, which is no part of a rule. Got replace_every=5."),
]


class TestRefusals:
    @pytest.mark.parametrize(("options", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
    def test_what_no_rule_moves(self, options, sentence, tmp_path):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            replay(trained(SGD, tmp_path, **options))

    def test_files_that_are_missing_or_of_another_training(self, tmp_path):
        with pytest.raises(ValueError, match="holds no run"):
            replay(tmp_path / "none")
        train(SGD, save=tmp_path, progress=False, steps=40, latents=(30, 40))
        whole = (tmp_path / "latents.npy").read_bytes()
        (tmp_path / "latents.npy").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(ValueError, match=r"latents.npy is damaged or altered: its SHA-256 is not that of window.json"):
            replay(tmp_path)
        (tmp_path / "latents.npy").unlink()
        with pytest.raises(ValueError, match=r"latents.npy is missing"):
            replay(tmp_path)
        manifest = (tmp_path / "window.json").read_text()
        short = np.zeros((9, 64, 8), np.float32)
        np.save(tmp_path / "latents.npy", short)
        digest = hashlib.sha256((tmp_path / "latents.npy").read_bytes()).hexdigest()
        forged = re.sub(r'("latents.npy": ")[0-9a-f]+', rf"\g<1>{digest}", manifest)
        for text, sentence in (
            (forged, r"with codes of shape \(10, 32, 8\). Got latents of shape \(9, 64, 8\)"),
            ("[]", "window.json is damaged: it is not the manifest of a window"),
            (manifest.replace("30", "31"), r"window.json is of updates \[31, 40\], and the training's are \[30, 40\]"),
        ):
            (tmp_path / "window.json").write_text(text)
            with pytest.raises(ValueError, match=sentence):
                replay(tmp_path)

    def test_a_window_that_is_not_over(self, tmp_path, monkeypatch):
        monkeypatch.setattr("vqtheory.nn.training.loop._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

        def stop(step, row):
            if step == 30:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(SGD, save=tmp_path, records=4, progress=False, on_record=stop)
        with pytest.raises(
            ValueError, match=r"window.json is missing: the window is whole after update 40. Got 20 updates."
        ):
            replay(tmp_path)
        resume(tmp_path, progress=False)
        assert replay(tmp_path).largest_difference < 1e-4
