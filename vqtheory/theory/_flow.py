"""How a drift lets codes fall behind, what a rule makes of it, and how many codes are left of one component of a cloud."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory.protocols import Rule
from vqtheory.reference import cell_moment
from vqtheory.rules import EMA, VQ, TrainedVQ
from vqtheory.theory._clouds import Cloud
from vqtheory.theory._levels import level_integral, level_power
from vqtheory.theory.high_resolution import TAIL

CARRIES = 0.1  # of the mean share of the latents, from which on a code counts as carrying mass
_SLOW = 0.5  # of Adam's rate
_FLAT = 0.1  # how near to e the power q may come
_PARTS, _LEAST_POINTS = 8, 800


class Mobility(NamedTuple):
    """rho = (scale / (Phi - Phi_min))^exponent f^(D/(D+2))."""

    exponent: float
    scale: float
    step_size: float | None = None  # eta, of plain VQ
    most: float | None = None  # the fastest lag in a coordinate that the law of Adam is for
    weighs: bool = True  # whether a code moves by its mass; EMA divides by each code's own count


def mobility_of(owner: str, rule: Rule, dim: int, batch_size: int) -> Mobility:
    """How far a push moves codes of a rule, in D dimensions."""
    moment = cell_moment(dim)
    match rule:
        case VQ(clock="step") if not callable(rule.step_size):
            return Mobility(dim / (dim + 2), rule.step_size * moment, rule.step_size)
        case TrainedVQ(optimizer="sgd") if not callable(rule.step_size):
            step_size = rule.step_size / (1 - rule.momentum)
            return Mobility(dim / (dim + 2), step_size * moment, step_size)
        case TrainedVQ(optimizer="adam") if not callable(rule.step_size):
            return Mobility(
                2 * dim / (dim + 2), 2 * rule.step_size * math.sqrt(moment * batch_size), most=_SLOW * rule.step_size
            )
        case EMA() if not callable(rule.decay):
            return Mobility(dim / 2, moment * (dim + 2) * (1 - rule.decay) / 2, weighs=False)
    requirement = "VQ, EMA or TrainedVQ with hyperparameters that are numbers: other rules have no such law"
    raise check.fail(owner, "rule", requirement, rule)


class Flow(NamedTuple):
    """How far an update leaves codes behind, F = v + A u, and what the rule makes of it."""

    velocity: np.ndarray
    matrix: np.ndarray
    mobility: Mobility
    layer: float  # beta_D

    def lag(self, u: np.ndarray) -> np.ndarray:
        """F."""
        return self.velocity + u @ self.matrix

    def potential(self, u: np.ndarray) -> np.ndarray:
        """Phi."""
        return u @ self.velocity + np.einsum("ni,ij,nj->n", u, self.matrix, u) / 2

    def is_kept(self, u: np.ndarray, density: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Whether the density is high enough for plain VQ to keep codes there; elsewhere a tail is left behind."""
        climb = np.maximum(np.sum(self.lag(u) * slope, axis=1), 0) / (self.mobility.step_size or math.inf)
        return (density > 0) & (density >= TAIL * climb * np.linalg.norm(slope, axis=1) ** u.shape[1])


def components(cloud: Cloud, flow: Flow) -> list[np.ndarray]:
    """In one dimension: where codes are kept and where the density falls from there, up to the next rise or gap."""
    order = np.argsort(cloud.position[:, 0])
    kept = flow.is_kept(cloud.position[order], cloud.density[order], cloud.slope[order])
    number = np.cumsum(kept & ~np.concatenate([[False], kept[:-1]]))
    label = np.empty_like(number)
    label[order] = number
    return [label == component for component in range(1, number[-1] + 1)]


class Count(NamedTuple):
    """Codes of one component, those among them that carry mass, and the error of both."""

    codes: float
    carrying: float
    error: float


def component_codes(cloud: Cloud, flow: Flow, inside: np.ndarray) -> Count | str:
    """K_live of one component, or why there is none."""
    u, density, measure = cloud.position[inside], cloud.density[inside], cloud.measure[inside]
    kept = flow.is_kept(u, density, cloud.slope[inside])
    if not flow.mobility.weighs and not _has_a_static_state(cloud):
        return "EMA has a law of densities in one dimension and of uniform sources, not of latents and of other clouds."
    if flow.mobility.most is not None and np.abs(flow.lag(u)).max() > flow.mobility.most:
        return "Adam moves no coordinate by more than its rate, and the drift is too near to that."
    potential = flow.potential(u) if flow.mobility.weighs else _of_own_counts(cloud, u, density, measure, flow)
    place, least = _least(cloud, flow, u, potential, kept)
    if flow.mobility.step_size is None and _is_tail(cloud, flow, place, density):
        return "The cloud has a tail behind, and where that ends under EMA and Adam no law says."
    height = potential - least + _lift(cloud, flow, place)
    above = height > 0
    height, measure, density = height[above], measure[above], density[above]
    on_the_line = cloud.dim == 1 and cloud.at is not None
    if on_the_line and len(height) < _LEAST_POINTS:  # ripples of rounding, far out in a tail
        return Count(0.0, 0.0, 0.0)
    exponent, least_power = flow.mobility.exponent, min(1.0, cloud.dim / 2)  # at a flat face, or about a minimum inside
    if level_power(height, measure) < exponent + _FLAT and exponent + _FLAT > least_power:
        return _divergent(flow, place)
    scale = flow.mobility.scale**exponent
    codes = scale * level_integral(height, measure, exponent, least_power)
    share = (height / flow.mobility.scale) ** exponent * density ** (2 / (cloud.dim + 2))
    heavy = share >= CARRIES / codes
    carrying = min(codes, scale * float(measure[heavy] @ height[heavy] ** -exponent))
    if on_the_line:  # by quadrature
        return Count(codes, carrying, 0.0)
    if len(height) < _PARTS:  # too few points to say how far the count is off
        return Count(codes, carrying, math.inf)
    parts = zip(np.array_split(height, _PARTS), np.array_split(measure, _PARTS), strict=True)
    each = np.array([_PARTS * scale * level_integral(*part, exponent, least_power) for part in parts])
    spread = float(np.std(each, ddof=1)) if np.isfinite(each).all() else math.inf
    return Count(codes, carrying, spread / math.sqrt(_PARTS))


