"""How much of a stack's codebooks is used, and how many of the combinations of their codes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vqtheory.nn.stacks.base import is_integers


class TupleUsage(NamedTuple):
    """Of index tuples, such as semantic IDs."""

    latents: int  # with a code at every level
    distinct: int  # tuples among them
    share: float  # distinct / latents
    collisions: float  # share of the latents that have their tuple in common with another
    perplexity: float  # exp of the entropy of the tuples
    levels: tuple[float, ...]  # perplexity of each level alone
    used: tuple[int, ...]  # codes of each level that are hit


def tuple_usage(indices: Tensor) -> TupleUsage:
    """What is used of index tuples [.., L]: of each level alone, and of all together.

    Tuples with a -1, of latents that are masked or given fewer levels, count nowhere.

    Parameters
    ----------
    indices : Tensor of integers [.., L]
        As a stack returns them; of groups with levels flattened to one axis, ``indices.flatten(-2)``.

    Returns
    -------
    TupleUsage

    Raises
    ------
    ValueError
        For what is not integers, and where no tuple is whole.

    Examples
    --------
    >>> tuple_usage(torch.tensor([[0, 1], [0, 2], [0, 1], [3, -1]]))._asdict() | {"perplexity": None, "levels": None}
    {'latents': 3, 'distinct': 2, 'share': 0.6666666666666666, 'collisions': 0.6666666666666666, 'perplexity': None, 'levels': None, 'used': (1, 2)}
    """  # noqa: E501
    if not is_integers(indices) or indices.ndim < 2:
        got = f"{indices.dtype} {tuple(indices.shape)}" if isinstance(indices, Tensor) else type(indices).__name__
        raise ValueError(f"The indices of tuple_usage must be integers [.., L]. Got {got}.")
    rows = indices.flatten(0, -2)
    rows = rows[(rows >= 0).all(dim=1)]
    if len(rows) == 0:
        raise ValueError("tuple_usage needs at least one tuple with a code at every level. Got none.")
    counts = rows.unique(dim=0, return_counts=True)[1]
    alone = [column.unique(return_counts=True)[1] for column in rows.unbind(dim=1)]
    return TupleUsage(
        latents=len(rows),
        distinct=len(counts),
        share=len(counts) / len(rows),
        collisions=float(counts[counts > 1].sum()) / len(rows),
        perplexity=_perplexity(counts),
        levels=tuple(map(_perplexity, alone)),
        used=tuple(map(len, alone)),
    )


def _perplexity(counts: Tensor) -> float:
    share = counts.double() / counts.sum()
    return float(torch.exp(-torch.special.xlogy(share, share).sum()))
