"""The graph of GraphVQ: from arrays and from files, and what is said of it."""

import re

import numpy as np
import polars as pl
import pytest

import vqtheory as vq
from vqtheory._base.config import arrays_of, parse
from vqtheory.rules import GraphVQ
from vqtheory.rules._graph import edges_of_two_kinds

FEATURES = np.random.default_rng(0).normal(size=(5, 3))
EDGES = np.array([[0, 1], [2, 1], [3, 2], [3, 4], [0, 4]])
CODES = np.random.default_rng(1).normal(size=(5, 2))
STREAM = vq.streams.Stream(vq.streams.Gaussian(dim=2))


def written(folder, kind, features=FEATURES, edges=EDGES):
    """The path of a file of a graph."""
    path = str(folder / f"graph.{kind}")
    if kind == "npz":
        np.savez(path, features=features, edges=edges)
        return path
    neighbours = [[b for a, b in edges.tolist() if a == k] + [a for a, b in edges.tolist() if b == k] for k in range(5)]
    pl.DataFrame({"features": features.tolist(), "edges": neighbours}).write_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_a_file_is_its_arrays(tmp_path, kind):
    known, read = GraphVQ(features=FEATURES, edges=EDGES, width=4), GraphVQ(features=written(tmp_path, kind), width=4)
    np.testing.assert_array_equal(known.init(CODES).codes, read.init(CODES).codes)
    assert parse(repr(read)) == read != known
    assert parse(repr(known), arrays_of(known)) == known
    assert hash(GraphVQ(width=4)) == hash(GraphVQ(width=4))


def test_a_run_knows_its_graph(tmp_path):
    path = written(tmp_path, "npz")
    for rule in (GraphVQ(features=path, width=4), GraphVQ(features=FEATURES, edges=EDGES, width=4)):
        folder = tmp_path / str(rule.files == ())
        run = vq.simulate(rule, STREAM, codes=CODES, steps=4, save=folder, progress=False)
        again = vq.resume(folder, steps=8, progress=False)
        whole = vq.simulate(rule, STREAM, codes=CODES, steps=8, progress=False)
        assert run.config.rule == again.config.rule == rule
        np.testing.assert_array_equal(again.codes, whole.codes)
    written(tmp_path, "npz", features=2 * FEATURES)
    with pytest.raises(ValueError, match=re.escape("graph.npz")):
        vq.resume(tmp_path / "False", steps=12, progress=False)


def test_repeated_edges_are_merged_and_said():
    """The same edge from the other end is no repetition: many files have both."""
    single = GraphVQ(features=FEATURES, edges=EDGES)
    both = GraphVQ(features=FEATURES, edges=np.concatenate([EDGES, EDGES[:, ::-1]]))
    with pytest.warns(UserWarning, match="2 of the 7 edges of GraphVQ are repeated or lead from a code to itself") as warned:
        merged = GraphVQ(features=FEATURES, edges=[*EDGES, EDGES[0], [2, 2]])
    assert single == both == merged
    assert warned[0].filename == __file__


def test_isolated_codes_are_said_and_made_from_their_own_features(tmp_path):
    """Where the package was called, also by a file, which is read later and deeper."""
    edges = np.array([[0, 1], [3, 1]])
    with pytest.warns(UserWarning, match="2 of the 5 codes of GraphVQ have no edge, the first of them code 2") as warned:
        rule = GraphVQ(features=FEATURES, edges=edges, width=4)
    np.testing.assert_array_equal(rule.init(CODES).base[[2, 4]], FEATURES[[2, 4]])
    read = GraphVQ(features=written(tmp_path, "npz", edges=edges), width=4)
    with pytest.warns(UserWarning, match="2 of the 5 codes of GraphVQ.*npz.* have no edge") as late:
        vq.simulate(read, STREAM, codes=CODES, steps=1, progress=False)
    assert {one.filename for one in (*warned, *late)} == {__file__}


def test_two_kinds():
    """Every noun is joined to adjectives alone, up to eight, whatever the seed of the features."""
    edges = edges_of_two_kinds(100)
    assert (edges[:, 0] < 50).all()
    assert (edges[:, 1] >= 50).all()
    assert np.bincount(edges[:, 1])[50:].min() >= 1
    assert np.bincount(edges[:, 1]).max() <= 8
    codes = np.random.default_rng(0).normal(size=(100, 2))
    assert (GraphVQ().init(codes, 0).base != GraphVQ().init(codes, 1).base).all()


