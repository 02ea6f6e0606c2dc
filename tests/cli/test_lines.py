"""Command lines with nonsense in one place each: every one ends in an answer or in a line that says what is wrong."""

import inspect
import os
import random
import re
import sys

import numpy as np
import pytest

from vqtheory.cli import app
from vqtheory.streams import Stream, Uniform

LINES = int(os.environ.get("VQTHEORY_LINES", 50))  # of 300 and more there is time now and then
NONSENSE = [
    "", " ", "0", "-1", "1.5", "nan", "inf", "1e400", "1" * 400, "None", "[]", "VQ(", "VQ(step_size=-1)", "Gaussian(dim=0)",
    "no/such/file.npy", "a b", "é\udc80", "x" * 500, "{", "lambda: 0", "--", "../..", "1e30", "true", "VQ(VQ())",
]  # fmt: skip
SMALL = {
    "simulate": ["--rule", "VQ(0.1)", "--stream", "Stream(Uniform(dim=2))", "--codes", "4", "--steps", "3"],
    "resume": ["{run}"],
    "show": ["{run}"],
    "diagnose": ["{latents}", "--codes", "{codes}", "--rule", "VQ(0.1)", "--picture", "{picture}"],
    "predict": ["--codes", "8", "--speed", "1e-4"],
    "phase": ["VQ(0.1)", "--codes", "2", "--speeds", "0.1", "0.2", "--points", "2"],
    "verify": ["straight-through-forward"],
    "train": ["--size", "16", "--codes", "8", "--dim", "4", "--batch-size", "4", "--steps", "1"],
    "evaluate": ["{run}"],
    "compare": ["{run}", "{run}"],
    "doctor": [],
}
FOREIGN = re.compile(r"Traceback|\bobject has no attribute|numpy\.|operand|Error\(")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    latents = Stream(Uniform(2)).at(0).sample(40)
    paths = {
        name: folder / f"{name}{suffix}" for name, suffix in (("latents", ".npy"), ("codes", ".npy"), ("picture", ".png"))
    }
    np.save(paths["latents"], np.stack([latents, latents + 1e-3]))
    np.save(paths["codes"], latents[:4])
    return {name: str(path) for name, path in paths.items()} | {"run": str(folder / "run"), "folder": folder}


def options(command):
    """The options of a subcommand, by their names on the command line."""
    parameters = inspect.signature(app.COMMANDS[command]).parameters.values()
    return [f"--{p.name.replace('_', '-')}" for p in parameters if p.kind is p.KEYWORD_ONLY]


def lines(files):
    """Valid small lines, each with one option or argument more, or in another's place, that makes no sense."""
    chance = random.Random(0)
    for _ in range(LINES):
        command = chance.choice(sorted(SMALL))
        base = [part.format(**files) for part in SMALL[command]]
        named, word = options(command), chance.choice(NONSENSE)
        if base and (not named or chance.random() < 0.3):
            place = chance.randrange(len(base))
            if (command, word) == ("verify", "--"):  # no nonsense: all claims, which take minutes
                continue
            yield [command, *base[:place], word, *base[place + 1 :]]
        else:
            yield [command, *base, *([chance.choice(named), word] if named else [word])]


def test_every_line_ends_in_an_answer_or_in_a_sentence(files, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(files["folder"])
    wrong = []
    for line in [["simulate", *SMALL["simulate"], "--save", files["run"]], *lines(files)]:
        monkeypatch.setattr(sys, "argv", ["vqtheory", *line])
        try:
            status = app.main()
        except SystemExit as left:
            status = left.code or 0
        except BaseException as error:
            status = f"{type(error).__name__}: {error}"
        out, err = capsys.readouterr()
        if status not in (0, 1, 2) or (status == 2 and not err.strip() and not out.strip()) or FOREIGN.search(err):
            wrong.append(f"{line}: {status} {err[:200]}")
    assert not wrong, "\n".join([f"{len(wrong)} of {LINES}:", *wrong[:20]])
