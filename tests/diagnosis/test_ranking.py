"""The ranking of changes: what is played, in which order, and the lines that make them."""

import dataclasses
import itertools

import numpy as np
import pytest

from vqtheory import rules
from vqtheory.diagnosis import findings
from vqtheory.diagnosis import ranking as ranking_module
from vqtheory.diagnosis.changes import Change, changes_to
from vqtheory.diagnosis.diagnosis import diagnose
from vqtheory.diagnosis.film import Film
from vqtheory.diagnosis.ranking import Trial, _Player, per_step, ranked
from vqtheory.diagnosis.recording import Recording
from vqtheory.schedules import exponential


def moving(rule, speed=0.02, times=11, every=20, num=300, codes=32, **known):
    """A cloud in two dimensions that moves by its own width several times, and a record that ends with 4 codes alive."""
    cloud = np.random.default_rng(0).random((num, 2))
    probe = cloud + every * speed * np.arange(times)[:, None, None] * [1.0, 0.0]
    last = np.concatenate([probe[-1, :4], np.full((codes - 4, 2), -9.0)])
    recording = Recording.of(probe, last, rule, every=every, batch_size=num)
    return dataclasses.replace(recording, **{"package": "vqtheory", "place": "model.vq", **known})


class TestFilm:
    def test_shows_points_between_neighbours_that_move_as_they_do(self):
        recording = moving(rules.EMA())
        film = Film(recording, steps=50)
        batches = film.shown(3, 9)
        moved = 0.02 * np.diff(film.times[3:10])[:, None] * [1.0, 0.0]
        assert batches.displacement == pytest.approx(np.broadcast_to(moved[:, None], batches.x.shape))
        still = batches.x - 0.02 * film.times[4:10, None, None] * [1.0, 0.0]
        distance = np.linalg.norm(still[0, :, None] - recording.latents[0], axis=2)
        assert (distance[0] > 0).all(), "fresh latents"
        assert distance.min(axis=1).max() < 0.1, "near those of the probe"
        assert np.array_equal(Film(recording, steps=50).shown(5, 9).x, batches.x[2:]), "whatever the cut"

    def test_is_slower_where_latents_move_far(self):
        probe = np.random.default_rng(0).random((200, 2)) + np.array([0, 5, 5.1, 5.2])[:, None, None]
        film = Film(Recording.of(probe, probe[0, :4], every=100), steps=120)
        steps = np.histogram(film.times[1:], [0, 100.5, 200.5, 300.5])[0]
        assert film.times[[0, -1]].tolist() == [0, 300]
        assert abs(film.steps - 120) <= 3
        assert steps[0] > 1.8 * steps[1]
        assert film.updates(0) >= 1, "a step stands for an update at least"

    def test_a_step_stands_for_so_many_updates(self):
        def since(steps):
            return 10.0 * steps

        assert per_step(rules.EMA(0.9), 2, since).decay == pytest.approx(0.81)
        assert per_step(rules.Transport(rules.VQ(0.1)), 3, since).rule.step_size == pytest.approx(0.3)
        assert per_step(rules.VQ(0.1), 30, since).step_size == 1, "and no farther than the batch's mean"
        assert per_step(rules.TrainedVQ(0.5), 4, since).step_size == 2

        halves = exponential(1.0, half_life=20)
        schedules = [
            per_step(rules.NSVQ(0.1, bandwidth=halves), 1, since).bandwidth,
            per_step(rules.NeuralGas(0.1, halves), 2, since).range,
            per_step(rules.Replacement(rules.SOM(0.1, halves)), 2, since).rule.range,
            per_step(rules.Conscience(0.1, bias=halves), 2, since).bias,
        ]
        assert [schedule(np.array([0, 2, 4])).tolist() for schedule in schedules] == [[1, 0.5, 0.25]] * 4
        for rule in (rules.CVQ(0.1, decay=0.9), rules.Conscience(0.1, decay=0.9), rules.FSCL(0.1, decay=0.9)):
            turned = per_step(rule, 2, since)
            assert (turned.decay, turned.step_size) == pytest.approx((0.81, 0.2))
        assert per_step(rules.NSVQ(0.1), 2, since).decay == rules.NSVQ(0.1).decay, "of a form that keeps no averages"

    def test_a_step_of_a_wrapper_stands_for_its_own_updates_too(self):
        def turned(rule, updates=4):
            return per_step(rule, updates, lambda steps: steps)

        vq, faster = rules.VQ(0.1), rules.VQ(0.4)
        assert turned(rules.Replacement(vq, every=26)) == rules.Replacement(faster, every=6)
        assert turned(rules.Replacement(vq, every=3)).every == 1
        assert turned(rules.Reestimate(vq, every=8, until=80)) == rules.Reestimate(faster, every=2, until=20)
        assert turned(rules.Affine(vq, decay=0.5)) == rules.Affine(faster, decay=0.5**4)
        drawn = turned(rules.Wasserstein(vq, pull=0.5, decay=0.5))
        assert (drawn.pull, drawn.decay, drawn.rule) == (1 - 0.5**4, 0.5**4, faster)


