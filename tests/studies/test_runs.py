"""Runs of an experiment are kept, and none is taken for one of other code or settings."""

import functools
import types

import joblib
import pytest

from simulations import identity, tables
from simulations.identity import Unchanged, digest
from vqtheory.rules import EMA, VQ
from vqtheory.sweeps import machine

SCALE, DONE = 2.0, []
RULES = {"VQ": VQ(0.1), "EMA": EMA(lambda t: 0.9)}


def helper(x):
    return SCALE * x


def simulate(rule, x, follower):
    identity.DONE.append((rule, x))
    if x == 3:
        raise ValueError("no three")
    return [{"rule": rule, "x": x, "n": n, "value": helper(x) / 3} for n in range(2)]


def tasks(*numbers, rules=RULES):
    return [(rule, x, follower) for rule, follower in rules.items() for x in numbers]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs tasks, and returns the table and which were not there yet."""
    monkeypatch.setattr(identity, "DONE", [], raising=False)

    def run(*args, **options):
        identity.DONE.clear()
        with joblib.parallel_config(backend="threading"), tables.kept(tmp_path):
            table = tables.run_all(simulate, tasks(*args, **options), "runs")
        return table, sorted(identity.DONE)

    return run


def test_only_what_is_new_is_run_and_rows_are_in_the_order_of_the_tasks(run):
    table, done = run(2, 1)
    assert done == [("EMA", 1), ("EMA", 2), ("VQ", 1), ("VQ", 2)]
    assert table.rows()[:4] == [("VQ", 2, 0, 4 / 3), ("VQ", 2, 1, 4 / 3), ("VQ", 1, 0, 2 / 3), ("VQ", 1, 1, 2 / 3)]
    again, done = run(2, 1)
    assert not done
    assert again.equals(table)
    more, done = run(2, 1, rules={"NSVQ": VQ(0.3)} | RULES)
    assert done == [("NSVQ", 1), ("NSVQ", 2)]
    assert more[4:].equals(table)
    assert run(2, 1, rules=RULES | {"VQ": VQ(0.2)})[1] == [("VQ", 1), ("VQ", 2)]


def test_one_run_of_each_kind_of_rule_begins_first(tmp_path):
    rules = {"VQ": VQ(0.1), "slow VQ": VQ(0.01), "by wins": VQ(0.1, clock="wins"), "EMA": EMA(0.9)}
    points = [tables._point(simulate, task, tmp_path) for task in tasks(1, 2, rules=rules)]
    assert tables._kinds_first(points) == [0, 4, 6, 1, 2, 3, 5, 7]


def test_runs_that_fail_lose_no_others(run):
    with pytest.raises(RuntimeError, match="2 of 6 runs of runs failed, the first by ValueError: no three"):
        run(1, 3, 2)
    assert not run(1, 2)[1]


@pytest.mark.parametrize("change", ["setting", "helper", "package"])
def test_other_code_or_settings_are_run_again(run, monkeypatch, change):
    _, done = run(1)
    if change == "setting":
        monkeypatch.setitem(globals(), "SCALE", 3.0)
    if change == "helper":
        monkeypatch.setitem(globals(), "helper", lambda x: 2.0 * x)
    if change == "package":
        monkeypatch.setattr(tables, "versions", lambda: machine.versions() | {"source": "other"})
    table, again = run(1)
    assert again == done
    assert table["value"][0] == (1.0 if change == "setting" else 2 / 3)


def test_a_process_of_other_settings_refuses(monkeypatch):
    call = Unchanged(helper, digest(helper))
    assert call(x=3) == 6
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    with pytest.raises(RuntimeError, match="other code or settings"):
        call(x=3)


class Halved:
    def __init__(self, x):
        self.x = x

    @functools.cached_property
    def value(self):
        return self.x / 2


def test_a_helper_with_a_property_that_is_cached_is_known_again(monkeypatch):
    def half(x):
        return Halved(x).value

    before = digest(half)
    assert digest(half) == before
    third = functools.cached_property(lambda self: self.x / 3)
    monkeypatch.setattr(Halved, "value", third)
    assert digest(half) != before


def test_digests_are_of_content():
    def step(size):
        return lambda t: size / (1 + t)

    assert digest(step(1.0)) == digest(step(1.0)) != digest(step(2.0))
    assert digest(EMA(step(0.5))) != digest(EMA(step(0.25)))
    assert digest({"a": 1}) != digest({"a": 1.0})
    assert digest(types.SimpleNamespace(a=1)) == digest(types.SimpleNamespace(a=1))
    assert digest(object()) != digest(object())  # of which nothing is known
    assert len({digest(value) for value in (VQ(0.1), VQ(0.2), EMA(0.1), "VQ(0.1)", (0.1,), [0.1], None)}) == 7
