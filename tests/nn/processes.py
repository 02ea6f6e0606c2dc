"""Two processes of torch.distributed, and one beside them, run one script to its end."""

import os
import subprocess
import sys
import textwrap

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # of processes that share the cores
START = """
import os, sys, torch
rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if world > 1:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
"""
END = """
if world > 1:
    torch.distributed.barrier()  # a process that is gone too early aborts the other
sys.stdout.flush()
os._exit(0)  # torch's threads outlive the interpreter, and now and then abort it at its very end
"""


def together(script, folder, *calls):
    """Runs the script as each (rank, world) of the calls, side by side, and waits until all have ended well."""
    program = START + textwrap.dedent(script) + END
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(rank), str(world), str(folder)], env=ONE_THREAD)
        for rank, world in calls
    ]
    try:
        assert [process.wait(timeout=180) for process in started] == [0] * len(calls)
    finally:
        for process in started:
            process.kill()
            process.wait()