def _least(cloud: Cloud, flow: Flow, u: np.ndarray, potential: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, float]:
    """Where Phi is least among the places that keep codes, and Phi there."""
    lowest = int(np.argmin(np.where(kept, potential, np.inf)))
    if cloud.at is None or (cloud.dim == 1 and not flow.mobility.weighs):
        return u[lowest], float(potential[lowest])
    place = _descended(cloud, flow, u[lowest])
    return place, float(flow.potential(place[None])[0]) * _weight(cloud, flow)


def _descended(cloud: Cloud, flow: Flow, place: np.ndarray) -> np.ndarray:
    """Down the potential against F and along the axes, to the end of where codes are kept; no point lies right on a face."""
    reach = math.sqrt(np.trace(cloud.covariance))
    axes = np.vstack([np.eye(cloud.dim), -np.eye(cloud.dim)])
    for _ in range(3):
        for direction in (-flow.lag(place[None])[0], *axes):
            length = np.linalg.norm(direction)
            place = place + _descent(cloud, flow, place, direction / length, reach) if length > 0 else place
    return place


def _descent(cloud: Cloud, flow: Flow, place: np.ndarray, direction: np.ndarray, reach: float) -> np.ndarray:
    """The step along a direction, halved until it is too long and too short by little, within which Phi falls."""
    slope, curve = float(flow.lag(place[None])[0] @ direction), float(direction @ flow.matrix @ direction)
    if slope >= 0:
        return np.zeros_like(place)
    assert cloud.at is not None
    low, high = 0.0, min(reach, -slope / curve) if curve > 0 else reach
    for _ in range(50):
        middle = (low + high) / 2
        u = (place + middle * direction)[None]
        low, high = (middle, high) if flow.is_kept(u, *cloud.at(u))[0] else (low, middle)
    return low * direction


def _lift(cloud: Cloud, flow: Flow, place: np.ndarray) -> float:
    """How much the trailing layer lifts Phi, beta_D |F| (|F| / (eta f))^(1/(D+1))."""
    if flow.layer == 0 or flow.mobility.step_size is None:
        return 0.0
    speed = float(np.linalg.norm(flow.lag(place[None])))
    density = float(cloud.density[np.argmin(np.sum((cloud.position - place) ** 2, axis=1))])
    return flow.layer * speed * (speed / (flow.mobility.step_size * density)) ** (1 / (cloud.dim + 1))


def _has_a_static_state(cloud: Cloud) -> bool:
    """Whether f^(2/(D+2)) F has a potential: in one dimension, and where f is uniform."""
    return cloud.at is not None and (cloud.dim == 1 or np.ptp(cloud.density) < 1e-9 * cloud.density.max())


def _weight(cloud: Cloud, flow: Flow) -> float:
    """f^(2/(D+2)) of EMA, where f is uniform."""
    return 1.0 if flow.mobility.weighs else float(cloud.density.max() ** (2 / (cloud.dim + 2)))


def _of_own_counts(cloud: Cloud, u: np.ndarray, density: np.ndarray, measure: np.ndarray, flow: Flow) -> np.ndarray:
    """The potential of f^(2/(D+2)) F, which is EMA's: by quadrature in one dimension, and where f is uniform."""
    if cloud.dim > 1:
        return _weight(cloud, flow) * flow.potential(u)
    order = np.argsort(u[:, 0])
    steps = (measure * np.cbrt(density) * flow.lag(u)[:, 0])[order]  # f^(2/3) F dx
    potential = np.empty(len(u))
    potential[order] = np.cumsum(steps) - steps / 2
    return potential


def _is_tail(cloud: Cloud, flow: Flow, place: np.ndarray, density: np.ndarray) -> bool:
    """Whether the density goes to next to nothing against the drift."""
    if cloud.at is None:
        return False
    f, slope = cloud.at(place[None])
    return bool(f[0] < 1e-3 * density.max() and flow.lag(place[None])[0] @ slope[0] > 0)


def _divergent(flow: Flow, place: np.ndarray) -> Count | str:
    """No code is lost about a place that the drift leaves alone; behind a face the integral says nothing."""
    if np.linalg.norm(flow.lag(place[None])) < 1e-3 * np.linalg.norm(flow.matrix):
        return Count(math.inf, math.nan, 0.0)  # each code is farther by one factor than the one before
    return "The first layers at the face behind hold most codes, and no law of many codes tells how many: simulate it."
