"""Sweeps on a Dask cluster of two processes, started once: bits, deaths, refusals, going on."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from distributed import Client, LocalCluster

import vqtheory as vq
from simulations import bias, command, tables
from vqtheory.rules import EMA, VQ
from vqtheory.streams import Stream, Translation, Uniform
from vqtheory.sweeps import Cluster, Joblib, cluster, running

STREAM = Stream(Uniform(dim=1), Translation(speed=1e-4))
RUNS = {"rule": [VQ(0.1), EMA(0.9)], "stream": [STREAM], "codes": [2, 4], "steps": [200], "batch_size": [4]}


@pytest.fixture(scope="module")
def client():
    before = dict(os.environ)  # Dask gives its workers one thread of OpenMP by this process's own environment
    local = LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", scheduler_kwargs={"allowed_failures": 0}, silence_logs=50
    )
    with local, Client(local) as connected:
        yield connected
    os.environ.clear()
    os.environ.update(before)


def logged(x, seed, log):
    with open(log, "a") as file:
        file.write(f"{x} {seed} {os.getpid()}\n")
    time.sleep(0.03)
    return {"value": x / 3 + seed}


def deadly(x, once):
    """Ends its process: x = 1 the first time, x = 2 every time."""
    if x == 2 or (x == 1 and not os.path.exists(once)):
        Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": x}


def test_the_table_and_the_folder_are_those_of_one_machine(client, tmp_path, capsys):
    home = vq.sweep(vq.simulate, RUNS, seeds=2, jobs=1, folder=tmp_path / "home")
    away = vq.sweep(vq.simulate, RUNS, seeds=2, backend=client, folder=tmp_path / "away", progress=False)
    assert away.equals(home)
    names = [sorted(path.name for path in (tmp_path / place).iterdir()) for place in ("home", "away")]
    assert names[0] == names[1]
    for name in names[0]:
        assert (tmp_path / "home" / name).read_bytes() == (tmp_path / "away" / name).read_bytes()
    log, third = tmp_path / "log", 1 / 3
    grid = {"x": [third, 2.0], "log": [str(log)]}
    assert vq.sweep(logged, grid, backend=client.scheduler.address, folder=tmp_path / "parts").equals(
        vq.sweep(logged, grid, jobs=1, folder=tmp_path / "parts")
    )
    assert len(log.read_text().splitlines()) == 2
    table = vq.sweep(lambda x: {"value": x + third}, {"x": [1, 2]}, seeds=None, backend=client)
    assert table["value"].to_list() == [1 + third, 2 + third]
    assert vq.sweep(lambda x: {"value": 1 / x}, {"x": [0]}, seeds=None, backend=client)["error"][0].startswith("ZeroDiv")


def test_only_a_window_of_tasks_is_with_the_scheduler(client, monkeypatch):
    monkeypatch.setattr(cluster, "LEAST_WINDOW", 5)
    monkeypatch.setattr(cluster, "TASKS_PER_THREAD", 1)
    taken, back, ahead = [], 0, 0
    tasks = ((taken.append(x) or x, 2) for x in range(40))
    assert (running.workers_of(Cluster(client)), running.workers_of(Joblib())) == ({"workers": 2}, {})
    for _ in Cluster(client).map(pow, tasks):
        ahead = max(ahead, len(taken) - back)
        back += 1
    assert (back, ahead) == (40, 5)
    count = lambda dask_scheduler: len(dask_scheduler.tasks)  # noqa: E731  a name would be imported there
    deadline = time.monotonic() + 5
    while client.run_on_scheduler(count) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.run_on_scheduler(count) == 0


def test_a_worker_that_dies_costs_the_points_that_it_was_at(client, tmp_path, capsys):
    grid = {"x": [0, 1, 2, 3, 4], "once": [str(tmp_path / "once")]}
    table = vq.sweep(deadly, grid, seeds=None, backend=client, progress=False)
    assert table["value"].to_list() == [0, 1, None, 3, 4]
    assert table["error"].to_list()[2] == "its process was killed, for want of memory or from outside"
    assert "A point failed: x=2" in capsys.readouterr().err
    client.wait_for_workers(2, timeout=20)


def test_a_mixture_of_cpus_is_one_warning_and_a_column(client, tmp_path):
    def call_cpu(name):
        from vqtheory.sweeps import machine, running

        running.host_cpu = machine.host_cpu if name is None else lambda: name

    one = next(iter(client.scheduler_info()["workers"]))
    client.run(call_cpu, "another-cpu", workers=[one])
    call = partial(vq.sweep, logged, {"x": list(range(12)), "log": [str(tmp_path / "log")]}, folder=tmp_path / "parts")
    try:
        with pytest.warns(UserWarning, match="CPUs of more than one type.*'host_cpu'") as warned:
            table = call(backend=client, progress=False)
    finally:
        client.run(call_cpu, None)
    assert len(warned) == 1
    assert table.columns == ["x", "log", "seed", "value", "host_cpu", "error"]
    pids = [int(line.split()[2]) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(set(pids)) == 2
    assert min(pids.count(pid) for pid in set(pids)) == min(table["host_cpu"].value_counts()["count"])
    assert call(jobs=1)["host_cpu"].equals(table["host_cpu"])


def test_a_client_that_dies_goes_on_from_the_folder(client, tmp_path):
    program = textwrap.dedent(
        """
        import sys, time
        import vqtheory as vq

        def slow(x, pause):
            time.sleep(float(pause))
            with open("log", "a") as file:
                file.write(f"{x}\\n")
            return {"value": x / 3}

        if __name__ == "__main__":
            grid = {"x": list(range(12)), "pause": ["PAUSE"]}
            table = vq.sweep(slow, grid, seeds=None, folder="parts", backend=sys.argv[1])
            table.write_parquet("table.parquet")
        """
    )
    (tmp_path / "program.py").write_text(program.replace("PAUSE", "0.4").replace('"log"', repr(str(tmp_path / "log"))))
    start = partial(subprocess.Popen, [sys.executable, "program.py", client.scheduler.address], cwd=tmp_path)
    process = start(stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "parts").glob("*.json"))) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    finished = len(list((tmp_path / "parts").glob("*.json")))
    time.sleep(1)  # for what is running to end
    before = len((tmp_path / "log").read_text().splitlines())
    assert finished <= before < 12  # what had not begun has been cancelled
    assert start(stderr=subprocess.DEVNULL).wait() == 0
    assert len((tmp_path / "log").read_text().splitlines()) == before + 12 - finished
    assert pl.read_parquet(tmp_path / "table.parquet")["value"].to_list() == [x / 3 for x in range(12)]


class TestRefusals:
    """Each before the first point."""

    def test_workers_of_other_versions_by_name(self, client, monkeypatch):
        here = cluster.versions()
        monkeypatch.setattr(cluster, "versions", lambda: here | {"numba": "0.1"})
        worker = next(iter(client.scheduler_info()["workers"]))
        with pytest.raises(ValueError, match=f"{worker} has numba {here['numba']} in place of 0.1"):
            vq.sweep(vq.simulate, RUNS, backend=client)
        monkeypatch.setattr(cluster, "versions", lambda: {"numpy": "2"})
        with pytest.raises(ValueError, match="worker that has joined must have .* It has no numba, numpy 2 in place of 1"):
            cluster._run(b"", {"numba": "0.1", "numpy": "1"})

    def test_the_same_version_with_other_source(self, client, monkeypatch):
        here = cluster.versions()
        monkeypatch.setattr(cluster, "versions", lambda: here | {"source": "other"})
        with pytest.raises(ValueError, match=f"has source {here['source']} in place of other"):
            vq.sweep(vq.simulate, RUNS, backend=client)

    def test_a_function_that_workers_cannot_import(self, client, tmp_path, monkeypatch):
        (tmp_path / "mine.py").write_text("def point(x):\n    return {}\n")
        monkeypatch.syspath_prepend(tmp_path)
        from mine import point

        with pytest.raises(ValueError, match="'function' .* that the workers can import. .*No module named 'mine'"):
            vq.sweep(point, {"x": [1]}, seeds=None, backend=client)

    @pytest.mark.parametrize("away", [True, False])
    def test_what_cannot_be_pickled_with_its_name(self, client, away):
        backend, lock = client if away else Joblib(2), threading.Lock()
        with pytest.raises(ValueError, match=r"'grid' parameter of sweep .* 'x' is <unlocked .*cannot be pickled: "):
            vq.sweep(lambda x, y: {}, {"y": [1, 2], "x": [lock]}, seeds=None, backend=backend)
        with pytest.raises(ValueError, match=r"'function' parameter of sweep must be something that can be sent"):
            vq.sweep(lambda x: {"value": lock}, {"x": [1, 2]}, seeds=None, backend=backend)

    def test_a_scheduler_that_does_not_answer(self, monkeypatch):
        monkeypatch.setattr(cluster, "SECONDS_TO_ANSWER", 0.2)
        with pytest.raises(ValueError, match=r"^No Dask scheduler answers at 'tcp://127.0.0.1:9' after 0.2 seconds"):
            vq.sweep(logged, [], backend="tcp://127.0.0.1:9")

    def test_no_dask(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(ValueError, match=r"needs the package distributed, .*: pip install '.\[cluster\]'"):
            vq.sweep(logged, [], backend="tcp://127.0.0.1:9")
        with pytest.raises(ValueError, match=r"'backend' parameter of sweep must be a Backend, .* Got 3"):
            vq.sweep(logged, [], backend=3)


def test_experiments_and_claims_run_on_workers_too(client, tmp_path):
    """The workers are sent the files of the experiments, and see that settings are the same there."""
    tasks = [("gaussian", bandwidth, None) for bandwidth in (0.1, 0.15)]
    home = tables.run_all(bias.distances, tasks, "bias")
    with command.workers(client.scheduler.address) as backend, tables.kept(tmp_path, backend):
        assert tables.run_all(bias.distances, tasks, "bias").equals(home)
    (verdict,) = vq.claims.verify(["straight-through-forward"], backend=client)
    assert verdict.outcome == "holds"