class TestRanking:
    def test_of_a_drift_that_takes_the_codes(self, monkeypatch):
        """Unaided averages lose most codes to a translation, and those that are carried lose none."""
        calls = []
        monkeypatch.setattr(findings, "ranked", lambda *arguments: calls.append(0) or ranked(*arguments))
        diagnosis = diagnose(moving(rules.EMA(0.9)))
        text = str(diagnosis)
        ranking = diagnosis.ranking
        assert str(diagnosis) == text
        assert len(calls) == 1, "kept on the object"
        trials = {trial.change.name.split(":")[0]: trial for trial in ranking.trials}
        assert trials["Transport"].alive == 32
        assert ranking.unchanged.alive < trials["NSVQ"].alive
        assert ranking.unchanged.alive < trials["a decay of 0.8"].alive + 2
        assert trials["dead codes replaced every 25 updates"].alive > ranking.unchanged.alive
        order = [(-round(100 * trial.alive / 32), trial.distortion) for trial in ranking.trials]
        assert order == sorted(order)
        assert ranking.table.columns == ["change", "codes", "alive", "carrying", "distortion", "call"]
        assert ranking.table["alive"].to_list() == [trial.alive for trial in ranking.trials]
        for part in (
            f"the record kept 4 of 32, and its own rule, played again, {ranking.unchanged.alive})",
            *ranking.table["call"],
        ):
            assert part in " ".join(text.split()) or part in text

    def test_of_a_rule_in_a_wrapper(self):
        """Each keeps more codes than the rule by itself, in the training as it was."""
        plain = rules.VQ(0.01)
        wrapped = [
            rules.Replacement(plain, every=25),
            rules.Affine(plain, decay=0.5),
            rules.Wasserstein(plain, decay=0.5),
            rules.Reestimate(plain, every=20, until=200, reservoir=512),
        ]
        alone, *kept = [ranked(moving(rule), 0.1, progress=False).unchanged for rule in (plain, *wrapped)]
        assert [trial.change.rule for trial in kept] == wrapped
        assert min(trial.alive for trial in kept) > 2 * alone.alive

    def test_goes_as_far_as_the_time(self):
        recording = moving(rules.EMA(0.9))
        none, all_of_them = ranked(recording, 1e-9, progress=False), diagnose(recording).ranked(4, progress=False)
        assert (none.trials, len(none.left_out)) == ((), len(changes_to(recording)))
        assert not all_of_them.left_out
        assert "TransVQ" in [trial.change.name for trial in all_of_them.trials]
        hurried = diagnose(recording)
        hurried.ranked(1e-9)
        assert "What each change" not in str(hurried), "the ranking is the last one that was asked for"
        with pytest.raises(ValueError, match="'seconds' parameter of ranked must be"):
            hurried.ranked(0)

    def test_all_changes_fit_into_the_seconds_that_it_asks_for(self, monkeypatch):
        def played(recording, changes, *_):
            return [Trial(change, alive=0, carrying=0, distortion=0.0) for change in changes]

        monkeypatch.setattr(ranking_module, "_played", played)
        for codes, times in itertools.product((64, 1024), (3, 21)):
            recording = moving(rules.EMA(0.9), codes=codes, times=times)
            for seconds in (1e-9, 0.1):
                first = ranked(recording, seconds, progress=False)
                assert not ranked(recording, first.seconds, progress=False).left_out, (codes, times, seconds)
            assert ranked(recording, 1e-9, progress=False).left_out

    def test_a_code_that_is_replaced_is_a_new_one(self):
        """As in the layer: what the rule remembers of it is gone, and it lies where the rule has its codes."""
        recording, idle = moving(rules.VQ()), np.arange(32) % 2 == 0
        film = Film(recording, steps=50)
        remembered = [(rules.TrainedVQ(), "second", 0), (rules.Sinkhorn(), "prices", 0), (rules.EMA(), "counts", 1)]
        for rule, name, fresh in remembered:
            player = _Player(recording, film, Change("", "", rule, 32, replaced_every=25), seed=0)
            before = np.full_like(getattr(player.state, name), 7)
            player.state, player.idle = player.state._replace(**{name: before}), idle.copy()
            player._replace(film.first(), step=5, counts=True)
            after = getattr(player.state, name).reshape(32, -1)
            assert (after == np.where(idle, fresh, 7)[:, None]).all()
            assert player.revived.tolist() == idle.tolist()
        player = _Player(recording, film, Change("", "", rules.CosineVQ(), 32, replaced_every=25), seed=0)
        player._replace(film.first(), step=5, counts=True)
        assert np.linalg.norm(player.state.codes, axis=1) == pytest.approx(1)

    def test_of_a_rule_that_is_not_known(self):
        """What replaces it is played, and where all codes live nothing is."""
        ranking = ranked(moving(None), 0.2, progress=False)
        assert ranking.unchanged is None
        assert {trial.change.name for trial in ranking.trials} >= {"NSVQ", "EMA of decay 0.8"}
        alive = moving(rules.EMA(0.9), speed=1e-6, codes=4)
        assert "What each change" not in str(
            diagnose(dataclasses.replace(alive, codes=alive.latents[-1, :2], hits=alive.hits[:, :2]))
        )

    def test_codes_start_where_they_were_first_seen(self):
        """Far from all latents one code wins everything; ours are put on latents by themselves."""
        far = np.full((32, 2), 50.0) + np.arange(32)[:, None]
        own = ranked(
            moving(rules.VQ(), package="diffusers", first_codes=far, optimizer="adam", rates=np.full(11, 1e-3)), 1.0, False
        )
        assert own.unchanged.alive == 1
        assert [trial.change.name for trial in own.trials if trial.change.from_latents][-1] == "a start on latents"
        ours = ranked(moving(rules.VQ(), first_codes=far, optimizer="adam", rates=np.full(11, 1e-3)), 0.2, False)
        assert ours.unchanged.change.from_latents


