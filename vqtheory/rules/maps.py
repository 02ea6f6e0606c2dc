"""What the map rules share: a codebook C = T_theta(C_0), trained through its parameters.

The base C_0 stays as it was drawn; gradient descent moves theta, and with it every
code, chosen or not. The gradient of the codebook loss E|x - c_q(x)|^2 / 2 is

    G_k = p_k (c_k - m_k)                 [K, D]

with p_k the share of the batch that code k wins and m_k its mean. With J = dC/dtheta
and J^T G its pullback, a step of SGD is theta <- theta - eta J^T G, so that to first
order in eta the codes move by -eta J J^T G: J J^T is the tangent kernel, which is the
identity for plain vector quantization.

All parameters lie in one flat vector theta, and the rule's named tuple of parameters
holds views of it: an optimizer is then a loop over one vector.

The loop is the same for every map of the package. A map is a class of parameters, such as
SimVQ's `AffineParameters`, and two kernels that are registered for it, a `forward` and a
`backward`: the compiled loop finds them by the type of the parameters. (A third one, `ask`,
is for a map whose codes a decoder moves too.) Every such class
needs a name of its own, because numba keeps compiled loops apart by the names of types.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import singledispatch
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.linalg  # noqa: F401 - numba's products call its BLAS: loaded here, it can be held to one thread
from numba.extending import overload

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory._kernels.cells import by_batch, info, new_tally, sum_cells, sum_cells_by_product
from vqtheory._kernels.jit import OPTIONS, inlined_kernel, kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start

_SCALE_IT = "Bring what it is made from, such as features, nearer to 1."


class MapState(NamedTuple):
    """Codes, updates done, and what makes the codes: C = shift + scale * T_theta(base)."""

    codes: np.ndarray  # [K, D], what the rule assigns with
    step: np.int64
    base: np.ndarray  # [K, D], C_0; of a map from features [K, P]
    theta: np.ndarray  # all parameters
    first: np.ndarray  # Adam's mean of the gradient, empty with SGD
    second: np.ndarray  # Adam's mean of its square, empty with SGD
    shift: np.ndarray  # [D]; shift and scale are constants of the start
    scale: Any


class Flat(NamedTuple):
    """The vectors that an optimizer works on, each as long as theta; SGD has no moments, and both are empty."""

    theta: np.ndarray
    gradient: np.ndarray
    first: np.ndarray
    second: np.ndarray


class MapRule(Rule):
    """A rule whose codes are a trained map of a frozen base.

    A rule adds `shapes`, `draw` and `workspace`, and registers its kernels for `forward` and `backward`. One whose base is
    not a normal cloud of the codes' shape has a `draw_base` and a `base_width` of its own.
    """

    step_size: Any
    optimizer: str
    start: str

    memory: ClassVar[str] = "the parameters of its map"
    places: ClassVar[tuple[str, ...]] = ()

    @property
    def equivariances(self) -> frozenset[str]:
        """With a matched start the rule works in units of the codes given; the base is drawn without them."""
        return frozenset({"translation", "scaling"}) if self.start == "matched" else frozenset()

    def __post_init__(self) -> None:
        owner = type(self).__name__
        self._keep(step_size=schedules.validate(owner, "step_size", self.step_size, 0, above=True))
        check.choice(owner, "optimizer", self.optimizer, ["sgd", "adam"])
        check_start(owner, self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> MapState:
        """The state that starts from codes [K, D]; base and parameters are drawn from `seed`.

        Of the codes given a matched start keeps the mean and the spread, a published one
        the shape and dtype. Raises `ValueError` where a matched start finds no spread.
        """
        codes = check.matrix(f"{type(self).__name__}.init", "codes", codes)
        seed = check.integer(f"{type(self).__name__}.init", "seed", seed, 0)
        num_codes, dim = codes.shape
        with np.errstate(over="ignore", invalid="ignore"):  # of features too large, which is said below
            base = self.draw_base(num_codes, dim, generator(seed, Purpose.RULE, 0)).astype(codes.dtype)
        theta = np.zeros(sum(map(math.prod, self.shapes(num_codes, dim))), codes.dtype)
        self.draw(self._split(theta, num_codes, dim), generator(seed, Purpose.RULE, 1))
        moment = np.zeros(len(theta) if self.optimizer == "adam" else 0, codes.dtype)
        zero, one = np.zeros(dim, codes.dtype), codes.dtype.type(1)
        state = MapState(codes, np.int64(0), base, theta, moment, moment.copy(), zero, one)
        if self.start == "matched":
            shift, scale = _match(f"{type(self).__name__}.init", self._evaluate(state), codes)
            state = state._replace(shift=shift, scale=scale)
        return state._replace(codes=_finite(f"{type(self).__name__}.init", self._evaluate(state)))

    def under(self, optimizer: str | None, rate: Any, momentum: float = 0.0, weight_decay: float = 0.0) -> Rule | None:
        """Plain SGD and Adam move the parameters as the rule does."""
        if optimizer in ("sgd", "adam") and not momentum and not weight_decay:
            return replace(self, step_size=rate, optimizer=optimizer)  # type: ignore[type-var]
        return super().under(optimizer, rate, momentum, weight_decay)

    def advance(self, state: MapState, batches: Batches) -> tuple[MapState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        owner = type(self).__name__
        check.instance(f"{owner}.advance", "state", state, MapState, f"a state that {owner}.init has made")
        x, weight = checked(f"{owner}.advance", batches, state.codes)
        rates = schedules.values(self.step_size, int(state.step), len(x)).astype(x.dtype)
        flat = Flat(state.theta.copy(), np.empty_like(state.theta), state.first.copy(), state.second.copy())
        maps = [self._split(vector, *state.codes.shape) for vector in (flat.theta, flat.gradient)]
        codes, tally, by_product = np.empty_like(state.codes), new_tally(x, state.codes), by_batch(x.shape[1], state.codes)
        made_by = (state.base, *maps, self.workspace(state), flat, state.shift, x.dtype.type(state.scale))
        _advance(x, weight, rates, int(state.step), *made_by, by_product, codes, tally)
        step = np.int64(state.step + len(x))
        after = state._replace(codes=codes, step=step, theta=flat.theta, first=flat.first, second=flat.second)
        return after, info(tally, weight)

    def parameters(self, state: MapState) -> dict[str, np.ndarray]:
        """The parameters by name, as views of ``state.theta``."""
        return self._split(state.theta, *state.codes.shape)._asdict()

    def pullback(self, state: MapState, gradient: np.ndarray) -> np.ndarray:
        """J^T G, the gradient of sum(G * C(theta)) in theta, for any G [K, D].

        In the units of the codes, the scale of a matched start included: columns of
        the tangent kernel J J^T are inner products of pullbacks.
        """
        codes, owner = state.codes, f"{type(self).__name__}.pullback"
        gradient = check.matrix(owner, "gradient", gradient)
        if gradient.shape != codes.shape:
            raise check.fail(owner, "gradient", f"an array of the codes' shape {codes.shape}", gradient.shape)
        result, work, raw = np.empty_like(state.theta), self.workspace(state), np.empty_like(codes)
        theta, pulled = (self._split(vector, *codes.shape) for vector in (state.theta, result))
        forward(theta, state.base, work, raw)
        backward(theta, state.base, work, (state.scale * gradient).astype(codes.dtype), pulled)
        return result

    def _evaluate(self, state: MapState) -> np.ndarray:
        """The codes that the state's parameters make."""
        raw, codes = np.empty_like(state.codes), np.empty_like(state.codes)
        forward(self._split(state.theta, *state.codes.shape), state.base, self.workspace(state), raw)
        place(raw, state.shift, state.scale, codes, np.empty(codes.shape[::-1], codes.dtype))
        return codes

    def _split(self, vector: np.ndarray, num_codes: int, dim: int) -> Any:
        """The rule's parameters as views of a flat vector."""
        shapes = self.shapes(num_codes, dim)
        parts = np.split(vector, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
        return shapes._make(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    def base_width(self, dim: int) -> int:
        """Columns of the base."""
        return dim

    def draw_base(self, num_codes: int, dim: int, random: np.random.Generator) -> np.ndarray:
        """The base, C_0 ~ N(0, 1/D)."""
        return random.normal(0, dim**-0.5, (num_codes, dim))

    def shapes(self, num_codes: int, dim: int) -> Any:
        """The rule's named tuple of parameters, with a shape for each array."""
        raise NotImplementedError

    def draw(self, parameters: Any, random: np.random.Generator) -> None:
        """Fill the parameters with their published start."""
        raise NotImplementedError

    def workspace(self, state: MapState) -> Any:
        """The arrays that `forward` leaves for `backward`, a named tuple."""
        raise NotImplementedError


@singledispatch
def forward(parameters, base, work, raw):
    """IN parameters, base [K, D]; OUT work, raw [K, D], the map of the base. Kernels for it name their arguments so."""
    raise NotImplementedError


@singledispatch
def backward(parameters, base, work, gradient, pulled):
    """IN parameters, base, work, gradient [K, D] of raw; OUT pulled, the gradient of the parameters."""
    raise NotImplementedError


@singledispatch
@kernel
def ask(parameters, work, x, weight, t, scale, codes, assignment, gradient):
    """Added to gradient [K, D] of raw: what a decoder asks for in batch t; by itself nothing."""


@overload(forward, jit_options=OPTIONS)
def _compiled_forward(parameters, base, work, raw):
    own: Any = forward.dispatch(parameters.instance_class)
    return own.py_func


@overload(backward, jit_options=OPTIONS)
def _compiled_backward(parameters, base, work, gradient, pulled):
    own: Any = backward.dispatch(parameters.instance_class)
    return own.py_func


@overload(ask, jit_options=OPTIONS)
def _compiled_ask(parameters, work, x, weight, t, scale, codes, assignment, gradient):
    own: Any = ask.dispatch(parameters.instance_class)
    return own.py_func


def _match(owner: str, raw: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, Any]:
    """Shift and scale that give the map's output the mean and the spread of the codes."""
    if (codes == codes[0]).all():
        raise ValueError(
            f"The 'codes' parameter of {owner} must have a spread for start='matched': at least two different codes. "
            f"Got {len(codes)} equal to {codes[0].tolist()}."
        )
    (mean, spread), (raw_mean, raw_spread) = _moments(codes), _moments(_finite(owner, raw))
    if not 0 < spread < math.inf:
        raise ValueError(
            f"The 'codes' parameter of {owner} must have a spread whose square is a number > 0 for start='matched'. "
            f"Got codes of up to {np.abs(codes).max():g}: scale them."
        )
    if raw_spread == 0:
        raise ValueError(f"The map of {owner} makes all codes alike, which no scale matches to the codes given.")
    if raw_spread == math.inf:
        raise ValueError(f"The map of {owner} makes codes whose spread has no finite square. {_SCALE_IT}")
    scale = spread / raw_spread
    with np.errstate(over="ignore", invalid="ignore"):  # codes that are not finite are refused
        return (mean - scale * raw_mean).astype(codes.dtype), codes.dtype.type(scale)


def _finite(owner: str, codes: np.ndarray) -> np.ndarray:
    """Codes that a map has made, refused where a number is too large for their type."""
    if not np.isfinite(codes).all():
        raise ValueError(f"The map of {owner} makes codes that are not finite in {codes.dtype}. {_SCALE_IT}")
    return codes


def _moments(codes: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean [D], and root mean square distance from it per coordinate."""
    with np.errstate(over="ignore", invalid="ignore"):  # of lengths without a square
        mean = codes.mean(axis=0, dtype=np.float64)
        return mean, float(np.sqrt(np.mean((codes - mean) ** 2)))


@kernel
def place(raw, shift, scale, codes, codes_t):
    """OUT codes [K, D]: shift + scale * raw, and codes_t [D, K], the same."""
    for k in range(raw.shape[0]):
        for d in range(raw.shape[1]):
            codes[k, d] = codes_t[d, k] = shift[d] + scale * raw[k, d]


@kernel
def find_gradient(x, weight, t, step, codes_t, scale, distances, gradient, tally):
    """OUT gradient [K, D] of raw by batch t, for the loss in units of scale^2, and the tally.

    The pullback brings one factor of scale and the loss two divisions by it: a map whose
    output is scaled by s moves its codes by s^2 as much per step, which the division undoes,
    and it leaves Adam's epsilon in the units of the map's own output.
    """
    gradient[:] = 0
    tally.distortion[t] = sum_cells(x[t], weight[t], codes_t, distances, gradient, tally.hits, tally.assignment)
    _finish(x.shape[1] * scale, step + t, gradient, tally)


@kernel
def find_gradient_by_product(x, weight, t, step, codes, scale, gradient, tally):
    """The same of codes [K, D], with winners found by products."""
    gradient[:] = 0
    tally.distortion[t] = sum_cells_by_product(x[t], weight[t], codes, gradient, tally.hits, tally.assignment)
    _finish(x.shape[1] * scale, step + t, gradient, tally)


@inlined_kernel
def _finish(size, now, gradient, tally):
    """IN/OUT gradient: sums over cells become the gradient of a batch of this size; OUT when codes won last."""
    unit = -1 / size
    for k in range(gradient.shape[0]):
        for d in range(gradient.shape[1]):
            gradient[k, d] *= unit
    for k in tally.assignment:
        tally.last_hit[k] = now


@kernel
def descend(flat, rate, step):
    """IN gradient; IN/OUT theta and moments: one step of SGD, or of Adam where there are moments."""
    theta, gradient, first, second = flat
    number, adam = theta.dtype.type, len(second) > 0
    if not adam:
        for i in range(len(theta)):
            theta[i] -= number(rate) * gradient[i]
        return
    keep_first, keep_second, epsilon = number(0.9), number(0.999), number(1e-8)
    take_first, take_second = number(1 - 0.9), number(1 - 0.999)
    gain, root = number(rate / (1 - 0.9 ** (step + 1))), number(math.sqrt(1 - 0.999 ** (step + 1)))
    for i in range(len(theta)):
        first[i] = keep_first * first[i] + take_first * gradient[i]
        second[i] = keep_second * second[i] + take_second * gradient[i] * gradient[i]
        theta[i] -= gain * first[i] / (np.sqrt(second[i]) / root + epsilon)


@kernel
def _advance(x, weight, rates, step, base, parameters, pulled, work, flat, shift, scale, by_product, codes, tally):
    """IN x, weight, rates [T], step, base, shift, scale, whether by products; IN/OUT flat, with parameters and pulled
    views of its theta and gradient; OUT codes, tally."""
    raw, gradient, codes_t = np.empty_like(codes), np.empty_like(codes), np.empty(codes.shape[::-1], codes.dtype)
    distances = np.empty(len(codes), x.dtype)
    forward(parameters, base, work, raw)
    place(raw, shift, scale, codes, codes_t)
    for t in range(len(x)):
        if by_product:
            find_gradient_by_product(x, weight, t, step, codes, scale, gradient, tally)
        else:
            find_gradient(x, weight, t, step, codes_t, scale, distances, gradient, tally)
        ask(parameters, work, x, weight, t, scale, codes, tally.assignment, gradient)
        backward(parameters, base, work, gradient, pulled)
        descend(flat, rates[t], step + t)
        forward(parameters, base, work, raw)
        place(raw, shift, scale, codes, codes_t)
