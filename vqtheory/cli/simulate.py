"""`vqtheory simulate`, `resume` and `show`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vqtheory.cli.options import Folder, option, picture_file, read, say

if TYPE_CHECKING:
    from vqtheory.simulation.run import Run

DEFAULTS: dict[str, Any] = {
    "rule": "VQ(step_size=0.05)",
    "stream": "Stream(Uniform(dim=1), Translation(speed=1e-5))",
    "codes": 64,
    "steps": 200_000,
}


def simulate(
    *,
    rule: Annotated[str | None, option("TEXT", DEFAULTS["rule"])] = None,
    stream: Annotated[str | None, option("TEXT", DEFAULTS["stream"])] = None,
    codes: Annotated[str | None, option("INT|FILE.npy", str(DEFAULTS["codes"]))] = None,
    steps: Annotated[str | None, option("INT", str(DEFAULTS["steps"]))] = None,
    batch_size: Annotated[str | None, option("INT", "1")] = None,
    seed: Annotated[str | None, option("INT", "0")] = None,
    init: Annotated[str | None, option("{latents,kmeans++}", "latents")] = None,
    dtype: Annotated[str | None, option("{float64,float32}", "float64")] = None,
    records: Annotated[str | None, option("INT", "100")] = None,
    config: Annotated[Path | None, option("FILE.toml")] = None,
    save: Annotated[Path | None, option("FOLDER")] = None,
    picture: Annotated[Path | None, option("FILE.png", "run.png in the folder, else vqtheory-run.png")] = None,
) -> None:
    """Let a rule follow a stream, and say which codes survive.

    Args:
        rule: How the codebook moves: a name such as ema, or a call such as "EMA(decay=0.99)"; vqtheory list rules has all.
            One of your own by its file, which is run: "mymodule.py:MyRule(leak=0.1)"; a stream likewise.
        stream: What it follows, e.g. "Stream(Gaussian(dim=2), Rotation(rate=1e-4))"; vqtheory list has all.
        codes: How many codes, or a file that holds them, [K, D].
        steps: Updates of the codebook.
        batch_size: Latents in an update; 1 is online k-means.
        seed: The same seed gives the same run, and the same latents and first codes to every rule.
        init: How the first codes are chosen among latents of step 0.
        dtype: Precision of codes and latents.
        records: Rows of the history.
        config: Take what is not given here from this file, such as the config.toml of a saved run.
        save: Keep the run in this folder, up to date while it goes on, for resume and show.
        picture: Where to draw the run; .pdf, .svg and .jpg too.
    """
    target = picture_file(picture, save)
    given = {"rule": rule, "stream": stream, "init": init, "dtype": dtype, "codes": codes}
    given |= {"steps": steps, "batch_size": batch_size, "seed": seed, "records": records}
    defaults, typed = _read(DEFAULTS), _read(given)  # a file of Python is named here, and never by a configuration
    parameters = defaults | _configured(config) | typed
    import vqtheory as vq

    again = _again(save, rule, stream)
    run = _interruptible(save, again, lambda: vq.simulate(**parameters, save=save))
    _end(run, target, save, again)


def resume(
    folder: Folder,
    /,
    *,
    steps: Annotated[str | None, option("INT")] = None,
    rule: Annotated[str | None, option("TEXT", "the run's")] = None,
    stream: Annotated[str | None, option("TEXT", "the run's")] = None,
    picture: Annotated[Path | None, option("FILE.png", "run.png in the folder")] = None,
) -> None:
    """Continue a saved run, as if it had not stopped.

    Args:
        folder: The --save folder of simulate.
        steps: A new number of updates, to go further than was asked for, or less far.
        rule: Needed if it is of your own, "mymodule.py:MyRule(leak=0.1)".
        stream: Likewise.
        picture: Where to draw the run.
    """
    target = picture_file(picture, folder)
    import vqtheory as vq

    total = None if steps is None else read("steps", steps)
    own, again = _read({"rule": rule, "stream": stream}), _again(folder, rule, stream)
    _end(_interruptible(folder, again, lambda: vq.resume(folder, total, **own)), target, folder, again)


def show(
    folder: Folder,
    /,
    *,
    rule: Annotated[str | None, option("TEXT", "the run's")] = None,
    stream: Annotated[str | None, option("TEXT", "the run's")] = None,
    picture: Annotated[Path | None, option("FILE.png", "run.png in the folder")] = None,
) -> None:
    """Say what came out of a saved run, without running.

    Args:
        folder: The --save folder of simulate.
        rule: Needed if it is of your own, "mymodule.py:MyRule(leak=0.1)".
        stream: Likewise.
        picture: Where to draw the run.
    """
    target = picture_file(picture, folder)
    if (folder / "checkpoint.pt").exists():
        raise ValueError(
            f"{folder} is a training: its table is history.parquet, and vqtheory train --resume goes on with it."
        )
    import vqtheory as vq

    _end(vq.Run.load(folder, **_read({"rule": rule, "stream": stream})), target, folder, _again(folder, rule, stream))


def _read(texts: dict[str, Any]) -> dict[str, Any]:
    """The parameters that are given, and what their texts stand for."""
    return {name: read(name, text) for name, text in texts.items() if text is not None}


def _configured(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    from vqtheory.simulation.config import read_config

    return read_config(path)


def _again(folder: Path | None, rule: str | None, stream: str | None) -> str:
    """The command that goes on with the run in a folder, which a rule or a stream of a file has to be named to."""
    from vqtheory._base.own import is_own

    own = [["--" + name, text] for name, text in (("rule", rule), ("stream", stream)) if text and is_own(text)]
    return shlex.join(["vqtheory", "resume", str(folder), *(word for option in own for word in option)])


def _interruptible(folder: Path | None, again: str, play: Callable[[], Run]) -> Run:
    """Play; whoever stops it reads how to go on."""
    try:
        return play()
    except KeyboardInterrupt:
        if folder is not None and (folder / "manifest.json").exists():
            raise KeyboardInterrupt(f"Go on with: {again}") from None
        raise KeyboardInterrupt("Nothing was kept: --save FOLDER makes a run that can be resumed.") from None


def _end(run: Run, picture: Path, folder: Path | None, again: str) -> None:
    """What is printed and drawn when a run is over."""
    from vqtheory.simulation.summary import sentences, table

    say(f"{sentences(run)}\n\n{table(run)}\n")
    picture.parent.mkdir(parents=True, exist_ok=True)
    run.plot().savefig(picture, dpi=150)
    say(f"Picture: {picture}")
    if folder is not None:
        further = {"running": "; to go on", "finished": "; to go further, with --steps", "diverged": ""}[run.status]
        say(f"Run: {folder}{further and f'{further}: {again}'}")
