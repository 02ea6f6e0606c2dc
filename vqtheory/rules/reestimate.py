"""Re-estimation: every so many updates the whole codebook is made anew by k-means, and in between a rule takes its steps.

Stage 1 of VQFR (Gu et al., arXiv 2205.06803), after Lancucki et al. (arXiv 2005.08520). A reservoir R of n latents is a
uniform sample of those of the last E updates (`every`; Vitter's algorithm R), and after update t

    C <- k-means(R), and R is emptied,     t = E, 2 E, ... <= T (`until`)

Under a drift of speed v the latents of R are E / 2 updates old in the mean, so that right after it the codes lie v E / 2
behind them, spread out by v^2 E^2 / 12 in variance along the drift (derived here), and E updates later by v E more, less
what the rule inside makes good. It revives every dead code, whatever the distance, and stops doing so at T.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory.protocols import Batches, checked
from vqtheory.reference import lloyd
from vqtheory.rules.wrapper import Joined, Wrapper, cut, inside, joined, rejoined, summed


@dataclass(frozen=True, repr=False)
class Reestimate(Wrapper):
    """Any rule with codes of its own, its codebook made anew by k-means on recent latents.

    Its state is the rule's with `reservoir` [n, D], `seen` (latents since the re-estimation before) and `reservoir_key`,
    which is the seed: slots and starts of k-means are drawn by (seed, update). What the rule remembers of its codes, as the
    moments of an optimizer, is gone with them. Where there are fewer distinct latents than codes the codebook and the
    reservoir are left as they are until the next time, with a warning. After T the codebook rests where the rule's own does;
    `fixed_point` is None all the same, since until then codes that are at rest are put in another order.

    Parameters
    ----------
    rule : rule
        Any rule with codes of its own: not a map rule, nor HyperVQ, whose codes are made of other numbers.
    every : int, default 2000
        E, updates from one re-estimation to the next.
    until : int, default 28_000
        T, the last update after which the codebook is re-estimated; at least `every`. In the published code the last one
        is after update 28,000, too.
    reservoir : int, default 16_384
        n, latents, at least as many as codes. They are carried in the state.

    Examples
    --------
    Two codes far from all latents, and from each other, are put on the two groups that the latents are in:

    >>> from vqtheory.rules import VQ
    >>> rule = Reestimate(VQ(step_size=0.5), every=2, until=2, reservoir=8)
    >>> state = rule.init(np.array([[50.0], [90.0]]))
    >>> state, info = rule.advance(state, Batches(np.array([[[0.0], [5.0]], [[1.0], [6.0]]])))
    >>> state.codes.ravel()
    array([0.5, 5.5])
    """

    rule: protocols.Rule
    every: int = 2000
    until: int = 28_000
    reservoir: int = 16_384

    _own_memory: ClassVar[str] = "a reservoir of latents"

    def __post_init__(self) -> None:
        owner = "Reestimate"
        self._check_rule()
        self._check_single()
        counts = {name: check.integer(owner, name, getattr(self, name)) for name in ("every", "reservoir")}
        self._keep(**counts, until=check.integer(owner, "until", self.until, 0))
        if self.until < self.every:
            wanted = f"an int >= {self.every}, the update of the first re-estimation"
            raise check.fail(owner, "until", wanted, self.until)

    @property
    def equivariances(self) -> frozenset[str]:
        """The rule's own; but k-means puts the codes in lexicographic order."""
        return self._equivariances_without("rotation", "permutation")

    def init(self, codes: np.ndarray, seed: int = 0) -> Any:
        """The rule's own state that starts from codes [K, D], and an empty reservoir; `ValueError` for one below K."""
        state, key = self.rule.init(codes, seed), check.seed("Reestimate.init", seed)
        num_codes, dim = state.codes.shape
        self.check_codes(num_codes)
        reservoir = np.zeros((self.reservoir, dim), state.codes.dtype)
        return joined(state, reservoir=reservoir, seen=np.int64(0), reservoir_key=np.uint64(key))

    def check_codes(self, num_codes: int) -> None:
        """Refuse a number of codes for which the reservoir never has enough latents."""
        if self.reservoir < num_codes:
            raise check.fail("Reestimate", "reservoir", f"an int >= {num_codes}, the number of codes", self.reservoir)

    def advance(self, state: Any, batches: Batches) -> tuple[Any, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("Reestimate.advance", "state", state, Joined, "a state that Reestimate.init has made")
        x, weight = checked("Reestimate.advance", batches, state.codes)
        answers: list[dict[str, np.ndarray]] = []
        done = 0
        while not answers or done < len(x):
            steps = slice(done, done + self.every - int(state.step) % self.every)
            state = self._filled(state, x[steps], weight[steps])
            after, answer = self.rule.advance(inside(state), cut(batches, steps))
            state, done = rejoined(state, after), min(steps.stop, len(x))
            answers.append(answer)
            if 0 < state.step <= self.until and state.step % self.every == 0 and done:
                state = self._reestimated(state)
        return state, summed(answers)

    def _filled(self, state: Any, x: np.ndarray, weight: np.ndarray) -> Any:
        """The state once the latents of updates [T, B, D] have gone by the reservoir."""
        last = self.until - int(state.step)
        if last <= 0:
            return state
        reservoir, seen = state.reservoir.copy(), int(state.seen)
        for t in range(min(last, len(x))):
            latents = self.project(x[t][weight[t] > 0])
            random = generator(int(state.reservoir_key), Purpose.RULE, 2 * (int(state.step) + t) + 2)
            slots = vacated(seen, len(latents), random, self.reservoir)
            enters = slots < self.reservoir
            reservoir[slots[enters]] = latents[enters]  # of two for one slot the later one stays
            seen += len(latents)
        return state._replace(reservoir=reservoir, seen=np.int64(seen))

    def _reestimated(self, state: Any) -> Any:
        """The state with codes from the reservoir, which is emptied."""
        latents, num_codes = state.reservoir[: int(state.seen)], len(state.codes)
        codes = clustered(latents, num_codes, int(state.reservoir_key), int(state.step))
        if codes is None:
            return state
        state = self.place(state, np.arange(num_codes), codes.astype(state.codes.dtype))
        return state._replace(reservoir=np.zeros_like(state.reservoir), seen=np.int64(0))


def clustered(latents: np.ndarray, num_codes: int, key: int, step: int) -> np.ndarray | None:
    """Codes by k-means on latents [n, D], from a start drawn by (key, step); None, with a warning, where too few differ."""
    distinct = len(np.unique(latents, axis=0))
    if distinct < num_codes:
        few = f"{len(latents)} latents. Take a greater 'every', or larger batches"
        if len(latents) >= num_codes:
            few = f"{len(latents)} latents in {distinct} places. Take fewer codes, or find out why latents are equal"
        warnings.warn(f"Reestimate leaves {num_codes} codes as they are: the reservoir has {few}.", stacklevel=4)
        return None
    random = generator(key, Purpose.RULE, 2 * step + 1)
    return lloyd(latents, num_codes, restarts=1, seed=int(random.integers(2**31))).codes


def vacated(seen: int, number: int, random: np.random.Generator, size: int) -> np.ndarray:
    """The slots that the next latents go to, `size` or more for those that are left out: algorithm R.

    Latent i (from 0) goes to slot i while there is room, and later to one of 0 .. i, each as likely.
    """
    count = seen + np.arange(number)
    drawn = (random.random(number) * (count + 1)).astype(np.int64)
    return np.where(count < size, count, drawn)
