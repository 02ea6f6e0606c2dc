"""Phase diagrams of any rule: the counts are those of the law, a diagram goes on where it was, and shows its table."""

import sys
import textwrap

import numpy as np
import pytest

import vqtheory as vq
from vqtheory.rules import EMA, NSVQ, VQ, SimVQ, TrainedVQ, Transport
from vqtheory.schedules import exponential
from vqtheory.streams import Distribution, Gaussian, Uniform
from vqtheory.sweeps.phases import law_of
from vqtheory.theory import adam_critical_speed, critical_speed, ema_critical_speed, surviving_codes

OWN = """
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqtheory.assign import nearest


class State(NamedTuple):
    codes: np.ndarray
    step: int


@dataclass(frozen=True)
class Mine:
    step_size: float = 0.1

    def init(self, codes, seed):
        with open(Path(__file__).with_name("log"), "a") as log:
            log.write("run\\n")
        return State(codes.copy(), 0)

    def advance(self, state, batches):
        codes, hits = state.codes.copy(), np.zeros(len(state.codes), int)
        for x in batches.x:
            won = nearest(x, codes)[0]
            np.add.at(codes, won, self.step_size / len(x) * (x - codes[won]))
            hits += np.bincount(won, minlength=len(codes))
        return State(codes, state.step + len(batches.x)), {"hits": hits}
"""


def laws(figure):
    return [line for line in figure.axes[0].lines if line.get_gid() == "law"]


def test_counts_are_those_of_the_law_on_both_sides_of_its_line():
    speeds = [critical_speed(4, 0.1) * factor for factor in (0.5, 8.0)]
    diagram = vq.phase(VQ(0.1), [4], speeds, jobs=1, batch_size=64)
    assert diagram.table["alive"].to_list() == [4, surviving_codes(speeds[1], 0.1)]
    assert diagram.table["error"].null_count() == 2
    assert diagram.law(4) == critical_speed(4, 0.1)


def test_codes_may_come_back_after_the_drift():
    def narrowing(drifting):
        return NSVQ(0.1, bandwidth=exponential(0.3, half_life=300, begin=drifting))

    options = {"codes": [8], "speeds": [4e-3], "jobs": 1}
    lost, back = (vq.phase(narrowing, recovery=recovery, **options).table for recovery in (0, 6000))
    assert lost["alive"][0] < 8 == back["alive"][0]
    assert back["updates"][0] - lost["updates"][0] == 6000


def test_the_boundary_is_that_of_the_rule_on_this_cloud_or_yours():
    normal = Gaussian(dim=1)
    assert law_of(EMA(0.9))(8) == ema_critical_speed(8, 0.9)
    assert law_of(VQ(0.1), normal)(8) == critical_speed(8, 0.1, density=normal)
    sizes = vq.phase(TrainedVQ(4e-5), [2, 4], [1.0], batch_size=lambda codes: 16 * codes, jobs=1)
    assert [sizes.law(codes) for codes in (2, 4)] == [adam_critical_speed(codes, 4e-5, 16 * codes) for codes in (2, 4)]
    for rule, source in ((EMA(0.9), normal), (SimVQ(), Uniform(1)), (NSVQ(), Uniform(1)), (Transport(VQ(0.1)), Uniform(1))):
        assert law_of(rule, source) is None
    diagram = vq.phase(SimVQ(), [2, 4], [0.5, 1.0], law=lambda codes: 20.0 / codes, jobs=1)
    below, above = laws(diagram.plot())
    assert above.get_xdata() == pytest.approx([20 / 2, 20 / 3, 20 / 4])
    assert diagram.table["updates"].to_list() == [6, 3, 6, 3], "as long as without it: it is what is to be tested"
    assert (below.get_color(), above.get_color()) == ("black", "white")


def test_the_width_of_a_cloud_is_in_the_length_of_a_run():
    diagram = vq.phase(VQ(0.1), [1], [0.1], source=Distribution("expon", scale=5.0), widths=2.0, jobs=1)
    assert diagram.table["updates"][0] == np.ceil(2 * np.sqrt(12) * 5 / 0.1)
    assert diagram.table["alive"][0] == 1


class Fails(VQ):
    """Fails with more codes than two."""

    def advance(self, state, batches):
        if len(state.codes) > 2:
            raise ArithmeticError("too many")
        return super().advance(state, batches)


def test_runs_that_fail_are_named_and_left_white(capsys):
    diagram = vq.phase(Fails(0.1), [2, 3], [0.1], jobs=1, progress=False)
    assert diagram.table["alive"].to_list() == [1, None]
    assert diagram.table["error"].to_list() == [None, "ArithmeticError: too many"]
    assert "A point failed: " in capsys.readouterr().err
    assert str(diagram).splitlines()[-1].split() == ["3", "-"]
    (mesh,) = diagram.plot().axes[0].collections
    assert np.ma.getmaskarray(mesh.get_array()).ravel().tolist() == [False, True]
    with pytest.raises(ValueError, match="All 2 runs of phase failed, the first with ArithmeticError: too many"):
        vq.phase(Fails(0.1), [3], [0.1, 0.2], jobs=1)


