"""The benchmarks run, on a small scale, and compare like with like. How fast anything is, is no test."""

import numpy as np
import polars as pl
import pytest

import vqtheory as vq
from simulations.benchmarks import kmeans, peers, rules, scale, simulator, start, timing
from vqtheory.rules import VQ


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(simulator, "WORK", 2**20)
    monkeypatch.setattr(simulator, "SHAPES", ((16, 2), (32, 4)))
    monkeypatch.setattr(timing, "REPETITIONS", 1)
    monkeypatch.setattr(timing, "SIDE", 64)


def test_rows_have_a_ratio_for_each_peer(small):
    table = pl.DataFrame(simulator.online())
    assert table["peer"].to_list() == ["compiled loop", "scikit-learn", "NumPy loop", "bound"] * 2
    np.testing.assert_allclose(table["ours"] / table["theirs"], table["ratio"])


def test_transvq_is_compared_with_the_layer(small, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(simulator, "TRANSFORMERS", ((8, 4, 8, 16),))
    (row,) = simulator.transformers()
    assert (row["case"], row["peer"]) == ("TransVQ", "torch")


def test_every_rule_is_timed_beside_vq(monkeypatch):
    monkeypatch.setattr(timing, "REPETITIONS", 1)
    monkeypatch.setattr(rules, "NUM_CODES", 16)
    monkeypatch.setattr(rules, "DIM", 4)
    monkeypatch.setattr(rules, "BATCH", 32)
    table = pl.DataFrame(rules.rules())
    assert {type(rule).__name__ for rule, _ in rules.CASES.values()} | {"Rule", "VQ"} == set(vq.rules.__all__)
    assert table["case"].to_list() == list(rules.CASES)
    assert (table["times"] > 0).all()


@pytest.mark.parametrize("peer", [peers.compiled_loop, peers.numpy_loop])
def test_peers_do_what_vq_does(peer):
    x, codes = simulator.latents(16, 2, work=2**14)
    run = peer(x[:, 0], codes)
    assert run() == len(x)
    (moved,) = [cell.cell_contents for cell in run.__closure__ if np.shape(cell.cell_contents) in ((16, 2), (2, 16))]
    state, _ = VQ(simulator.STEP_SIZE).advance(VQ().init(codes), vq.Batches(x))
    np.testing.assert_allclose(moved if moved.shape == (16, 2) else moved.T, state.codes, atol=1e-6)


def test_memory_of_an_array():
    assert 0.9 < timing.added_memory(lambda: np.ones(2**23)) / 2**26 < 1.2


def test_scale_counts_the_codes_that_are_returned(monkeypatch):
    monkeypatch.setattr(scale, "WORK", 2**28)
    codebook = 4 * 2**15 * scale.DIM  # bytes, more than an allocator has at hand
    call = f"scale.WORK = {scale.WORK}; print(scale.memory('VQ, one sample per update', {2**15}))"
    added = timing.elsewhere(f"from simulations.benchmarks import scale; {call}")
    assert added / codebook == pytest.approx(1, abs=0.2)
    assert scale.seconds("VQ, one sample per update", 64) > 0


def test_a_call_that_fails_elsewhere_is_reported():
    with pytest.raises(RuntimeError, match="failed: .*no such"):
        timing.elsewhere("raise ValueError('no such')")


def test_start_times_new_processes(monkeypatch):
    monkeypatch.setattr(start, "CASES", {"nothing": "pass"})
    monkeypatch.setattr(start, "REPETITIONS", 1)
    assert 0 <= next(start.start())["seconds"] < 60


def test_the_layer_s_cases_run():
    pytest.importorskip("torch")
    pytest.importorskip("vector_quantize_pytorch")
    from simulations.benchmarks import layer

    for case in layer.CASES:
        layer.prepared(case, 16, 8)()


def test_every_method_of_the_study_can_be_timed():
    pytest.importorskip("vector_quantize_pytorch")
    from simulations.benchmarks import training
    from vqtheory.nn.training.config import TrainingConfig

    for options in (*training.CASES.values(), *training.LARGE.values()):
        config = TrainingConfig(**training.settings(options))
        assert config.quantize_from <= training.UPDATES < config.steps


def test_clusterings_take_the_same_passes_over_the_same_latents(monkeypatch, capfd):
    """From the same codes the same ones, to rounding; SuperKMeans begins at others."""
    pytest.importorskip("superkmeans")
    monkeypatch.setattr(kmeans, "SHAPES", ((64, 8),))
    rows = {row["case"]: row for row in kmeans.kmeans()}
    assert list(rows) == list(peers.CLUSTERINGS)
    by_lloyd = rows["ours, Lloyd"]["distortion"]
    for name in ("scikit-learn", "faiss"):
        assert rows[name]["distortion"] == pytest.approx(by_lloyd, rel=1e-5)
    assert rows["SuperKMeans"]["distortion"] == pytest.approx(by_lloyd, rel=0.2)
    assert all(row["agreement"] > 0.98 for row in rows.values())


def test_the_gpu_s_script_runs_without_one(monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("vector_quantize_pytorch")
    from simulations.benchmarks import gpu

    torch.set_num_threads(1)
    monkeypatch.setattr(gpu, "SIZES", gpu.SMALL)
    monkeypatch.setattr(gpu, "SECONDS", 0.0)
    monkeypatch.setattr(gpu, "LAYERS", (gpu.LAYERS[1], ("VQ",)))
    table = pl.DataFrame(gpu.gpu(), infer_schema_length=None)
    assert table["case"].to_list() == [case for layers in gpu.LAYERS for case in (*layers, *gpu.ASSIGNMENTS)]
    seen = table.filter(pl.col("note").is_null())
    assert (seen["fraction"] > 0).all()
    assert (seen["agreement"].drop_nulls() > 0.999).all()
    if not torch.cuda.is_available():
        assert set(table["note"].drop_nulls()) <= {"flash_kmeans is not installed", "triton is not installed"}
    monkeypatch.setattr(gpu, "LAST_BEGIN", -1.0)
    assert next(gpu.gpu())["note"].startswith("left out")
