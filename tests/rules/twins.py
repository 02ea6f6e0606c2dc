"""Naive NumPy twins of the compiled kernels: each equation once, in loops that can be read."""

import numpy as np


def nearest(x, codes):
    """argmin_k |x - c_k|^2 with the differences summed in order; ties to the lowest index."""
    squared = [sum(((x[d] - code[d]) ** 2 for d in range(1, len(x))), (x[0] - code[0]) ** 2) for code in codes]
    return int(np.argmin(squared)), squared


def nearest_in_order(x, codes):
    """As `nearest`, all codes at once: the winner and its squared distance."""
    squared = (x[0] - codes[:, 0]) ** 2
    for d in range(1, len(x)):
        squared = squared + (x[d] - codes[:, d]) ** 2
    best = int(np.argmin(squared))
    return best, squared[best]


def one_by_one(codes, x, rule):
    """c_k += eta (x - c_k), each sample assigned after the moves of those before; codes, winners, squared distances."""
    codes, wins = codes.copy(), np.zeros(len(codes), np.int64)
    winners, distances = [], []
    for t, sample in enumerate(x):
        k, distance = nearest_in_order(sample, codes)
        clock = wins[k] if rule.clock == "wins" else t
        rate = rule.step_size(clock) if callable(rule.step_size) else rule.step_size
        codes[k] += codes.dtype.type(rate) * (sample - codes[k])
        wins[k] += 1
        winners.append(k)
        distances.append(distance)
    return codes, winners, distances


def vq(codes, x, rate, weight):
    """c_k += (eta / B) sum_(i won by k) w_i (x_i - c_k)."""
    pull = np.zeros_like(codes)
    for sample, w in zip(x, weight, strict=True):
        k, _ = nearest(sample, codes)
        pull[k] += w * (sample - codes[k])
    return codes + rate / len(x) * pull


def vq_by_wins(codes, x, schedule, wins):
    """c_k += eta(wins_k) (x - c_k), one sample after the other; assigned at the codes before the batch."""
    winners = [nearest(sample, codes)[0] for sample in x]
    codes, wins = codes.copy(), wins.copy()
    for k, sample in zip(winners, x, strict=True):
        codes[k] += schedule(wins[k]) * (sample - codes[k])
        wins[k] += 1
    return codes, wins


def ema(codes, counts, sums, x, decay, smoothing):
    """The published form: running counts and running sums, the codes their ratio."""
    winners = np.array([nearest(sample, codes)[0] for sample in x])
    hits = np.bincount(winners, minlength=len(codes))
    totals = np.array([x[winners == k].sum(axis=0) for k in range(len(codes))])
    counts = decay * counts + (1 - decay) * hits
    sums = decay * sums + (1 - decay) * totals
    smoothed = (counts + smoothing) / (counts.sum() + len(codes) * smoothing) * counts.sum()
    return sums / smoothed[:, None], counts, sums


def nsvq(codes, x, rate, bandwidth, strength, form):
    """c_j += (eta / B) sum_i w_ij (x_i - c_j), the winner's weight 1, weights below half a unit in its last place 0."""
    step = np.zeros_like(codes)
    for sample in x:
        k, squared = nearest(sample, codes)
        if form == "gaussian":
            weights = strength * np.exp(-np.array(squared) / (2 * bandwidth**2))
        else:
            soft = np.exp(-(np.array(squared) - min(squared)) / bandwidth**2)
            weights = np.minimum(1, strength * len(codes) * soft / soft.sum())
        weights[weights < 2**-53] = 0
        weights[k] = 1
        step += weights[:, None] * (sample - codes)
    return codes + rate / len(x) * step


def propagate(codes, x, moved, rate, bandwidth, strength):
    """The VQ step, and the kernel mean of the samples' own moves."""
    weights = np.exp(-np.array([nearest(sample, codes)[1] for sample in x]) / (2 * bandwidth**2))
    passed = np.zeros_like(codes)
    for j in range(len(codes)):
        if weights[:, j].sum() > 0:
            passed[j] = strength * (weights[:, j] @ moved) / weights[:, j].sum()
    return vq(codes, x, rate, np.ones(len(x))) + passed


def trained(codes, batches, rate, optimizer="adam", momentum=0.0, weight_decay=0.0):
    """Adam or SGD with momentum on E|x - c|^2 / 2, with decoupled weight decay."""
    first, second = np.zeros_like(codes), np.zeros_like(codes)
    for step, x in enumerate(batches, start=1):
        gradient = codes - vq(codes, x, 1.0, np.ones(len(x)))
        codes = (1 - rate * weight_decay) * codes
        if optimizer == "sgd":
            first = momentum * first + gradient
            codes = codes - rate * first
        else:
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            codes = codes - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return codes


def cosine(codes, x, rate):
    """A tangent step on the sphere, back to unit length."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    pull = np.zeros_like(codes)
    for sample in x:
        k, _ = nearest(sample, codes)
        pull[k] += sample
    tangent = pull - np.sum(pull * codes, axis=1, keepdims=True) * codes
    moved = codes + rate / len(x) * tangent
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)
