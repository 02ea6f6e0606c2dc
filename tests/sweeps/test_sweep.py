"""Sweeps: order, points that are kept, a kill in the middle, points that fail."""

import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import numpy as np
import polars as pl
import pytest

import vqtheory as vq
from vqtheory.rules import EMA, NSVQ, VQ
from vqtheory.streams import Gaussian, Stream, Translation, Uniform

STREAM = Stream(Uniform(dim=1), Translation(speed=1e-4))
RUNS = {"rule": [VQ(0.1), EMA(0.9)], "stream": [STREAM], "codes": [2, 4], "steps": [200], "batch_size": [4]}


def square(x, y, seed):
    return {"value": np.float64(x * x + y), "third": seed / 3, "codes": np.arange(x), "nothing": float("nan")}


def unseeded(x):
    return [{"half": x / 2, "n": n} for n in range(x)]


def odd_ones_fail(x, seed):
    if x % 2:
        raise RuntimeError(f"no {x}")
    return {"value": x}


def logged(x, seed, log):
    with open(log, "a") as file:
        file.write(f"{x} {seed}\n")
    return {"value": x + seed}


def calls(log):
    return log.read_text().splitlines() if log.exists() else []


class TestTable:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_rows_are_in_the_order_of_the_grid(self, jobs):
        table = vq.sweep(square, {"x": [3, 1, 2], "y": [0.5, 0.25]}, seeds=2, jobs=jobs, progress=False)
        expected = [(x, y, seed, x * x + y) for x in (3, 1, 2) for y in (0.5, 0.25) for seed in (0, 1)]
        assert table.select("x", "y", "seed", "value").rows() == expected
        assert table.columns == ["x", "y", "seed", "value", "third", "codes", "nothing", "error"]
        assert table["error"].null_count() == 12
        assert table["codes"].to_list()[0] == [0, 1, 2]
        assert table["third"].to_list()[1] == 1 / 3

    def test_a_list_of_configurations_and_seeds_by_name(self):
        table = vq.sweep(square, [{"x": 1, "y": 2}, {"x": 5, "y": 0}], seeds=[7, 3], jobs=1)
        assert table.select("x", "seed").rows() == [(1, 7), (1, 3), (5, 7), (5, 3)]

    def test_no_seeds_and_several_rows_from_a_point(self):
        table = vq.sweep(unseeded, {"x": [1, 3]}, seeds=None, jobs=1)
        assert table.select("x", "half", "n").rows() == [(1, 0.5, 0), (3, 1.5, 0), (3, 1.5, 1), (3, 1.5, 2)]

    def test_runs_on_all_cores_equal_runs_one_by_one(self):
        table = vq.sweep(vq.simulate, RUNS, seeds=2, progress=False)
        assert table.equals(vq.sweep(vq.simulate, RUNS, seeds=2, jobs=1))
        assert table["rule"].unique(maintain_order=True).to_list() == ["VQ(step_size=0.1)", "EMA(decay=0.9)"]
        run = vq.simulate(EMA(0.9), STREAM, codes=4, steps=200, batch_size=4, seed=1, progress=False)
        last = table.row(-1, named=True)
        assert (last["status"], last["usage"], last["used"]) == (run.status, run.usage, run.used.sum())
        assert {name: last[name] for name in ("step", "distortion", "residual", "dead")} == {
            name: run.row[name] for name in ("step", "distortion", "residual", "dead")
        }

    def test_nothing_to_do(self):
        assert vq.sweep(square, [], jobs=1).is_empty()


