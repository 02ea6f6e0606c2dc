"""Packages that only a part of this one needs, and what to do where they are missing."""

from __future__ import annotations


def missing(owner: str, package: str, extra: str) -> str:
    """The sentence that says how to install them; nothing is published yet, so it is done from the checkout."""
    return f"{owner} needs {package}, which is not installed: pip install '.[{extra}]' in the checkout of vqtheory."
