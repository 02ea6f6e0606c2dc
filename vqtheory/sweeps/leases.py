"""Leases: which process is at work on a point, so that two hosts with one folder do not do it twice.

A lease is a file beside the point's own, created only where there is none. It names host, process and time, and is renewed
while its point runs. A lease is stale, and taken over, where its process is of this host and gone, or where it has not been
renewed for two minutes by the clock of the process that waits for it: hosts need not agree on the time.

A lease saves work and guards nothing. Where one is lost, or two processes take over the same one at the same moment, a
point is done twice, with the same result.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from pathlib import Path
from types import TracebackType

from vqtheory.sweeps.grid import is_alive

STALE, RENEWED = 120.0, 20.0  # seconds after which a lease is taken over, and between renewals


class Leases:
    """The leases that a sweep holds; when it ends they are given back."""

    def __init__(self) -> None:
        self._held: set[Path] = set()
        self._watched: dict[Path, tuple[int, float]] = {}  # of others: when renewed by the file, when noticed by our clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        for lease in list(self._held):
            lease.unlink(missing_ok=True)

    def take(self, point: Path) -> bool:
        """Whether the point is ours to run. Never raises: a lease that cannot be written is no reason not to run."""
        lease = lease_of(point)
        if self._ended.is_set():
            return False
        try:
            if not _create(lease) and not (self._is_stale(lease) and _take_over(lease)):
                return False
        except OSError:  # of a full disk, or a folder that others may not write to
            return True
        self._held.add(lease)
        if self._ended.is_set():  # just now: a backend's thread may ask while the sweep ends
            self.give_back(point)
            return False
        if self._thread.ident is None:
            self._thread.start()
        return True

    def give_back(self, point: Path) -> None:
        """Let go of a point that is finished, or has failed; a lease that is not ours stays."""
        lease = lease_of(point)
        if lease in self._held:
            self._held.discard(lease)
            lease.unlink(missing_ok=True)

    def _is_stale(self, lease: Path) -> bool:
        try:
            renewed, holder = lease.stat().st_mtime_ns, _holder(lease)
        except FileNotFoundError:  # given back just now
            return True
        if holder.get("host") == platform.node() and not is_alive(holder["pid"]):
            return True
        known, noticed = self._watched.get(lease, (None, 0.0))
        if known != renewed:
            self._watched[lease] = (renewed, time.monotonic())
            return False
        return time.monotonic() - noticed > STALE

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED):
            for lease in list(self._held):
                try:
                    os.utime(lease)
                except OSError:  # the point has been finished, or the lease taken over
                    continue


def lease_of(point: Path) -> Path:
    """Where the lease on a point is."""
    return point.with_suffix(".lease")


def _create(lease: Path) -> bool:
    lease.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(lease, "x") as file:
            json.dump({"host": platform.node(), "pid": os.getpid(), "time": time.time()}, file)
    except FileExistsError:
        return False
    return True


def _take_over(lease: Path) -> bool:
    lease.unlink(missing_ok=True)
    return _create(lease)


def _holder(lease: Path) -> dict:
    """Who holds a lease; nobody known where the file is still being written."""
    try:
        content = json.loads(lease.read_bytes())
        return {"host": str(content["host"]), "pid": int(content["pid"])}
    except (ValueError, KeyError, TypeError):
        return {}
