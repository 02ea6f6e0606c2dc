"""One door to the laws: `predict` by object, by name and from the command line."""

import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import vqtheory as vq
from vqtheory import rules, theory
from vqtheory.cli import app
from vqtheory.schedules import exponential
from vqtheory.theory import answers
from vqtheory.theory import prediction as door
from vqtheory.theory.answers import Prediction
from vqtheory.theory.cures import Cure, larger_step, slower
from vqtheory.theory.prediction import LAWS, Law, predict

OPTION = {"step size": "step_size", "decay": "decay", "codes": "num_codes", "speed": "speed"}  # of a knob


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vqtheory", "predict", *arguments])
        status = app.main()
        return status, *capsys.readouterr()

    return run


def figure(text, label):
    return float(re.search(rf"{label}\s+(?:at (?:most|least) )?([\d.e,-]+)", text)[1].replace(",", ""))


def test_says_what_the_law_says(call):
    status, out, _ = call("--codes", "64", "--step-size", "0.05", "--speed", "1e-5")
    assert status == 0
    assert figure(out, "critical speed") == pytest.approx(theory.critical_speed(64, 0.05), rel=1e-3)
    assert figure(out, "survivors") == figure(out, "a smaller codebook") == theory.surviving_codes(1e-5, 0.05) == 11
    assert figure(out, "a larger step size") == pytest.approx(theory.required_step_size(64, 1e-5), rel=1e-3)
    helps, not_so = out.split("What would not help:")
    assert "a smaller codebook" in helps
    assert "out of reach, since above 1, the lesser of codes and batch size, codes jump past their latents" in not_so
    assert out == f"{predict('vq', num_codes=64, step_size=0.05, speed=1e-5)}\n"


@pytest.mark.parametrize(
    ("rule", "name", "hyperparameters"),
    [
        (rules.VQ(step_size=0.1), "vq", {"step_size": 0.1}),
        (rules.VQ(step_size=exponential(0.2, half_life=100)), "vq", {"step_size": 0.1}),
        (rules.EMA(decay=0.9), "ema", {"decay": 0.9}),
        (rules.TrainedVQ(step_size=1e-6), "adam", {"step_size": 1e-6}),
        (rules.TrainedVQ(0.01, "sgd", momentum=0.9), "sgd", {"step_size": 0.01, "momentum": 0.9}),
        (rules.NSVQ(decay=0.8), "nsvq", {"decay": 0.8}),
        (rules.NSVQ(0.1, bandwidth=0.3, strength=0.4), "nsvq", {"step_size": 0.1, "bandwidth": 0.3, "strength": 0.4}),
    ],
)
def test_by_object_by_text_and_by_name_agree(rule, name, hyperparameters):
    question = {"num_codes": 64, "speed": 4e-3, "width": 2.0, "at": 100}
    answer = predict(rule, **question)
    assert answer == predict(name, **question, **hyperparameters) == predict(repr(rule), **question)
    assert {name: answer.asked[name] for name in hyperparameters} == pytest.approx(hyperparameters)
    assert answer.asked["width"] == 2.0


def test_a_keyword_takes_the_place_of_the_rule_s_own():
    assert predict(rules.VQ(0.9), num_codes=8, speed=1e-5, step_size=0.1) == predict(rules.VQ(0.1), num_codes=8, speed=1e-5)


def test_a_kernel_without_strength_is_plain_vq():
    kernel = predict(rules.NSVQ(0.05, strength=0.0), num_codes=8, speed=1e-5)
    assert kernel.critical_speed == theory.critical_speed(8, 0.05)