class TestFailures:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_point_that_fails_is_reported_and_does_not_stop_the_rest(self, jobs, capsys):
        table = vq.sweep(odd_ones_fail, {"x": [0, 1, 2, 3]}, jobs=jobs, progress=False)
        assert table["value"].to_list() == [0, None, 2, None]
        assert table["error"].to_list() == [None, "RuntimeError: no 1", None, "RuntimeError: no 3"]
        assert "A point failed: x=1, seed=0: RuntimeError: no 1" in capsys.readouterr().err

    def test_all_may_fail(self):
        table = vq.sweep(odd_ones_fail, {"x": [1]}, jobs=1)
        assert table.rows() == [(1, 0, "RuntimeError: no 1")]

    def test_a_configuration_that_simulate_refuses(self):
        table = vq.sweep(vq.simulate, RUNS | {"codes": [0, 4]}, progress=False)
        assert table["error"].null_count() == 2
        assert "'codes' parameter of simulate must be an int >= 1. Got 0" in table["error"][0]

    def test_failed_points_are_tried_again(self, tmp_path):
        def recovers(x, seed):
            if (tmp_path / "broken").exists():
                raise OSError("not yet")
            return {"value": x}

        (tmp_path / "broken").touch()
        assert vq.sweep(recovers, {"x": [1]}, folder=tmp_path / "parts", jobs=1)["error"].to_list() == ["OSError: not yet"]
        (tmp_path / "broken").unlink()
        assert vq.sweep(recovers, {"x": [1]}, folder=tmp_path / "parts", jobs=1)["value"].to_list() == [1]

    def test_what_a_table_cannot_hold_is_a_failure(self):
        table = vq.sweep(lambda seed: {"value": object()}, [{}], jobs=1)
        assert table["error"][0].startswith("TypeError: a row can hold numbers, names and arrays of them, not <object")
        table = vq.sweep(lambda seed: 3, [{}], jobs=1)
        assert (
            table["error"][0] == "TypeError: the function must return a dictionary, a list of dictionaries or a Run. Got 3"
        )


class TestKept:
    def test_finished_points_are_skipped(self, tmp_path):
        log, folder = tmp_path / "log", tmp_path / "parts"
        grid = {"x": [1, 2], "log": [str(log)]}
        first = vq.sweep(logged, grid, seeds=2, folder=folder, jobs=1)
        assert len(calls(log)) == 4
        assert first.equals(vq.sweep(logged, grid, seeds=2, folder=folder, jobs=1))
        assert len(calls(log)) == 4
        larger = vq.sweep(logged, grid | {"x": [0, 1, 2]}, seeds=3, folder=folder, jobs=1)
        assert calls(log)[4:] == ["0 0", "0 1", "0 2", "1 2", "2 2"]
        assert larger["value"].to_list() == [0, 1, 2, 1, 2, 3, 2, 3, 4]

    def test_a_point_of_a_number_that_is_none_is_kept_too(self, tmp_path):
        log = tmp_path / "log"
        grid = {"x": [float("nan")], "log": [str(log)]}
        tables = [vq.sweep(logged, grid, jobs=1, folder=tmp_path / "points") for _ in range(2)]
        assert tables[0].equals(tables[1])
        assert len(calls(log)) == 1

    def test_kept_points_give_the_same_table_to_the_bit(self, tmp_path):
        grid = {"x": [3, 1], "y": [0.1]}
        tables = [vq.sweep(square, grid, folder=folder, jobs=1) for folder in (None, tmp_path, tmp_path)]
        assert tables[0].equals(tables[1])
        assert tables[0].equals(tables[2])

    def test_a_damaged_point_is_done_again(self, tmp_path):
        whole = vq.sweep(square, {"x": [3, 1], "y": [0.1]}, folder=tmp_path, jobs=1)
        for damage in (b"", b'{"rows": [', b"[]", b'{"rows": [], "about": {"function": "x"}}'[:20]):
            next(tmp_path.glob("*.json")).write_bytes(damage)
            assert whole.equals(vq.sweep(square, {"x": [3, 1], "y": [0.1]}, folder=tmp_path, jobs=1))

    @pytest.mark.parametrize("part", ["vqtheory", "file"])
    def test_a_point_of_another_version_or_file_is_done_again(self, tmp_path, part):
        log = tmp_path / "log"
        grid = {"x": [1], "log": [str(log)]}
        vq.sweep(logged, grid, folder=tmp_path / "parts", jobs=1)
        (path,) = (tmp_path / "parts").glob("*.json")
        found = json.loads(path.read_text())
        path.write_text(json.dumps(found | {"about": found["about"] | {part: "0.0.0"}}))
        vq.sweep(logged, grid, folder=tmp_path / "parts", jobs=1)
        assert len(calls(log)) == 2

    def test_a_folder_belongs_to_one_function(self, tmp_path):
        vq.sweep(odd_ones_fail, {"x": [2]}, folder=tmp_path, jobs=1)

        def other(x, seed):
            return {"value": x}

        with pytest.raises(ValueError, match=r"must be a folder of .*other. .* holds points of .*odd_ones_fail"):
            vq.sweep(other, {"x": [2]}, folder=tmp_path, jobs=1)

    def test_a_killed_sweep_goes_on_where_it_was(self, tmp_path):
        """SIGKILL to all of its processes once some points are finished; the rest, and only that, is done later."""
        program = textwrap.dedent(
            """
            import sys, time
            import vqtheory as vq

            def slow(x, seed, log):
                with open(log, "a") as file:
                    file.write(f"{x} {seed}\\n")
                if len(sys.argv) > 2:
                    time.sleep(0.3)
                return {"value": x / 3 + seed}

            table = vq.sweep(slow, {"x": list(range(20)), "log": ["LOG"]}, seeds=2, folder="parts", jobs=2, progress=False)
            table.write_parquet(sys.argv[1])
            """
        ).replace("LOG", str(tmp_path / "log"))
        (tmp_path / "program.py").write_text(program)
        start = partial(subprocess.Popen, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)
        process = start([sys.executable, "program.py", "killed.parquet", "slowly"])
        while len(list((tmp_path / "parts").glob("*.json"))) < 5:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kept, begun = len(list((tmp_path / "parts").glob("*.json"))), len(calls(tmp_path / "log"))
        assert 5 <= kept < 40
        assert not (tmp_path / "killed.parquet").exists()
        assert start([sys.executable, "program.py", "resumed.parquet"]).wait() == 0
        assert len(calls(tmp_path / "log")) - begun == 40 - kept
        table = pl.read_parquet(tmp_path / "resumed.parquet")
        assert table["value"].to_list() == [x / 3 + seed for x in range(20) for seed in range(2)]


