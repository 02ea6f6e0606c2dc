"""EMA's threshold, NSVQ's capture and its bias: the cheap claims hold, and wrong laws do not."""

from dataclasses import replace

import pytest

from vqtheory.claims import Range, all_claims
from vqtheory.claims.laws import averaged, bias, capture, ema
from vqtheory.claims.table import table
from vqtheory.claims.threshold import threshold
from vqtheory.theory import half_way_time, steady_speed


@pytest.mark.parametrize(
    "key",
    ["ema-threshold", "nsvq-narrow-bandwidth", "nsvq-capture-speed-4d", "nsvq-recovers", "vq-does-not-recover",
     "nsvq-recovers-from-ties", "bias-bound", "bias-of-the-edge", "bias-falls-faster-than-powers", "bias-linear-in-tau",
     "bias-first-order", "bias-simulated-gaussian-0.2", "bandwidth-that-stays-contracts", "nsvq-loses-no-code",
     "nsvq-uses-all-after-any-drift", "nsvq-rides-steadily", "nsvq-waits-for-nothing", "nsvq-rests-off-the-centroid",
     "nsvq-bias-falls-with-kappa", "nsvq-bias-at-every-size"],
)  # fmt: skip
def test_the_cheap_claims_hold(key):
    verdict = all_claims()[key].verify("quick", seed=1)
    assert verdict.outcome == "holds", table([verdict])


def outcome(key):
    return all_claims()[key].verify("quick", seed=1).outcome


def test_an_ema_law_without_its_offset_is_refuted(monkeypatch):
    monkeypatch.setattr(ema, "ema_critical_speed", lambda num_codes, decay: (1 - decay) / (2 * num_codes**2))
    ratios = [ema.sampled_threshold(4, seed) for seed in (0, 1)]
    claim = replace(all_claims()["ema-threshold"], experiment=lambda effort, seed: ratios)
    assert claim.verify().outcome == "refuted"


def test_the_limit_of_existence_is_refuted_as_emas_threshold():
    """It is at 1 on the claim's axis."""
    assert replace(all_claims()["ema-counts-lag"], predict=Range(0.9, 1.1)).verify().outcome == "refuted"


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_another_capture_speed_is_refuted(monkeypatch, factor):
    true = capture.capture_speed
    monkeypatch.setattr(capture, "capture_speed", lambda *args, **cloud: factor * true(*args, **cloud))
    assert outcome("nsvq-capture-speed-4d") == "refuted"
    assert capture.on_the_line(8, 0.3, seed=0) == pytest.approx(1.5 if factor < 1 else 0.7, abs=0.01)


def test_faster_than_the_capture_speed_nothing_is_recovered(monkeypatch):
    drifts = capture.drifts("quick")
    monkeypatch.setattr(capture, "drifts", lambda effort: [(k, s, v * 1.1 / 0.9) for k, s, v in drifts])
    assert outcome("nsvq-recovers") == "refuted"


def test_a_power_law_is_refuted_as_the_gaussian_bias(monkeypatch):
    monkeypatch.setattr(bias, "distance", lambda form, bandwidth: bandwidth**4)
    assert outcome("bias-falls-faster-than-powers") == "refuted"
    assert outcome("bias-linear-in-tau") == "refuted"


def test_a_bias_without_its_exponential_is_refuted(monkeypatch):
    monkeypatch.setattr(bias, "edge_bias", lambda bandwidth, radius, reach: 0.5 * bandwidth**2)
    assert outcome("bias-of-the-edge") == outcome("bias-first-order") == "refuted"


def test_another_displacement_is_refuted(monkeypatch):
    true = bias.displacement
    monkeypatch.setattr(bias, "displacement", lambda form, bandwidth: 1.1 * true(form, bandwidth))
    assert outcome("bias-simulated-gaussian-0.2") == "refuted"


def test_other_laws_of_the_normalised_form_are_refuted(monkeypatch):
    """A lag of v / (1 - gamma), half the memory, and a kernel without width."""
    monkeypatch.setattr(averaged, "largest_lag", lambda speed, decay: speed / (1 - decay))
    monkeypatch.setattr(averaged, "half_way_time", lambda decay: half_way_time(decay, remembered=5))
    monkeypatch.setattr(averaged, "steady_speed", lambda tau, decay, variance: steady_speed(tau, decay))
    for key in ("nsvq-loses-no-code", "nsvq-waits-for-nothing", "nsvq-rides-steadily"):
        assert outcome(key) == "refuted"


def test_a_strength_that_grows_with_the_codebook_contracts_it():
    assert averaged.excess_distortion(64, seed=1, strength=64 * 0.01) > 1.05  # where the claim allows 1.01


def test_bisection_ends_next_to_a_threshold_and_next_to_an_end():
    assert threshold(lambda speed: speed < 0.3, 0.0, 1.0, halvings=10) == pytest.approx(0.3, abs=2**-11)
    assert threshold(lambda speed: True, 0.0, 1.0, halvings=10) == pytest.approx(1, abs=2**-11)
