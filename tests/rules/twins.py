"""Naive NumPy twins of the compiled kernels: each equation once, in loops that can be read.

`play` is the twin of `advance` for every rule; a new rule adds a function with `@twin_of`, and a map rule its map in `MAPS`.
Those of rules around rules are in `wrapped_twins.py`.
"""

import math

import numpy as np
from scipy.special import log_softmax, logsumexp

from vqtheory import Batches
from vqtheory._kernels.draws import uniform
from vqtheory.rules import (
    CVQ,
    EMA,
    FSCL,
    FVQ,
    GRITVQ,
    IBQ,
    NSVQ,
    SOM,
    VQ,
    Conscience,
    CosineVQ,
    EntropyVQ,
    GraphVQ,
    HyperVQ,
    NeuralGas,
    SimVQ,
    Sinkhorn,
    TrainedVQ,
    Transport,
    TransVQ,
)

TWINS = {}  # of a class of rules: (rule, state, batches) -> fields of the state after the batches
MAPS = {}  # of a class of map rules: (rule, base, parameters) -> the map's output


def play(rule, state, batches):
    """Fields of the state after some batches with weights."""
    if type(rule) in MAPS:
        return descend_map(rule, state, batches)
    return TWINS[type(rule)](rule, state, batches)


def twin_of(rule, table=TWINS):
    """Enters a function in the table."""

    def enter(function):
        table[rule] = function
        return function

    return enter


def at(value, step):
    """Of a schedule, or a number."""
    return value(step) if callable(value) else value


def nearest(x, codes):
    """argmin_k |x - c_k|^2 with the differences summed in order; ties to the lowest index."""
    squared = [sum(((x[d] - code[d]) ** 2 for d in range(1, len(x))), (x[0] - code[0]) ** 2) for code in codes]
    return int(np.argmin(squared)), squared


def nearest_in_order(x, codes, prices=1):
    """As `nearest`, all codes at once: the winner and its squared distance, times prices [K]."""
    squared = (x[0] - codes[:, 0]) ** 2
    for d in range(1, len(x)):
        squared = squared + (x[d] - codes[:, d]) ** 2
    squared = squared * prices
    best = int(np.argmin(squared))
    return best, squared[best]


def one_by_one(codes, x, rule, weight=None):
    """c_k += eta w (x - c_k), each sample assigned after the moves before it; codes, winners, squared distances."""
    codes, wins = codes.copy(), np.zeros(len(codes), np.int64)
    weight, number = np.ones(len(x)) if weight is None else weight, codes.dtype.type
    winners, distances = [], []
    for t, (sample, w) in enumerate(zip(x, weight.astype(codes.dtype), strict=True)):
        k, distance = nearest_in_order(sample, codes)
        if rule.clock == "wins":
            codes[k] += w * number(at(rule.step_size, wins[k])) * (sample - codes[k])
        else:
            codes[k] += number(at(rule.step_size, t)) * (w * (sample - codes[k]))
        wins[k] += 1
        winners.append(k)
        distances.append(w * distance)
    return codes, winners, distances


def vq(codes, x, rate, weight):
    """c_k += (eta / B) sum_(i won by k) w_i (x_i - c_k)."""
    pull = np.zeros_like(codes)
    for sample, w in zip(x, weight, strict=True):
        k, _ = nearest(sample, codes)
        pull[k] += w * (sample - codes[k])
    return codes + rate / len(x) * pull


def vq_by_wins(codes, x, schedule, wins, weight):
    """c_k += w eta(wins_k) (x - c_k), one sample after the other; assigned at the codes before the batch."""
    winners = [nearest(sample, codes)[0] for sample in x]
    codes, wins = codes.copy(), wins.copy()
    for k, sample, w in zip(winners, x, weight, strict=True):
        codes[k] += w * at(schedule, wins[k]) * (sample - codes[k])
        wins[k] += 1
    return codes, wins


