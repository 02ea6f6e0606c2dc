"""SOM, the self-organizing map: codes lie on a grid, and the winner's neighbours on the grid move with it.

Kohonen, Biological Cybernetics 43, 1982. With q(i) the code nearest to latent i and g_k the place of code k on the grid,

    c_k <- c_k + (eta / B) sum_i h(g_k - g_q(i)) (x_i - c_k)
    gaussian   h(u) = exp(-|u|^2 / 2 sigma^2)
    bubble     h(u) = 1 where no coordinate of u is beyond sigma, else 0

at the codes before the update. As sigma -> 0 online k-means is left. A code far from all latents moves with its neighbours
on the grid, whatever its distance; the map keeps neighbours of the grid close to each other, and pays for it in distortion.

The published method takes one latent per update, and lets both eta and sigma fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import by_batch, find_each, info, link, new_chain, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start


@dataclass(frozen=True, repr=False)
class SOM(Rule):
    """Online k-means with a neighbourhood on a grid.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    range : float or schedule, default 1
        sigma, in steps of the grid. One that does not shrink contracts the codebook.
    grid : two ints, optional
        Rows and columns of a grid in two dimensions, whose product is K; code k lies in row k // columns. By default the
        codes are a chain.
    neighbourhood : {"gaussian", "bubble"}, default "gaussian"
        h.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K).

    Examples
    --------
    The neighbour on the chain follows by half of the winner's step at sigma^2 = 1 / (2 ln 2):

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = SOM(step_size=0.5, range=0.5 / np.sqrt(0.5 * np.log(2)))
    >>> state = rule.init(np.array([[0.0], [-1.0], [-8.0]]))
    >>> rule.advance(state, Batches(np.array([[[1.0]]])))[0].codes.ravel()
    array([ 0.5    , -0.5    , -7.71875])
    """

    step_size: Any = 0.05
    range: Any = 1.0
    grid: tuple[int, int] | None = None
    neighbourhood: str = "gaussian"
    start: str = "matched"

    key: ClassVar[str] = "som"
    fixed_point: ClassVar[str | None] = "k-means as range -> 0"
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling"})

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("SOM", "step_size", self.step_size, 0, above=True))
        self._keep(range=schedules.validate("SOM", "range", self.range, 0, above=True))
        self._keep(grid=None if self.grid is None else _sides(self.grid))
        check.choice("SOM", "neighbourhood", self.neighbourhood, ["gaussian", "bubble"])
        check_start("SOM", self.start)

    def sides(self, num_codes: int) -> tuple[int, int]:
        """Rows and columns of a grid of so many codes; `ValueError` where they are no such rectangle."""
        rows, columns = (1, num_codes) if self.grid is None else self.grid
        if rows * columns != num_codes:
            text = f"{rows} x {columns} = {rows * columns} codes"
            raise ValueError(f"The grid of SOM, {self.grid}, needs {text}. Got {num_codes}.")
        return rows, columns

    def init(self, codes: np.ndarray, seed: int = 0) -> SOMState:
        """The state that starts from codes [K, D]; `ValueError` where K is not the number of places on the grid."""
        codes = check.matrix("SOM.init", "codes", codes).copy()
        self.sides(len(codes))
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return SOMState(codes, np.int64(0))

    def advance(self, state: SOMState, batches: Batches) -> tuple[SOMState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("SOM.advance", "state", state, SOMState, "a state that SOM.init has made")
        x, weight = checked("SOM.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        rows, columns = self.sides(len(state.codes))
        falls = self.falls(schedules.values(self.range, int(state.step), steps), max(rows, columns)).astype(x.dtype)
        codes, tally, chain = state.codes.copy(), new_tally(x, state.codes), new_chain(len(state.codes), batch_size)
        _advance(x, weight, rates, falls, columns, by_batch(batch_size, codes), state.step, codes, chain, tally)
        return SOMState(codes, state.step + steps), info(tally, weight)

    def falls(self, ranges: np.ndarray, side: int) -> np.ndarray:
        """h along one axis of the grid, [T, side], 0 where it is lost in the rounding of h(0); in two it is the product."""
        apart = np.arange(side) / np.maximum(ranges, 1e-150)[:, None]
        if self.neighbourhood == "bubble":
            return (apart <= 1).astype(float)
        values = np.exp(-(np.minimum(apart, 1e3) ** 2) / 2)
        return np.where(values < np.finfo(float).eps / 2, 0, values)


class SOMState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


def _sides(grid: Any) -> tuple[int, int]:
    try:
        rows, columns = grid
        return check.integer("SOM", "grid", rows, 1, 2**31), check.integer("SOM", "grid", columns, 1, 2**31)
    except (TypeError, ValueError):
        raise check.fail("SOM", "grid", "None, or two ints >= 1", grid) from None


@kernel
def _advance(x, weight, rates, falls, columns, by_product, step, codes, chain, tally):
    """IN x, weight, rates [T] (eta / B), falls [T, side], columns, whether by products, step; IN/OUT codes [K, D]; OUT the
    tally; chain is work."""
    hits, last_hit, assignment, distortion = tally
    squared, mass = np.empty(x.shape[1], x.dtype), np.empty(len(codes), x.dtype)
    pull, total, origin = np.empty_like(codes), np.empty(x.shape[2], x.dtype), np.empty(x.shape[2], x.dtype)
    for t in range(len(x)):
        find_each(x[t], codes, by_product, assignment, squared)
        link(assignment, chain)
        mass[:], pull[:] = 0, 0
        origin[:] = x[t, 0]
        for first in range(x.shape[1]):
            winner = assignment[first]
            hits[winner] += 1
            last_hit[winner] = step + t
            distortion[t] += weight[t, first] * squared[first]
            if chain.first[winner] == first:
                won = _sum_cell(x[t], weight[t], origin, first, chain, total)
                _spread(won, total, winner, columns, falls[t], mass, pull)
                chain.first[winner] = -1
        for k in range(len(codes)):
            for d in range(x.shape[2]):
                codes[k, d] += rates[t] * (pull[k, d] - mass[k] * (codes[k, d] - origin[d]))


@kernel
def _sum_cell(x, weight, origin, first, chain, total):
    """The weight of a cell; OUT total [D], the sum of w (x - origin) in the order of the batch."""
    won, b = weight.dtype.type(0), first
    total[:] = 0
    while b >= 0:
        won += weight[b]
        for d in range(len(total)):
            total[d] += weight[b] * (x[b, d] - origin[d])
        b = chain.next[b]
    return won


@kernel
def _spread(won, total, winner, columns, fall, mass, pull):
    """Added to mass [K] and pull [K, D]: h times the weight and the sum of the winner's cell."""
    row, column = winner // columns, winner % columns
    for k in range(len(mass)):
        share = fall[abs(k // columns - row)] * fall[abs(k % columns - column)]
        if share == 0:
            continue
        mass[k] += share * won
        for d in range(len(total)):
            pull[k, d] += share * total[d]
