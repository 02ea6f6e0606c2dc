"""diagnose: what was seen of a codebook, against the laws and against simulation."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vqtheory as vq
from vqtheory import rules, streams, theory
from vqtheory.diagnosis.causes import StuckCodes, WeightDecay
from vqtheory.diagnosis.diagnosis import diagnose
from vqtheory.diagnosis.forecast import Forecast
from vqtheory.diagnosis.recording import Recording
from vqtheory.diagnosis.replay import own_rule
from vqtheory.schedules import exponential
from vqtheory.theory.cures import Cure


def drifting(speed=1e-4, dim=1, width=1.0, times=20, every=100, num=600, seed=0):
    """A probe of a cube that moves along its first axis."""
    probe = width * np.random.default_rng(seed).random((num, dim))
    return probe + every * speed * np.arange(times)[:, None, None] * np.eye(dim)[0]


def grid(num):
    return (np.arange(num)[:, None] + 0.5) / num


class TestSimulated:
    @pytest.mark.parametrize(("rule", "speed"), [(rules.VQ(0.1), 1e-5), (rules.VQ(0.1), 1e-4), (rules.EMA(0.99), 2e-5)])
    def test_predicts_what_lives(self, rule, speed):
        stream = streams.Stream(streams.Uniform(dim=1), streams.Translation(speed=speed))
        run = vq.simulate(rule, stream, codes=32, steps=int(3 / speed), batch_size=64, progress=False)
        diagnosis = diagnose(run)
        assert abs(diagnosis.predicted[-1] - diagnosis.alive.sum()) <= 1  # codes are whole
        assert diagnosis.recording.motion.speed == pytest.approx(speed)

    @pytest.mark.parametrize(("sides", "axis"), [((1, 0.3), 0), ((1, 0.1), 1), ((1, 0.03), 1)])
    def test_boxes_keep_what_the_best_number_of_dimensions_says(self, sides, axis):
        cloud = streams.Latents(np.random.default_rng(0).random((100_000, 2)) * sides)
        drift = streams.Translation(speed=1e-4 * sides[axis], direction=np.eye(2)[axis].tolist())
        stream = streams.Stream(cloud, drift)
        run = vq.simulate(rules.VQ(0.1), stream, codes=128, steps=40_000, batch_size=8, progress=False, records=10)
        diagnosis = diagnose(run)
        assert 0.7 < diagnosis.alive.sum() / diagnosis.predicted[-1] <= 1.05  # a scaling law, of which runs keep .75 to 1

    def test_the_probe_s_motion_can_be_played_again(self):
        """A stream of what was seen leaves as many codes alive as the stream that was seen."""
        stream = streams.Stream(streams.Uniform(dim=1), streams.Translation(speed=1e-4))
        options = {"codes": 32, "steps": 30_000, "batch_size": 64, "records": 30, "progress": False}
        run = vq.simulate(rules.VQ(0.1), stream, **options)
        recording = diagnose(run).recording
        assert recording.stream.steps == 29_001  # from the first record on
        again = diagnose(run).replayed()
        assert again.config.rule == rules.VQ(0.1)
        assert abs(int(again.used.sum()) - int(run.used.sum())) <= 1
        carried = diagnose(run).replayed(rules.Transport(rules.VQ(0.1, start="published")), codes=24)
        assert carried.config.rule == rules.Transport(rules.VQ(0.1))
        assert (carried.codes.shape, carried.used.all()) == ((24, 1), True)
        uneven = dataclasses.replace(recording, steps=recording.steps + (np.arange(30) > 3))
        with pytest.raises(ValueError, match="equally far apart"):
            _ = uneven.stream

    @pytest.mark.parametrize(
        ("rule", "optimizer", "found"),
        [
            (rules.EMA(), None, rules.EMA()),
            (rules.VQ(), "sgd", rules.VQ(0.5)),
            (rules.NSVQ(bandwidth=0.2), "sgd", rules.NSVQ(0.5, bandwidth=0.2)),
            (rules.VQ(), "adam", rules.TrainedVQ(0.5)),
            (rules.SimVQ(), "adam", rules.SimVQ(0.5, optimizer="adam")),
            (rules.TransVQ(width=8), "sgd", rules.TransVQ(0.5, width=8, optimizer="sgd")),
        ],
    )
    def test_the_rule_that_is_played_again(self, rule, optimizer, found):
        recording = Recording.of(drifting(), grid(6), rule)
        assert own_rule(dataclasses.replace(recording, optimizer=optimizer, rates=np.full(20, 0.5))) == found

    def test_weight_decay_is_played_again(self):
        known = {"optimizer": "sgd", "rates": np.full(20, 0.5), "weight_decay": 0.1}
        recording = dataclasses.replace(Recording.of(drifting(), grid(6), rules.VQ()), **known)
        assert own_rule(recording) == rules.TrainedVQ(0.5, "sgd", weight_decay=0.1)

    def test_a_replay_has_a_matched_start(self):
        recording = Recording.of(drifting(times=3), grid(6) + 50, rules.VQ(start="published"))
        assert diagnose(recording).replayed().codes.max() < 2

    @pytest.mark.parametrize("about", [{"optimizer": "adam"}, {"optimizer": "RMSprop"}, {"rule": None}])
    def test_what_no_rule_of_the_simulator_does_is_not_played_again(self, about):
        recording = dataclasses.replace(Recording.of(drifting(), grid(6), rules.NSVQ(form="gaussian")), **about)
        with pytest.raises(ValueError, match=r"The replay needs a rule: replayed\(rule=...\)"):
            diagnose(recording).replayed()

    def test_a_slow_drift_needs_no_cure(self):
        stream = streams.Stream(streams.Uniform(dim=1), streams.Translation(speed=1e-6))
        diagnosis = diagnose(vq.simulate(rules.VQ(0.1), stream, codes=8, steps=20_000, batch_size=8, progress=False))
        assert not diagnosis.cures
        assert diagnosis.forecast.kind == "slow enough"
        assert diagnosis.predicted[-1] == 8

    def test_stationary_latents(self):
        stream = streams.Stream(streams.Uniform(dim=1))
        diagnosis = diagnose(vq.simulate(rules.VQ(0.1), stream, codes=4, steps=2_000, batch_size=8, progress=False))
        assert np.isinf(diagnosis.laws[0].critical_speed)
        assert diagnosis.predicted[-1] == 4
        diagnosis.plot()

    def test_needs_a_law(self):
        run = vq.simulate(rules.VQ(0.1), streams.Recorded(drifting(), every=100), codes=4, steps=1_000, progress=False)
        with pytest.raises(ValueError, match="a stream that drifts by a law"):
            diagnose(run)


class TestLaws:
    def test_of_plain_vq_is_that_of_the_theory(self):
        probe = drifting(speed=1e-4, num=20_000)
        diagnosis = diagnose(probe, grid(64), rule=rules.VQ(0.05), every=100)
        width = np.sqrt(12 * probe[0].var())
        assert diagnosis.laws[0].survivors == theory.surviving_codes(1e-4, 0.05, width=width)
        assert diagnosis.laws[0].critical_speed == pytest.approx(theory.critical_speed(64, 0.05, width=width))
        assert Cure("codes", "at most", diagnosis.laws[0].survivors) in diagnosis.cures

    def test_a_crossing_takes_its_time(self):
        """After a third of the cloud's length at most a third of the codes are gone."""
        diagnosis = diagnose(drifting(speed=1e-3, times=4, every=110), grid(60), rule=rules.VQ(0.05), every=110)
        kept = diagnosis.predicted / 60
        assert np.all(np.diff(diagnosis.predicted) < 0)
        assert np.all(kept > 1 - 1.05 * 0.11 * np.arange(1, 4))

    @pytest.mark.parametrize("times", [2, 5, 50])
    def test_how_often_one_looks_does_not_matter(self, times):
        """After one crossing of the cloud, in whatever stretches, what the law says is left."""
        every = 1200 // (times - 1)
        diagnosis = diagnose(drifting(speed=1e-3, times=times, every=every), grid(60), rule=rules.VQ(0.05), every=every)
        assert diagnosis.predicted[-1] == diagnosis.laws[0].survivors == 2

    def test_of_a_batch_and_of_momentum(self):
        probe, codes = drifting(speed=1e-6), grid(64)
        adam = rules.TrainedVQ(step_size=1e-5)
        assert np.isnan(diagnose(probe, codes, rule=adam, every=100).predicted).all()  # the law depends on the batch
        diagnosis = diagnose(probe, codes, rule=adam, every=100, batch_size=1024)
        assert diagnosis.laws[0].survivors == theory.adam_surviving_codes(1e-6, 1e-5, 1024, 64)
        sgd = [rules.TrainedVQ(0.01, "sgd", momentum=0.9, weight_decay=0.1), rules.VQ(0.1)]
        decayed, plain = (diagnose(probe, codes, rule=rule, every=100) for rule in sgd)
        assert decayed.excess == pytest.approx(plain.excess)
        assert WeightDecay(0.1) in decayed.causes

    def test_carrying_leaves_out_what_is_hardly_chosen(self):
        hits = np.array([[0, 50, 1, 40, 9, 0]])
        recording = dataclasses.replace(Recording.of(drifting(), grid(6)), hits=hits)
        diagnosis = diagnose(recording)
        assert (diagnosis.alive.sum(), diagnosis.carrying) == (4, 3)
        assert "; 3 of them have 99% of the latents." in diagnosis.state
        assert diagnose(dataclasses.replace(recording, hits=0 * hits)).carrying == 0

    def test_no_law_of_other_optimizers(self):
        recording = dataclasses.replace(Recording.of(drifting(), grid(8), rules.VQ()), optimizer="RMSprop")
        forecast = diagnose(recording).forecast
        assert (forecast.kind, forecast.validity) == ("no law", "There is none for RMSprop.")

    def test_nsvq_is_carried(self):
        probe = drifting(speed=1e-3)
        slow = diagnose(probe, grid(64), rule=rules.NSVQ(0.05, bandwidth=0.3), every=100)
        assert slow.predicted[-1] == 64
        fast = diagnose(drifting(speed=1e-2, every=10), grid(64), rule=rules.NSVQ(0.05, bandwidth=0.3), every=10)
        assert fast.predicted[-1] < 10
        reach = theory.capture_speed(0.05, 0.3, source=streams.Uniform(dim=1))
        assert slow.laws[0].critical_speed == pytest.approx(reach, rel=0.1)  # that of 600 samples of the cube

    def test_a_kernel_is_a_cure_where_it_reaches(self):
        cures = diagnose(drifting(speed=1e-3), grid(64), rule=rules.VQ(0.05), every=100).cures
        (bandwidth,) = (cure.value for cure in cures if cure.knob == "bandwidth")
        assert theory.capture_speed(0.05, bandwidth, source=streams.Uniform(dim=1)) > 1e-3
        too_fast = diagnose(drifting(speed=0.1, every=1), grid(64), rule=rules.VQ(0.05)).cures
        assert [cure.knob for cure in too_fast] == ["speed"]  # a step size and a single code are out of reach

    @pytest.mark.parametrize("rule", [rules.VQ(), rules.NSVQ(form="softmax")])
    def test_adam_moves_the_codes_of_any_rule_that_has_no_other(self, rule):
        """The reach of its steps is a bound whatever the loss; not where something else moves codes, as a map does."""
        recording = Recording.of(drifting(speed=1e-3, dim=2), grid(8) * [[1, 1]], rule, every=100)
        under_adam = dataclasses.replace(recording, optimizer="adam", rates=np.full(20, 5e-4))
        assert diagnose(under_adam).forecast.limit == "the reach of Adam's steps"
        for other in (rules.TransVQ(), rules.CosineVQ(), rules.NSVQ(form="propagate")):
            assert diagnose(dataclasses.replace(under_adam, rule=other)).forecast.kind == "no law"

    def test_averages_need_no_optimizer(self):
        """A quantizer may have its codes among the parameters of an optimizer that never gets a gradient of them."""
        ema = Recording.of(drifting(speed=1e-5), grid(8), rules.EMA(), every=100)
        listed = dataclasses.replace(ema, optimizer="adam", rates=np.full(20, 5e-4))
        assert diagnose(listed).laws[0] == diagnose(ema).laws[0]

    def test_adam_steps_no_farther_than_its_rate(self):
        diagnosis = diagnose(drifting(speed=1e-3), grid(64), rule=rules.TrainedVQ(step_size=5e-4), every=100)
        assert np.isnan(diagnosis.predicted).all()
        assert diagnosis.excess[0] == pytest.approx(2.0)
        assert [(cure.knob, cure.bound) for cure in diagnosis.cures] == [("speed", "at most"), ("learning rate", "at least")]
        assert [cure.value for cure in diagnosis.cures] == pytest.approx([5e-4, 1e-3])
        assert "a larger learning rate  at least 0.001; it is 0.0005" in str(diagnosis)

    @pytest.mark.parametrize("rule", [rules.TransVQ(), rules.SimVQ(), rules.CosineVQ(), None])
    def test_no_law_no_number(self, rule):
        diagnosis = diagnose(drifting(speed=1e-7), grid(64), rule=rule, every=100)
        assert np.isnan(diagnosis.predicted).all()
        assert diagnosis.forecast.kind == "no law"
        assert not diagnosis.cures
        assert diagnosis.alive.all()
        diagnosis.plot()

    @settings(max_examples=15)
    @given(scale=st.floats(1e-3, 1e3), shift=st.floats(-5, 5), seed=st.integers(0, 99))
    def test_units_do_not_matter(self, scale, shift, seed):
        """Scaling the latents and turning the codes' order changes no survivor; speeds scale."""
        probe, codes = drifting(speed=3e-4, dim=2, num=200, seed=seed), np.random.default_rng(seed).random((32, 2))
        one = diagnose(probe, codes, rule=rules.VQ(0.05), every=100)
        other = diagnose(scale * probe + shift, scale * codes[::-1] + shift, rule=rules.VQ(0.05), every=100)
        assert np.allclose(one.predicted, other.predicted, rtol=1e-6)
        assert np.array_equal(one.alive, other.alive[::-1])
        assert np.allclose(scale * one.recording.motion.speed, other.recording.motion.speed, rtol=1e-6)


