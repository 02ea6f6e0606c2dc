"""Usage, perplexity and dead codes as metrics of torchmetrics, which add up over batches and over processes.

Each counts hits, n_k of code k among n, in a window of updates (calls of `update`, in each process one), and says it in its
name: usage of one batch and usage of an epoch are two numbers.

    usage = #{k: n_k > 0} / K,   perplexity = exp(-sum_k n_k/n ln n_k/n),   dead codes = #{k: n_k = 0}

Needs torchmetrics, which the extra "torch" brings.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vqtheory._base import check
from vqtheory._base.extras import missing

try:
    from torchmetrics import Metric, MetricCollection
except ImportError as error:
    raise ImportError(missing("vqtheory.nn.integrations.metrics", "torchmetrics", "torch")) from error


class CodeMetric(Metric):
    """What the metrics of a codebook share: its hits, in a window.

    Parameters
    ----------
    codebook_size : int
        K.
    window : int, optional
        Count the last so many updates; by default all since the last `reset`, as in an epoch.
    options
        Of `torchmetrics.Metric`.

    Raises
    ------
    ValueError
        For parameters out of range, and from `update` for indices that are no integers below K.
    """

    full_state_update = True  # a window is no sum of what two updates have seen
    is_differentiable = False
    quantity = ""
    hits: Tensor
    updates: Tensor

    def __init__(self, codebook_size: int, window: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        owner = type(self).__name__
        self.codebook_size = check.integer(owner, "codebook_size", codebook_size)
        self.window = None if window is None else check.integer(owner, "window", window)
        rows = torch.zeros(self.window or 1, self.codebook_size, dtype=torch.int64)
        self.add_state("hits", rows, dist_reduce_fx="sum")
        self.add_state("updates", torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    @property
    def name(self) -> str:
        """What to log it under, such as "usage_of_last_100_updates" or "usage_since_reset"."""
        return f"{self.quantity}_{'since_reset' if self.window is None else f'of_last_{self.window}_updates'}"

    def update(self, indices: Tensor) -> None:
        """Count the codes that latents were given: integers of any shape, -1 where there was none."""
        flat = self._checked(indices).reshape(-1).long()
        row = self.hits[0] if self.window is None else self.hits[self.updates % self.window].zero_()
        row.index_add_(0, flat.clamp_min(0), (flat >= 0).long())
        self.updates += 1

    def _checked(self, indices: Tensor) -> Tensor:
        requirement = f"a tensor of integers from -1 to {self.codebook_size - 1}"
        if not isinstance(indices, Tensor) or indices.is_floating_point() or indices.dtype == torch.bool:
            raise check.fail(type(self).__name__, "indices", requirement, indices)
        if indices.numel() and not -1 <= int(indices.min()) <= int(indices.max()) < self.codebook_size:
            ends = [int(indices.min()), int(indices.max())]
            raise check.fail(type(self).__name__, "indices", requirement, ends)
        return indices

    def counts(self) -> Tensor:
        """Hits of each code in the window, int64 [K]; of all processes within `compute`."""
        return self.hits.sum(dim=0)


class Usage(CodeMetric):
    """The share of the codes that were chosen in the window.

    Examples
    --------
    >>> usage = Usage(codebook_size=4, window=2)
    >>> for indices in ([0, 1], [1, 1], [1, 2]):
    ...     usage.update(torch.tensor(indices))
    >>> usage.name, usage.compute().item()
    ('usage_of_last_2_updates', 0.5)
    """

    higher_is_better = True
    quantity = "usage"

    def compute(self) -> Tensor:
        """#{k: n_k > 0} / K."""
        return (self.counts() > 0).float().mean()


class Perplexity(CodeMetric):
    """How many codes there are in effect: exp of the entropy of the hits in the window, 1 to K; 1 without any hit.

    Examples
    --------
    >>> perplexity = Perplexity(codebook_size=4)
    >>> perplexity.update(torch.tensor([0, 0, 3, 3, -1]))
    >>> perplexity.name, round(perplexity.compute().item(), 4)
    ('perplexity_since_reset', 2.0)
    """

    higher_is_better = True
    quantity = "perplexity"

    def compute(self) -> Tensor:
        """exp(-sum n_k/n ln n_k/n)."""
        counts = self.counts().float()
        share = counts / counts.sum().clamp_min(1)
        return torch.exp(-torch.special.xlogy(share, share).sum())


class DeadCodes(CodeMetric):
    """How many codes were not chosen in the window. With fewer than some 20 K latents in it, codes that are alive are too.

    Examples
    --------
    >>> dead = DeadCodes(codebook_size=4)
    >>> dead.update(torch.tensor([[0, 1], [1, 1]]))
    >>> dead.name, dead.compute().item()
    ('dead_codes_since_reset', 2)
    """

    higher_is_better = False
    quantity = "dead_codes"

    def compute(self) -> Tensor:
        """#{k: n_k = 0}."""
        return (self.counts() == 0).sum()


def codebook_metrics(codebook_size: int, window: int | None = None, **options: Any) -> MetricCollection:
    """All three by their names, for ``update(indices)`` and Lightning's ``log_dict``.

    Parameters
    ----------
    codebook_size : int
        K.
    window : int, optional
        As in each of them.
    options
        Of `torchmetrics.Metric`.

    Examples
    --------
    >>> metrics = codebook_metrics(codebook_size=4, window=10)
    >>> metrics.update(torch.tensor([0, 1]))
    >>> sorted(metrics.compute())
    ['dead_codes_of_last_10_updates', 'perplexity_of_last_10_updates', 'usage_of_last_10_updates']
    """
    metrics = [kind(codebook_size, window, **options) for kind in (Usage, Perplexity, DeadCodes)]
    return MetricCollection({metric.name: metric for metric in metrics})