def test_momentum_is_a_longer_step():
    """Critical speed and survivors of eta / (1 - mu); the cure is in the optimizer's own unit."""
    momentum = predict(rules.TrainedVQ(0.01, "sgd", momentum=0.5), num_codes=8, speed=4e-5, batch_size=64)
    plain = predict(rules.VQ(0.02), num_codes=8, speed=4e-5, batch_size=64)
    assert (momentum.critical_speed, momentum.survivors) == (plain.critical_speed, plain.survivors)
    needed = [next(cure for cure in answer.cures if cure.knob == "step size") for answer in (momentum, plain)]
    assert needed[0].value == pytest.approx(needed[1].value / 2)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (rules.TransVQ(), "TransVQ has no law: simulate it. A map moves all its codes together"),
        ("transvq", "TransVQ has no law: simulate it."),
        ("cosine", "CosineVQ has no law: simulate it."),
        (rules.NSVQ(form="softmax"), "NSVQ(form='softmax') has no law: simulate it."),
        (rules.VQ(clock="wins"), "VQ(clock='wins') has no law: simulate it."),
    ],
)
def test_a_rule_without_a_law_says_so(call, rule, sentence):
    answer = predict(rule, num_codes=64, speed=1e-5)
    assert not answer.meaningful
    assert np.isnan([answer.critical_speed, answer.survivors]).all()
    assert answer.cures == ()
    assert answer.validity.startswith(sentence)
    status, out, _ = call("--codes", "64", "--speed", "1e-5", "--rule", rule if isinstance(rule, str) else repr(rule))
    assert status == 0
    assert f"No prediction. {sentence}" in " ".join(out.split())


@dataclass(frozen=True, repr=False)
class Fake(rules.Rule):
    """A rule of someone's own."""

    pace: Any = 0.5
    key = "fake"

    def advance(self, state, batches):
        raise NotImplementedError


def _fake_answer(num_codes, speed, pace, width):
    critical = pace * width / num_codes
    cures = (slower(speed, critical), Cure("pace", "at least", speed * num_codes / width)) if speed > critical else ()
    return Prediction(critical, min(num_codes, int(pace * width / speed)), cures, "Made up.")


def test_a_row_is_all_that_a_law_needs(call, monkeypatch):
    row = Law("fake", "A fake", Fake, _fake_answer, {"pace": 1.0, "width": 1.0}, ("pace",))
    monkeypatch.setattr(door, "LAWS", [*LAWS, row])
    assert predict(Fake(), num_codes=10, speed=0.1).survivors == 5
    assert predict("fake", num_codes=10, speed=0.1).survivors == 10
    assert predict("fake", num_codes=10, speed=0.1, pace=0.2).cures[1].value == 1.0
    out = call("--codes", "20", "--speed", "0.1", "--rule", "fake")[1]
    assert "A fake: 20 codes, latents that move by 0.1 per update; pace 1.0, width 1.0" in out
    assert "a larger pace         at least 2" in out
    assert (
        "has no use for --dim. Its options: --codes, --speed, --pace, --width"
        in call("--codes", "20", "--speed", "0.1", "--rule", "fake", "--dim", "2")[2]
    )

    probe = np.linspace(0, 1, 1001)[:, None] + 0.1 * np.arange(3)[:, None, None]
    diagnosis = vq.diagnose(probe, np.concatenate([np.linspace(0, 1, 10), [50, 60]])[:, None], rule=Fake())
    width = np.sqrt(12 * probe[0].var())
    assert diagnosis.laws[0].critical_speed == pytest.approx(0.5 * width / 12)
    assert [cure.knob for cure in diagnosis.cures] == ["speed", "pace"]
    assert diagnosis.forecast.validity == "Made up."
    wide = np.random.default_rng(0).random((2, 500, 2))
    assert "known in one dimension only" in vq.diagnose(wide, np.zeros((3, 2)), rule=Fake()).forecast.validity


def test_no_drift_loses_a_code_of_the_normalised_form():
    for speed in (1e-6, 1.0, 1e6):
        answer = predict("nsvq", num_codes=1024, speed=speed, decay=0.5)
        assert (answer.survivors, answer.critical_speed, answer.cures) == (1024, np.inf, ())
        assert f"never farther than {11 * speed:.3g} from them" in answer.validity
        assert f"Up to {theory.ema_critical_speed(1024, 0.5):.3g}, EMA's" in answer.validity


