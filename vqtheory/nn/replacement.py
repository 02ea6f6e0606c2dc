"""Dead codes put on latents of the batch: optional, off by default, and no part of any rule.

What has hardly been chosen for a while is moved to where there are latents now, as in Jukebox (Dhariwal et al., arXiv
2005.00341, section 3.1). A usage that is high with it says how often codes are revived, not that they stay alive.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory.nn.batches import tensors
from vqtheory.nn.foreign import check_codes, compared, finder, indices_in, is_codes, place
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.hooks import Hook
from vqtheory.nn.ops.mode import repeated
from vqtheory.nn.ops.moments import clear
from vqtheory.nn.quantize import Quantized, VectorQuantize
from vqtheory.nn.wrappers import optimizer_of, quantizer_of
from vqtheory.rules.replacement import POLICIES, from_worst_cells, warn_of_churn


class Replacement:
    """Puts codes that are hardly chosen on random latents of the last batch, no two on one, every so many updates.

    The simulator's `vqtheory.rules.Replacement`, beside a layer, with the same names and the same draws.

    Hits are counted in training passes, and updates by the optimizer's steps. A replaced row of the codebook loses its
    moments: what the optimizer keeps in the shape of the codebook is set to zero there, so that the next step does not
    move it by gradients of the code that it was. Adam's count of steps is one for all rows and goes on: late in a run a
    replaced code takes its first gradient with up to 3.2 times the learning rate, as any code after a long rest.
    In EMA the count of a replaced code becomes 1, as at a start: the latent that it is on weighs as much as one hit.

    Several processes replace the same codes by the same latents, which come from the batches of all of them. Nothing
    is drawn from torch's own generator. Make it before `torch.compile`, which leaves out hooks that come later.

    Parameters
    ----------
    quantizer : Module
        `VectorQuantize` with codes of its own (not of a map rule, nor of HyperVQ), in a `TamingQuantizer` or a wrapper of
        torch too; or a quantizer of vector-quantize-pytorch, diffusers or taming-transformers, as for `Monitor`.
    optimizer : torch.optim.Optimizer
        The one of the codes. With EMA, which needs none, the one of the model.
    every : int, default 100
        Updates from one replacement to the next; with "oldest" the updates without a hit after which a code is replaced.
    least : int, default 1
        Codes with fewer hits since the replacement before are replaced; as many as there are distinct latents in the batch.
        With "count" a number > 0, of hits per update.
    seed : int, default 0
        The latents are drawn by (seed, update).
    policy : {"random", "count", "oldest", "split"}, default "random"
        Which codes are dead, and where they go: the table of `vqtheory.rules.replacement`. "count" is for rules with running
        counts, as EMA. A threshold that replaces codes for ever, by the expiry lemma there, gives a warning.

    Attributes
    ----------
    updates, replaced : int
        Updates counted, and codes replaced in all of them.

    Raises
    ------
    ValueError
        For a map rule, whose codebook has no rows, an optimizer without the codes, and numbers out of range.

    Examples
    --------
    Two codes of three are far from all latents; after the update all three are on latents:

    >>> layer = VectorQuantize(dim=1, codebook_size=3)
    >>> layer.initialize(torch.tensor([[0.0], [50.0], [60.0]]))
    >>> optimizer = torch.optim.Adam(layer.codebook_parameters(), lr=1e-3)
    >>> replacement = Replacement(layer, optimizer, every=1)
    >>> layer(torch.linspace(0, 1, 9).reshape(1, 9, 1)).loss.backward()
    >>> optimizer.step()
    >>> replacement.replaced, bool(layer.codebook.max() <= 1)
    (2, True)
    """

    def __init__(
        self,
        quantizer: nn.Module,
        optimizer: torch.optim.Optimizer,
        every: int = 100,
        least: float = 1,
        seed: int = 0,
        policy: str = "random",
    ) -> None:
        owner = "Replacement"
        layer, optimizer = quantizer_of(quantizer), optimizer_of(optimizer)
        _check_parts(owner, layer, optimizer)
        self.policy = _check_policy(owner, policy, layer, least)
        self.every = check.integer(owner, "every", every)
        self.least = least if policy == "count" else check.integer(owner, "least", least)
        self.seed = check.integer(owner, "seed", seed, 0)
        self.updates, self.replaced = 0, 0
        self._has_checked = False  # by the expiry lemma
        self._quantizer: Any = layer
        num_codes, is_ours = len(self._codes), isinstance(layer, VectorQuantize)
        self._fresh = torch.zeros(num_codes, dtype=torch.int64)  # since the optimizer's last step
        self._hits = torch.zeros(num_codes, dtype=torch.int64)
        self._last = torch.full_like(self._hits, -1)  # the last update with a hit, for "oldest"
        self._seen: tuple[Tensor, Tensor] | None = None  # latents and indices
        self._hooks = (
            layer.register_forward_hook(Hook(self._see if is_ours else self._see_another), with_kwargs=True),
            optimizer.register_step_post_hook(Hook(self._count)),
        )

    def remove(self) -> None:
        """Replace nothing any more."""
        for hook in self._hooks:
            hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint between two updates has to keep."""
        last = {"last": self._last} if self.policy == "oldest" else {}
        counts = {"updates": self.updates, "replaced": self.replaced, "hits": self._hits, "checked": self._has_checked}
        return {"policy": self.policy, **counts, **last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same policy."""
        policy = state.get("policy", self.policy)  # states of older versions do not say
        if policy != self.policy:
            raise ValueError(f"The state must be of policy={self.policy!r}. Got one of policy={policy!r}.")
        if state["hits"].shape != self._hits.shape:
            raise ValueError(f"The state must be of {len(self._hits)} codes. Got {len(state['hits'])}.")
        self.updates, self.replaced, self._hits = int(state["updates"]), int(state["replaced"]), state["hits"].clone()
        self._last = state.get("last", self._last).clone()
        self._has_checked = bool(state.get("checked", self.updates >= self.every))  # in older ones not, either

    @torch.no_grad()
    def _see(self, quantizer: nn.Module, args: tuple, options: dict[str, Any], output: Quantized) -> None:
        """Count the hits of a training pass and copy its latents; the same every time, so that it is compiled but once."""
        if quantizer.training and not repeated():
            latents = args[0] if args else options["latents"]
            self._fresh = output.info.hits + self._fresh.to(output.info.hits.device)
            self._seen = latents.detach().clone(), output.indices.clone()

    @torch.no_grad()
    def _see_another(self, quantizer: nn.Module, args: tuple, options: dict[str, Any], output: Any) -> None:
        """The same of a quantizer of another package."""
        latents = next((value for value in tensors((args, options)) if value.is_floating_point()), None)
        if quantizer.training and not repeated() and latents is not None:
            indices = indices_in(quantizer, latents.detach(), self._codes, output)
            hits = torch.bincount(indices[indices >= 0].long(), minlength=len(self._codes))
            self._fresh = hits + self._fresh.to(hits.device)
            self._seen = latents.detach().clone(), indices.clone()

    @torch.no_grad()
    def _count(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """After the optimizer's step, so that a code put in place meets no gradient of the code before it."""
        self.updates += 1
        self._fresh = self._fresh.to(self._codes.device)  # where it is not before a first pass
        processes.add_up(self._fresh)  # now, so that every process has the state of all
        self._hits, fresh = self._hits.to(self._fresh.device) + self._fresh, self._fresh
        self._fresh = torch.zeros_like(fresh)
        if self.policy == "oldest":
            self._last = torch.where(fresh > 0, self.updates - 1, self._last.to(fresh.device))
        elif self.updates % self.every:
            return
        if not bool(self._hits.any()):  # in no process: one without a pass of its own replaces codes with the others
            return
        if not self._has_checked and self.updates >= self.every:
            self._check_churn(int(fresh.sum()))
        dead = self._dead().nonzero().ravel()
        held = isinstance(self._quantizer, VectorQuantize) and self._quantizer._codebook.held
        if len(dead) and not held:
            self._replace(dead, optimizer)
        self._hits, self._seen = torch.zeros_like(self._hits), None

    def _check_churn(self, latents: int) -> None:
        """Warn of a threshold that replaces codes for ever, by the first batch that there is when codes are due."""
        if latents:
            period = 1 if self.policy == "count" else self.every
            warn_of_churn("Replacement", len(self._hits), latents * period, self.least, self.every)
            self._has_checked = True

    def _dead(self) -> Tensor:
        """Which codes are to be replaced."""
        if self.policy == "count":
            return self._counts() < self.least
        if self.policy == "oldest":
            return self.updates - 1 - self._last >= self.every
        return self._hits < self.least

    def _counts(self) -> Tensor:
        """The running counts of the rule."""
        return getattr(self._quantizer._codebook, self._quantizer.rule.running_counts)

    def _replace(self, dead: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Put the codes with these numbers on latents where no code is."""
        alive = torch.ones_like(self._hits, dtype=torch.bool).index_fill(0, dead, False)
        random = generator(self.seed, Purpose.RULE, self.updates)
        draw = _of_worst_cells if self.policy == "split" and bool(alive.any()) else _draw
        latents = self._codes[:0] if self._seen is None else self._compared(*self._seen)
        latents = draw(latents, self._codes[alive], random, len(dead))
        self._place(dead[: len(latents)], latents, optimizer)

    def _compared(self, latents: Tensor, indices: Tensor) -> Tensor:
        """Latents as rows [N, codebook_dim], as they are compared with the codes; masked and not finite ones left out."""
        codes, kept = self._codes, indices.ravel() >= 0
        if isinstance(self._quantizer, VectorQuantize):
            rows = self._quantizer._codebook.project(self._quantizer.project(latents.to(codes.dtype))[kept])
        else:
            rows = compared(self._quantizer, latents.to(codes.dtype), codes)[kept]
        return rows[rows.isfinite().all(dim=1)].to(codes.dtype)

    def _place(self, rows: Tensor, latents: Tensor, optimizer: torch.optim.Optimizer) -> None:
        if isinstance(self._quantizer, VectorQuantize):
            self._quantizer._codebook.place(rows, latents)
        else:
            place(self._quantizer, self._codes, rows, latents)
        if self.policy == "count":
            self._counts()[rows] = self.least
        if self.policy == "oldest":
            self._last[rows] = self.updates - 1
        for weight in _trained(self._quantizer, self._codes):
            clear(optimizer, weight, rows)
        self.replaced += len(rows)

    @property
    def _codes(self) -> Tensor:
        """The codes [K, D]."""
        return finder("Replacement", self._quantizer)().detach()


def _sizes(latents: Tensor) -> tuple[int, Tensor]:
    """How many latents all processes have, and how many those before this one."""
    rank = distributed.get_rank() if processes.running() else 0
    sizes = torch.zeros(processes.world_size(), dtype=torch.int64, device=latents.device)
    sizes[rank] = len(latents)
    processes.add_up(sizes)
    return int(sizes.sum()), sizes[:rank].sum()


def _of_worst_cells(latents: Tensor, codes: Tensor, random: Any, count: int) -> Tensor:
    """Up to `count` latents of all processes, one of each cell of the codes, the most distorting cell first."""
    total, before = _sizes(latents)
    everywhere = _at(torch.arange(total, device=latents.device) - before, latents)
    rows, places = (part.double().cpu().numpy() for part in (everywhere, codes))
    chosen = from_worst_cells(rows, places, random)
    return torch.from_numpy(chosen[:count]).to(latents)


def _draw(latents: Tensor, codes: Tensor, random: Any, count: int) -> Tensor:
    """Up to `count` different rows of the latents [n, D] of all processes, none a row of codes; the same in each process."""
    total, before = _sizes(latents)
    order = torch.from_numpy(random.permutation(total)).to(latents.device) - before
    rows, size = codes, count
    while len(rows) < len(codes) + count and len(order):
        places, order = order[:size], order[size:]
        rows, size = _distinct(torch.cat([rows, _at(places, latents)]), len(codes)), 2 * size  # where many are alike
    return rows[len(codes) :][:count]


def _at(places: Tensor, latents: Tensor) -> Tensor:
    """The rows at these places among the latents of all processes, of which 0 to n - 1 are this one's."""
    own = (places >= 0) & (places < len(latents))
    drawn = latents.new_zeros(len(places), latents.shape[1])
    drawn[own] = latents[places[own]]
    processes.add_up(drawn)
    return drawn


def _distinct(rows: Tensor, first: int) -> Tensor:
    """Rows in their order, without those that are like one before; the `first` ones stay as they are."""
    unique, place = rows.unique(dim=0, return_inverse=True)
    number = torch.arange(len(rows), device=rows.device)
    earliest = torch.full((len(unique),), len(rows), device=rows.device).scatter_reduce(0, place, number, "amin")
    return rows[(earliest[place] == number) | (number < first)]


def _trained(quantizer: Any, codes: Tensor) -> list[nn.Parameter]:
    """The parameters in which an optimizer may have the codes."""
    if isinstance(quantizer, VectorQuantize):
        return [quantizer._codebook.weight]
    return [parameter for parameter in quantizer.parameters() if is_codes(quantizer, parameter, codes)]


def _check_policy(owner: str, policy: str, layer: Any, least: Any) -> str:
    """A known policy that suits the rule of the layer, and the threshold."""
    check.choice(owner, "policy", policy, POLICIES)
    if policy == "count":
        check.number(owner, "least", least, 0, above=True)
        if not (isinstance(layer, VectorQuantize) and layer.rule.running_counts):
            wanted = "a VectorQuantize whose rule has running counts for policy='count', as EMA"
            raise check.fail(owner, "quantizer", wanted, getattr(layer, "rule", type(layer).__name__))
    if policy == "oldest" and least != 1:
        raise check.fail(owner, "least", "1 with policy='oldest', for which one hit is enough", least)
    return policy


def _check_parts(owner: str, quantizer: Any, optimizer: Any) -> None:
    if isinstance(quantizer, VectorQuantize):
        _check_ours(owner, quantizer)
    else:
        _check_another(owner, quantizer)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise check.fail(owner, "optimizer", "a torch.optim.Optimizer", optimizer)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if isinstance(quantizer, VectorQuantize):
        trained = [quantizer._codebook.weight] if quantizer._codebook.trained else []
    else:
        trained = _trained(quantizer, finder(owner, quantizer)().detach())
    if any(id(parameter) not in held for parameter in trained):
        raise check.fail(owner, "optimizer", "the one that has the quantizer's codes", type(optimizer).__name__)


def _check_ours(owner: str, quantizer: VectorQuantize) -> None:
    if not quantizer._codebook.has_rows:
        name = type(quantizer.rule).__name__
        wanted = f"one with codes of its own: those of {name} are made of other numbers, and cannot be replaced one by one"
        raise check.fail(owner, "quantizer", wanted, quantizer.rule)


def _check_another(owner: str, quantizer: Any) -> None:
    if not isinstance(quantizer, nn.Module):
        raise check.fail(owner, "quantizer", "a module with a codebook", quantizer)
    check_codes(owner, quantizer)
