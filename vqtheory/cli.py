"""The command `vqtheory`. A subcommand is a function under `@command`: its docstring and parameters are its help.

Only what a subcommand needs is imported, and inside it, so that `--help` is there at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vqtheory._options import COMMANDS, Folder, command, number, option, picture_file

if TYPE_CHECKING:
    from vqtheory.simulation.run import Run

DEFAULTS: dict[str, Any] = {
    "rule": "VQ(step_size=0.05)",
    "stream": "Stream(Uniform(dim=1), Translation(speed=1e-5))",
    "codes": 64,
    "steps": 200_000,
}


def main() -> int:
    """Run the subcommand that the arguments name; returns the exit status."""
    arguments = sys.argv[1:] or ["--help"]
    if arguments == ["--version"]:
        from vqtheory import __version__

        print(f"vqtheory {__version__}")
        return 0
    try:
        _call(arguments)
    except KeyboardInterrupt as stop:
        return _refuse(f"Stopped. {stop}".rstrip(), 130)
    except BrokenPipeError:  # of `vqtheory show myrun | head`: no one reads on, and nothing is left to be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _refuse(f"{error.strerror}: {error.filename}" if error.strerror else str(error))
    except (ValueError, MemoryError) as error:
        return _refuse(str(error))
    return 0


def _call(arguments: list[str]) -> None:
    from vqtheory import _trainings  # noqa: F401  more commands, to be listed after those of this file

    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="vqtheory", description=_about(arguments), args=arguments)
    finally:
        sys.stdout.flush()  # here, where a pipe that is closed can be caught


def _refuse(sentence: str, status: int = 2) -> int:
    print(f"vqtheory: {' '.join(sentence.split())}", file=sys.stderr)
    return status


def _about(arguments: list[str]) -> str:
    """The text of `--help`, written only when it is asked for."""
    if arguments[0] not in ("-h", "--help"):
        return ""
    from vqtheory._help import description

    return description()


@command
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
    """Let a rule follow a stream, and tell which codes survive.

    Args:
        rule: How the codebook moves, e.g. "EMA(decay=0.99)"; all rules by name: vqtheory --help.
        stream: What it follows, e.g. "Stream(Gaussian(dim=2), Rotation(rate=1e-4))"; all by name: vqtheory --help.
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
    parameters = DEFAULTS | _configured(config) | {name: value for name, value in given.items() if value is not None}
    import vqtheory as vq

    parameters = {name: _read(name, value) for name, value in parameters.items()}
    run = _interruptible(save, lambda: vq.simulate(**parameters, save=save))
    _end(run, target, save)


@command
def resume(
    folder: Folder,
    /,
    *,
    steps: Annotated[str | None, option("INT")] = None,
    picture: Annotated[Path | None, option("FILE.png", "run.png in the folder")] = None,
) -> None:
    """Continue a saved run, as if it had not stopped.

    Args:
        folder: The --save folder of simulate.
        steps: A new number of updates, to go further than was asked for, or less far.
        picture: Where to draw the run.
    """
    target = picture_file(picture, folder)
    import vqtheory as vq

    total = None if steps is None else _read("steps", steps)
    _end(_interruptible(folder, lambda: vq.resume(folder, total)), target, folder)


@command
def show(
    folder: Folder,
    /,
    *,
    picture: Annotated[Path | None, option("FILE.png", "run.png in the folder")] = None,
) -> None:
    """Tell what came out of a saved run, without running.

    Args:
        folder: The --save folder of simulate.
        picture: Where to draw the run.
    """
    target = picture_file(picture, folder)
    if (folder / "checkpoint.pt").exists():
        raise ValueError(
            f"{folder} is a training: its table is history.parquet, and vqtheory train --resume goes on with it."
        )
    import vqtheory as vq

    _end(vq.Run.load(folder), target, folder)


@command
def diagnose(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER|FILE")],
    /,
    *,
    rule: Annotated[str | None, option("TEXT", "the source's own")] = None,
    codes: Annotated[Path | None, option("FILE.npy")] = None,
    every: Annotated[str | None, option("INT", "1")] = None,
    batch_size: Annotated[str | None, option("INT")] = None,
    replay: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    picture: Annotated[Path | None, option("FILE.png", "diagnosis.png in the folder, else vqtheory-diagnosis.png")] = None,
) -> None:
    """Say which codes are alive, what the laws predict will survive the drift that was seen, and which knob would help.

    Args:
        source: The --save folder of train or simulate, a file that a Monitor's recording was saved in (.npz), or latents
            [time, N, D] of one and the same batch (.npy).
        rule: How the codebook moves, where the source does not say, e.g. "VQ(step_size=0.05)".
        codes: With latents, the codebook at the last time [K, D] or at each [time, K, D].
        every: With latents, updates from one time to the next.
        batch_size: With latents, how many there are in an update of the training; Adam's law depends on it.
        replay: Also play what a training with --latents has kept again by the simulator's rule, and compare the codes.
        picture: Where to draw it; .pdf, .svg and .jpg too.
    """
    default = source / "diagnosis.png" if source.is_dir() else Path("vqtheory-diagnosis.png")
    target = picture_file(picture or default)
    import vqtheory as vq

    given: Any = source
    if source.suffix == ".npy":
        from vqtheory._base.files import load_array

        given = load_array(str(source))
    found = vq.diagnose(
        given,
        None if codes is None else _read("codes", str(codes)),
        rule=rule,
        every=1 if every is None else _read("every", every),
        batch_size=None if batch_size is None else _read("batch_size", batch_size),
    )
    text = str(found)
    if replay:
        from vqtheory._trainings import played_again

        text += f"\n\nReplay. {played_again(source)}"
    target.parent.mkdir(parents=True, exist_ok=True)
    found.plot().savefig(target, dpi=150)
    print(text)
    print(f"\nPicture: {target}")


