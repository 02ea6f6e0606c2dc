"""The loop and its record: bits, windows, bad input, and a folder that survives."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import fields

import numpy as np
import pytest
import table

import vqtheory as vq
from vqtheory.rules import VQ
from vqtheory.simulation import loop, probe
from vqtheory.simulation import run as run_file
from vqtheory.simulation.config import read_config
from vqtheory.streams import Gaussian, Latents, Stream, Translation, Uniform

DRIFT = Stream(Uniform(dim=2), Translation(speed=1e-3))
PLAIN = VQ(0.1)
RULES = [*table.PLAIN, *(rule for rule in table.RULES if rule.needs_displacement)]


def run(rule=PLAIN, stream=DRIFT, codes=8, steps=300, **options):
    return vq.simulate(
        rule, stream, codes=codes, steps=steps, **({"batch_size": 4, "progress": False, "records": 7} | options)
    )


def assert_same_run(one, other):
    for name, value in one.state._asdict().items():
        np.testing.assert_array_equal(value, getattr(other.state, name), err_msg=name)
    np.testing.assert_array_equal(one.hits, other.hits)
    assert one.history.equals(other.history)
    assert (one.status, one.window) == (other.status, other.window)


@pytest.mark.parametrize("rule", RULES, ids=repr)
class TestBits:
    def test_any_chunk_size(self, rule, monkeypatch):
        whole = run(rule)
        for elements in (1, 8 * 7, 2**20):
            monkeypatch.setattr(loop, "_CHUNK_ELEMENTS", elements)
            assert_same_run(run(rule), whole)

    def test_interrupted_between_records(self, rule, tmp_path, monkeypatch):
        """What was done is kept, to the last call of `advance`."""
        monkeypatch.setattr(loop, "_CHUNK_ELEMENTS", 8 * 7)
        kwargs = {"records": 1, "steps": 100}
        whole, calls = run(rule, **kwargs), [0]

        class Stopping(type(rule)):
            def advance(self, state, batches):
                calls[0] += 1
                if calls[0] == 5:
                    raise KeyboardInterrupt
                return rule.advance(state, batches)

            def __repr__(self):
                return repr(rule)

        with pytest.raises(KeyboardInterrupt):
            run(Stopping(**{item.name: getattr(rule, item.name) for item in fields(rule)}), save=tmp_path, **kwargs)
        assert 0 < vq.Run.load(tmp_path).step < 100
        assert_same_run(vq.resume(tmp_path, progress=False), whole)

    def test_resumed_at_every_record(self, rule, tmp_path, monkeypatch):
        monkeypatch.setattr(run_file, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        whole = run(rule)
        for stop in (1, 3, 7):
            folder = tmp_path / str(stop)
            with pytest.raises(KeyboardInterrupt):
                run(rule, save=folder, on_record=interrupt_after(stop))
            assert_same_run(vq.resume(folder, progress=False), whole)
            assert_same_run(vq.Run.load(folder), whole)


def interrupt_after(records):
    left = [records]

    def on_record(step, codes, row):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return on_record


def test_same_bits_on_one_and_two_threads_and_in_another_process():
    program = textwrap.dedent("""
        import vqtheory as vq
        stream = vq.streams.Stream(vq.streams.Gaussian(dim=7), vq.streams.Translation(speed=1e-3))
        for rule in (vq.rules.TransVQ(1e-3, width=64), vq.rules.VQ(0.1)):
            run = vq.simulate(rule, stream, codes=333, steps=20, batch_size=64, init="kmeans++", progress=False)
            print(run.codes.tobytes().hex())
    """)
    printed = set()
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, threads)
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        printed.add(done.stdout)
    assert len(printed) == 1


def test_killed_in_the_middle_of_anything_resumes_to_the_same_bits(tmp_path):
    """SIGKILL while the folder is being written again and again."""
    program = textwrap.dedent("""
        import sys
        from vqtheory.simulation import run
        import vqtheory as vq
        run._SECONDS_BETWEEN_CHECKPOINTS = 0.0
        stream = vq.streams.Stream(vq.streams.Uniform(dim=2), vq.streams.Translation(speed=1e-3))
        options = dict(codes=8, steps=40_000, records=400, progress=False)
        if sys.argv[2] == "begin":
            tell = lambda *row: print(row[0], flush=True)
            vq.simulate(vq.rules.VQ(0.1), stream, save=sys.argv[1], on_record=tell, **options)
        print(vq.resume(sys.argv[1], progress=False).codes.tobytes().hex())
    """)
    for rows in (2, 33, 150):
        folder = tmp_path / str(rows)
        process = subprocess.Popen([sys.executable, "-c", program, folder, "begin"], stdout=subprocess.PIPE, text=True)
        for _ in range(rows):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        resumed = vq.resume(folder, progress=False)
        whole = run(VQ(0.1), codes=8, steps=40_000, batch_size=1, records=400)
        assert_same_run(resumed, whole)


class TestRecord:
    def test_history_has_the_columns_and_equal_parts(self):
        history = run(steps=700).history
        assert history.columns == [
            "step", "samples", "used", "usage", "perplexity", "distortion",
            "distortion_over_optimum", "residual", "lag", "dead",
        ]  # fmt: skip
        assert history["step"].to_list() == list(range(0, 701, 100))
        assert history["samples"].to_list() == list(range(0, 2801, 400))
        assert history["distortion_over_optimum"].null_count() == 8  # not known in 2-D
        assert history["used"].null_count() == 1  # nothing was counted at step 0

    def test_usage_is_of_the_last_tenth(self):
        """Hits are counted from update 270 of 300 on, whatever the records."""
        counted = run(steps=300)
        assert counted.window == (270, 300)
        state = counted.config.rule.init(run(steps=1, codes=8).config.rule.init(start_codes(), 0).codes, 0)
        state, _ = VQ(0.1).advance(state, DRIFT.draw(0, 270, 4, seed=0))
        _, info = VQ(0.1).advance(state, DRIFT.draw(270, 30, 4, seed=0))
        np.testing.assert_array_equal(counted.hits, info["hits"])
        assert counted.usage == np.mean(info["hits"] > 0)
        np.testing.assert_array_equal(counted.used, info["hits"] > 0)

    @pytest.mark.parametrize(("steps", "start"), [(1, 0), (9, 8), (10, 9), (11, 9), (300, 270)])
    def test_window_is_the_ceiling_of_a_tenth(self, steps, start):
        assert run(steps=steps).window == (start, steps)

    def test_a_window_of_under_20_samples_per_code_is_flagged(self):
        assert run(steps=390).short_window
        assert "too few" in repr(run(steps=390))
        assert not run(steps=400).short_window

    def test_distortion_over_optimum_goes_to_one_on_a_known_law(self):
        """MacQueen's two codes after 200,000 samples; 10,000 fresh latents measure it.

        Their squared distances have mean .363 and standard deviation .55, hence an error of 1.5 %.
        """
        done = run(
            VQ(vq.schedules.harmonic(1.0), clock="wins"), Stream(Gaussian(dim=1)), codes=2, steps=200_000, batch_size=1
        )
        assert abs(done.history["distortion_over_optimum"][-1] - 1) < 4 * 0.015

    def test_dead_is_by_mass(self):
        codes = np.array([[0.25, 0.5], [0.75, 0.5], [9.0, 9.0]])
        assert run(stream=Stream(Uniform(dim=2)), codes=codes).history["dead"].to_list() == [1] * 8

    def test_lag_of_living_codes_is_k_v_over_eta(self):
        """Plain VQ below the critical speed 0.0024, all codes alive: mean lag K v / eta; replicates give the error."""
        lags = []
        for seed in range(12):
            stream = Stream(Uniform(dim=1), Translation(speed=1e-3))
            done = run(VQ(0.05), stream, codes=np.array([[0.25], [0.75]]), steps=20_000, batch_size=1, records=20, seed=seed)
            lags.append(done.history["lag"][10:].mean())
        error = np.std(lags, ddof=1) / np.sqrt(len(lags))
        assert error < 0.1 * 2 * 1e-3 / 0.05
        assert abs(np.mean(lags) - 2 * 1e-3 / 0.05) < 4 * error

    def test_no_probe_beyond_all_proportion(self, monkeypatch):
        """What fresh latents would say is null then, and all else stays; a run that costs as much itself has its probes."""
        measured = run().history
        monkeypatch.setattr(probe, "_PROBE_AT_MOST", 10_000 * 8 * 2 - 1)
        left_out, fresh = run().history, ["residual", "lag", "dead"]
        assert left_out[fresh].null_count().row(0) == (8, 8, 8)
        assert left_out.drop(fresh).equals(measured.drop(fresh))
        assert run(steps=2_500, batch_size=4).history["dead"].null_count() == 0

    def test_rules_under_one_seed_get_the_same_codes(self):
        first, second = (run(rule, steps=1, on_record=None) for rule in table.PLAIN[:2])
        assert first.history["residual"][0] == second.history["residual"][0]

    def test_plot_draws(self, tmp_path):
        run().plot().savefig(tmp_path / "run.png")
        assert (tmp_path / "run.png").stat().st_size > 10_000

    def test_float32(self):
        assert run(dtype="float32").codes.dtype == np.float32


def start_codes():
    kept = []
    run(steps=1, on_record=lambda step, codes, row: kept.append(codes))
    return kept[0]


class TestDiverged:
    def test_ends_at_the_very_update_with_its_record(self):
        """Gain 2.5 times the mean weight: the error grows by 1.5 an update until it overflows."""
        kwargs = {"stream": Stream(Gaussian(dim=2)), "codes": 1, "steps": 10_000, "batch_size": 8}
        done = run(VQ(step_size=2.5), **kwargs)
        assert done.status == "diverged"
        assert np.isfinite(done.codes).all()
        assert done.step == done.history["step"][-1] < 10_000
        state, _ = VQ(2.5).advance(done.state, kwargs["stream"].draw(done.step, 1, 8, seed=0))
        assert not np.isfinite(state.codes).all()

    def test_resuming_it_changes_nothing(self, tmp_path):
        kwargs = {"stream": Stream(Gaussian(dim=2)), "codes": 1, "steps": 10_000, "batch_size": 8}
        done = run(VQ(step_size=2.5), save=tmp_path, **kwargs)
        assert_same_run(vq.resume(tmp_path, progress=False), done)


class TestFolder:
    def test_round_trip_with_arrays(self, tmp_path):
        latents = np.random.default_rng(0).normal(size=(50, 2))
        done = run(stream=Stream(Latents(latents)), codes=latents[:5] + 0.1, save=tmp_path)
        loaded = vq.Run.load(tmp_path)
        assert_same_run(loaded, done)
        np.testing.assert_array_equal(loaded.config.stream.source.support, latents)
        assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
            "checkpoint.npz", "config.toml", "history.parquet", "manifest.json",
        ]  # fmt: skip

    def test_more_steps(self, tmp_path):
        run(save=tmp_path)
        longer = vq.resume(tmp_path, steps=600, progress=False)
        assert longer.step == 600
        np.testing.assert_array_equal(longer.codes, run(steps=600).codes)
        assert longer.window == run(steps=600).window

    def test_a_window_that_began_before_is_counted_from_here(self, tmp_path):
        """Extended by little: what was counted in the old window says nothing of the new one."""
        run(save=tmp_path)
        assert vq.resume(tmp_path, steps=310, progress=False).window == (300, 310)

    def test_fewer_steps(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            run(steps=1000, records=10, save=tmp_path, on_record=interrupt_after(3))
        done = vq.Run.load(tmp_path).step
        assert vq.resume(tmp_path, steps=done, progress=False).status == "finished"

    def test_numpy_integers(self, tmp_path):
        done = run(steps=np.int64(100), seed=np.uint8(3), save=tmp_path)
        assert_same_run(vq.resume(tmp_path, progress=False), done)

    @pytest.mark.parametrize("files_moved", range(4))
    def test_two_kills_while_writing(self, tmp_path, monkeypatch, files_moved):
        """The first kill between the renames, the second before the next ones: the content is there all the time."""
        from vqtheory._base import folder

        done, moves, replace = run(save=tmp_path), [0], os.replace

        def killed(*names):
            moves[0] += 1
            if moves[0] > files_moved:
                raise KeyboardInterrupt
            replace(*names)

        for _ in range(2):
            monkeypatch.setattr(folder.os, "replace", killed)
            moves[0] = 0
            with pytest.raises(KeyboardInterrupt):
                done.save(tmp_path)
            monkeypatch.undo()
            assert_same_run(vq.Run.load(tmp_path), done)

    def test_a_second_run_does_not_overwrite(self, tmp_path):
        run(save=tmp_path)
        with pytest.raises(ValueError, match="holds no run yet"):
            run(save=tmp_path)

    @pytest.mark.parametrize("name", ["config.toml", "history.parquet", "checkpoint.npz"])
    @pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
    def test_a_damaged_file_is_named(self, tmp_path, name, damage):
        run(save=tmp_path)
        path = tmp_path / name
        content = bytearray(path.read_bytes())
        if damage == "missing":
            path.unlink()
        else:
            content[len(content) // 2] ^= 1
            path.write_bytes(content if damage == "altered" else content[:-7])
        with pytest.raises(ValueError, match=f"{name} is (damaged or altered|missing)"):
            vq.resume(tmp_path)

    def test_a_damaged_manifest_is_named(self, tmp_path):
        run(save=tmp_path)
        (tmp_path / "manifest.json").write_text("{")
        with pytest.raises(ValueError, match="manifest.json is damaged"):
            vq.Run.load(tmp_path)
        with pytest.raises(ValueError, match="holds no run"):
            vq.Run.load(tmp_path / "nowhere")

    def test_the_manifest_tells_versions(self, tmp_path):
        run(save=tmp_path)
        assert json.loads((tmp_path / "manifest.json").read_text())["versions"]["vqtheory"] == vq.__version__

    def test_an_own_rule_is_handed_in(self, tmp_path):
        done = run(OwnRule(), save=tmp_path)
        with pytest.raises(ValueError, match="Unknown name 'OwnRule'"):
            vq.Run.load(tmp_path)
        assert_same_run(vq.Run.load(tmp_path, rule=OwnRule()), done)


class OwnRule:
    """A user's rule, a plain class."""

    def __repr__(self):
        return "OwnRule()"

    def init(self, codes, seed):
        return VQ(0.1).init(codes, seed)

    def advance(self, state, batches):
        state, info = VQ(0.1).advance(state, batches)
        return state, {"hits": info["hits"]}


POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
BAD = [
    ({"codes": 0}, "The 'codes' parameter of simulate must be an int >= 1. Got 0."),
    ({"codes": -3}, "The 'codes' parameter of simulate must be an int >= 1. Got -3."),
    ({"codes": 3, "stream": Stream(Latents(POINTS))}, "number of distinct latents, 2. Got 3."),
    ({"codes": np.zeros((4, 3))}, r"shape \(4, 3\), the latents of the stream have shape \[N, 2\]"),
    ({"codes": np.zeros((0, 2))}, "at least one row and column"),
    ({"codes": np.array([[0.0, np.inf]])}, r"must be finite. Got inf at index \(0, 1\)"),
    ({"steps": 0}, "The 'steps' parameter of simulate must be an int >= 1. Got 0."),
    ({"steps": 1.5}, "The 'steps' parameter of simulate must be an int >= 1. Got 1.5."),
    ({"batch_size": 0}, "The 'batch_size' parameter of simulate must be an int >= 1. Got 0."),
    ({"records": 0}, "The 'records' parameter of simulate must be an int >= 1. Got 0."),
    ({"seed": -1}, "The 'seed' parameter of simulate must be an int in"),
    ({"init": "kmeans"}, r"did you mean 'kmeans\+\+'"),
    ({"dtype": "float16"}, "known: float32, float64"),
    ({"dtype": "foo"}, "known: float32, float64"),
    ({"rule": VQ(1.5, clock="wins")}, "must be at most 1 at batch size 1 or by wins. Got 1.5."),
    (
        {"rule": VQ(1.5), "batch_size": 1},
        "The 'step_size' parameter of VQ must be at most 1 at batch size 1 or by wins. Got 1.5.",
    ),
    ({"rule": "VQ"}, "The 'rule' parameter of simulate must be a rule such as .* with a method 'init'. Got 'VQ'."),
    ({"stream": Uniform(1)}, "The 'stream' parameter of simulate must be a stream such as"),
]


