"""A chain of levels: each quantizes what the codes of the levels before leave of a latent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.codebooks.base import Batch
from vqtheory.nn.ops.presence import mean, wide
from vqtheory.nn.ops.search import assign
from vqtheory.nn.ops.start import draw
from vqtheory.nn.quantize import Info, info_of
from vqtheory.nn.stacks.beams import search
from vqtheory.nn.stacks.level import Level, Passed, left_by_others
from vqtheory.rules.base import Rule, declared, projects

Choice = Callable[[int, Tensor, Tensor], Tensor]  # the codes of a level for its rows [n, D] and their mask


class Chain(nn.Module):
    """Levels one after the other, on rows [N, D] of latents; `Stack` is its face.

    With r_0 = z and c_l the code that level l has for r_l, r_(l+1) = z - (c_0 + .. + c_l). A subclass may give a level
    another view of the rest, `_down`, and put its codes back, `_up`.
    """

    def __init__(
        self, owner: str, dim: int, sizes: Sequence[int], rules: Sequence[Rule | str], shared: bool, **options: Any
    ):
        super().__init__()
        self.depth, self.shared, self.seed = len(sizes), shared, options.pop("seed")
        count = 1 if shared else self.depth
        made = (Level(dim, sizes[i], rules[i], seed=self.seed + i, **options) for i in range(count))
        self.levels = nn.ModuleList(made)
        for level in self.levels:
            _check_rule(owner, level.rule, self.depth)  # type: ignore[arg-type]

    def level(self, i: int) -> Level:
        """The level i, whose codebook may be that of all."""
        return self.levels[0 if self.shared else i]  # type: ignore[return-value]

    def codes(self, i: int) -> Tensor:
        """The codes of level i, [K, D], without gradient, in float32 at least."""
        return wide(self.level(i).codebook)

    def quantize(self, z: Tensor, keep: Tensor, places: torch.Size, depths: Tensor | None = None, beams: int = 1) -> Passed:
        """Latents [N, D] through the levels; `depths` [N] is how many levels a latent has, by default all."""
        x = z.detach()
        if self.training and not all(level._seen_started for level in self.levels):
            self.start(x, keep, places)
        if self.shared:
            return self._pooled(z, keep, places, depths)
        passed = self._one_by_one(z, keep, places, depths)
        if beams > 1 and not self.training:
            return self._by_indices(z, keep, places, self._better(x, passed, beams))
        return passed

    def _one_by_one(self, z: Tensor, keep: Tensor, places: torch.Size, depths: Tensor | None) -> Passed:
        """Each level in a pass of its own, which moves its codes in training."""
        outputs, soft = [], []

        def choose(i: int, rows: Tensor, mask: Tensor) -> Tensor:
            level = self.level(i)
            output = level(rows, mask=mask)
            outputs.append(output)
            if level._codebook.soft:
                own = output.quantized - output.quantized.detach()
                soft.append(self._up(torch.where(mask[:, None], own, 0), i, places))
            return output.quantized.detach()

        total = self._sum(z, keep, places, depths, choose)
        straight = [z - z.detach()] if len(soft) < self.depth else []
        loss = torch.stack([output.loss for output in outputs]).sum()
        indices, infos = [output.indices for output in outputs], [output.info for output in outputs]
        return Passed(total, sum([*straight, *soft][1:], [*straight, *soft][0]), indices, loss, infos)

    def _pooled(self, z: Tensor, keep: Tensor, places: torch.Size, depths: Tensor | None) -> Passed:
        """One codebook for all levels: first each latent's way, by the nearest codes, then one pass on all its steps."""
        seen: list[tuple[Tensor, Tensor]] = []

        def choose(i: int, rows: Tensor, mask: Tensor) -> Tensor:
            seen.append((rows, mask))
            codes = self.codes(i)
            return codes[assign(rows.to(codes.dtype), codes)]

        self._sum(z, keep, places, depths, choose)
        rows, mask = (torch.cat(parts) for parts in zip(*seen, strict=True))
        output = self.level(0)(rows, mask=mask)
        sizes = [len(part) for part, _ in seen]
        chosen, indices = output.quantized.split(sizes), list(output.indices.split(sizes))
        total = self._sum(z, keep, places, depths, lambda i, rows, mask: chosen[i].detach())
        soft = self.level(0)._codebook.soft
        own = [torch.where(k[:, None], c - c.detach(), 0) for c, (_, k) in zip(chosen, seen, strict=True)]
        through = sum(self._up(part, i, places) for i, part in enumerate(own)) if soft else z - z.detach()
        infos = [self._info(i, *seen[i], chosen[i].detach(), indices[i], output.info.attraction) for i in range(self.depth)]
        return Passed(total, through, indices, output.loss, infos)  # type: ignore[arg-type]

    def _by_indices(self, z: Tensor, keep: Tensor, places: torch.Size, indices: Tensor) -> Passed:
        """The same for codes that are given, [N, L]: no code moves."""
        losses, infos = [], []

        def choose(i: int, rows: Tensor, mask: Tensor) -> Tensor:
            level, batch = self.level(i), Batch(rows.detach(), mask, self.level(i).step)
            chosen = nn.functional.embedding(indices[:, i], level._codebook.codes().to(rows.dtype))
            commitment = mean((rows - chosen.detach()).square().mean(dim=1), mask)
            losses.append(level.codebook_weight * level._codebook.loss(batch, chosen) + level.commitment_weight * commitment)
            own = torch.where(mask, indices[:, i], -1)
            infos.append(self._info(i, rows, mask, chosen.detach(), own, commitment.new_zeros(())))
            return chosen.detach()

        total = self._sum(z, keep, places, None, choose)
        columns = list(torch.where(keep[:, None], indices, -1).unbind(dim=1))
        return Passed(total, z - z.detach(), columns, torch.stack(losses).sum(), infos)

    @torch.no_grad()
    def _better(self, x: Tensor, greedy: Passed, beams: int) -> Tensor:
        """Of each latent the greedy indices or those of a search by beams, whichever leave less: [N, L]."""
        first = torch.stack(greedy.indices, dim=1).clamp_min(0)
        other = search(x, [self.codes(i).to(x.dtype) for i in range(self.depth)], beams)
        total = self.decode(list(other.unbind(dim=1)), torch.Size([len(x)]))
        errors = [(x - sums).square().sum(dim=1) for sums in (greedy.total, total)]
        return torch.where((errors[1] < errors[0])[:, None], other, first)

    def decode(self, indices: Sequence[Tensor], places: torch.Size) -> Tensor:
        """The sum of the codes of the first levels, [N, D], of as many as there are indices; -1 adds nothing."""

        def choose(i: int, rows: Tensor, mask: Tensor) -> Tensor:
            return self.codes(i)[indices[i].clamp_min(0)]

        codes = self.codes(0)
        start = codes.new_zeros(places.numel(), codes.shape[1])
        return self._sum(start, None, places, None, choose, indices)

    def inputs(self, x: Tensor, keep: Tensor, places: torch.Size) -> list[Tensor]:
        """What each level is given of latents [N, D], [n, D], by the nearest codes."""
        seen = []

        def choose(i: int, rows: Tensor, mask: Tensor) -> Tensor:
            seen.append(rows[mask])
            codes = self.codes(i)
            return codes[assign(rows.to(codes.dtype), codes)]

        self._sum(x, keep, places, None, choose)
        return seen

    def _sum(
        self,
        z: Tensor,
        keep: Tensor | None,
        places: torch.Size,
        depths: Tensor | None,
        choose: Choice,
        indices: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """The sum of all levels' codes, [N, D], in their order, which is the same in a pass and in decoding."""
        total = torch.zeros_like(z.detach(), dtype=self.codes(0).dtype)
        for i in range(self.depth if indices is None else len(indices)):
            mask = self._mask(keep, depths, i, places) if indices is None else indices[i] >= 0
            chosen = choose(i, self._down(z - total.to(z.dtype), i, places), mask)
            total = total + self._up(torch.where(mask[:, None], chosen.to(total.dtype), 0), i, places)
        return total

    def _mask(self, keep: Tensor | None, depths: Tensor | None, i: int, places: torch.Size) -> Tensor:
        """Which rows level i is given."""
        assert keep is not None
        return keep if depths is None else keep & (depths > i)

    def _down(self, rest: Tensor, i: int, places: torch.Size) -> Tensor:
        """The rest [N, D] as level i is given it, [n, D]."""
        return rest

    def _up(self, codes: Tensor, i: int, places: torch.Size) -> Tensor:
        """What the codes [n, D] of level i add, [N, D]."""
        return codes

    def _info(self, i: int, rows: Tensor, mask: Tensor, chosen: Tensor, indices: Tensor, attraction: Tensor) -> Info:
        level = self.level(i)
        cells = torch.where(mask, indices, level.codebook_size)
        return info_of(Batch(rows.detach(), mask, level.step), chosen, cells, level.codebook_size, attraction)

    @torch.compiler.disable
    @torch.no_grad()
    def start(self, x: Tensor, keep: Tensor, places: torch.Size, again: bool = False) -> None:
        """Start levels on latents [N, D], each after the one before it: on what codes leave of latents that they are not.

        Levels that have started stay, unless `again`.
        """
        if self.shared and self.depth > 1:
            self._start_shared(x, keep, places, again)
            return
        rest = x
        for i in range(self.depth):
            level, rows, mask = self.level(i), self._down(rest, i, places), self._mask(keep, None, i, places)
            rows = level._codebook.project(rows)
            mask = mask & rows.any(dim=1) if i else mask
            if again:
                level._start(rows[mask])
            elif not level._seen_started:
                level._look(rows, mask)
            if i + 1 < self.depth and level._seen_started:
                rest = rest - self._up(rows - left_by_others(rows, level.codebook), i, places)

    def _start_shared(self, x: Tensor, keep: Tensor, places: torch.Size, again: bool) -> None:
        """One codebook: an equal share of its codes on the latents and on what is left at each level."""
        level, rest, parts = self.level(0), x, []
        if not again and not level._codebook.is_empty():
            level._mark_started()
            return
        left = level.codebook_size
        for i in range(self.depth):
            rows, mask = self._down(rest, i, places), self._mask(keep, None, i, places)
            mask = mask & rows.any(dim=1) if i else mask
            share = math.ceil(left / (self.depth - i))
            codes = draw(level._codebook.startable(rows[mask]), share, self.seed + i).unique(dim=0)
            if share == 0 or len(codes) == 0:
                break
            parts.append(codes)
            left -= len(codes)
            rest = rest - self._up(rows - left_by_others(rows, codes), i, places)
        if parts:
            level._start(torch.cat(parts))


def _check_rule(owner: str, rule: Rule, depth: int) -> None:
    """Refuses rules that need more than latents, and below a first level codes that are not where their latents are."""
    if declared(rule, "needs_displacement"):
        raise check.fail(owner, "rule", "one that needs no displacements, which residuals have none of", rule)
    if depth > 1 and projects(rule):
        wanted = "one whose codes are where their latents are, so that a rest is left, for more levels than one"
        raise check.fail(owner, "rule", wanted, rule)