LINES = {
    ("vqtheory", rules.EMA(), "NSVQ"): 'model.vq = vqtheory.nn.VectorQuantize(dim=2, codebook_size=32, rule="nsvq")',
    ("vqtheory", rules.EMA(), "a decay of 0.8"): (
        "model.vq = vqtheory.nn.VectorQuantize(dim=2, codebook_size=32, rule=vqtheory.rules.EMA(decay=0.8))"
    ),
    ("vector_quantize_pytorch", rules.EMA(), "a decay of 0.8"): "model.vq._codebook.decay = 0.8",
    ("vector_quantize_pytorch", rules.EMA(), "NSVQ"): (
        'model.vq = vqtheory.nn.VectorQuantize(dim=2, codebook_size=32, rule="nsvq")'
        "  # returns four values: quantized, indices, loss, info"
    ),
    ("vector_quantize_pytorch", rules.EMA(), "a codebook of 8 codes"): "codebook_size=8  # of your VectorQuantize",
    ("diffusers", rules.EMA(), "a codebook of 8 codes"): "num_vq_embeddings=8  # of your diffusers.VQModel",
    ("taming", rules.EMA(), "a decay of 0.9"): "model.vq.embedding.decay = 0.9",
    ("taming", rules.EMA(), "a start on latents, and Transport"): (
        "vqtheory.nn.start_on(model.vq, model.quant_conv(model.encoder(images))); "
        "transport = vqtheory.nn.Transport(model.vq, lambda images: model.quant_conv(model.encoder(images)), images)"
        "  # and transport.step() after each update"
    ),
    ("diffusers", rules.EMA(), "NSVQ"): (
        'model.vq = vqtheory.nn.TamingQuantizer(vqtheory.nn.VectorQuantize(dim=2, codebook_size=32, rule="nsvq"))'
    ),
    ("vqtheory train", rules.EMA(), "Transport: codes that ride on the encoder"): "vqtheory train --transport 1",
    ("vqtheory train", rules.EMA(), "dead codes replaced every 25 updates"): "vqtheory train --replace-every 25",
    ("vqtheory train", rules.EMA(), "a codebook of 8 codes"): "vqtheory train --codes 8",
    ("vqtheory simulate", rules.VQ(0.02), "a step size of 0.2"): 'vqtheory simulate --rule "VQ(step_size=0.2)"',
    ("vqtheory simulate", rules.VQ(0.02), "Transport: codes that ride on the encoder"): (
        'vqtheory simulate --rule "Transport(VQ(step_size=0.02))"'
    ),
}


@pytest.mark.parametrize(("package", "rule", "name"), LINES, ids=lambda part: str(part))
def test_the_line_that_makes_a_change(package, rule, name):
    calls = {change.name: change.call for change in changes_to(moving(rule, package=package))}
    assert calls[name] == LINES[package, rule, name]


def test_the_law_of_averages_is_one_of_translations():
    """A cloud that grows has no law of EMA, and the replay says instead what its rule keeps."""
    cloud, factor = np.random.default_rng(0).normal(size=(300, 4)), np.exp(0.3 * np.arange(8))[:, None, None]
    codes = np.concatenate([factor[-1] * cloud[:3], np.full((13, 4), 99.0)])
    grown = diagnose(cloud * factor, codes, rule=rules.EMA(), every=20)
    assert grown.forecast.kind == "no law"
    assert "one of translations" in grown.forecast.validity
    alive = grown.ranking.unchanged.alive
    assert f"Played again on the motion that was seen, the rule keeps {alive} of 16 codes." in " ".join(str(grown).split())
    drifting = cloud + 5 * np.arange(8)[:, None, None] * [1.0, 0.0, 0.0, 0.0]
    assert diagnose(drifting, codes, rule=rules.EMA(), every=20).forecast.kind == "too fast"
    flat = cloud * [1, 0.3, 0.3, 0.3] + 5 * np.arange(8)[:, None, None] * [1.0, 0.0, 0.0, 0.0]
    assert "evenly in two and more" in diagnose(flat, codes, rule=rules.EMA(), every=20).forecast.validity
