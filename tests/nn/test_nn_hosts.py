"""A training on two hosts: two launchers of torchrun that meet on this machine, with one process each."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from processes import ONE_THREAD, together
from test_nn_train import assert_same, equal, write_images

torch = pytest.importorskip("torch")
from vqtheory.nn import resume, train  # noqa: E402
from vqtheory.nn.ops.processes import LostProcess, noticed  # noqa: E402
from vqtheory.nn.training.run import TrainingRun  # noqa: E402

LAUNCH = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
TINY = {"size": 16, "codes": 64, "dim": 4, "batch_size": 4, "steps": 15, "records": 5, "lr": 0.01, "rule": "ema"}
TINY |= {"transport": 2, "replace_every": 3}
PROGRAM = """
import importlib, os, signal, sys, torch
from vqtheory.cli import main
loop = importlib.import_module("vqtheory.nn.training.loop")
loop._SECONDS_BETWEEN_CHECKPOINTS = 0.0
torch.set_default_dtype(torch.float64)
arguments = sys.argv[1:]
for name in ("unlike", "whole", "killed"):
    sys.argv = ["vqtheory", "train", "--save", name, *arguments]
    sys.argv += ["--seed", os.environ["RANK"]] if name == "unlike" else []
    if name == "killed" and os.environ["RANK"] == "0":
        keep = loop._keep
        def die(run, *rest):
            if run.step == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            keep(run, *rest)
        loop._keep = die
    status = main()
sys.exit(status)
"""


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def options(tmp_path):
    return TINY | {"data": write_images(tmp_path / "images.zip", 50)}


def hosts(folder, options):
    """What both launchers have said, once both have ended."""
    (folder / "program.py").write_text(PROGRAM)
    arguments = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = "{}:{}".format(*free.getsockname())
    meeting = ["--rdzv-id", folder.name, "--rdzv-endpoint", place, "program.py"]
    launchers = [
        subprocess.Popen(
            [sys.executable, *LAUNCH, *meeting, *arguments],
            cwd=folder, env=ONE_THREAD, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    try:
        return [launcher.communicate(timeout=150)[0] for launcher in launchers]
    finally:
        for launcher in launchers:
            if launcher.poll() is None:
                os.killpg(launcher.pid, signal.SIGKILL)
                launcher.wait()


def test_two_hosts_do_what_one_process_does_and_go_on_after_a_death(tmp_path, options, double):
    """EMA's sums, gradients, transport, replacement and hits; in float64: what is left is the order of sums."""
    one = train(**options, progress=False)
    said = "".join(hosts(tmp_path, options))
    assert time.time() - (tmp_path / "killed" / "manifest.json").stat().st_mtime < 60  # which is of shortly before the death
    two = TrainingRun.load(tmp_path / "whole")
    assert said.count("vqtheory: All 2 processes of a training must have the same configuration. These have not.") == 2
    assert said.count("After 15 updates") == 1, said
    assert one.rows[-1]["replaced"] == two.rows[-1]["replaced"] > 0
    assert (one.monitor.recording.hits == two.monitor.recording.hits).all()
    torch.testing.assert_close(two.model.state_dict(), one.model.state_dict(), rtol=0, atol=1e-9)

    assert re.search("vqtheory: Another process of the training has ended or does not answer.* Kept up to update 6", said)
    shutil.copytree(tmp_path / "killed", tmp_path / "alone")
    going_on = f"""
        from vqtheory.nn import resume
        torch.set_default_dtype(torch.float64)
        resume({str(tmp_path / "killed")!r}, progress=False)
    """
    together(going_on, tmp_path, (0, 2), (1, 2))
    assert_same(TrainingRun.load(tmp_path / "killed"), two)
    with pytest.warns(UserWarning, match="on 2 processes, and goes on with 1"):
        alone = resume(tmp_path / "alone", progress=False)
    torch.testing.assert_close(alone.model.state_dict(), two.model.state_dict(), rtol=0, atol=1e-9)
    equal(alone.monitor.recording.hits.tolist(), two.monitor.recording.hits.tolist(), "hits")


def test_a_full_memory_is_no_lost_process():
    with pytest.raises(torch.OutOfMemoryError, match="full"), noticed():
        raise torch.OutOfMemoryError("full")
    with pytest.raises(LostProcess, match="has ended or does not answer"), noticed():
        raise RuntimeError("Connection closed by peer")