@pytest.mark.parametrize("law", [law for law in LAWS if law.answer is not answers.averaged], ids=lambda law: law.title)
def test_each_cure_saves_all(law):
    """Just beyond what is said, all codes live; just short of it, not all."""
    speed = {"vq": 1e-6, "sgd": 1e-6, "ema": 1e-5, "adam": 6e-6, "nsvq": 0.02}[law.name]
    question = {"num_codes": 32, "speed": speed} | ({"step_size": 0.05} if law.name == "nsvq" else {})
    answer = predict(law.name, **question)
    assert answer.survivors < 32
    cures = [cure for cure in answer.cures if cure.reachable]
    assert len(cures) >= 2
    for cure in cures:
        if cure.knob == "bandwidth":
            moved_by_kernel = predict("nsvq", **question, bandwidth=cure.value)
            assert moved_by_kernel.survivors == 32
            assert moved_by_kernel.carried
            continue
        for share, saved in ((1.002, True), (0.998, False)):
            value = cure.value * (share if cure.bound == "at least" else 2 - share)
            if cure.knob == "decay":
                value = 1 - (1 - cure.value) * share
            if cure.knob == "codes":
                value = cure.value + (not saved)
            changed = question | {OPTION[cure.knob]: value}
            assert (predict(law.name, **changed).survivors == changed["num_codes"]) == saved, cure


def test_a_cure_is_data_and_reads_as_a_sentence():
    cure = Cure("step size", "at least", 0.144)
    assert (cure.change, cure.extent, str(cure)) == (
        "a larger step size",
        "at least 0.144",
        "a larger step size, at least 0.144",
    )
    far = larger_step(2.0, 1.0, "above 1 codes jump")
    assert not far.reachable
    assert str(far) == "a larger step size, at least 2: out of reach, since above 1 codes jump"
    assert str(slower(2e-3, 1e-3)) == "a slower encoder, at most 0.001 per update: 2 times slower"
    never = slower(1e-3, 0.0)
    assert np.isnan(never.value)
    assert (never.reachable, never.extent) == (False, "none is slow enough: noise alone loses a code")
    with pytest.raises(AttributeError):
        cure.value = 1.0
    assert str(Cure("temperature", "at most", 0.5)) == "a smaller temperature, at most 0.5"


def test_all_live_below_the_critical_speed(call):
    assert "All codes live." in call("--codes", "8", "--speed", "1e-6")[1]
    carried = call("--codes", "64", "--speed", "1e-2", "--rule", "NSVQ", "--bandwidth", "1")[1]
    assert "The kernel carries all codes, most of them crowded and unused." in carried


def test_too_few_layers_are_told(call):
    out = call("--codes", "1024", "--dim", "64", "--speed", "1e-4")[1]
    assert "K^(1/D) is 1.1 layers: too few, and the figures mean nothing. Give dim" in " ".join(out.split())
    assert not predict("vq", num_codes=1024, dim=64, speed=1e-4).meaningful


def test_noise_and_other_densities(call):
    noisy = call("--codes", "8", "--speed", "1e-5", "--steps", "1e7")[1]
    assert figure(noisy, "critical speed") == pytest.approx(theory.critical_speed(8, 0.05, steps=10**7), rel=1e-3)
    normal = call("--codes", "8", "--speed", "1e-5", "--density", "Gaussian(dim=1)")[1]
    assert figure(normal, "critical speed") == pytest.approx(0.05 * 0.0013852, rel=1e-3)
    assert "density Gaussian(dim=1), direction 1" in normal
    assert "none is enough" in call("--codes", "64", "--speed", "1e-6", "--steps", "1e7")[1]


