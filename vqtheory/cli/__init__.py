"""The command line."""

from vqtheory.cli.app import main

__all__ = ["main"]