@twin_of(VQ)
def play_vq(rule, state, batches):
    """By updates, or by the codes' own wins."""
    codes, wins = state.codes, np.zeros(len(state.codes), np.int64)
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        if rule.clock == "wins":
            codes, wins = vq_by_wins(codes, x, rule.step_size, wins, weight)
        else:
            wins = wins + np.bincount([nearest(sample, codes)[0] for sample in x], minlength=len(codes))
            codes = vq(codes, x, at(rule.step_size, t), weight)
    return {"codes": codes, "wins": wins}


def ema(codes, counts, sums, x, decay, smoothing, weight):
    """The published form: running counts and running sums, the codes their ratio."""
    winners = np.array([nearest(sample, codes)[0] for sample in x])
    hits = np.bincount(winners, weight, minlength=len(codes)).astype(x.dtype)
    totals = np.array([(weight[:, None] * x)[winners == k].sum(axis=0) for k in range(len(codes))])
    counts = decay * counts + (1 - decay) * hits
    sums = decay * sums + (1 - decay) * totals
    smoothed = (counts + smoothing) / (counts.sum() + len(codes) * smoothing) * counts.sum()
    return sums / smoothed[:, None], counts, sums


@twin_of(EMA)
def play_ema(rule, state, batches):
    """Counts begin at 1, and sums at the codes."""
    codes, counts, sums = state.codes, np.ones(len(state.codes)), state.codes
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        codes, counts, sums = ema(codes, counts, sums, x, at(rule.decay, t), rule.smoothing, weight)
    return {"codes": codes, "counts": counts}


def nsvq(codes, x, rate, bandwidth, strength, form, weight):
    """c_j += (eta / B) sum_i w_ij (x_i - c_j), the winner's weight 1, weights below half a unit in its last place 0."""
    step = np.zeros_like(codes)
    for sample, share in zip(x, weight, strict=True):
        k, squared = nearest(sample, codes)
        if form == "gaussian":
            weights = strength * np.exp(-np.array(squared) / (2 * bandwidth**2))
        else:
            soft = np.exp(-(np.array(squared) - min(squared)) / bandwidth**2)
            weights = np.minimum(1, strength * len(codes) * soft / soft.sum())
        weights[weights < 2**-53] = 0
        weights[k] = 1
        step += share * weights[:, None] * (sample - codes)
    return codes + rate / len(x) * step


def propagate(codes, x, moved, rate, bandwidth, strength, weight):
    """The VQ step, and the kernel mean of the samples' own moves."""
    squared = np.array([nearest(sample, codes)[1] for sample in x])
    weights = weight[:, None] * np.exp(-squared / (2 * bandwidth**2))
    passed = np.zeros_like(codes)
    for j in range(len(codes)):
        if weights[:, j].sum() > 0:
            passed[j] = strength * (weights[:, j] @ moved) / weights[:, j].sum()
    return vq(codes, x, rate, weight) + passed


def normalised(codes, counts, x, decay, strength, weight):
    """N and c by running sums; the kernel's weights by their logarithms, and its weight on a code at least `floor`."""
    floor, limits = np.finfo(float).tiny / np.finfo(float).eps, np.finfo(float)
    squared = np.array([nearest(sample, codes)[1] for sample in x])
    winners = squared.argmin(axis=1)
    excess = squared - squared.min(axis=1)[:, None]
    tau = min(max(weight @ squared.min(axis=1) / weight.sum(), limits.tiny), limits.max / 1024)
    moved, counts = codes.copy(), counts.copy()
    for j in range(len(codes)):
        won, lost = winners == j, winners != j
        logs = np.log(weight[lost]) - excess[lost, j] / tau - np.log(np.exp(-excess[lost] / tau).sum(axis=1))
        top = max(logs, default=0.0)
        soft = np.exp(logs - top)  # the softmax over its largest
        total = max(strength * np.exp(top) * soft.sum(), floor) if lost.any() else 0.0
        if not won.any():
            counts[j] = min(counts[j], 10 * total)
        counts[j] = decay * counts[j] + (1 - decay) * (weight[won].sum() + total)
        moved[j] += (1 - decay) / counts[j] * (weight[won] @ (x[won] - codes[j]))
        if lost.any():
            moved[j] += (1 - decay) * total / counts[j] * (soft @ (x[lost] - codes[j]) / soft.sum())
    return moved, counts


