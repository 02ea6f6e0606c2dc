"""Transport: every code moves as the latents nearest to it have moved, and then a rule takes its own step.

A codebook collapses where its codes stay behind the flow of the latents. With z_i the latents of a batch before the
encoder's last update and d_i their own moves, every code, chosen or not, is carried along first:

    c_j <- c_j + mean of d_i over the latents i nearest to c_j,     z_i = x_i - d_i

It is the propagate form of NSVQ with a kernel as narrow as the data allow: there is no bandwidth, no schedule and no
strength. (Derived here.) An exact flow maps the interior of a support to the interior of the next one, and a code in
the interior wins latents: no code is lost. What is left is the error of the nearest latent's move,

    A (z_i - c_j)      for a local gradient A of the flow,

which is 0 for a translation and elsewhere falls with the number of latents, in D dimensions as B^(-1/D).

It does not revive a code that is dead: such a code moves beside the latents as well. Nor does a code follow latents that
leave in different directions from one place, as those that swap places: it goes with the nearest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory._kernels.cells import by_batch, find_all, find_nearest
from vqtheory._kernels.jit import kernel
from vqtheory.protocols import AnyState, Batches, checked
from vqtheory.rules.base import declared, projects
from vqtheory.rules.wrapper import Wrapper, cut, summed


@dataclass(frozen=True, repr=False)
class Transport(Wrapper):
    """Any rule with codes of its own, its codebook carried by the latents before each of its steps.

    The batch is the probe: where its latents are after the encoder's update is `x`, so the nearest ones are sought at
    x - displacement. With B samples a code moves as the best of B. At B = 1 all codes move as that one sample did,
    which is right for a translation only. Samples of weight 2 count as two, and of weight 0 as none.

    On a stationary encoder the codebook comes to rest where the rule's own does if no latent moves. Latents that
    shuffle within a constant distribution leave the rule alone, and stir the codes that are carried by them.

    Parameters
    ----------
    rule : rule
        Any rule with codes of its own (not a map rule, nor HyperVQ), but those that pass displacements on themselves.
    neighbours : int, default 1
        Over how many of the nearest latents the move is averaged, at most B. With 1 a code keeps its distance from the
        latent that carries it; with more, what latents do by themselves is averaged out.

    Examples
    --------
    A code that wins nothing follows a jump, whatever its size:

    >>> from vqtheory.rules import VQ
    >>> rule = Transport(VQ(step_size=0.5))
    >>> state = rule.init(np.array([[0.0], [0.25], [1.0]]))
    >>> jump = Batches(np.array([[[7.0], [7.5]]]), displacement=np.full((1, 2, 1), 7.0))
    >>> state, info = rule.advance(state, jump)
    >>> state.codes.ravel(), info["hits"]
    (array([7.    , 7.3125, 8.    ]), array([1, 1, 0]))
    """

    rule: protocols.Rule
    neighbours: int = 1

    needs_displacement: ClassVar[bool] = True  # type: ignore[misc]
    in_layer: ClassVar[str] = "the rule inside, whose codes vqtheory.nn.Transport carries"

    def __post_init__(self) -> None:
        self._check_rule()
        if declared(self.rule, "needs_displacement"):
            raise check.fail("Transport", "rule", "one that does not pass displacements on by itself", self.rule)
        self._keep(neighbours=check.integer("Transport", "neighbours", self.neighbours))

    @property
    def fixed_point(self) -> str | None:
        """The rule's own, where no latent moves."""
        own = declared(self.rule, "fixed_point")
        return own if own == "k-means" else None  # a limit is one of a field of that rule

    @property
    def equivariances(self) -> frozenset[str]:
        """The rule's own."""
        return self._equivariances_without()

    @property
    def tracks_translation(self) -> bool:
        """At any speed, if the rule itself does not know where the origin is."""
        return "translation" in declared(self.rule, "equivariances")

    def init(self, codes: np.ndarray, seed: int = 0) -> Any:
        """The rule's own state that starts from codes [K, D]."""
        return self.rule.init(codes, seed)

    def advance(self, state: AnyState, batches: Batches) -> tuple[AnyState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D] with their displacement; `ValueError` for fewer samples than neighbours."""
        x, weight = checked("Transport.advance", batches, state.codes)
        moved = self._displacement(batches)
        answers = []
        for t in range(max(1, len(x))):
            if len(x):
                state = self._carried(state, x[t], moved[t], weight[t])
            state, answer = self.rule.advance(state, cut(Batches(x, weight=weight), slice(t, t + 1)))
            answers.append(answer)
        return state, summed(answers)

    def _displacement(self, batches: Batches) -> np.ndarray:
        """The samples' own moves [T, B, D]."""
        x, moved = batches.x, batches.displacement
        if moved is None or moved.shape != x.shape:
            raise ValueError("Transport needs batches with a displacement [T, B, D] of the shape of the latents.")
        if self.neighbours > x.shape[1]:
            wanted = f"at most {x.shape[1]}, the samples of a batch"
            raise check.fail("Transport", "neighbours", wanted, self.neighbours)
        return np.ascontiguousarray(check.finite("Transport.advance", "displacement", moved), x.dtype)

    def _carried(self, state: AnyState, after: np.ndarray, moved: np.ndarray, weight: np.ndarray) -> AnyState:
        """The state once its codes have moved with the latents that are now `after` [B, D]."""
        counts = weight > 0
        if np.count_nonzero(counts) < len(counts):
            after, moved, weight = after[counts], moved[counts], weight[counts]
        if not moved.any():
            return state
        before = after - moved
        if projects(self.rule):
            before, after = self.project(before), self.project(after)
            moved = after - before
        moves = self._moves(state.codes, before, moved, weight)
        carried = {name: self.project(getattr(state, name) + moves) for name in self.places}
        return state._replace(**carried)  # type: ignore[attr-defined]

    def _moves(self, codes: np.ndarray, before: np.ndarray, moved: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """The mean move [K, D] of the latents nearest to each code."""
        if by_batch(len(codes), before) and weight.min() >= self.neighbours:  # the nearest one alone is enough
            return moved[find_all(codes, before)[0]]
        moves = np.zeros_like(codes)
        _follow(codes, before.T.copy(), moved, weight, weight.dtype.type(self.neighbours), moves)
        return moves


@kernel
def _follow(codes, before_t, moved, weight, neighbours, moves):
    """IN codes [K, D], before_t [D, B], moved [B, D], weight [B] > 0; OUT moves [K, D], 0 before: the mean move of the
    latents nearest to each code, as many as weigh `neighbours` together; ties go to the lowest index."""
    distances = np.empty(len(weight), codes.dtype)
    for k in range(len(codes)):
        total = codes.dtype.type(0)
        b = find_nearest(codes[k], before_t, distances)
        while total < neighbours and distances[b] < np.inf:
            share = min(weight[b], neighbours - total)
            total += share
            for d in range(moved.shape[1]):
                moves[k, d] += share * moved[b, d]
            distances[b] = np.inf
            b = np.argmin(distances)
        for d in range(moved.shape[1]):
            moves[k, d] /= total
