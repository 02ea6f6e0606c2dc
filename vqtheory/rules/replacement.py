"""Replacement: codes that are hardly chosen are put where there are latents now, and otherwise a rule takes its steps.

After every E-th update (`every`), with h_k the latents that code k has won since the replacement before, N_k its running
count, z the latents of the last batch, and a threshold h (`least`):

    policy     a code is dead if             and is put on
    "random"   h_k < h                       a random z; Jukebox (Dhariwal et al., arXiv 2005.00341, section 3.1), DQ-VAE
    "split"    h_k < h                       a random z of the cell of the greatest distortion, then of the next one (LBG)
    "count"    N_k < h                       a random z, with N_k = h: expiry, as of vector-quantize-pytorch
    "oldest"   no win in the last E updates  a random z, after any update; vqtorch (Huh et al., arXiv 2305.08842)

No two codes are put on one latent, and none on one where a code is. What the rule remembers of the code is gone.

The expiry lemma (derived here). In the E updates between two replacements there are B E latents, and a code that is to stay
has to win h of them: where K h > B E, at least K - B E / h codes are replaced every time, for ever. With "count" the B
latents of a batch take their place, and it is so on average. From N_k = h on, gamma N_k + (1 - gamma) n_k >= h if and only
if n_k >= h, whatever the decay; and the replacements have to raise a sum of counts that goes to B on its own to K h or more,
by (1 - gamma) h at most each. With "oldest" one win keeps a code: h = 1, for E updates.
A usage that is high with replacement says how often codes are revived,
not that they stay alive.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory.assign import nearest
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import with_rows
from vqtheory.rules.wrapper import Joined, Wrapper, cut, inside, joined, rejoined, summed

POLICIES = ("random", "count", "oldest", "split")


@dataclass(frozen=True, repr=False)
class Replacement(Wrapper):
    """Any rule with codes of its own, its dead codes put on latents. The names are those of `vqtheory.nn.Replacement`.

    Its state is the rule's with `recent_hits` [K], `last_hits` [K] (the last update of which each code won something, or in
    which it was replaced), `replaced` (how many codes have been so far) and `replacement_key`, which is the seed: the
    latents are drawn by (seed, update).

    A warning says so where a threshold replaces codes for ever, by the expiry lemma.

    Parameters
    ----------
    rule : rule
        Any rule with codes of its own: not a map rule, nor HyperVQ, whose codes are made of other numbers.
    every : int, default 100
        Updates from one replacement to the next; with "oldest" the updates without a win after which a code is replaced.
    least : int, default 1
        Codes with fewer hits are replaced, as many as there are distinct latents in the batch. With "count" a number > 0, in
        the unit of hits per update: 2 and ``every=1`` in published code. With "oldest" 1.
    policy : {"random", "count", "oldest", "split"}, default "random"
        Which codes are dead, and where they go. "count" needs a rule that keeps running counts, as `EMA` does.

    Examples
    --------
    The code at 50 has won nothing in two updates, and is put on a latent:

    >>> from vqtheory.rules import VQ
    >>> rule = Replacement(VQ(step_size=0.5), every=2)
    >>> state = rule.init(np.array([[0.0], [1.0], [50.0]]), seed=0)
    >>> state, info = rule.advance(state, Batches(np.array([[[0.0], [1.0], [0.5]]] * 2)))
    >>> state.codes.ravel(), info["replaced"]
    (array([0.13888889, 1.        , 0.        ]), array(1))
    """

    rule: protocols.Rule
    every: int = 100
    least: Any = 1
    policy: str = "random"

    _own_memory: ClassVar[str] = "the hits of its codes"
    in_layer: ClassVar[str] = "the rule inside, whose codes vqtheory.nn.Replacement replaces"

    def __post_init__(self) -> None:
        owner = "Replacement"
        self._check_rule()
        self._check_single()
        self._keep(every=check.integer(owner, "every", self.every))
        check.choice(owner, "policy", self.policy, POLICIES)
        if self.policy == "count":
            self._keep(least=check.number(owner, "least", self.least, 0, above=True))
        else:
            self._keep(least=check.integer(owner, "least", self.least))
        if self.policy == "oldest" and self.least != 1:
            raise check.fail(owner, "least", "1 with policy='oldest', for which one hit is enough", self.least)
        if self.policy == "count" and not self.running_counts:
            raise check.fail(owner, "rule", "one with running counts for policy='count', such as EMA()", self.rule)

    @property
    def equivariances(self) -> frozenset[str]:
        """The rule's own; but which dead code goes to which latent depends on their order."""
        return self._equivariances_without("permutation")

    def init(self, codes: np.ndarray, seed: int = 0) -> Any:
        """The rule's own state that starts from codes [K, D], and what is counted of them."""
        state, key = self.rule.init(codes, seed), check.seed("Replacement.init", seed)
        unhit, num_codes = np.zeros(len(state.codes), np.int64), len(state.codes)
        last = np.full(num_codes, -1)
        return joined(state, recent_hits=unhit, last_hits=last, replaced=np.int64(0), replacement_key=np.uint64(key))

    def advance(self, state: Any, batches: Batches) -> tuple[Any, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]; info has `replaced` too, how many codes were."""
        check.instance("Replacement.advance", "state", state, Joined, "a state that Replacement.init has made")
        x, weight = checked("Replacement.advance", batches, state.codes)
        if state.step == 0:
            latents = x.shape[1] if self.policy == "count" else x.shape[1] * self.every
            warn_of_churn("Replacement", len(state.codes), latents, self.least, self.every)
        answers: list[dict[str, np.ndarray]] = []
        before, done = state.replaced, 0
        while not answers or done < len(x):
            steps = slice(done, done + self._until_due(state))
            state, answer = self._followed(state, cut(batches, steps))
            answers.append(answer)
            done = min(steps.stop, len(x))
            if done and (self.policy == "oldest" or state.step % self.every == 0):
                state = self._replaced(state, x[done - 1][weight[done - 1] > 0])
        return state, summed(answers) | {"replaced": np.array(state.replaced - before)}

    def _until_due(self, state: Any) -> int:
        """Updates before any code may have to be replaced."""
        if self.policy == "oldest":
            return max(1, int(state.last_hits.min()) + 1 + self.every - int(state.step))
        return self.every - int(state.step) % self.every

    def _followed(self, state: Any, batches: Batches) -> tuple[Any, dict[str, np.ndarray]]:
        """After updates of the rule inside."""
        after, answer = self.rule.advance(inside(state), batches)
        if self.policy == "oldest" and "last_hit" not in answer:
            raise check.fail("Replacement", "rule", "one whose info has 'last_hit', for policy='oldest'", self.rule)
        last = np.maximum(state.last_hits, answer.get("last_hit", -1))
        return rejoined(state, after, recent_hits=state.recent_hits + answer["hits"], last_hits=last), answer

    def _dead(self, state: Any) -> np.ndarray:
        if self.policy == "count":
            return getattr(state, self.running_counts) < self.least
        if self.policy == "oldest":
            return state.step - 1 - state.last_hits >= self.every
        return state.recent_hits < self.least

    def _replaced(self, state: Any, latents: np.ndarray) -> Any:
        """The state once dead codes are on latents [n, D] of the last batch."""
        dead, latents = self._dead(state), self.project(latents)
        if dead.any():
            random = generator(int(state.replacement_key), Purpose.RULE, int(state.step))
            choose = from_worst_cells if self.policy == "split" and not dead.all() else from_all
            chosen = choose(latents, state.codes[~dead], random)
            rows = np.flatnonzero(dead)[: len(chosen)]
            state = self._placed(state, rows, chosen[: len(rows)])
        return state if self.policy == "oldest" else state._replace(recent_hits=np.zeros_like(state.recent_hits))

    def _placed(self, state: Any, rows: np.ndarray, latents: np.ndarray) -> Any:
        state = self.place(state, rows, latents)
        if self.policy == "count":
            counts = with_rows(getattr(state, self.running_counts), rows, self.least)
            state = state._replace(**{self.running_counts: counts})
        last = with_rows(state.last_hits, rows, state.step - 1)
        return state._replace(last_hits=last, replaced=state.replaced + len(rows))


def warn_of_churn(owner: str, num_codes: int, latents: int, least: float, every: int) -> None:
    """By the expiry lemma: where latents are too few for each code to win `least` of them, codes are replaced for ever."""
    if num_codes * least > latents:
        period = "update" if every == 1 else f"{every} updates"
        warnings.warn(
            f"{owner} has at least {num_codes - latents / least:.3g} of {num_codes} codes to replace per {period}, on "
            f"average and for ever: to stay, each has to win {least} of {latents} latents (the expiry lemma). That takes "
            f"least <= {latents / num_codes:.3g}.",
            stacklevel=4,
        )


def from_all(latents: np.ndarray, codes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The latents [n, D] in a random order, without those that are like one before or like a code."""
    shuffled = latents[random.permutation(len(latents))]
    _, first = np.unique(np.concatenate([codes, shuffled]), axis=0, return_index=True)
    return shuffled[np.sort(first[first >= len(codes)]) - len(codes)]


def from_worst_cells(latents: np.ndarray, codes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One random latent of each cell, the most distorting cell first; none of those that lie on their code."""
    if len(latents) == 0:
        return latents
    assignment, squared = nearest(latents, codes)
    distortion = np.bincount(assignment, squared, len(codes))
    order = random.permutation(len(latents))
    order = order[squared[order] > 0]
    cells, first = np.unique(assignment[order], return_index=True)
    return latents[order[first[np.argsort(-distortion[cells], kind="stable")]]]
