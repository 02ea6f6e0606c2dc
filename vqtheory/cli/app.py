"""The command `vqtheory`: a file per subcommand, each a function whose docstring and parameters are its help.

Only what a subcommand needs is imported, and inside it, so that `--help` is there at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import tyro

from vqtheory.cli.diagnose import diagnose
from vqtheory.cli.evaluate import compare, evaluate
from vqtheory.cli.predict import predict
from vqtheory.cli.simulate import resume, show, simulate
from vqtheory.cli.train import train
from vqtheory.cli.verify import verify

COMMANDS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (simulate, resume, show, diagnose, predict, verify, train, evaluate, compare)  # the order of the help
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
    from vqtheory.cli.help import description

    return description()
