"""The cache of compiled kernels: an edit anywhere among them is noticed, in a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import vqtheory

PROGRAM = """
import numpy as np, vqtheory as vq
rule = vq.rules.VQ(0.5)
state = rule.init(np.array([[0.0], [10.0]]))
print(rule.advance(state, vq.Batches(np.full((1, 1, 1), 1.0)))[0].codes.ravel())
"""


def copy_package(folder):
    package = folder / "vqtheory"
    shutil.copytree(Path(vqtheory.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def printed_by(folder, program=PROGRAM):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    environment["PYTHONPATH"] = str(folder)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def compiled_in(package):
    """The files of compiled code, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in package.rglob("*.nbc")}


def test_an_edited_callee_in_another_file_is_compiled_anew(tmp_path):
    package = copy_package(tmp_path)
    assert printed_by(tmp_path) == "[ 0.5 10. ]"
    compiled = compiled_in(package)
    assert compiled
    assert printed_by(tmp_path) == "[ 0.5 10. ]"
    assert compiled == compiled_in(package)  # taken from the disk

    for path in package.rglob("*.nb[ic]"):  # an index that is cut short, and machine code with one bit turned over
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content[:40] if path.suffix == ".nbi" else content)
    assert printed_by(tmp_path) == "[ 0.5 10. ]"
    assert all(path.stat().st_size > 40 for path in package.rglob("*.nbi"))  # written again

    edit(package / "_kernels" / "cells.py", "if distances[k] < closest:", "if distances[k] > closest:")  # the farthest code
    assert printed_by(tmp_path) == "[0.  5.5]"

    edit(package / "rules" / "vq.py", "codes_t[d, k] += rates[t] * pull[k, d]", "codes_t[d, k] -= rates[t] * pull[k, d]")
    assert printed_by(tmp_path) == "[ 0.  14.5]"


def test_the_kernels_that_the_map_loop_finds_by_type(tmp_path):
    """They come from the disk; an edit of one is noticed; and a cache that names a class of another version is not used."""
    package, program = copy_package(tmp_path), PROGRAM.replace("VQ(0.5)", "SimVQ(0.5)")
    before = printed_by(tmp_path, program)
    compiled = compiled_in(package)
    assert any(name.startswith("maps._advance") for name in compiled)
    assert printed_by(tmp_path, program) == before
    assert compiled == compiled_in(package)

    edit(package / "rules" / "simvq.py", "AffineParameters", "Renamed")
    edit(package / "rules" / "simvq.py", "pulled.bias[d] += gradient[k, d]", "pulled.bias[d] -= gradient[k, d]")
    assert printed_by(tmp_path, program) != before


NOWHERE = "import numba.core.caching as caching; caching.CacheImpl._locator_classes = []"
FULL = """
import errno, os
def full(*arguments, **options): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
import vqtheory._kernels.jit as jit
jit._Index._open_for_write = full
"""


def test_a_cache_that_cannot_be_written_stops_no_run(tmp_path):
    copy_package(tmp_path)
    for trouble in (NOWHERE, FULL):
        assert printed_by(tmp_path, f"{trouble}\n{PROGRAM}") == "[ 0.5 10. ]"
