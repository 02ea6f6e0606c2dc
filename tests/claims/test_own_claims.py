"""Claims of a file: found by its path, verified beside the package's own, refused in one sentence."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from vqtheory.claims import Claim, Exact, Limit, Range, Scaling, all_claims, load, plot, verify

FILE = """
import numpy as np
from vqtheory.claims import Exact, Range, claim
from vqtheory.claims.laws.collapse import threshold_of_two  # not of this file
from numbers_of_mine import TRUE

WORDS = {"source": "here", "law": "mine", "strength": "law"}


def mean(seed):
    return TRUE + 0.01 * np.random.default_rng(seed).normal(size=20)


@claim(key="mine", statement="A mean (ratio)", predict=1.0, resolution=0.1, **WORDS)
def mine(effort, seed):
    return mean(seed)


def off_by(amount):
    @claim(key=f"off-by-{amount}", statement="A mean (ratio)", predict=1.0 + amount, resolution=0.1, **WORDS)
    def off(effort, seed):
        return mean(seed)

    return off


CLAIMS = [mine, off_by(0.5)]
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file with two claims, one of them false, and a file that it imports."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "numbers_of_mine.py").write_text("TRUE = 1.0\n")
    path = tmp_path / "mymodule.py"
    path.write_text(FILE)
    return path


def test_claims_of_a_file_are_verified_in_other_processes_and_judged_like_all_others(file, command):
    picture, kept = file.parent / "pictures" / "verdicts.png", file.with_name("verdicts.csv")
    status, out, _ = command("verify", file, "threshold-of-two", "--picture", picture, "--save", kept)
    assert status == 1, "one is refuted"
    assert [line.split()[:2] for line in out.splitlines() if line[:1].isupper()][:3] == [
        ["HOLDS", "threshold-of-two"], ["HOLDS", "mine"], ["REFUTED", "off-by-0.5"],
    ]  # fmt: skip
    assert out.endswith(f"2 laws hold, 1 law is refuted\nPicture: {picture}\n")
    assert pl.read_csv(kept)["claim"].to_list() == ["threshold-of-two", "mine", "off-by-0.5"]
    with Image.open(picture) as image:
        assert image.size[0] == 1350
    assert command("verify", file, "--list")[1].splitlines() == [
        "mine (law): A mean (ratio)",
        "off-by-0.5 (law): A mean (ratio)",
    ]
    assert command("verify", file, "mine", "--list")[1] == "mine (law): A mean (ratio)\n"
    status, _, err = command("verify", file, "mime")
    assert status == 2
    assert err.endswith("Got 'mime' (of 171; did you mean 'mine'?).")


def test_the_claims_of_a_file_are_its_own_each_once(file):
    file.with_name("tabnanny.py").write_text("raise SystemExit")  # a module of Python's own by its name
    assert [one.key for one in load(file)] == ["mine", "off-by-0.5"]
    assert Path(import_module("tabnanny").__file__).parent != file.parent


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no file"),
        ("x = 1", "mymodule.py has no claim"),
        ("\nimport nonsense", "mymodule.py cannot be loaded: ModuleNotFoundError: No module named 'nonsense', in line 2."),
        ("x = (", "mymodule.py cannot be loaded: SyntaxError: '(' was never closed, in line 1."),
        ("raise SystemExit", "mymodule.py cannot be loaded: SystemExit, in line 1."),
        (FILE.replace("off-by-{amount}", "mine"), "Two claims have the key 'mine': give yours another one"),
        (FILE.replace('key="mine"', 'key="threshold-of-two"'), "give yours another one than the claim of the package has"),
        (FILE.replace("predict=1.0,", "predicts=1.0,"), "TypeError: Claim.__init__() got an unexpected keyword argument"),
    ],
)
def test_a_file_that_cannot_be_verified_is_refused_in_one_sentence(file, command, content, said):
    file.unlink() if content is None else file.write_text(content)
    status, out, err = command("verify", file)
    assert (status, out) == (2, "")
    assert err.startswith("vqtheory: ")
    assert said in err


def test_a_key_is_of_one_claim():
    mine = claim_returning([1.0])
    assert [verdict.claim for verdict in verify([mine, mine])] == [mine, mine], "the same claim twice is one claim"
    with pytest.raises(ValueError, match="Two claims have the key 'mine'"):
        next(verify([mine, claim_returning([1.0])]))
    with pytest.raises(ValueError, match="give yours another one than the claim of the package has"):
        next(verify([claim_returning([1.0], key="threshold-of-two")]))


def claim_returning(replicates, kind=Exact(worst=True), **fields):  # noqa: B008
    words = {"key": "mine", "statement": "A statement", "source": "here", "law": "my law", "strength": "law"}
    return Claim(**words | {"kind": kind, "predict": Range(0, 2), "experiment": lambda effort, seed: replicates} | fields)


@pytest.mark.parametrize(
    ("kind", "replicates"),
    [
        (Exact(), 1.0),
        (Exact(), []),
        (Exact(), [[1.0], [1.0, 2.0]]),
        (Exact(), [None, None]),
        (Exact(error=0.1), [1.0]),
        (Exact(error=0.1), None),
        (Limit("step size", 1), [1.0]),
        (Scaling("codes"), {1.0: [1.0]}),
        (Scaling("codes"), {1.0: [1.0], 2.0: [1.0, 2.0]}),
        (Scaling("codes"), {1.0: [1.0], 2.0: []}),
        (Scaling("codes"), {1.0: [1.0], 2.0: 1.0}),
    ],
)
def test_an_experiment_that_returns_something_else_is_named(kind, replicates):
    with pytest.raises(ValueError, match="The experiment of the claim 'mine' must return .* Got "):
        claim_returning(replicates, kind).verify()


def test_what_is_no_claim_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="The 'kind' parameter of Claim must be Exact"):
        claim_returning([1.0], Exact)
    with pytest.raises(ValueError, match="The 'experiment' parameter of Claim must be a function"):
        claim_returning([1.0], experiment=3)
    with pytest.raises(ValueError, match="The 'key' parameter of Claim must be a text"):
        claim_returning([1.0], key=3)


def test_a_bar_is_where_the_interval_is():
    """In units of the resolution about a single number."""
    replicates = 1.02 + 0.01 * np.random.default_rng(0).normal(size=30)
    verdict = claim_returning(replicates, Exact(), predict=1.0, resolution=0.1).verify()
    bar, middle = plot([verdict, all_claims()["threshold-of-two"].verify()]).axes[0].lines[:2]
    np.testing.assert_allclose(bar.get_xdata(), (np.array(verdict.interval) - 1) / 0.05)
    assert middle.get_xdata() == pytest.approx((replicates.mean() - 1) / 0.05)