@pytest.mark.parametrize("rule", [GraphVQ(), GraphVQ(features=FEATURES, edges=EDGES)])
def test_neighbours_are_sorted_once(rule):
    assert rule.neighbours(5) is rule.neighbours(5)


def spoiled(values, index, value):
    values = values.copy()
    values[index] = value
    return values


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda _: GraphVQ(features=spoiled(FEATURES, (3, 1), np.nan), edges=EDGES),
            "'features' parameter of GraphVQ must be finite. Got nan at index (3, 1).",
        ),
        (
            lambda _: GraphVQ(features=FEATURES),
            "'edges' parameter of GraphVQ must be given with an array of features",
        ),
        (lambda _: GraphVQ(edges=EDGES), "'edges' parameter of GraphVQ must be given with an array of features"),
        (
            lambda _: GraphVQ(features=FEATURES, edges=spoiled(EDGES, (1, 0), 5)),
            "ints >= 0 and < 5, the numbers of the two codes. Got 5 at index (1, 0).",
        ),
        (lambda _: GraphVQ(features=FEATURES, edges=EDGES / 2), "Got shape (5, 2) and dtype float64."),
        (
            lambda _: GraphVQ(features=1e308 * np.sign(FEATURES), edges=EDGES).init(CODES),
            "GraphVQ.init makes codes whose spread has no finite square. Bring what it is made from",
        ),
        (
            lambda _: GraphVQ(features=1e100 * FEATURES, edges=EDGES).init(CODES.astype(np.float32)),
            "GraphVQ.init makes codes that are not finite in float32. Bring what it is made from",
        ),
        (
            lambda _: GraphVQ(features=FEATURES, edges=EDGES).init(1e200 * CODES),
            "must have a spread whose square is a number > 0 for start='matched'. Got codes of up to",
        ),
        (
            lambda _: GraphVQ(features=FEATURES, edges=EDGES).init(1e-200 * CODES),
            "must have a spread whose square is a number > 0 for start='matched'. Got codes of up to",
        ),
        (lambda _: GraphVQ(features="graph.csv"), "an array or the path of a .npz or .parquet file. Got 'graph.csv'."),
        (
            lambda _: GraphVQ(features=FEATURES, edges=EDGES).init(CODES[:4]),
            "as many as its features have rows: 5. Got 4.",
        ),
        (
            lambda _: GraphVQ(features=FEATURES[:2], edges=[[0, 1]]).init(CODES[:2]),
            "GraphVQ.init makes all codes alike, which no scale matches to the codes given.",
        ),
        (
            lambda folder: GraphVQ(features=written(folder, "npz", spoiled(FEATURES, (0, 2), np.inf))).init(CODES),
            "must be finite. Got inf at index (0, 2).",
        ),
    ],
)
def test_errors_say_what_was_wrong(make, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(tmp_path)


def test_files_that_are_no_graphs(tmp_path):
    np.savez(tmp_path / "latents.npz", latents=FEATURES)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="it must hold 'features' and 'edges'; it holds \\['latents'\\]"):
        GraphVQ(features=tmp_path / "latents.npz").init(CODES)
    for edges, got in (([1, 0, 1, 0, 1], "Got 1 for code 0"), ([None, None, "0", None, None], "Got '0' for code 2")):
        pl.DataFrame({"features": FEATURES.tolist(), "edges": edges}).write_parquet(tmp_path / "plain.parquet")
        message = f"The 'edges' of .*plain.parquet' must be a list of the numbers of its neighbours for each code. {got}"
        with pytest.raises(ValueError, match=message):
            GraphVQ(features=tmp_path / "plain.parquet").init(CODES)
    pl.DataFrame({"features": FEATURES.tolist(), "edges": [["1"], [], None, [], []]}).write_parquet(tmp_path / "str.parquet")
    with pytest.raises(ValueError, match="'edges' parameter of GraphVQ.* must be an array"):
        GraphVQ(features=tmp_path / "str.parquet").init(CODES)
    with pytest.raises(ValueError, match="Cannot read .* as a parquet file"):
        GraphVQ(features=tmp_path / "damaged.parquet").init(CODES)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        GraphVQ(features=tmp_path / "absent.npz").init(CODES)