@twin_of(NSVQ)
def play_nsvq(rule, state, batches):
    """In all four forms; counts begin at 1."""
    if rule.form == "normalised":
        codes, counts = state.codes, np.ones(len(state.codes))
        for x, weight in zip(batches.x, batches.weight, strict=True):
            codes, counts = normalised(codes, counts, x, rule.decay, rule.strength or 1e-3, weight)
        return {"codes": codes, "counts": counts}
    codes, strengths = state.codes, {"gaussian": 0.5, "softmax": 0.01, "propagate": 1.0}
    strength = strengths[rule.form] if rule.strength is None else rule.strength
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        rate, bandwidth = at(rule.step_size, t), at(rule.bandwidth, t)
        if rule.form == "propagate":
            codes = propagate(codes, x, batches.displacement[t], rate, bandwidth, strength, weight)
        else:
            codes = nsvq(codes, x, rate, bandwidth, strength, rule.form, weight)
    return {"codes": codes}


def carried(codes, before, moved, weight, neighbours):
    """c_j += the mean of d_i over the latents nearest to c_j, each as often as it weighs, `neighbours` in all."""
    codes, moves = codes.copy(), np.zeros_like(codes)
    for j, code in enumerate(codes):
        _, squared = nearest(code, before)
        order, total = np.argsort(squared, kind="stable"), 0.0
        for i in order:
            share = min(weight[i], neighbours - total)
            total += share
            moves[j] += share * moved[i]
        moves[j] /= total
    return codes + moves


@twin_of(Transport)
def play_transport(rule, state, batches):
    """The codes carried, in all arrays where they are kept, and then an update of the rule inside, by its own `advance`."""
    for x, moved, weight in zip(batches.x, batches.displacement, batches.weight, strict=True):
        before, after = rule.project(x - moved), rule.project(x)
        move = carried(state.codes, before, after - before, weight, rule.neighbours) - state.codes
        state = state._replace(**{name: rule.project(getattr(state, name) + move) for name in rule.places})
        state, _ = rule.rule.advance(state, Batches(x[None], weight=weight[None]))
    return state._asdict()


@twin_of(Sinkhorn)
def play_sinkhorn(rule, state, batches):
    """All distances of a batch at once, in logarithms."""
    codes, prices = state.codes, state.prices
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        squared, shares = np.array([nearest(sample, codes)[1] for sample in x]), weight / weight.sum()
        epsilon = rule.temperature * (shares @ squared.min(axis=1))
        for done in range(rule.rounds + 1):
            excess = np.log(len(codes)) + logsumexp(log_softmax((prices - squared) / epsilon, axis=1).T, axis=1, b=shares)
            if done == rule.rounds or np.abs(np.exp(excess) - 1).max() <= rule.tolerance:
                break
            prices = prices - min(1, len(x) / len(codes)) * epsilon * excess
            prices = prices - prices.mean()
        priced = squared - prices
        close = priced <= priced.min(axis=1, keepdims=True) + np.finfo(float).eps ** 0.5 * epsilon
        winners, pull = np.where(close, squared, np.inf).argmin(axis=1), np.zeros_like(codes)
        np.add.at(pull, winners, weight[:, None] * (x - codes[winners]))
        codes = codes + at(rule.step_size, t) / len(x) * pull
    return {"codes": codes, "prices": prices}


@twin_of(EntropyVQ)
def play_entropy(rule, state, batches):
    """Whole arrays, with the logarithms of softmaxes."""
    codes = state.codes
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        squared, shares = np.array([nearest(sample, codes)[1] for sample in x]), weight / weight.sum()
        logs = log_softmax(-squared / (rule.temperature * (shares @ squared.min(axis=1))), axis=1)
        used = rule.balance * logsumexp(logs.T, axis=1, b=shares)
        kept = np.exp(logs) * (logs - used - (np.exp(logs) * (logs - used)).sum(axis=1, keepdims=True))
        kept *= 2 * rule.strength / rule.temperature * weight[:, None]
        codes = vq(codes, x, at(rule.step_size, t), weight) + at(rule.step_size, t) / len(x) * np.einsum(
            "bk,bkd->kd", kept, x[:, None] - codes
        )
    return {"codes": codes}


