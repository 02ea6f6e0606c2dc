"""`vqtheory list`."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro

from vqtheory.cli.options import option, say

Kind = Literal["rules", "streams", "sources", "drifts", "schedules"]
_KINDS = "[{rules,streams,sources,drifts,schedules} ...]"


def list_names(
    kinds: Annotated[tuple[Kind, ...], tyro.conf.Positional, option(_KINDS, "all")] = (),
    /,
) -> None:
    """List the rules, streams, sources, drifts and schedules that can be named, with their parameters and defaults.

    Args:
        kinds: Of which kinds.
    """
    from vqtheory.cli.help import vocabulary_page

    say(vocabulary_page([kind.capitalize() for kind in kinds]))
