"""What `vqtheory --help` teaches. What can be named is read from the package's own source.

Reading the source with `ast` instead of importing it keeps the help fast, since nothing is compiled for it, and
keeps it true: a rule that is added to the package is in the help.
"""

from __future__ import annotations

import ast
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).parents[1]
_GROUP_OF_BASE = {"Source": "Sources", "Drift": "Drifts", "_Schedule": "Schedules"}
_TITLES = {
    "Rules": "Rules: how the codebook moves (--rule)",
    "Streams": "Streams: how latents come (--stream)",
    "Sources": "Sources: where latents come from before they drift",
    "Drifts": "Drifts: how they move; they add with +",
    "Schedules": "Schedules: for step_size, bandwidth and decay, in place of a number; t counts updates",
}
_EXAMPLES = {  # each may use what the ones above it have made
    "vqtheory simulate": ("A plain codebook under a slow drift. It collapses within seconds."),
    "vqtheory simulate --rule \"NSVQ(bandwidth=0.3, form='propagate')\"": (
        "The same drift, passed on to the codes that are not chosen: all survive."
    ),
    "vqtheory predict --codes 1024 --step-size 0.05 --dim 8 --speed 1e-4": (
        "How many codes survive by the law, and what would save all."
    ),
    "vqtheory train --rule ema --steps 100 --save mymodel": (
        "The same question to a VQ-VAE, on windows of one photograph, or on images of yours: --data FOLDER. Needs torch."
    ),
    "vqtheory diagnose mymodel": (
        "What its encoder's drift does to the codebook, and which changes would have kept more codes."
    ),
    'vqtheory simulate --stream "Stream(Ring(), Rotation(rate=1e-4) + Translation(speed=1e-5))" --batch-size 16': (
        "Latents in the plane that turn and move, in batches of 16."
    ),
    "vqtheory simulate --codes 256 --steps 1e6 --save myrun": ("A longer run, kept in a folder. Ctrl-C stops it."),
    "vqtheory resume myrun": ("Goes on to the end, or further: --steps 2e6."),
    "vqtheory show myrun": ("What came out, again."),
    "vqtheory simulate --config myrun/config.toml --seed 1": ("The same once more with another seed."),
    "vqtheory train --rule transvq --steps 100 --save other": ("Another rule, on the same images."),
    "vqtheory evaluate mymodel": (
        "Codes used, distortion, PSNR and SSIM on its test images, and a picture of some of them."
    ),
    "vqtheory compare mymodel other": ("Both on the same test images: a table and a picture."),
    "vqtheory train --model vqfr --prior mymodel --steps 100 --save restorer": (
        "A restoration of degraded images, upon the codes of a training that is done."
    ),
    "vqtheory restore restorer photograph.jpg --out restored": ("Pictures of yours, restored."),
    "vqtheory verify": ("Measures what the theory claims, and judges it."),
    "vqtheory doctor": ("Versions, threads, caches, data, and the first thing that will go wrong."),
}
_SHOWN = 5  # examples in the help, the first ones
_TITLE = "When and why a vector-quantization codebook collapses."
_ABOUT = (
    "An encoder that is still learning moves its latents, and the codebook has to follow. A plain codebook moves only the "
    "codes that are chosen: those that fall behind are never chosen again. simulate lets a rule (how the codebook moves) "
    "follow a stream (how the latents move), and says which codes survive. vqtheory list has all rules and streams, and "
    "vqtheory COMMAND --help the options of a command."
)
_NOTES = {
    "Writing rules and streams": (
        "As calls, in quotes: names, numbers, texts, lists, and + between drifts. What is left out has its default."
    ),
    "Units": (
        "A speed is a distance per update, in the units of the latents; rates are per update too. An update is one "
        "batch of --batch-size latents. A step size of 1 moves a code that wins the whole batch onto its mean."
    ),
    "The table": (
        "step: updates done. used, perplexity and distortion (mean squared distance of latents to their codes) are of "
        "the updates since the row before. The rest is measured on fresh latents: / optimum, the distortion over the "
        "least that so many codes can have; residual, the mean squared distance of codes to the means of their cells; "
        "lag, how far the codes trail behind the drift; dead, how many codes no latent chooses. -: not measured or "
        "not known."
    ),
    "Results": (
        "With --save, FOLDER keeps config.toml, history.parquet and checkpoint.npz there, up to date while the run goes "
        "on. The picture is FOLDER/run.png, or vqtheory-run.png here; --picture puts it elsewhere. Exit status: 0, "
        "2 for input that is refused, 130 after Ctrl-C. The first run of a rule compiles it, in up to half a minute."
    ),
}


class Entry(NamedTuple):
    """Something that a configuration may name."""

    group: str
    name: str
    call: str
    summary: str


def vocabulary() -> list[Entry]:
    """Every public rule, stream, source, drift and schedule, in the order of the alphabet."""
    found = [*_entries("rules", "Rules"), *_entries("streams", "Streams"), *_entries("schedules.py", "Schedules")]
    return sorted(found, key=lambda entry: entry.name.lower())


def _entries(part: str, group: str) -> Iterator[Entry]:
    """The public dataclasses of a module or folder that derive from something: what is abstract is not a dataclass."""
    place = _PACKAGE / part
    trees = [ast.parse(path.read_text("utf-8")) for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    public = {name for tree in trees for name in _exported(tree)}
    for node in (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)):
        if node.name in public and node.decorator_list and node.bases:
            base = ast.unparse(node.bases[0])
            summary = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split()).replace("``", "")
            yield Entry(_GROUP_OF_BASE.get(base, group), node.name, f"{node.name}({_parameters(node)})", summary)


def _exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def _parameters(node: ast.ClassDef) -> str:
    """The parameters of a dataclass as a call writes them, with their defaults."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            arguments = item.args
            for argument in filter(None, [*arguments.args, arguments.vararg, *arguments.kwonlyargs]):
                argument.annotation = None
            arguments.args = arguments.args[1:]
            return ast.unparse(arguments)
    fields = [
        item for item in node.body if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation)
    ]
    return ", ".join(ast.unparse(item.target) + (f"={ast.unparse(item.value)}" if item.value else "") for item in fields)


def description() -> str:
    """The text above the subcommands of `vqtheory --help`."""
    return "\n\n".join([_section(_TITLE, [("", _ABOUT)]), _section("Examples", [*_EXAMPLES.items()][:_SHOWN])])


def vocabulary_page(groups: list[str]) -> str:
    """What can be named, of these groups or of all, and with all of them how it is written and what a run tells."""
    entries = vocabulary()
    named = [
        _section(title, [(entry.call, entry.summary) for entry in entries if entry.group == group])
        for group, title in _TITLES.items()
        if not groups or group in groups
    ]
    examples = [_section("More examples", [*_EXAMPLES.items()][_SHOWN:])]
    notes = [_section(title, [("", text)]) for title, text in _NOTES.items()]
    return "\n\n".join(named if groups else [*notes, *examples, *named])


def _section(title: str, items: list[tuple[str, str]]) -> str:
    """A title, and under it calls with what they do.

    All but the title is indented, since that is what keeps tyro from joining lines.
    """
    width = min(shutil.get_terminal_size().columns, 100)
    lines = [title]
    for call, summary in items:
        lines += textwrap.wrap(call, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        margin = "      " if call else "  "
        lines += textwrap.wrap(summary, width, initial_indent=margin, subsequent_indent=margin)
    return "\n".join(lines)