@twin_of(IBQ)
def play_ibq(rule, state, batches):
    """Whole arrays: the error of the chosen code twice, as a number and through the softmax, and the entropies."""
    codes = state.codes
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        l2, shares = rule.similarity == "l2", weight / weight.sum()
        apart = x[:, None] - codes
        similarity = -(apart**2).sum(axis=2) if l2 else np.einsum("bd,kd->bk", x, codes)
        winners = similarity.argmax(axis=1)
        share = np.exp(log_softmax(similarity / rule.temperature, axis=1))
        towards = np.einsum("bd,kd->bk", codes[winners] - x, codes)
        force = share * (towards - (share * towards).sum(axis=1, keepdims=True)) / rule.temperature
        logs = log_softmax(similarity / rule.entropy_temperature, axis=1)
        excess = logsumexp(logs.T, axis=1, b=shares) - logs
        excess = np.exp(logs) * (excess - (np.exp(logs) * excess).sum(axis=1, keepdims=True))
        force += rule.entropy_weight * x.shape[1] / 2 * excess / rule.entropy_temperature
        pull = -np.einsum(
            "bk,bkd->kd", weight[:, None] * force, 2 * apart if l2 else np.broadcast_to(x[:, None], apart.shape)
        )
        np.add.at(pull, winners, 2 * weight[:, None] * (x - codes[winners]))
        codes = codes + at(rule.step_size, t) / len(x) * pull
    return {"codes": codes}


def hyperbolic_logits(z, directions, offsets, gains, curvature):
    """As published: latents in the ball, and logits by signed distances to hyperplanes. [B, K]"""
    root = curvature**0.5
    length = np.linalg.norm(z, axis=1, keepdims=True)
    x = np.tanh(root * length) * z / (root * length)
    square = curvature * (x**2).sum(axis=1, keepdims=True)
    sine = 2 * root * (x @ directions.T) * np.cosh(2 * root * offsets) - (1 + square) * np.sinh(2 * root * offsets)
    return 2 * gains / root * np.arcsinh(sine / (1 - square))


@twin_of(HyperVQ)
def play_hypervq(rule, state, batches):
    """Whole arrays; derivatives of logits by a complex step, which subtracts nothing."""
    places = [state.directions, state.offsets, state.gains]

    def slopes(x, place, axis=...):
        """dv/dplace [B, K], of one number of each code."""
        moved = [array.astype(complex) for array in places]
        moved[place][(slice(None), axis) if axis is not ... else slice(None)] += 1e-30j
        return hyperbolic_logits(x, *moved, rule.curvature).imag / 1e-30

    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        directions, offsets, gains = places
        rate, codes = at(rule.step_size, t) / len(x), offsets[:, None] * directions
        gap = codes - x[:, None]
        squared = (gap**2).sum(axis=2)
        share = np.exp(log_softmax(hyperbolic_logits(x, *places, rule.curvature) / rule.temperature, axis=1))
        force = weight[:, None] * share * (squared - (share * squared).sum(axis=1, keepdims=True)) / (2 * rule.temperature)
        gap = np.einsum("b,bk,bkd->kd", weight, share, gap)
        shift = (force * slopes(x, 1)).sum(axis=0) + (directions * gap).sum(axis=1)
        swell = (force * slopes(x, 2)).sum(axis=0)
        turn = offsets[:, None] * gap + np.stack([(force * slopes(x, 0, d)).sum(axis=0) for d in range(x.shape[1])], axis=1)
        turn -= (turn * directions).sum(axis=1, keepdims=True) * directions
        moved = directions - rate * turn
        places = [moved / np.linalg.norm(moved, axis=1, keepdims=True), offsets - rate * shift, gains - rate * swell]
    return {"directions": places[0], "offsets": places[1], "gains": places[2], "codes": places[1][:, None] * places[0]}