@pytest.mark.parametrize(("options", "sentence"), BAD)
def test_bad_input_gets_one_clear_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(**options)


def test_a_step_size_above_one_is_fine_with_batches():
    assert run(VQ(step_size=4.0), batch_size=128, codes=16).status == "finished"


class TestConfigFile:
    def test_reads_back(self, tmp_path):
        done = run(save=tmp_path / "run")
        again = vq.simulate(**read_config(tmp_path / "run" / "config.toml"), progress=False)
        assert_same_run(again, done)

    def test_reads_back_with_arrays(self, tmp_path):
        codes = np.random.default_rng(0).normal(size=(4, 2))
        done = run(codes=codes, save=tmp_path / "run")
        again = vq.simulate(**read_config(tmp_path / "run" / "config.toml"), progress=False)
        assert_same_run(again, done)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ('rule = "VQQ()"', "Unknown name 'VQQ' .*did you mean 'VQ'"),
            ('rule = "VQ(step=1)"', "VQ has no parameter 'step' .*did you mean 'step_size'"),
            ('rule = "VQ(step_size=__import__)"', "Unknown name '__import__' in a configuration"),
            ('rule = "VQ("', "Cannot read"),
            ("stepz = 3", "Unknown parameter 'stepz' .*did you mean 'steps'"),
            ("steps = ", "is not TOML"),
        ],
    )
    def test_an_unknown_name_is_one_sentence(self, tmp_path, content, sentence):
        (tmp_path / "config.toml").write_text(content)
        with pytest.raises(ValueError, match=sentence):
            read_config(tmp_path / "config.toml")
        with pytest.raises(ValueError, match="Cannot read .*nowhere"):
            read_config(tmp_path / "nowhere.toml")
