"""The command: what it says, what it writes, how it refuses, and a help that names all there is."""

import inspect
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import vqtheory
from vqtheory import rules, schedules, streams
from vqtheory._base.config import parse
from vqtheory.cli import app, help
from vqtheory.cli.simulate import DEFAULTS
from vqtheory.cli.train import run_training
from vqtheory.simulation import loop, run, store, summary
from vqtheory.simulation.config import Config, read_config
from vqtheory.simulation.start import begin

TINY = ["--codes", "6", "--steps", "400", "--batch-size", "3", "--records", "20"]


@pytest.fixture(autouse=True)
def blank(request, monkeypatch):
    """Pictures take most of the time of a short run: they are blank where a test is not marked to look at them."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(vqtheory.Run, "plot", lambda run: Figure(figsize=(1, 1)))


@pytest.fixture
def pictures():
    """Asked for by a test that looks at pictures."""


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Call the command in an empty folder; gives exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["vqtheory", *arguments])
        try:
            status = app.main()
        except SystemExit as stop:  # of the parser: --help, unknown options
            status = stop.code
        return status, *capsys.readouterr()

    return call


def table_of(printed):
    """The lines from the heading of the table to the blank line after it."""
    lines = printed.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[:1] == ["step"])
    return lines[first : lines.index("", first)]


class TestSimulate:
    def test_says_who_survived_and_draws(self, call, pictures):
        status, out, _ = call("simulate", *TINY)
        assert status == 0
        assert out.startswith("VQ() on Stream(Uniform(dim=1), Translation(speed=1e-05))\n6 of 6 codes survive 400 updates; ")
        assert "\nChosen in the last 40 updates: 6.\n" in out
        assert "Picture: vqtheory-run.png" in out
        assert Path("vqtheory-run.png").read_bytes().startswith(b"\x89PNG")

    def test_table_has_ten_rows_after_the_first(self, call):
        heading, *rows = table_of(call("simulate", *TINY)[1])
        assert heading.split()[:5] == ["step", "samples", "used", "perplexity", "distortion"]
        assert [row.split()[0] for row in rows] == [str(40 * i) for i in range(11)]
        assert rows[0].split()[2:5] == ["-", "-", "-"], "unknown before the first update"
        assert len({len(row) for row in [heading, *rows]}) == 1, "aligned"

    def test_defaults_collapse(self, call):
        out = call("simulate")[1]
        assert "11 of 64 codes survive 200,000 updates; the other 53 win none of 12,800 fresh latents." in out

    def test_defaults_that_are_told_are_those_that_hold(self, call):
        told = " ".join(call("simulate", "--help")[1].replace("│", " ").split())
        parameters = inspect.signature(vqtheory.simulate).parameters
        for name in ("batch_size", "seed", "init", "dtype", "records"):
            option = told.split(f"--{name.replace('_', '-')} ")[-1]
            assert option.split("(default: ")[1].split(")")[0] == str(parameters[name].default), name
        assert all(f"(default: {value})" in told for value in DEFAULTS.values())

    def test_whole_numbers_in_many_forms(self, call):
        outs = {call("simulate", *TINY, "--steps", steps)[1] for steps in ("1000", "1_000", "1e3")}
        assert len(outs) == 1
        assert "survive 1,000 updates" in outs.pop()

    def test_codes_from_a_file(self, call):
        np.save("codes.npy", np.array([[0.25], [0.75], [9.0]]))
        assert (
            "2 of 3 codes survive 400 updates; the other 1 wins none" in call("simulate", *TINY, "--codes", "codes.npy")[1]
        )

    def test_short_window_is_flagged(self, call):
        out = call("simulate", "--codes", "6", "--steps", "5")[1]
        assert "Chosen in the last 1 update: 1. That is fewer than 20 latents per code, too few" in out

    def test_diverged_run_has_a_cure(self, call, pictures):
        loose = ["--rule", "SimVQ(step_size=20.0)", "--stream", "Stream(Gaussian(dim=2))", "--batch-size", "16"]
        status, out, _ = call("simulate", *loose, "--codes", "32", "--steps", "1000", "--save", "kept")
        assert status == 0
        assert "Diverged in the update after step" in out
        assert "Make its step_size smaller than 20.0, or take optimizer='adam'." in out
        assert out == call("show", "kept")[1] == call("resume", "kept")[1], "and it stays so"

    def test_picture_elsewhere(self, call, pictures):
        assert "Picture: new/run.svg" in call("simulate", *TINY, "--picture", "new/run.svg")[1]
        assert "<svg" in Path("new/run.svg").read_text()

    def test_config_and_what_overrides_it(self, call):
        Path("mine.toml").write_text('rule = "EMA(decay=0.9)"\ncodes = 4\nsteps = 300\nseed = 7\n')
        out = call("simulate", "--config", "mine.toml", "--codes", "5", "--save", "kept")[1]
        assert out.startswith("EMA(decay=0.9) on ")
        assert "5 of 5 codes survive 300 updates" in out
        assert (read_config("kept/config.toml")["seed"], read_config("kept/config.toml")["batch_size"]) == (7, 1)

    def test_a_config_runs_no_file(self, call):
        """One of Python is run where it is named on the command line, and nowhere else."""
        Path("mine.py").write_text("open('was-run', 'w').close()")
        for name in ("rule", "stream"):
            for text in ("mine.py:Mine()", "'mine.py:Mine()'"):
                Path("mine.toml").write_text(f'{name} = "{text}"\n')
                assert call("simulate", *TINY, "--config", "mine.toml")[0] == 2
        assert not Path("was-run").exists()

    def test_saved_config_gives_the_same_run(self, call):
        first = call("simulate", *TINY, "--rule", "NSVQ(bandwidth=exponential(0.5, half_life=100))", "--save", "kept")[1]
        again = call("simulate", "--config", "kept/config.toml")[1]
        assert table_of(first) == table_of(again)


def test_a_bare_name_is_a_call_with_the_defaults():
    assert parse("VQ") == parse("vq") == rules.VQ()
    assert parse("Stream(Gaussian(dim=2), stationary)") == streams.Stream(streams.Gaussian(2), streams.Stationary())
    with pytest.raises(ValueError, match="Unknown name 'nsv' in a configuration"):
        parse("nsv")


def test_claims_can_be_listed(call):
    status, out, _ = call("verify", "--list")
    assert status == 0
    assert (
        "threshold-of-two (law): Two codes on a uniform distribution live up to eta sqrt(3) / 36 (ratio)" in out.splitlines()
    )


class TestSavedRuns:
    def test_a_training_is_told_from_a_run(self, call):
        Path("kept").mkdir()
        Path("kept/checkpoint.pt").touch()
        assert "kept is a training: its table is history.parquet" in call("show", "kept")[2]

    def test_show_and_resume_say_the_same(self, call):
        ran = call("simulate", *TINY, "--save", "my run")[:2]
        assert Path("my run/run.png").exists()
        assert "Run: my run; to go further, with --steps: vqtheory resume 'my run'" in ran[1]
        assert ran == call("show", "my run")[:2] == call("resume", "my run")[:2]

    def test_resume_goes_further(self, call):
        call("simulate", *TINY, "--save", "kept")
        out = call("resume", "kept", "--steps", "500")[1]
        assert "survive 500 updates" in out
        assert table_of(out)[-1].split()[0] == "500"
        assert out == call("show", "kept")[1]

    def test_stopped_and_resumed_is_as_if_not_stopped(self, call, monkeypatch):
        whole = call("simulate", *TINY)[1]
        monkeypatch.setattr(run, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "_advance_chunk", stop_at(120, loop._advance_chunk))
            status, _, err = call("simulate", *TINY, "--save", "kept")
        assert status == 130
        assert err.endswith("vqtheory: Stopped. Go on with: vqtheory resume kept\n")
        shown = call("show", "kept")[1]
        assert "Stopped at step 120 of 400: so far 6 of 6 codes survive" in shown
        assert "Run: kept; to go on: vqtheory resume kept" in shown
        assert table_of(call("resume", "kept")[1]) == table_of(whole)

    def test_stopped_without_a_folder(self, call, monkeypatch):
        monkeypatch.setattr(loop, "_advance_chunk", stop_at(120, loop._advance_chunk))
        status, _, err = call("simulate", *TINY)
        assert status == 130
        assert err.endswith("vqtheory: Stopped. Nothing was kept: --save FOLDER makes a run that can be resumed.\n")

    def test_stopped_before_the_first_record(self, call, pictures):
        config = Config(rules.VQ(), streams.Stream(streams.Gaussian(2)), 4, 10).checked()
        store.create(vqtheory.Run.new(config, *begin(config)), "kept")
        status, out, _ = call("show", "kept")
        assert status == 0
        assert "Stopped at step 0 of 10." in out
        assert Path("kept/run.png").exists()


def stop_at(step, advance):
    def advance_or_stop(run, most):
        if run.step == step:
            raise KeyboardInterrupt
        return advance(run, most)

    return advance_or_stop


REFUSED = [
    (["--rule", "NSV(0.1)"], "Unknown name 'NSV' in a configuration"),
    (["--rule", "NSV(0.1)"], "did you mean 'NSVQ'?"),
    (["--rule", "VQ(0.1"], "Cannot read 'VQ(0.1' as a configuration: '(' was never closed."),
    (["--rule", "VQ(step_size=-1.0)"], "The 'step_size' parameter of VQ must be a number > 0. Got -1.0."),
    (["--rule", "VQ(step=1.0)"], "VQ has no parameter 'step' (known: clock, start, step_size; did you mean 'step_size'?)."),
    (["--rule", "Uniform(dim=1)"], "The 'rule' parameter of simulate must be a rule"),
    (["--stream", "Uniform(dim=1)"], "The 'stream' parameter of simulate must be a stream"),
    (["--stream", "Stream(Patches('no.jpg'))"], "There is no file 'no.jpg'."),
    (["--codes", "0"], "The 'codes' parameter of simulate must be an int >= 1. Got 0."),
    (["--codes", "many"], "There is no file 'many'."),
    (["--codes", "1e12"], "Unable to allocate"),
    (["--steps", "1.5"], "The 'steps' parameter of simulate must be an int >= 1. Got '1.5'."),
    (["--seed", "-1"], "The 'seed' parameter of simulate must be an int in [0, 18446744073709551615]. Got -1."),
    (["--init", "kmeans"], "Got 'kmeans' (known: kmeans++, latents; did you mean 'kmeans++'?)."),
    (["--picture", "run.doc"], "The picture must be a .png, .pdf, .svg or .jpg file. Got 'run.doc'."),
    (["--config", "no.toml"], "Cannot read no.toml: No such file or directory."),
    (["--config", "bad.toml"], "bad.toml is not TOML"),
    (["--config", "odd.toml"], "Unknown parameter 'rulez' in odd.toml"),
    (["--save", "kept"], "must be a folder that holds no run yet; vqtheory.resume continues one. Got 'kept'."),
    (["--save", "bad.toml"], "File exists: bad.toml"),
]


class TestDiagnose:
    def test_of_a_simulation(self, call):
        call("simulate", *TINY, "--save", "run")
        status, out, _ = call("diagnose", "run")
        assert status == 0
        assert "of 6 codes were chosen" in out
        assert Path("run/diagnosis.png").exists()

    def test_of_a_training(self, call):
        pytest.importorskip("torch")
        small = ["--codes", "16", "--dim", "4", "--size", "16", "--steps", "4", "--batch-size", "4"]
        call("train", *small, "--codebook-optimizer", "sgd", "--latents", "1", "4", "--save", "model")
        status, out, _ = call("diagnose", "model", "--replay", "--picture", "here.png")
        assert status == 0
        assert "VQ() under SGD" in out
        assert "Replay. Updates 1 to 4" in out
        assert Path("here.png").exists()
        assert call("diagnose", "model/monitor.npz")[1].splitlines()[0] == out.splitlines()[0]

    def test_of_latents(self, call):
        np.save("latents.npy", np.random.default_rng(0).random((1, 200, 1)) + 0.1 * np.arange(5)[:, None, None])
        np.save("codes.npy", np.linspace(0, 1, 16)[:, None])
        options = ["--codes", "codes.npy", "--rule", "VQ(0.05)", "--every", "100", "--html", "report.html"]
        status, out, _ = call("diagnose", "latents.npy", *options)
        assert status == 0
        assert "0.001 per update" in out
        assert Path("vqtheory-diagnosis.png").exists()
        assert out.endswith("Report: report.html\n")
        assert "0.001 per update" in Path("report.html").read_text()
        assert call("diagnose", "latents.npy", *options)[::2] == (
            2,
            "vqtheory: There is a file 'report.html' already: name another one, or allow it to be overwritten.\n",
        )
        assert call("diagnose", "latents.npy", *options, "--overwrite")[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["nowhere"], "nowhere"),
            (["latents.npy", "--html", "report.txt"], "'path' parameter of diagnose --html must be a .html file"),
            (["latents.npy"], "'codes' parameter"),
            (["latents.npy", "--codes", "latents.npy", "--every", "0"], "'every' parameter of diagnose must be an int >= 1"),
        ],
    )
    def test_refuses(self, call, arguments, sentence):
        np.save("latents.npy", np.zeros((3, 4, 1)))
        status, _, said = call("diagnose", *arguments)
        assert status == 2
        assert sentence in said
        assert said.count("\n") == 1


def test_a_reader_who_has_gone_is_no_lost_process(monkeypatch):
    def train(**options):
        raise BrokenPipeError

    monkeypatch.setattr("vqtheory.cli.train.torch_module", lambda name: SimpleNamespace(train=train))
    with pytest.raises(BrokenPipeError):
        run_training({}, None, None)


class TestRefusals:
    @pytest.mark.parametrize(("arguments", "sentence"), REFUSED, ids=lambda value: " ".join(value)[:40])
    def test_one_sentence_and_status_2(self, call, arguments, sentence):
        Path("bad.toml").write_text("steps = \n")
        Path("odd.toml").write_text('rulez = "VQ()"\n')
        Path("kept").mkdir()
        Path("kept/manifest.json").write_text("{}")
        status, out, err = call("simulate", *TINY, *arguments)
        assert (status, out) == (2, "")
        assert sentence in err
        assert err.startswith("vqtheory: ")
        assert err.count("\n") == 1
        assert not Path("vqtheory-run.png").exists()

    @pytest.mark.parametrize("command", ["show", "resume"])
    def test_folders(self, call, command):
        assert call(command, "none")[::2] == (2, "vqtheory: none holds no run: none/manifest.json is missing.\n")
        call("simulate", *TINY, "--save", "kept")
        with open("kept/history.parquet", "ab") as file:
            file.write(b"x")
        damaged = "vqtheory: kept/history.parquet is damaged or altered: its SHA-256 is not that of the manifest.\n"
        assert call(command, "kept") == (2, "", damaged)
        Path("kept/manifest.json").write_text("[")
        assert call(command, "kept")[2] == "vqtheory: kept/manifest.json is damaged: it is not a manifest of a run.\n"

    def test_resume_to_fewer_steps(self, call):
        call("simulate", *TINY, "--save", "kept")
        status, _, err = call("resume", "kept", "--steps", "10")
        assert (status, err) == (2, "vqtheory: The 'steps' parameter of resume must be an int >= 400. Got 10.\n")

    def test_unknown_options_and_commands(self, call):
        for arguments in (["simulate", "--cods", "4"], ["simulat"], ["resume"]):
            status, _, err = call(*arguments)
            assert status == 2
            assert "--help" in err


class TestHelp:
    def test_begins_with_examples_and_the_subcommands(self, call):
        status, out, _ = call("--help")
        assert status == 0
        assert all(name in out for name in app.COMMANDS)
        assert len(out.splitlines()) < 80
        assert out.count("\n  vqtheory ") == 5

    def test_list_names_everything_public(self, call):
        status, out, _ = call("list")
        assert status == 0
        public = [getattr(module, name) for module in (rules, streams, schedules) for name in module.__all__]
        for thing in set(public) - {
            rules.Rule,
            streams.Source,
            streams.Drift,
            streams.Batched,  # around an iterable of a program's own, which no text can name
            streams.Law,
            streams.Motion,
            streams.Snapshot,
        }:
            assert f"\n  {thing.__name__}(" in out, thing

    def test_list_of_one_kind_has_that_kind_alone(self, call):
        _, out, _ = call("list", "drifts")
        assert "\n  Translation(" in out
        assert "NSVQ" not in out
        status, _, err = call("list", "drift")
        assert status == 2
        assert "drifts" in err

    def test_groups_and_calls_are_those_of_the_code(self):
        bases = {"Sources": streams.Source, "Drifts": streams.Drift, "Schedules": schedules._Schedule}
        for entry in help.vocabulary():
            module = next(module for module in (rules, streams, schedules) if entry.name in module.__all__)
            found = getattr(module, entry.name)
            told = entry.call.removeprefix(entry.name).strip("()")
            names = [part.split("=")[0].lstrip("*").strip() for part in told.split(", ")] if told else []
            assert names == list(inspect.signature(found).parameters), entry
            assert [group for group, base in bases.items() if issubclass(found, base)] in ([entry.group], []), entry
            assert entry.summary.endswith("."), entry

    def test_examples_run(self, call):
        pytest.importorskip("torch")
        smaller = {"simulate": TINY, "train": ["--steps", "2", "--codes", "16"], "verify": ["lloyd-by-ema"]}
        smaller |= {name: ["--images", "4"] for name in ("evaluate", "compare")}
        Image.new("RGB", (20, 30)).save("photograph.jpg")
        for example in help._EXAMPLES:
            arguments = shlex.split(example)[1:]
            assert call(*arguments, *smaller.get(arguments[0], []))[0] == 0, example

    def test_no_arguments_are_a_question(self, call):
        assert call()[:2] == call("--help")[:2]

    def test_version(self, call):
        assert call("--version") == (0, f"vqtheory {vqtheory.__version__}\n", "")

    def test_help_loads_nothing_heavy(self):
        program = (
            "import sys; sys.argv = ['vqtheory', '--help']\n"
            "from vqtheory import cli\n"
            "try: app.main()\n"
            "finally: print([name for name in ('numba', 'scipy', 'polars', 'matplotlib') if name in sys.modules])"
        )
        assert run_python("-c", program).stdout.endswith("[]\n")


def run_python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


class TestProcess:
    def test_module_refuses_without_traceback(self):
        done = run_python("-m", "vqtheory", "show", "none")
        assert (done.returncode, done.stderr) == (2, "vqtheory: none holds no run: none/manifest.json is missing.\n")

    def test_closed_pipe_is_no_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([sys.executable, "-m", "vqtheory", "--help"], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, b"")

    def test_interrupt(self, tmp_path):
        arguments = ["simulate", "--steps", "1e12", "--records", "1000000", "--save", "kept"]
        process = subprocess.Popen([sys.executable, "-m", "vqtheory", *arguments], cwd=tmp_path, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 300  # compiling may take a while on a busy machine
        while not (tmp_path / "kept" / "manifest.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        err = process.communicate()[1].decode()
        assert process.returncode == 130
        assert err.endswith("vqtheory: Stopped. Go on with: vqtheory resume kept\n")
        assert "Traceback" not in err


@pytest.mark.usefixtures("pictures")
class TestPicture:
    @pytest.mark.parametrize("dim", [1, 2, 5])
    @pytest.mark.parametrize("steps", [1, 40])
    def test_any_dimension_and_length(self, tmp_path, dim, steps):
        stream = streams.Stream(streams.Gaussian(dim), streams.Translation(speed=0.1))
        run = vqtheory.simulate(rules.VQ(), stream, codes=3, steps=steps, progress=False)
        figure = run.plot()
        figure.savefig(tmp_path / "run.png")
        assert figure.get_suptitle() == summary.headline(run)
        assert len(figure.axes) == 3

    @pytest.mark.parametrize("rate", [0.05, 0.5, -0.5])
    def test_out_of_sight(self, tmp_path, rate):
        stream = streams.Stream(streams.Gaussian(2), streams.Scaling(rate=rate))
        run = vqtheory.simulate(rules.VQ(), stream, codes=3, steps=1000, progress=False)
        run.plot().savefig(tmp_path / "run.png")

    def test_stream_without_a_law(self, tmp_path):
        class Bare:
            dim = 3
            draw = streams.Stream(streams.Gaussian(3)).draw

        run = vqtheory.simulate(rules.VQ(), Bare(), codes=np.eye(3), steps=100, progress=False)
        run.plot().savefig(tmp_path / "run.png")
        assert summary.headline(run) == f"{run.used.sum()} of 3 codes survive 100 updates"
        assert "fresh" not in summary.sentences(run)

    def test_no_text_overlaps(self):
        drift = streams.Translation(speed=1e-4, direction=list(np.arange(1.0, 31.0))) + streams.RandomWalk(scale=1e-4)
        run = vqtheory.simulate(
            rules.VQ(), streams.Stream(streams.Gaussian(30), drift), codes=300, steps=20, batch_size=8, progress=False
        )
        figure = run.plot()
        figure.savefig(os.devnull, format="png")
        boxes = [text.get_window_extent() for text in (figure._suptitle, figure._supxlabel)]
        boxes += [axes.get_legend().get_window_extent() for axes in figure.axes]
        boxes += [axes.get_window_extent() for axes in figure.axes]
        boxes += [label.get_window_extent() for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
        overlapping = [(i, j) for i, one in enumerate(boxes) for j in range(i) if one.overlaps(boxes[j])]
        assert overlapping == []
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_numbers_are_short():
    assert [summary._cell(value) for value in (None, 12345, 0.00012345, 1234.5, 3.0, 1e-300, float("inf"))] == [
        *("-", "12,345", "0.000123", "1,234", "3", "1e-300", "inf")
    ]


def test_cures():
    assert summary.cure(rules.NSVQ(step_size=3.0, strength=2.0)).endswith("than 3.0, or its strength smaller than 2.0.")
    assert "drift slower" in summary.cure(rules.EMA())
    assert summary.cure(rules.VQ()) == "Make its step_size smaller than 0.05."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("V" * 100_000, "Cannot read a configuration of 100,000 characters: at most 10,000 are read."),
        ("VQ(" + "1+" * 3000 + "1)", "it is nested too deep."),
        ("-" * 5000 + "1", "it is nested too deep."),
        ("VQ('\ud800')", "surrogates not allowed."),
        ("VQ(1" + "0" * 400 + ")", "must be a number > 0. Got 10000"),
        ("VQ(step_size=1e999)", "must be a number > 0. Got inf."),
    ],
    ids=["long", "sum", "signs", "surrogate", "digits", "infinite"],
)
def test_no_configuration_ends_otherwise_than_in_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        parse(text)
    assert len(str(error.value)) < 600


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_streams_that_are_closed_or_full(tmp_path):
    """Every way in which the last line cannot be said, in one shell."""
    script = f"""
    v() {{ {shlex.quote(sys.executable)} -m vqtheory "$@"; }}
    v predict --codes 4 --speed 1e-3 > /dev/full; echo "$?"
    v predict --codes 4 --speed 1e-3 >&-; echo "$?"
    v predict --codes 0 --speed 1e-3 2>&-; echo "$?"
    v predict --codes 0 --speed 1e-3 2> /dev/full; echo "$?"
    PYTHONIOENCODING=ascii v --help > /dev/null; echo "$?"
    """
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "0", "2", "2", "0"]
    assert done.stderr == "vqtheory: No space left on device: standard output\n"


def test_the_doctor_ends_with_the_first_thing_that_will_go_wrong(call, monkeypatch):
    monkeypatch.delenv("VQTHEORY_DATA", raising=False)
    status, out, _ = call("doctor")
    assert status == 0
    assert re.search(rf"^numpy +{re.escape(np.__version__)}$", out, re.MULTILINE)
    assert out.endswith("\n\nNothing is wrong here.\n")
    monkeypatch.setenv("VQTHEORY_DATA", "nowhere")
    status, out, _ = call("doctor")
    assert status == 1
    assert out.endswith("\n\nVQTHEORY_DATA names a folder without nowhere/train.parquet.\n")
