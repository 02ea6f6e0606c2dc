"""Naive NumPy twins of the rules around rules; the rule inside takes its steps by its own `advance`."""

import numpy as np
from twins import nearest, twin_of

from vqtheory import Batches
from vqtheory._base.randomness import Purpose, generator
from vqtheory.reference import lloyd
from vqtheory.rules import Affine, Reestimate, Replacement, Wasserstein


def unwrapped(rule, state):
    """The state of the rule inside."""
    kind = type(rule.rule.init(state.codes))
    return kind._make(state[: len(kind._fields)])


def candidates(policy, latents, codes, random):
    """The latents for dead codes in their order: all at random, or one of each cell, the most distorting first."""
    shuffled = [latents[i] for i in random.permutation(len(latents))]
    if policy == "split" and len(codes):
        cells = [nearest(z, codes) for z in latents]
        worst = {k: sum(squared[k] for winner, squared in cells if winner == k) for k, _ in cells}
        own = {k: [z for z in shuffled if nearest(z, codes)[0] == k and (z != codes[k]).any()] for k in worst}
        return [own[k][0] for k in sorted(worst, key=lambda k: (-worst[k], k)) if own[k]]
    return [z for i, z in enumerate(shuffled) if not any((z == other).all() for other in [*codes, *shuffled[:i]])]


@twin_of(Replacement)
def play_replacement(rule, state, batches):
    """Updates of the rule inside, by its own `advance`, one at a time; then dead codes go to latents, one by one."""
    inner, hits, last = unwrapped(rule, state), np.zeros(len(state.codes), int), np.full(len(state.codes), -1)
    for t in range(len(batches.x)):
        x, moved, weight = (part[t : t + 1] for part in batches)
        inner, info = rule.rule.advance(inner, Batches(x, moved if rule.needs_displacement else None, weight))
        hits, last = hits + info["hits"], np.where(info["hits"] > 0, t, last)
        if rule.policy != "oldest" and (t + 1) % rule.every:
            continue
        dead = {"count": getattr(inner, "counts", hits) < rule.least, "oldest": t - last >= rule.every}
        dead = dead.get(rule.policy, hits < rule.least)
        drawn = candidates(rule.policy, batches.x[t], inner.codes[~dead], generator(0, Purpose.RULE, t + 1))
        for k, z in zip(np.flatnonzero(dead), drawn, strict=False):
            inner, last[k] = rule.rule.place(inner, np.array([k]), z[None]), t
            if rule.policy == "count":
                inner.counts[k] = rule.least
        hits[:] = 0
    return inner._asdict()


@twin_of(Reestimate)
def play_reestimate(rule, state, batches):
    """Updates of the rule inside, one at a time, and k-means on a sample of what has gone by."""
    inner, sample, seen = unwrapped(rule, state), [], 0
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        inner, _ = rule.rule.advance(inner, Batches(x[None], weight=weight[None]))
        for z, share in zip(x, generator(0, Purpose.RULE, 2 * t + 2).random(len(x)), strict=True):
            slot = seen if seen < rule.reservoir else int(share * (seen + 1))
            seen += 1
            sample[slot : slot + 1] = [z] if slot < rule.reservoir else []
        if (t + 1) % rule.every == 0 and len(sample) >= len(state.codes):
            seed = int(generator(0, Purpose.RULE, 2 * t + 3).integers(2**31))
            codes = lloyd(np.array(sample), len(state.codes), restarts=1, seed=seed).codes
            inner, sample, seen = rule.rule.place(inner, np.arange(len(codes)), codes), [], 0
    return inner._asdict()


def transported(before, after):
    """The matrix of the optimal transport from N(0, before) to N(0, after)."""
    values, axes = np.linalg.eigh(before)
    kept = values > 1e-12 * values[-1]
    root, flat = sqrtm(before), axes[:, ~kept] @ axes[:, ~kept].T  # directions without a spread are left
    inverse = axes[:, kept] / values[kept] ** 0.5 @ axes[:, kept].T
    return inverse @ sqrtm(root @ after @ root) @ inverse + flat


def sqrtm(matrix):
    """The symmetric root."""
    values, axes = np.linalg.eigh(matrix)
    return sum(max(value, 0) ** 0.5 * np.outer(axis, axis) for value, axis in zip(values, axes.T, strict=True))


def growth(per, before, after):
    """F."""
    if per == "scalar":
        return (np.trace(after) / np.trace(before)) ** 0.5 * np.eye(len(before))
    return transported(before, after) if per == "covariance" else np.diag(np.sqrt(np.diag(after) / np.diag(before)))


@twin_of(Affine)
def play_affine(rule, state, batches):
    """The frame is the weighted mean and covariance of all batches, batch s of t with the weight gamma^(t - s)."""
    return framed(rule, state, batches, lambda codes, old, new: new[0] + (codes - old[0]) @ growth(rule.per, old[1], new[1]))


@twin_of(Wasserstein)
def play_wasserstein(rule, state, batches):
    """Part of the way to the image under the optimal transport of the codes' Gaussian to the latents'."""

    def drawn(codes, old, new):
        own = codes - codes.mean(axis=0)
        return codes + rule.pull * (new[0] + own @ transported(own.T @ own / len(own), new[1]) - codes)

    return framed(rule, state, batches, drawn)


def framed(rule, state, batches, move):
    """The rule inside, its codes moved before each update: by `move` from one mean and covariance to the next."""
    inner, frames, total = unwrapped(rule, state), [], 0.0
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        ages = rule.decay ** np.arange(t, -1, -1.0)
        shares = (batches.weight / batches.weight.sum(axis=1, keepdims=True))[: t + 1] * (ages / ages.sum())[:, None]
        mean = sum(share * z for share, z in zip(shares.ravel(), batches.x[: t + 1].reshape(-1, x.shape[1]), strict=True))
        spread = batches.x[: t + 1].reshape(-1, x.shape[1]) - mean
        frames.append((mean, sum(share * np.outer(z, z) for share, z in zip(shares.ravel(), spread, strict=True))))
        if total >= 10 * (1 if getattr(rule, "per", "covariance") != "covariance" else x.shape[1]):
            inner = inner._replace(**{name: move(getattr(inner, name), *frames[-2:]) for name in rule.places})
        total = rule.decay * total + weight.sum()
        inner, _ = rule.rule.advance(inner, Batches(x[None], weight=weight[None]))
    return inner._asdict()