class Optimizer:
    """Adam, or SGD with momentum; `step` says how far it goes from a gradient, per unit of the rate."""

    def __init__(self, kind, momentum=0.0):
        self.kind, self.momentum, self.first, self.second, self.steps = kind, momentum, 0.0, 0.0, 0

    def step(self, gradient):
        """b = mu b + G, or M / (sqrt V + 1e-8) with the moments bias corrected."""
        self.steps += 1
        if self.kind == "sgd":
            self.first = self.momentum * self.first + gradient
            return self.first
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean, square = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        return mean / (np.sqrt(square) + 1e-8)


@twin_of(TrainedVQ)
def play_trained(rule, state, batches):
    """An optimizer on E|x - c|^2 / 2, with decoupled weight decay."""
    codes, optimizer = state.codes, Optimizer(rule.optimizer, rule.momentum)
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        rate, gradient = at(rule.step_size, t), codes - vq(codes, x, 1.0, weight)
        codes = (1 - rate * rule.weight_decay) * codes - rate * optimizer.step(gradient)
    return {"codes": codes}


def cosine(codes, x, rate, weight):
    """A tangent step on the sphere, back to unit length."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    pull = np.zeros_like(codes)
    for sample, w in zip(x, weight, strict=True):
        k, _ = nearest(sample, codes)
        pull[k] += w * sample
    tangent = pull - np.sum(pull * codes, axis=1, keepdims=True) * codes
    moved = codes + rate / len(x) * tangent
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


@twin_of(CosineVQ)
def play_cosine(rule, state, batches):
    """From the directions of the codes."""
    codes = state.codes
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        codes = cosine(codes, x, at(rule.step_size, t), weight)
    return {"codes": codes}


def anchor(rule, code, x, weight, fraction):
    """The latent that a code moves to; the draw is the first at which the running sum exceeds its fraction."""
    squared = ((x - code) ** 2).sum(axis=1)
    if rule.anchors == "closest":
        return x[np.argmin(np.where(weight > 0, squared, np.inf))]
    similarity = -squared / (2 if rule.similarity == "cosine" else 1) / rule.temperature
    shares = weight * (1 if rule.anchors == "random" else np.exp(similarity - similarity.max()))
    return x[np.argmax(np.cumsum(shares) > fraction * shares.sum())]


@twin_of(CVQ)
def play_cvq(rule, state, batches):
    """The step of the base rule, and by alpha of the way to the anchor."""
    codes, shares, sphere = state.codes, state.shares, rule.similarity == "cosine"
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        x = rule.project(x)
        won = np.bincount([nearest(sample, codes)[0] for sample in x], weight, minlength=len(codes))
        shares = rule.decay * shares + (1 - rule.decay) * won / weight.sum()
        alpha = np.exp(-10 * len(codes) * shares / (1 - rule.decay) - 1e-3)[:, None]
        fractions = [uniform(int(state.key), int(state.step) + t, k) for k in range(len(codes))]
        anchors = [anchor(rule, code, x, weight, fraction) for code, fraction in zip(codes, fractions, strict=True)]
        codes = (cosine if sphere else vq)(codes, x, at(rule.step_size, t), weight)
        codes = rule.project((1 - alpha) * codes + alpha * np.array(anchors))
    return {"codes": codes, "shares": shares}


def step_by(codes, x, shares, rate):
    """c_k += (eta / B) sum_i shares_ik (x_i - c_k)."""
    return codes + rate / len(x) * np.einsum("ik,ikd->kd", shares, x[:, None] - codes)


@twin_of(NeuralGas)
def play_neural_gas(rule, state, batches):
    """Weights by the number of nearer codes."""
    codes = state.codes
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        squared = np.array([nearest(sample, codes)[1] for sample in x])
        ranks = (squared[:, None] < squared[:, :, None]).sum(axis=2)
        shares = weight[:, None] * np.exp(-ranks / at(rule.range, t))
        codes = step_by(codes, x, shares, at(rule.step_size, t))
    return {"codes": codes}


@twin_of(SOM)
def play_som(rule, state, batches):
    """Weights by how far the winner is on the grid."""
    codes = state.codes
    rows, columns = rule.sides(len(codes))
    places = np.array([(row, column) for row in range(rows) for column in range(columns)])
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        winners = [nearest(sample, codes)[0] for sample in x]
        apart = np.abs(places - places[winners][:, None]) / at(rule.range, t)
        near = np.exp(-(apart**2).sum(axis=2) / 2) if rule.neighbourhood == "gaussian" else apart.max(axis=2) <= 1
        codes = step_by(codes, x, weight[:, None] * near, at(rule.step_size, t))
    return {"codes": codes}


@twin_of(FSCL)
def play_fscl(rule, state, batches):
    """Distances times a power of the wins."""
    codes, counts = state.codes, np.ones(len(state.codes))
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        winners = np.array([np.argmin(counts**rule.fairness * nearest(sample, codes)[1]) for sample in x])
        shares = weight[:, None] * (winners[:, None] == np.arange(len(codes)))
        codes, counts = step_by(codes, x, shares, at(rule.step_size, t)), rule.decay * counts + shares.sum(axis=0)
    return {"codes": codes, "counts": counts}


@twin_of(Conscience)
def play_conscience(rule, state, batches):
    """Distances less the bias of codes that win little."""
    codes, won = state.codes, np.full(len(state.codes), 1 / len(state.codes))
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        gifts = at(rule.bias, t) ** 2 * (1 - len(codes) * won)
        winners = np.array([np.argmin(nearest(sample, codes)[1] - gifts) for sample in x])
        shares = weight[:, None] * (winners[:, None] == np.arange(len(codes)))
        codes = step_by(codes, x, shares, at(rule.step_size, t))
        won = rule.decay * won + (1 - rule.decay) * shares.sum(axis=0) / weight.sum()
    return {"codes": codes, "shares": won}


def codes_of_map(rule, state, theta=None):
    """shift + scale * T_theta(C_0)."""
    state = state if theta is None else state._replace(theta=theta)
    return state.shift + state.scale * MAPS[type(rule)](rule, state.base, rule.parameters(state))


def descend_map(rule, state, batches):
    """theta -= eta J' G / scale^2, or Adam's step; J' G is the rule's own `pullback`, which has a test of its own."""
    codes, optimizer = codes_of_map(rule, state), Optimizer(rule.optimizer)
    for t, (x, weight) in enumerate(zip(batches.x, batches.weight, strict=True)):
        gradient = rule.pullback(state, codes - vq(codes, x, 1.0, weight * pulls(rule, codes, x))) / state.scale**2
        state = state._replace(theta=state.theta - at(rule.step_size, t) * optimizer.step(gradient))
        codes = codes_of_map(rule, state)
    return {"codes": codes, "theta": state.theta}


def pulls(rule, codes, x):
    """How often a latent counts: once, and of GRITVQ by what the decoder adds."""
    if not isinstance(rule, GRITVQ) or rule.radius == 0:
        return 1.0
    distances = np.array([np.sqrt(nearest(sample, codes)[1]).min() for sample in x])
    return 1 + rule.decoder * np.exp(-distances / rule.radius)


@twin_of(SimVQ, MAPS)
def affine(rule, base, p):
    """C_0 W' + w_0."""
    return base @ p["weight"].T + (p["bias"] if len(p["bias"]) else 0)