def test_weight_decay_is_left_out_and_it_says_so():
    answer = predict(rules.TrainedVQ(1e-5, weight_decay=0.1), num_codes=8, speed=1e-6)
    assert answer.validity.endswith("Weight decay is a drift of its own, which this leaves out: see weight_decay_speed.")


REFUSED = [
    (["--rule", "evm"], "did you mean 'ema'"),
    (
        ["--rule", "Gaussian(dim=1)"],
        "'rule' parameter of predict must be a rule such as VQ(step_size=0.05), or its name.",
    ),
    (["--decay", "0.9"], "The rule 'vq' has no use for --decay. Its options: --codes, --speed, --step-size"),
    (["--speed", "fast"], "The 'speed' parameter of predict must be a number > 0. Got 'fast'."),
    (["--codes", "1.5"], "The 'num_codes' parameter of predict must be an int >= 1. Got 1.5."),
    (["--density", "Gaussian(dim=2)"], "a source in one dimension whose density is known. Got Gaussian(dim=2)"),
    (["--codes", "1e30"], "The 'num_codes' parameter of predict must be an int in [1, 18446744073709551615]"),
    (["--rule", "nsvq", "--width", "0"], "The 'width' parameter of predict must be a number > 0. Got 0."),
    (["--rule", "nsvq", "--bandwidth", "x"], "The 'bandwidth' parameter of predict must be a number > 0. Got 'x'."),
    (["--step-size", "-1"], "The 'step_size' parameter of critical_speed must be a number > 0. Got -1."),
    (["--rule", "sgd", "--momentum", "1"], "The 'momentum' parameter of predict must be a number >= 0 and < 1. Got 1."),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_bad_input_is_refused(call, arguments, sentence):
    given = {"--codes": "8", "--speed": "1e-4"} | dict(zip(arguments[::2], arguments[1::2], strict=True))
    status, _, err = call(*(text for pair in given.items() for text in pair))
    assert status == 2
    assert sentence in err


def test_latents_as_they_drifted(call, tmp_path):
    """A file of latents or a Monitor's recording in place of a speed; the answer is that of `which_codebook`."""
    x = np.random.default_rng(0).standard_normal((400, 2))
    frames, file = np.stack([x, x + 1e-3]), tmp_path / "latents.npy"
    np.save(file, frames)
    status, out, _ = call("--codes", "16", "--latents", str(file), "--every", "10")
    assert (status, out) == (0, f"{theory.which_codebook(frames, 16, every=10)}\n")
    diagnosis = vq.diagnose(frames, x[:4], every=10)
    diagnosis.recording.save(tmp_path / "seen.npz")
    assert call("--codes", "16", "--latents", str(tmp_path / "seen.npz"))[1] == out
    assert "leave out --speed beside" in call("--codes", "16", "--latents", str(file), "--speed", "1")[2]
    assert "needs --speed" in call("--codes", "16")[2]


def test_what_cannot_be_cured_is_not_said_to_be(call):
    assert "NSVQ" not in call("--codes", "64", "--speed", "0.02")[1]
    alone = predict("vq", num_codes=64, speed=0.02).cures[2]
    assert (alone.knob, alone.value, alone.reachable) == ("codes", 1, False)
    assert "none is slow enough" in call("--codes", "64", "--speed", "1e-2", "--step-size", "1", "--steps", "1e7")[1]
    small_batch = call("--codes", "64", "--speed", "1e-5", "--batch-size", "2")[1]
    assert "out of reach, since above 2, the lesser" in small_batch
    assert "No prediction" in call("--codes", "8", "--speed", "1e-5", "--step-size", "2000")[1]
    assert "No prediction" in call("--codes", "64", "--speed", "1e-4", "--rule", "adam", "--step-size", "1e-3")[1]


def test_one_code_and_slow_adam(call):
    one = call("--codes", "1", "--speed", "1e-2")[1]
    assert "All codes live." in one
    assert "mean nothing" not in one
    assert "All codes live." in call("--rule", "adam", "--codes", "8", "--speed", "1e-9")[1]