class TestSentences:
    def test_of_a_wrong_start(self):
        probe, codes = drifting(dim=2), 3 + np.random.default_rng(0).random((32, 2))
        (start,) = diagnose(probe, codes, every=100).causes
        away = np.linalg.norm(codes.mean(axis=0) - probe[0].mean(axis=0))
        assert start.distance == pytest.approx(away / np.sqrt(probe[0].var(axis=0).sum()))
        assert start.ratio == pytest.approx(1, rel=0.3)
        assert str(start).startswith(
            f"The start was elsewhere: at the first probe the codes were {start.distance:.2g} spreads"
        )

    @pytest.mark.parametrize(("rate", "how"), [(1e-3, "grew"), (-1e-3, "shrank")])
    def test_of_a_cloud_that_changes_its_size(self, rate, how):
        probe = np.random.default_rng(0).normal(size=(500, 2)) * np.exp(rate * np.arange(0, 2000, 1000))[:, None, None]
        (change,) = diagnose(probe, np.random.default_rng(1).normal(size=(16, 2)), every=1000).causes
        assert change.factor == pytest.approx(np.exp(1000 * rate))
        assert change.stretch == (1, 1000)
        assert f"The latents {how}, to {np.exp(1000 * rate):.3g} times" in str(change)

    def test_of_a_kernel_that_is_still_wide(self):
        probe, codes = drifting(speed=1e-5), grid(64)
        (kernel,) = diagnose(probe, codes, rule=rules.NSVQ(bandwidth=0.5), every=100).causes
        assert (kernel.bandwidth, kernel.distance) == (0.5, pytest.approx(1 / 64 / np.sqrt(12), rel=0.5))
        assert str(kernel).startswith("The kernel is still wide: its bandwidth is 0.5,")
        shrinks = rules.NSVQ(bandwidth=exponential(0.5, half_life=100))
        passes_on = rules.NSVQ(bandwidth=0.5, form="propagate")  # nothing where latents rest, however wide
        for rule in (shrinks, passes_on):
            assert not diagnose(probe, codes, rule=rule, every=100).causes

    def test_of_weight_decay(self):
        recording = Recording.of(drifting(), grid(8), rules.VQ(0.05), every=100)
        diagnosis = diagnose(dataclasses.replace(recording, weight_decay=0.01))
        assert WeightDecay(0.01) in diagnosis.causes
        assert "Weight decay 0.01 on the codebook is a drift" in str(diagnosis)

    def test_of_codes_that_are_shut_out(self):
        codes = np.concatenate([grid(8), grid(4) + 40])
        diagnosis = diagnose(drifting(speed=1e-6), codes, every=100)
        assert diagnosis.alive.sum() == 8
        assert diagnosis.shut_out == 4
        assert "4 of the others cannot be chosen" in diagnosis.state

    def test_of_codes_that_live_against_the_law(self):
        """Nothing is to be cured, whatever the law says."""
        probe = drifting(speed=1e-3, times=2, every=10)
        diagnosis = diagnose(probe, grid(8), rule=rules.VQ(0.01), every=10)
        assert diagnosis.forecast.alive == diagnosis.forecast.num_codes == 8
        assert str(diagnosis.forecast).endswith("All are alive nevertheless.")
        assert not diagnosis.cures

    def test_of_codes_that_are_dead_though_the_drift_is_over(self):
        codes = np.concatenate([grid(8), grid(8) + 40])
        diagnosis = diagnose(drifting(speed=1e-7), codes, rule=rules.VQ(0.05), every=100)
        assert diagnosis.forecast.kind == "slow enough"
        assert diagnosis.causes[-1] == StuckCodes(8)
        assert "vqtheory.nn.Replacement" in str(diagnosis)
        assert not diagnose(drifting(speed=1e-7), grid(8), rule=rules.VQ(), every=100).causes
        for rule in (rules.FSCL(), rules.Conscience(), rules.Sinkhorn(), rules.Affine(rules.FSCL())):
            causes = diagnose(drifting(speed=1e-7), codes, rule=rule, every=100).causes
            assert not any(isinstance(cause, StuckCodes) for cause in causes), "codes that win by their price come back"

    def test_of_too_few_hits(self):
        diagnosis = diagnose(drifting(num=100), grid(64), every=100)
        assert diagnosis.short
        assert "Only 100 latents were counted: some codes that are alive may be missed." in diagnosis.state

    def test_of_the_forecast(self):
        """Each kind, from its fields alone."""
        fields = {"stretch": (1, 100), "excess": 288.2, "survivors": 2, "speed": 1e-3, "predicted": 9.0, "alive": 5}
        fields |= {"limit": "the critical speed of 16 codes", "num_codes": 16, "validity": "Exact."}
        fast = Forecast("too fast", **fields)
        moved = "in updates 1 to 100 the latents moved by 0.001 per update"
        now = "By the laws 9 of 16 are alive now."
        excess = "288 times the critical speed of 16 codes"
        assert str(fast) == f"The drift was too fast: {moved}, {excess}; going on so would leave 2. {now}"
        slow = dataclasses.replace(fast, kind="slow enough", excess=0.25)
        share = "0.25 of the critical speed of 16 codes"
        assert str(slow) == f"The drift was slow enough: at the fastest, {moved}, {share}. {now}"
        reach = {"limit": "the reach of Adam's steps", "survivors": np.nan, "predicted": np.nan, "alive": 16, "excess": 2.0}
        unknown = "2 times the reach of Adam's steps. All are alive nevertheless."
        assert str(dataclasses.replace(fast, **reach)) == f"The drift was too fast: {moved}, {unknown}"
        none = dataclasses.replace(fast, kind="no law", excess=np.nan, validity="The rule is not known.")
        assert str(none) == "No law says how many codes survive here. The rule is not known."
        with pytest.raises(AttributeError):
            fast.kind = "slow enough"

    def test_are_those_of_the_fields(self):
        diagnosis = diagnose(drifting(speed=1e-3), grid(64), rule=rules.VQ(0.05), every=100)
        forecast, worst = diagnosis.forecast, diagnosis.worst
        assert (forecast.kind, forecast.stretch) == ("too fast", (1 + 100 * worst, 100 + 100 * worst))
        assert (forecast.excess, forecast.survivors) == (diagnosis.excess[worst], diagnosis.laws[worst].survivors)
        text = " ".join(str(diagnosis).split())
        for part in (diagnosis.state, forecast, *diagnosis.causes, *(cure.extent for cure in diagnosis.cures)):
            assert str(part) in text


