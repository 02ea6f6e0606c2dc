"""The command `vqtheory`: a file per subcommand, each a function whose docstring and parameters are its help.

Only what a subcommand needs is imported, and inside it, so that `--help` is there at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

import tyro

from vqtheory.cli.diagnose import diagnose
from vqtheory.cli.doctor import doctor
from vqtheory.cli.evaluate import compare, evaluate
from vqtheory.cli.list import list_names
from vqtheory.cli.options import say
from vqtheory.cli.phase import phase
from vqtheory.cli.predict import predict
from vqtheory.cli.restore import restore
from vqtheory.cli.simulate import resume, show, simulate
from vqtheory.cli.train import train
from vqtheory.cli.verify import verify

_IN_THE_ORDER_OF_THE_HELP = (
    simulate,
    resume,
    show,
    diagnose,
    predict,
    phase,
    verify,
    train,
    evaluate,
    compare,
    restore,
    doctor,
)
COMMANDS: dict[str, Callable[..., None]] = {function.__name__: function for function in _IN_THE_ORDER_OF_THE_HELP}
COMMANDS["list"] = list_names


def main() -> int:
    """Run the subcommand that the arguments name; returns the exit status."""
    _open_streams()
    arguments = sys.argv[1:] or ["--help"]
    try:
        _call(arguments)
    except KeyboardInterrupt as stop:
        return _refuse(f"Stopped. {stop}".rstrip(), 130)
    except BrokenPipeError:  # of `vqtheory show myrun | head`: no one reads on, and nothing is left to be said
        pass
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _refuse(f"{error.strerror}{where}" if error.strerror else str(error))
    except (ValueError, MemoryError) as error:
        return _refuse(str(error) or "There is not enough memory.")
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        return _refuse(str(error).splitlines()[0])  # of torch, on whichever device
    return 0


def _open_streams() -> None:
    """Somewhere to write to where stdout or stderr was closed, and a replacement for what a terminal cannot show."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _call(arguments: list[str]) -> None:
    try:
        if arguments == ["--version"]:
            say(f"vqtheory {version('vqtheory')}")
        else:
            tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="vqtheory", description=_about(arguments), args=arguments)
    finally:
        _flush()


def _flush() -> None:
    """Write what is left to stdout, here, where an error can still be caught, and name it."""
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = "standard output"
        _silence_stdout()
        raise


def _silence_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(sentence: str, status: int = 2) -> int:
    with suppress(OSError):
        print(f"vqtheory: {' '.join(sentence.split())}", file=sys.stderr, flush=True)
    return status


def _about(arguments: list[str]) -> str:
    """The text of `--help`, written only when it is asked for."""
    if arguments[0] not in ("-h", "--help"):
        return ""
    from vqtheory.cli.help import description

    return description()