@command
def predict(
    *,
    num_codes: Annotated[str, option("INT")],
    speed: Annotated[str, option("REAL")],
    rule: Annotated[str, option("{vq,ema,adam,nsvq}")] = "vq",
    step_size: Annotated[str | None, option("REAL", "0.05; adam 1e-5")] = None,
    decay: Annotated[str | None, option("REAL", "0.99")] = None,
    bandwidth: Annotated[str | None, option("REAL", "1.0")] = None,
    batch_size: Annotated[str | None, option("INT", "1; adam 1024")] = None,
    width: Annotated[str | None, option("REAL", "1.0")] = None,
    dim: Annotated[str | None, option("INT", "1")] = None,
    density: Annotated[str | None, option("TEXT", "uniform")] = None,
    direction: Annotated[str | None, option("{1,-1}", "1")] = None,
    steps: Annotated[str | None, option("INT", "the limit of a small step size")] = None,
) -> None:
    """Say how many codes a drift leaves alive, and which step size, codebook or decay would save all.

    Args:
        num_codes: How many codes.
        speed: How far the latents move per update of the codebook, in their own unit.
        rule: How the codebook moves: vq by online k-means or SGD, ema by running means, adam by Adam, nsvq with a kernel.
        step_size: Of vq and nsvq, 1 moves a code that wins the whole batch onto its mean; of adam the learning rate.
        decay: Of ema, per update.
        bandwidth: Of nsvq's kernel, a length.
        batch_size: Latents in an update.
        width: Of the uniform cloud, along each axis.
        dim: How many dimensions the latents fill, which may be far fewer than they have.
        density: A cloud on the line that is not uniform, e.g. "Gaussian(dim=1)" or "Distribution('expon')".
        direction: Which way such a cloud moves.
        steps: Updates in the run, for what the noise of its samples takes off.
    """
    given = {"decay": decay, "bandwidth": bandwidth, "batch_size": batch_size, "step_size": step_size, "width": width}
    given |= {"num_codes": num_codes, "speed": speed, "dim": dim, "direction": direction, "steps": steps}
    from vqtheory import _prediction

    numbers = {name: number(text) for name, text in given.items() if text is not None}
    setting = _prediction.Setting(**numbers, density=None if density is None else _read("stream", density))
    print(_prediction.sentences(rule.lower(), *_prediction.predict(rule, setting)))


@command
def verify(
    keys: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[CLAIM ...]")] = (),
    /,
    *,
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    effort: Literal["quick", "full"] = "quick",
    seed: int = 0,
    save: Annotated[Path | None, option("FILE.md")] = None,
) -> None:
    """Measure what the theory claims, and judge it. Exit status 1 if a claim is refuted, or undecided at full effort.

    Args:
        keys: Which claims; all of them if none is named.
        list: Only tell which claims there are.
        effort: How much evidence: quick takes a minute or two, full much longer.
        seed: Of all experiments.
        save: Keep the verdicts as a page; or as a table, .csv or .parquet.
    """
    from tqdm import tqdm

    from vqtheory.claims import all_claims
    from vqtheory.claims import verify as verdicts_of
    from vqtheory.claims._table import keep, table

    if save is not None and (save.suffix.lower() not in (".md", ".csv", ".parquet") or not save.parent.is_dir()):
        raise ValueError(f"The verdicts go to a .md, .csv or .parquet file in a folder that exists. Got {str(save)!r}.")
    if list:
        print("\n".join(f"{claim.key}: {claim.statement}" for claim in all_claims().values()))
        return
    order = [*all_claims()]
    found = [*tqdm(verdicts_of(keys, effort, seed), total=len(keys) or len(order), unit=" claims")]
    print(table(sorted(found, key=lambda verdict: order.index(verdict.key))))
    if save is not None:
        keep(save, found)
    failing = {"refuted"} | ({"undecided"} if effort == "full" else set())
    if any(verdict.outcome in failing for verdict in found):
        raise SystemExit(1)


def _configured(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    from vqtheory.simulation.config import read_config

    return read_config(path)


def _read(name: str, value: Any) -> Any:
    """The parameter that a text of the command line stands for."""
    if not isinstance(value, str) or name in ("init", "dtype"):
        return value
    if name in ("rule", "stream"):
        from vqtheory._base.config import parse

        return parse(value)
    count = _whole(value)
    if name != "codes" or not isinstance(count, str):
        return count
    from vqtheory._base.files import load_array

    return load_array(value)


def _whole(text: str) -> int | str:
    """As `number`, but what is no int is left as it is."""
    found = number(text)
    return found if isinstance(found, int) else text


def _interruptible(folder: Path | None, play: Callable[[], Run]) -> Run:
    """Play; whoever stops it is told how to go on."""
    try:
        return play()
    except KeyboardInterrupt:
        if folder is not None and (folder / "manifest.json").exists():
            raise KeyboardInterrupt(f"Go on with: vqtheory resume {shlex.quote(str(folder))}") from None
        raise KeyboardInterrupt("Nothing was kept: --save FOLDER makes a run that can be resumed.") from None


def _end(run: Run, picture: Path, folder: Path | None) -> None:
    """What is printed and drawn when a run is over."""
    from vqtheory.simulation.summary import sentences, table

    print(f"{sentences(run)}\n\n{table(run)}\n")
    picture.parent.mkdir(parents=True, exist_ok=True)
    run.plot().savefig(picture, dpi=150)
    print(f"Picture: {picture}")
    if folder is not None:
        further = {"running": "; to go on", "finished": "; to go further, with --steps", "diverged": ""}[run.status]
        print(f"Run: {folder}{further and f'{further}: vqtheory resume {shlex.quote(str(folder))}'}")