class TestRecording:
    def test_goes_through_a_file(self, tmp_path):
        path = tmp_path / "seen.npz"
        recording = Recording.of(drifting(), grid(8), rules.NSVQ(0.05, bandwidth=exponential(1.0, half_life=9)), every=100)
        recording.save(path)
        again = Recording.load(path)
        assert again.rule == recording.rule
        assert str(diagnose(path)) == str(diagnose(recording))
        assert again.table.equals(recording.table)
        assert not list(tmp_path.glob("*.new"))

    @pytest.mark.parametrize("content", [b"", b"no zip", None])
    def test_a_damaged_file_is_named(self, tmp_path, content):
        path = tmp_path / "seen.npz"
        Recording.of(drifting(), grid(8)).save(path)
        path.write_bytes(path.read_bytes()[:2000] if content is None else content)
        with pytest.raises(ValueError, match=r"seen\.npz is no recording"):
            diagnose(path)

    def test_codes_of_each_time(self):
        probe = drifting(times=5)
        codes = np.stack([grid(8) + 0.1 * t for t in range(5)])
        recording = Recording.of(probe, codes, every=10)
        assert recording.code_means[:, 0] == pytest.approx(0.5 + 0.1 * np.arange(5))
        assert np.array_equal(recording.codes, codes[-1])

    def test_table(self):
        table = Recording.of(drifting(speed=1e-3, every=50), grid(8), every=50).table
        assert table["step"].to_list()[:3] == [0, 50, 100]
        assert table["speed"][0] is None
        assert table["speed"][1:].to_list() == pytest.approx([1e-3] * 19)
        assert table["moved"][1:].to_list() == pytest.approx([1e-3] * 19)