@twin_of(GRITVQ, MAPS)
def transform(rule, base, p):
    """(C_0 + U V' C_0) W'."""
    mixed = base + p["left"] @ p["right"].T @ base if p["left"].size else base
    return mixed @ p["weight"].T if p["weight"].size else mixed


@twin_of(TransVQ, MAPS)
def transformer(rule, base, p):
    """Blocks of linear attention and an MLP."""
    x = base @ p["embed"] + (p["positions"] if len(p["positions"]) else 0)
    for i in range(len(p["query"])):
        x = x + attention(normalized(x, p["attention_norm"][i]), p, i)
        before = normalized(x, p["mlp_norm"][i]) @ p["up"][i] + p["up_bias"][i]
        x = x + gelu(before) @ p["down"][i] + p["down_bias"][i]
    return normalized(x, p["final_norm"]) @ p["final"]


def normalized(x, norm=(1, 0), eps=1e-5):
    """LayerNorm with gain and bias."""
    centred = x - x.mean(axis=1, keepdims=True)
    return norm[0] * centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps) + norm[1]


def gelu(x):
    """x Phi(x)."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def attention(y, p, i):
    """The heads of block i, each through its own part of A_o."""
    total = np.zeros_like(y)
    for h in range(p["query"].shape[1]):
        query, key = (np.where(z > 0, z + 1, np.exp(np.minimum(z, 0))) for z in (y @ p["query"][i, h], y @ p["key"][i, h]))
        share = query @ key.T
        total += share / (share.sum(axis=1, keepdims=True) + 1e-6) @ (y @ p["value"][i, h]) @ p["output"][i, h]
    return total


def tokens_of(rule, num_codes):
    """The numbers of the codes of each token: of a square of an image of all codes, or of a run."""
    side, across = rule.patch, math.isqrt(num_codes)
    if rule.layout == "runs":
        return [list(range(start, min(start + side**2, num_codes))) for start in range(0, num_codes, side**2)]
    corners = [(row, column) for row in range(0, across, side) for column in range(0, across, side)]
    return [[(row + i) * across + column + j for i in range(side) for j in range(side)] for row, column in corners]


@twin_of(FVQ, MAPS)
def bridge(rule, base, p):
    """Tokens of patch^2 codes, blocks of attention and an MLP, and a head."""
    base, tokens = base + (p["offset"] if len(p["offset"]) else 0), tokens_of(rule, len(base))
    patches = np.zeros((len(tokens), len(p["embed"])))
    for patch, token in zip(patches, tokens, strict=True):
        patch[: len(token) * base.shape[1]] = base[token].ravel()
    x = patches @ p["embed"] + p["embed_bias"]
    if rule.positions:
        for t, j in np.ndindex(x.shape):
            x[t, j] += (math.sin if j % 2 == 0 else math.cos)(t * 1e-4 ** ((j - j % 2) / rule.width))
    for i in range(rule.depth):
        x = x + softmax_attention(normalized(x, eps=rule.eps), p, i)
        x = x + gelu(normalized(x, eps=rule.eps) @ p["up"][i] + p["up_bias"][i]) @ p["down"][i] + p["down_bias"][i]
    made = normalized(x, eps=rule.eps) @ p["head"] + p["head_bias"] + (patches if rule.residual else 0)
    codes = np.empty_like(base)
    for row, token in zip(made, tokens, strict=True):
        codes[token] = row.reshape(-1, base.shape[1])[: len(token)]
    return codes


def softmax_attention(y, p, i):
    """The heads of block i, each through its own part of A_o."""
    total = p["output_bias"][i]
    for h in range(p["query"].shape[1]):
        query, key, value = (y @ p[name][i, h] + p[f"{name}_bias"][i, h] for name in ("query", "key", "value"))
        shares = np.exp(log_softmax(query @ key.T / math.sqrt(query.shape[1]), axis=1))
        total = total + shares @ value @ p["output"][i, h]
    return total


@twin_of(GraphVQ, MAPS)
def convolutions(rule, base, p):
    """A relu(A E W + b) V + v_0, with A in full; the base is A E."""
    first, other, _ = rule.neighbours(len(base))
    joined = np.zeros((len(base), len(base)))
    for k in range(len(base)):
        joined[k, other[first[k] : first[k + 1]]] = 1
    root = joined.sum(axis=1) ** -0.5
    return root[:, None] * joined * root @ np.maximum(base @ p["inner"] + p["inner_bias"], 0) @ p["outer"] + p["outer_bias"]