def test_kernels_are_compiled_before_the_processes_start(monkeypatch):
    """Once for each kind of rule, its options, stream and dtype, by a run of one update."""
    seen = []
    monkeypatch.setattr("vqtheory.sweeps.running.simulate", lambda **call: seen.append((repr(call["rule"]), call["steps"])))
    from vqtheory.sweeps.running import _warm_up, simulate

    rules = [VQ(0.1), VQ(0.2), VQ(clock="wins"), NSVQ(form="softmax"), NSVQ()]
    _warm_up(simulate, [{"rule": rule, "stream": STREAM, "codes": 4, "steps": 9} for rule in rules], None)
    assert [steps for _, steps in seen] == [1] * 4
    other = Stream(Gaussian(dim=1))
    _warm_up(simulate, [{"rule": VQ(), "stream": stream, "codes": 4, "steps": 9} for stream in (STREAM, other)], None)
    assert len(seen) == 6
    _warm_up(square, [], lambda: seen.append("warm"))
    assert seen[-1] == "warm"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vq.sweep(3, {}), "'function' parameter of sweep must be a function. Got 3"),
        (lambda: vq.sweep(square, {"x": [1]}), "'grid' parameter of sweep does not fit .*square: missing .* 'y'"),
        (lambda: vq.sweep(vq.simulate, {"speed": [1]}), "does not fit vqtheory.simulation.run.simulate"),
        (lambda: vq.sweep(square, {"x": [1], "y": [1]}, seeds=0), "'seeds' parameter of sweep must be an int >= 1. Got 0"),
        (lambda: vq.sweep(square, [], seeds=[1.5]), "'seeds' parameter of sweep must be an int >= 0. Got 1.5"),
        (lambda: vq.sweep(square, [], seeds="ab"), "'seeds' parameter of sweep must be an int, a sequence of ints, or None"),
        (lambda: vq.sweep(square, {"x": 3, "y": [1]}), "must be a mapping of names to sequences, 'x' too. Got 3"),
        (lambda: vq.sweep(square, {"x": "ab", "y": [1]}), "must be a mapping of names to sequences, 'x' too. Got 'ab'"),
        (lambda: vq.sweep(square, 3), "'grid' parameter of sweep must be a mapping of names to sequences, or a list"),
        (lambda: vq.sweep(square, [3]), "'grid' parameter of sweep must be a mapping of names to sequences, or a list"),
        (lambda: vq.sweep(square, [], jobs=0), "'jobs' parameter of sweep must be a number of processes, or -1 for as many"),
        (lambda: vq.sweep(square, [], jobs="a"), "'jobs' parameter of sweep must be a number of processes"),
        (lambda: vq.sweep(square, [], folder=3), "'folder' parameter of sweep must be a path. Got 3"),
        (lambda: vq.sweep(square, {"x": [object()], "y": [1]}, folder="f"), "give it a __repr__ that names its parameters"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_runs_where_the_backend_says():
    calls = []

    class Backwards:
        compiles_apart = False

        def map(self, function, tasks, killed):
            tasks = list(tasks)
            calls.append(len(tasks))
            return (function(*task) for task in tasks[::-1])

    grid = {"x": [3, 1, 2], "y": [0.5]}
    here = vq.sweep(square, grid, jobs=1, progress=False)
    assert vq.sweep(square, grid, backend=Backwards(), progress=False).equals(here)
    assert calls == [3]


def hard_to_finish(what, seed):
    if what == "exit":
        sys.exit("enough")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"what": "other"} if what == "renamed" else {"value": 1}


