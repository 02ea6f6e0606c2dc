"""`vqtheory predict`: the law from the command line."""

import re
import sys

import pytest

from vqtheory import theory
from vqtheory.cli import app
from vqtheory.theory.prediction import RULES, Setting, predict


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
    status, out, _ = call("--num-codes", "64", "--step-size", "0.05", "--speed", "1e-5")
    assert status == 0
    assert figure(out, "critical speed") == pytest.approx(theory.critical_speed(64, 0.05), rel=1e-3)
    assert figure(out, "survivors") == figure(out, "a smaller codebook") == theory.surviving_codes(1e-5, 0.05) == 11
    assert figure(out, "a larger step size") == pytest.approx(theory.required_step_size(64, 1e-5), rel=1e-3)
    assert "out of reach, since above 1, the lesser of codes and batch size, codes jump past their latents" in out


@pytest.mark.parametrize("rule", RULES)
def test_each_cure_saves_all(rule):
    """Just beyond what is said, all codes live; just short of it, not all."""
    speed = {"vq": 1e-6, "ema": 1e-5, "adam": 6e-6, "nsvq": 0.02}[rule]
    setting, found = predict(rule, Setting(num_codes=32, speed=speed))
    assert found.survivors < 32
    for knob, where in found.cures:
        if "out of reach" in where:
            continue
        if knob.startswith("NSVQ"):
            assert float(re.search(r"up to ([\d.e-]+)", where)[1]) >= speed
            continue
        name = {"a larger step size": "step_size", "a smaller decay": "decay", "a smaller codebook": "num_codes"}[knob]
        value = float(re.search(r"\d[\d.e-]*", where.replace(",", ""))[0])
        for share, saved in ((1.002, True), (0.998, False)):
            changed = value * share if name == "step_size" else 1 - (1 - value) * share
            if name == "num_codes":
                changed = int(value) + (not saved)
            again, after = predict(rule, Setting(**_given(rule, setting) | {name: changed}))
            assert (after.survivors == again.num_codes) == saved, (knob, changed)


def _given(rule, setting):
    return {name: getattr(setting, name) for name in (*RULES[rule][1], "num_codes", "speed")}


def test_all_live_below_the_critical_speed(call):
    assert "All codes live." in call("--num-codes", "8", "--speed", "1e-6")[1]
    carried = call("--num-codes", "64", "--speed", "1e-2", "--rule", "NSVQ")[1]
    assert "All codes are carried along, most of them crowded and unused." in carried


def test_too_few_layers_are_told(call):
    out = call("--num-codes", "1024", "--dim", "64", "--speed", "1e-4")[1]
    assert "K^(1/D) is 1.1 layers: too few, and the figures mean nothing. Give --dim" in " ".join(out.split())


def test_noise_and_other_densities(call):
    noisy = call("--num-codes", "8", "--speed", "1e-5", "--steps", "1e7")[1]
    assert figure(noisy, "critical speed") == pytest.approx(theory.critical_speed(8, 0.05, steps=10**7), rel=1e-3)
    normal = call("--num-codes", "8", "--speed", "1e-5", "--density", "Gaussian(dim=1)")[1]
    assert figure(normal, "critical speed") == pytest.approx(0.05 * 0.0013852, rel=1e-3)
    assert "none is enough" in call("--num-codes", "64", "--speed", "1e-6", "--steps", "1e7")[1]


REFUSED = [
    (["--rule", "evm"], "did you mean 'ema'"),
    (["--decay", "0.9"], "The rule 'vq' has no use for --decay. Its options: --num-codes, --speed, --step-size"),
    (["--speed", "fast"], "The 'speed' parameter of predict must be a number > 0. Got 'fast'."),
    (["--num-codes", "1.5"], "The 'num_codes' parameter of predict must be an int >= 1. Got 1.5."),
    (["--density", "Gaussian(dim=2)"], "a source on the line whose density is known. Got Gaussian(dim=2)"),
    (["--num-codes", "1e30"], "The 'num_codes' parameter of predict must be an int in [1, 18446744073709551615]"),
    (["--rule", "nsvq", "--width", "0"], "The 'width' parameter of predict must be a number > 0. Got 0."),
    (["--rule", "nsvq", "--bandwidth", "x"], "The 'bandwidth' parameter of predict must be a number > 0. Got 'x'."),
    (["--step-size", "-1"], "The 'step_size' parameter of critical_speed must be a number > 0. Got -1."),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_bad_input_is_refused(call, arguments, sentence):
    given = {"--num-codes": "8", "--speed": "1e-4"} | dict(zip(arguments[::2], arguments[1::2], strict=True))
    status, _, err = call(*(text for pair in given.items() for text in pair))
    assert status == 2
    assert sentence in err


def test_what_cannot_be_cured_is_not_said_to_be(call):
    assert "NSVQ" not in call("--num-codes", "64", "--speed", "0.02")[1]
    assert "none is slow enough" in call("--num-codes", "64", "--speed", "1e-2", "--step-size", "1", "--steps", "1e7")[1]
    small_batch = call("--num-codes", "64", "--speed", "1e-5", "--batch-size", "2")[1]
    assert "out of reach, since above 2, the lesser" in small_batch
    assert "No prediction" in call("--num-codes", "8", "--speed", "1e-5", "--step-size", "2000")[1]
    assert "No prediction" in call("--num-codes", "64", "--speed", "1e-4", "--rule", "adam", "--step-size", "1e-3")[1]


def test_one_code_and_slow_adam(call):
    one = call("--num-codes", "1", "--speed", "1e-2")[1]
    assert "All codes live." in one
    assert "mean nothing" not in one
    assert "All codes live." in call("--rule", "adam", "--num-codes", "8", "--speed", "1e-9")[1]
