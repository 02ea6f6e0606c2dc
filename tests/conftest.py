"""Settings of all tests: hypothesis is derandomized where CI is set, and no test reaches a network.

A fixture calls the command.
"""

import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch, in processes that share the cores

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
def command(monkeypatch, capsys):
    """Call the command; gives exit status, stdout and the last line of stderr."""
    from vqtheory.cli import app

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["vqtheory", *map(str, arguments)])
        try:
            status = app.main()
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        return status, out, (err.splitlines() or [""])[-1]

    return call