class TestBadInput:
    @pytest.mark.parametrize(
        ("latents", "codes", "message"),
        [
            (drifting()[0], grid(4), r"'latents' parameter of diagnose must be an array \[T >= 2, N >= 2, D\]. Got"),
            (drifting()[:1], grid(4), "Got"),
            (drifting(), np.zeros((4, 2)), r"'codes' parameter of diagnose must be an array \[K, 1\] or \[20, K, 1\]"),
            (drifting(), np.zeros((3, 4, 1)), "'codes' parameter"),
            (drifting() * np.nan, grid(4), "latents"),
            (drifting(), None, "'codes' parameter"),
        ],
    )
    def test_is_refused(self, latents, codes, message):
        with pytest.raises(ValueError, match=message):
            diagnose(latents, codes)

    def test_one_time_is_too_few(self):
        recording = Recording.of(drifting(), grid(4))
        one = dataclasses.replace(recording, steps=recording.steps[:1])
        with pytest.raises(ValueError, match="at two times or more"):
            diagnose(one)

    def test_codes_beside_a_recording(self):
        with pytest.raises(ValueError, match="with an array of latents only"):
            diagnose(Recording.of(drifting(), grid(4)), grid(4))


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_picture(dim):
    probe = drifting(dim=dim, num=300)
    codes = np.random.default_rng(0).random((40, dim))
    codes[0] += 50
    figure = diagnose(probe, codes, rule=rules.VQ(1e-4), every=100).plot()
    codes, used, speed, law = figure.axes
    assert " of 40 codes are alive" in codes.get_title(loc="left")
    assert "What would help" in law.get_title(loc="left")
    assert len(used.lines) == 3
    assert speed.get_ylabel() == "per update"


def test_plain_vq_under_adam_has_the_law_of_a_trained_codebook():
    probe, codes = drifting(speed=1e-6), grid(64)
    plain = Recording.of(probe, codes, rules.VQ(), every=100, batch_size=1024)
    under_adam = dataclasses.replace(plain, optimizer="adam", rates=np.full(20, 1e-5))
    trained = diagnose(probe, codes, rule=rules.TrainedVQ(step_size=1e-5), every=100, batch_size=1024)
    assert not np.isnan(trained.predicted).any()
    assert diagnose(under_adam).laws == trained.laws