def test_a_point_that_ends_its_process_is_reported_and_the_rest_goes_on(capsys):
    names = ["fine", "exit", "killed", "renamed", "good"]
    table = vq.sweep(hard_to_finish, {"what": names}, jobs=2, progress=False)
    assert table["value"].to_list() == [1, None, None, None, 1]
    wanted = (
        None,
        "SystemExit: enough",
        "its process was killed",
        "must not return 'what', the name of another column",
        None,
    )
    assert all(found is wish is None or wish in found for found, wish in zip(table["error"], wanted, strict=True))
    assert "A point failed: what=killed, seed=0: its process was killed" in capsys.readouterr().err


def test_a_changed_digit_in_a_kept_point_is_noticed(tmp_path, capsys):
    vq.sweep(square, {"x": [3], "y": [0.5]}, folder=tmp_path, jobs=1)
    (kept,) = tmp_path.glob("*.json")
    beside = [tmp_path / f"{kept.name}.{host}.999999999.new" for host in (platform.node(), "another.host")]
    for half in beside:
        half.write_text("half")
    kept.write_text(kept.read_text().replace("9", "8", 1))
    assert vq.sweep(square, {"x": [3], "y": [0.5]}, folder=tmp_path, jobs=1)["error"].to_list() == [None]
    assert f"{kept} is damaged or of an earlier version" in capsys.readouterr().err
    assert {*tmp_path.iterdir()} == {kept, beside[1]}  # another host may be writing its file just now


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_sweep(number, tmp_path):
    program = """
import os, sys, time, vqtheory as vq
def slow(x):
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
    time.sleep(60)
    return {}
if __name__ == "__main__":
    vq.sweep(slow, {"x": range(4)}, seeds=None, jobs=2, progress=False)
"""
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "workers").mkdir()
    process = subprocess.Popen([sys.executable, tmp_path / "program.py", tmp_path / "workers"], stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "workers").iterdir())) < 2:
        time.sleep(0.05)
    process.send_signal(number)
    process.wait(20)
    deadline = time.monotonic() + 20
    workers = [int(path.name) for path in (tmp_path / "workers").iterdir()]
    while any(os.path.exists(f"/proc/{worker}") for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [worker for worker in workers if os.path.exists(f"/proc/{worker}")]
