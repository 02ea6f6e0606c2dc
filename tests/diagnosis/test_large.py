"""What is measured and diagnosed on latents that stay on disk is what it is in memory."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vqtheory as vq
from vqtheory import measure, reference
from vqtheory.streams import Latents, Recorded

ROWS = np.random.default_rng(0).normal(size=(400_000, 3)).astype(np.float32)  # more than two blocks of reading
CODES = np.append(np.random.default_rng(1).normal(size=(15, 3)), [[50.0, 0, 0]], axis=0)  # the last is dead
PROBE = np.linspace(0, 1, 300)[:, None] + 0.001 * np.arange(0, 3000, 100)[:, None, None]
ON_LINE = (np.arange(16)[:, None] + 0.5) / 16


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "0.npy", ROWS[:150_000])
    np.save(tmp_path / "1.npy", ROWS[150_000:])
    return Latents(tmp_path)


def test_measures_of_blocks_are_those_in_memory(rows):
    whole, sums = measure.cells(ROWS, CODES), measure.cells(rows, CODES)
    assert np.array_equal(sums.hits, whole.hits)
    np.testing.assert_allclose(sums.centroids, whole.centroids, rtol=0, atol=1e-11)
    for measured in (measure.distortion, measure.residual, lambda *of: measure.residual(*of, unbiased=True), measure.dead):
        np.testing.assert_allclose(measured(rows, CODES), measured(ROWS, CODES), rtol=1e-11)
    axis = [1.0, -1.0, 0.5]
    np.testing.assert_allclose(measure.lag(rows, CODES, axis), measure.lag(ROWS, CODES, axis), rtol=1e-10)
    assert measure.usage(sums.hits) == 15 / 16
    with pytest.raises(ValueError, match="The 'latents' parameter of cells has 3 dimensions, and the codes have 2."):
        measure.cells(rows, CODES[:, :2])


def test_lloyd_of_blocks(rows):
    few = Latents(ROWS[:2000])
    for one, other in zip(reference.lloyd(few, 8, 2), reference.lloyd(ROWS[:2000], 8, 2), strict=True):
        assert np.array_equal(one, other)
    optimum, start = reference.lloyd(rows, 8, restarts=1), reference.lloyd(ROWS[:20_000], 8, restarts=2)
    np.testing.assert_allclose(measure.distortion(ROWS, optimum.codes), optimum.distortion, rtol=1e-12)
    assert optimum.distortion < 1.01 * measure.distortion(ROWS, start.codes)  # local optima of eight codes differ by less
    assert measure.residual(ROWS, optimum.codes) < 1e-3 * optimum.distortion


def test_a_diagnosis_of_files_is_that_in_memory(tmp_path):
    np.save(tmp_path / "0.npy", PROBE[:10])
    np.save(tmp_path / "1.npy", PROBE[10:])
    rule = vq.rules.VQ(step_size=0.05)
    expected = vq.diagnose(PROBE, ON_LINE, rule=rule, every=100)
    mapped = np.load(tmp_path / "0.npy", mmap_mode="r")
    on_disk = vq.diagnose(Recorded(tmp_path, every=100), ON_LINE, rule=rule)
    assert str(on_disk.forecast) == str(expected.forecast)
    assert on_disk.recording.table.equals(expected.recording.table)
    assert on_disk.state == expected.state
    assert on_disk.recording.stream.draw(250, 2, 300, seed=0).x.tolist() == (
        expected.recording.stream.draw(250, 2, 300, seed=0).x.tolist()
    )
    assert np.array_equal(np.sort(on_disk.recording.probe, axis=1), PROBE)
    assert np.array_equal(pickle.loads(pickle.dumps(on_disk)).recording.latents, PROBE)
    of_mapped = vq.diagnose(mapped, ON_LINE, rule=rule, every=100)
    assert of_mapped.recording.latents is mapped
    assert of_mapped.recording.table.equals(vq.diagnose(PROBE[:10], ON_LINE, rule=rule, every=100).recording.table)
    with pytest.raises(ValueError, match="The 'every' parameter of diagnose must be given with an array of latents only"):
        vq.diagnose(Recorded(tmp_path), ON_LINE, every=2)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports it")
def test_files_of_256_mib_take_at_most_64_mib(tmp_path):
    """Above what imports and kernels take: nothing is loaded whole."""
    program = Path(__file__).parents[1] / "soak" / "latents.py"
    command = [sys.executable, str(program), "--mib=256", "--steps=500", "--lloyd-steps=0", f"--folder={tmp_path}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken = {name: result["mib"] for name, result in json.loads(out).items()}
    assert len(taken) == 5
    assert max(taken.values()) <= 64, taken
