"""Several processes with one folder: shards, leases on points, and one table."""

import contextlib
import json
import os
import platform
import signal
import threading
import time

import pytest

import vqtheory as vq
from vqtheory.sweeps import leases, running
from vqtheory.sweeps.backends import stoppable
from vqtheory.sweeps.leases import Leases, lease_of


def logged(x, seed, log):
    with open(log, "a") as file:
        file.write(f"{x} {seed}\n")
    time.sleep(0.01)
    return {"value": x / 3 + seed}


def lines(log):
    return log.read_text().splitlines()


def test_shards_make_one_table(tmp_path):
    log, options = tmp_path / "log", {"seeds": 2, "jobs": 1, "folder": tmp_path / "parts"}
    grid = {"x": [0, 1, 2, 3, 4], "log": [str(log)]}
    parts = [vq.sweep(logged, grid, shard=(i, 3), **options) for i in range(3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert len(set(lines(log))) == len(lines(log)) == 10
    whole = vq.sweep(logged, grid, **options)
    assert len(lines(log)) == 10
    assert whole.equals(vq.sweep(logged, grid, seeds=2, jobs=1))
    assert all(whole[i::3].equals(part) for i, part in enumerate(parts))
    assert {path.suffix for path in (tmp_path / "parts").iterdir()} == {".json"}


@pytest.mark.parametrize("shard", [(3, 3), (-1, 2), (0,), 1, (0.5, 2), (0, 2, 3)])
def test_shards_that_are_none(shard):
    with pytest.raises(
        ValueError, match=r"'shard' parameter of sweep must be two ints \(i, n\) with 0 <= i < n: part i of n"
    ):
        vq.sweep(logged, [], shard=shard)


def test_two_sweeps_at_once_divide_the_points(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SECONDS_BETWEEN_PROBES", 0.02)
    log, tables = tmp_path / "log", {}
    grid = {"x": list(range(20)), "log": [str(log)]}

    def go(name):
        tables[name] = vq.sweep(logged, grid, folder=tmp_path / "parts", jobs=1, progress=False)

    threads = [threading.Thread(target=go, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(lines(log))) == len(lines(log)) == 20
    assert tables["one"].equals(tables["other"])
    assert tables["one"]["value"].to_list() == [x / 3 for x in range(20)]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize("ignored", [True, False])
def test_a_hangup_ends_a_sweep_unless_it_is_ignored_as_under_nohup(ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with contextlib.nullcontext() if ignored else pytest.raises(KeyboardInterrupt), stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)


class TestLeases:
    def held_by(self, point, host, pid):
        lease_of(point).write_text(json.dumps({"host": host, "pid": pid, "time": 0.0}))

    def test_one_holder_at_a_time_who_is_named(self, tmp_path):
        point = tmp_path / "parts" / "point.json"
        with Leases() as one, Leases() as other:
            assert one.take(point)
            assert json.loads(lease_of(point).read_text())["host"] == platform.node()
            assert not other.take(point)
            one.give_back(point)
            assert other.take(point)
        assert not lease_of(point).exists()
        assert not other.take(point)  # of a sweep that has ended

    def test_a_lease_taken_while_the_sweep_ends_does_not_stay(self, tmp_path, monkeypatch):
        point, here, create = tmp_path / "point.json", Leases(), leases._create

        def create_late(lease):
            here.__exit__(None, None, None)
            return create(lease)

        monkeypatch.setattr(leases, "_create", create_late)
        assert not here.take(point)
        assert not lease_of(point).exists()

    def test_a_lease_that_is_not_ours_stays(self, tmp_path):
        point = tmp_path / "point.json"
        self.held_by(point, "another-host", 1)
        with Leases() as here:
            here.give_back(point)
        assert lease_of(point).exists()

    def test_a_process_of_this_host_that_is_gone_holds_nothing(self, tmp_path):
        self.held_by(tmp_path / "point.json", platform.node(), 999_999_999)
        with Leases() as here:
            assert here.take(tmp_path / "point.json")

    def test_another_host_keeps_what_it_renews_for_two_minutes(self, tmp_path, monkeypatch):
        clock, point = [1000.0], tmp_path / "point.json"
        monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
        self.held_by(point, "another-host", 1)
        with Leases() as here:
            for renewed in (True, True, False):
                assert not here.take(point)
                clock[0] += 119
                assert not here.take(point)
                if renewed:
                    leases.os.utime(lease_of(point), (clock[0], clock[0]))
            clock[0] += 2
            assert here.take(point)
            assert json.loads(lease_of(point).read_text())["host"] == platform.node()

    def test_a_lease_is_renewed_while_its_point_runs(self, tmp_path, monkeypatch):
        monkeypatch.setattr(leases, "RENEWED", 0.01)
        point = tmp_path / "point.json"
        with Leases() as here:
            here.take(point)
            leases.os.utime(lease_of(point), (0, 0))
            deadline = time.monotonic() + 5
            while lease_of(point).stat().st_mtime == 0 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert lease_of(point).stat().st_mtime > 0

    def test_a_point_that_another_host_finishes_is_waited_for(self, tmp_path, monkeypatch):
        monkeypatch.setattr(running, "SECONDS_BETWEEN_PROBES", 0.02)
        log, grid = tmp_path / "log", {"x": [1, 2], "log": [str(tmp_path / "log")]}
        table = vq.sweep(logged, grid, folder=tmp_path / "parts", jobs=1)
        point = next((tmp_path / "parts").glob("*.json"))
        content = point.read_bytes()
        point.unlink()
        self.held_by(point, "another-host", 1)
        threading.Timer(0.1, point.write_bytes, [content]).start()
        assert vq.sweep(logged, grid, folder=tmp_path / "parts", jobs=1, progress=False).equals(table)
        assert len(lines(log)) == 2