def test_the_picture_has_the_shares_of_the_table():
    diagram = vq.phase(VQ(0.1), [2, 8], [1e-3, 1e-2], jobs=1)
    (mesh,) = diagram.plot().axes[0].collections
    alive = diagram.table.sort("codes", "speed")["alive"].to_numpy().reshape(2, 2)
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(2, 2), alive / [[2], [8]])


@pytest.fixture
def call(monkeypatch, command, tmp_path):
    """Call the command in a folder with a rule of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mymodule.py").write_text(OWN)
    return command


def test_a_rule_of_your_own_has_a_diagram_by_one_command_and_goes_on_where_it_was(call, tmp_path):
    """In other processes; what was finished is not run again, but after a change of the file."""
    line = ["phase", "mymodule.py:Mine(step_size=0.2)", "--codes", "2", "4", "--speeds", "1e-2", "1e-1", "--points", "3"]
    status, out, _ = call(*line, "--save", "kept")
    assert status == 0
    assert out == textwrap.dedent("""\
        Mine(step_size=0.2): codes alive after a drift of the speed above
        codes   0.01  0.032    0.1
            2      2      1      1
            4      2      1      1
        Picture: kept/phase.png
        Table: kept/phase.parquet
    """)
    assert (tmp_path / "kept" / "phase.png").read_bytes().startswith(b"\x89PNG")
    runs = [(tmp_path / "log").read_text().count("run")]
    for content in (OWN, OWN + "\n# another file\n"):
        (tmp_path / "mymodule.py").write_text(content)
        assert call(*line, "--save", "kept")[:2] == (0, out)
        runs.append((tmp_path / "log").read_text().count("run"))
    assert runs[0] in (6, 7), "six points, and one update before, of several processes"
    assert runs[1:] == [runs[0], 2 * runs[0]]


def test_a_run_by_a_rule_of_your_own_is_simulated_shown_and_resumed(call):
    rule = ["--rule", "mymodule.py:Mine"]
    status, out, _ = call("simulate", *rule, "--codes", "4", "--steps", "50", "--save", "kept")
    assert status == 0
    assert out.endswith("with --steps: vqtheory resume kept --rule mymodule.py:Mine\n")
    assert "on the command line --rule FILE.py:CALL." in call("show", "kept")[2]
    assert call("show", "kept", *rule)[1].startswith("Mine(step_size=0.1) on ")
    assert "survive 60 updates" in call("resume", "kept", *rule, "--steps", "60")[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["nofile.py:Mine()"], "There is no file"),
        (["mymodule.py:Mien()"], "mymodule.py defines no Mien, but "),
        (["mymodule.py:Mine(size=1)"], "Mine has no parameter 'size'"),
        (["mymodule.py:exponential(1.0, half_life=3)"], "The 'rule' parameter of phase must be a rule"),
        (["VQ", "--codes", "0"], "The 'codes' parameter of phase must be an int >= 1. Got 0."),
        (["VQ", "--speeds", "0", "1"], "The 'speeds' parameter of phase must be a number > 0. Got 0."),
        (["VQ", "--points", "0"], "The 'points' parameter of phase must be an int >= 1. Got 0."),
        (["VQ", "--batch-size", "x"], "The 'batch_size' parameter of phase must be an int >= 1. Got 'x'."),
        (["VQ", "--density", "Gaussian(dim=2)"], "must be a density in one dimension, such as Gaussian(dim=1)"),
        (["VQ", "--density", "Translation(speed=1)"], "The 'source' parameter of phase must be a source"),
        (["VQ", "--picture", "phase.txt"], "The picture must be a .png"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(call, line, said):
    status, out, err = call("phase", *line)
    assert (status, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"rule": VQ}, "The 'rule' parameter of phase must be a rule such as VQ"),
        ({"rule": lambda drifting: 3}, "The 'rule' parameter of phase must be a rule such as VQ"),
        ({"codes": []}, "The 'codes' parameter of phase must be a list of at least one number"),
        ({"speeds": 0.1}, "The 'speeds' parameter of phase must be a list of at least one number. Got 0.1"),
        ({"widths": 0.0}, "The 'widths' parameter of phase must be a number > 0"),
        ({"law": 0.1}, "The 'law' parameter of phase must be a function of a number of codes"),
    ],
)
def test_parameters_out_of_range(parameters, said):
    with pytest.raises(ValueError, match=said):
        vq.phase(**{"rule": VQ(0.1), "codes": [2], "speeds": [0.1]} | parameters)
