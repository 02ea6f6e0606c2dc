"""Doors: every public parameter, with every kind of nonsense in its place.

Each call ends in a right answer or in a sentence of the house: `ValueError`, `TypeError` or `FileNotFoundError` that names
the parameter or whose it is, and nothing of what is underneath. The parameters come from the signatures; by hand there is
one row of valid arguments for each public callable.
"""

import contextlib
import dataclasses
import inspect
import math
import re
import signal
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

import vqtheory as vq
from vqtheory import assign, measure, protocols, reference, rules, schedules, streams, theory
from vqtheory.streams.base import Drift, Source

SECONDS = 20  # that a call may take, on a busy machine too
NONSENSE = {
    "None": lambda: None,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: -float("inf"),
    "-1": lambda: -1,
    "0": lambda: 0,
    "0.5": lambda: 0.5,
    "1e300": lambda: 1e300,
    "5e-324": lambda: 5e-324,
    "10**30": lambda: 10**30,
    "10**400": lambda: 10**400,
    "True": lambda: True,
    "text": lambda: "text",
    "surrogate": lambda: "\ud800",
    "empty text": lambda: "",
    "bytes": lambda: b"",
    "[]": lambda: [],
    "[[]]": lambda: [[]],
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "[None]": lambda: [None],
    "{}": lambda: {},
    "object": object,
    "lambda": lambda: lambda *_, **__: None,
    "nan later": lambda: lambda t, *_: np.where(np.asarray(t) > 0, np.nan, 0.1),
    "complex": lambda: 1 + 2j,
    "Decimal": lambda: Decimal("0.5"),
    "Fraction": lambda: Fraction(1, 2),
    "float32": lambda: np.float32(3e38),
    "int8": lambda: np.int8(100),
    "wrong shape": lambda: np.ones((2, 3, 1, 2)),
    "five": lambda: np.ones(5),
    "empty": lambda: np.empty((0, 2)),
    "array of nan": lambda: np.array([[0.5, np.nan]]),
    "array of objects": lambda: np.array([[object()]]),
    "array of text": lambda: np.array([["a", "b"]]),
    "array of complex": lambda: np.array([[1j, 2j]]),
    "masked": lambda: np.ma.array([[1.0, 2.0], [3.0, 5.0]], mask=[[0, 1], [0, 0]]),
    "a class": lambda: rules.VQ,
    "a module": lambda: math,
}
FOREIGN = re.compile(
    r"numpy|ufunc|broadcast|\b0x[0-9a-f]{4}|operand|\bobject is not|'NoneType' object"
    r"|unsupported|argument must|positional|inhomogeneous"
    r"|ambiguous|subscript|attribute '__|dtype\('|could not convert|Python int|cannot convert|has no len"
)

CODES = np.array([[0.2, 0.1], [0.8, 0.9]])
LATENTS = np.array([[0.0, 0.3], [1.0, 0.7], [0.4, 0.6]])
UNIFORM = stats.uniform()
STREAM = streams.Stream(streams.Uniform(dim=2))
MAP = rules.SimVQ()
BATCHES = protocols.Batches(LATENTS[None], 0.1 * LATENTS[None])
SPEED = {"width": 1.0, "dim": 1, "density": None, "direction": 1, "batch_size": 1, "steps": None}
HIDDEN = {"source": None, "form": "gaussian", "direction": None}

RUN = "saved run"

DRIFT = {
    "velocity": 1e-3,
    "growth": 0.0,
    "matrix": None,
    "step_size": 0.1,
    "rule": None,
    "batch_size": 8,
    "trailing_layer": True,
    "seed": 0,
}
CLOUD = np.random.default_rng(0).random((100, 2))

ROWS = {
    "theory.adam_critical_speed": {"num_codes": 4, "step_size": 0.1, "batch_size": 8},
    "theory.adam_effective_step": {"step_size": 0.1, "mass": 0.2, "spread": 1.0, "batch_size": 8},
    "theory.adam_lag": {"ratio": 0.5, "mass": 0.1, "spread": 1.0, "batch_size": 8},
    "theory.adam_surviving_codes": {"speed": 0.05, "step_size": 0.1, "batch_size": 8, "num_codes": 8},
    "theory.bias_bound": {"bandwidth": 0.1, "radius": 0.1, "strength": 0.5},
    "theory.capture_reach": {"speed": 0.001, "step_size": 0.05, "bandwidth": 0.3, "strength": None, **HIDDEN},
    "theory.capture_speed": {
        "step_size": 0.05,
        "bandwidth": 0.3,
        "strength": None,
        **HIDDEN,
        "captured": 0.0,
        "crowd": False,
    },
    "theory.critical_drift": {"cloud": CLOUD, "num_codes": 4, **DRIFT},
    "theory.critical_shrink_rate": {"num_codes": 3, "step_size": 0.1},
    "theory.critical_speed": {"num_codes": 3, "step_size": 0.1, **SPEED},
    "theory.edge_bias": {"bandwidth": 0.1, "radius": 0.1, "strength": 0.5, "density": 1.0, "reach": 1.0},
    "theory.ema_critical_speed": {"num_codes": 3, "decay": 0.9, "width": 1.0, "batch_size": 8},
    "theory.ema_existence_speed": {"num_codes": 3, "decay": 0.9, "width": 1.0},
    "theory.ema_required_decay": {"num_codes": 3, "speed": 0.001, "width": 1.0},
    "theory.ema_surviving_codes": {"speed": 0.001, "decay": 0.9, "width": 1.0},
    "theory.fixed_point": {"rule": rules.VQ(0.1), "density": UNIFORM, "codes": [0.2, 0.8], "speed": 0.0},
    "theory.half_way_time": {"decay": 0.9, "remembered": 10.0},
    "theory.high_resolution_codes": {"lag": 1e-3, "density": None, "direction": 1, "edge": None},
    "theory.jump_surviving_codes": {"num_codes": 8, "jump": 0.1},
    "theory.largest_lag": {"speed": 0.001, "decay": 0.9},
    "theory.steady_speed": {"tau": 1.0, "decay": 0.9, "variance": 0.1},
    "theory.largest_codebook": {"speed": 0.001, "step_size": 0.1, **SPEED},
    "theory.live_codes": {"cloud": CLOUD, **DRIFT},
    "theory.mean_motion": {
        "rule": rules.VQ(0.1),
        "density": UNIFORM,
        "codes": [0.2, 0.8],
        "steps": 5,
        "speed": 0.001,
        "records": 2,
        "counts": None,
    },
    "theory.never_chosen": {"codes": CODES, "center": [0.5, 0.5], "radius": 1.0, "any_metric": False},
    "theory.predict": {"rule": rules.VQ(0.1), "num_codes": 3, "speed": 0.001, **SPEED, "at": 0},
    "theory.required_step_size": {"num_codes": 3, "speed": 0.001, **SPEED},
    "theory.rigid_lag": {"speed": 0.001, "step_size": 0.1, "width": 1.0},
    "theory.rigid_usage": {"speed": 0.001, "step_size": 0.1, "width": 1.0},
    "theory.shared_shift_gain": {"beta": 0.1, "num_codes": 8},
    "theory.shrink_surviving_codes": {"rate": 0.01, "step_size": 0.1},
    "theory.soft_path": {"num_codes": 8, "dim": 2, "temperature": 1.0},
    "theory.softmax_bias": {"bandwidth": 0.1, "num_codes": 8, "strength": 0.01, "density": 1.0},
    "theory.steady_state": {"num_codes": 3, "lag": 0.001, "density": None, "direction": 1},
    "theory.straight_through_gradient": {
        "latents": LATENTS,
        "codes": CODES,
        "gradient": LATENTS,
        "alpha": 1.0,
        "rescale": 1.0,
    },
    "theory.rotation_pull": {"latents": LATENTS, "codes": CODES, "stiffness": 2.0},
    "theory.straight_through_target": {"latents": LATENTS, "gradient": LATENTS, "rescale": 1.0},
    "theory.surviving_codes": {"speed": 0.001, "step_size": 0.1, "num_codes": None, **SPEED},
    "theory.tail_edges": {"lag": 1e-3, "density": stats.norm(), "direction": 1},
    "theory.which_codebook": {
        "latents": np.stack([CLOUD, CLOUD + 1e-3]),
        "num_codes": 4,
        "every": 1,
        "batch_size": 8,
        "rules": (rules.VQ(0.1),),
    },
    "theory.tangent_kernel": {
        "rule": MAP,
        "state": MAP.init(CODES),
        "method": "auto",
        "tolerance": None,
        "steps": 4,
        "seed": 0,
    },
    "theory.transient_codes": {
        "num_codes": 4,
        "step_size": 0.1,
        "velocity": 0.001,
        "growth": 0.0,
        "dim": 1,
        "density": None,
        "steps": 50,
        "records": 2,
    },
    "theory.uncrowded_codes": {"rate": 0.01, "step_size": 0.1},
    "theory.weight_decay_speed": {"step_size": 0.1, "weight_decay": 0.01, "distance": 0.5},
    "measure.usage": {"hits": [3, 0]},
    "measure.perplexity": {"hits": [3, 0]},
    "measure.carrying": {"hits": [3, 0], "share": 0.9},
    "measure.distinct": {"codes": CODES},
    "measure.cells": {"latents": LATENTS, "codes": CODES},
    "measure.distortion": {"latents": LATENTS, "codes": CODES},
    "measure.residual": {"latents": LATENTS, "codes": CODES, "unbiased": False},
    "measure.lag": {"latents": LATENTS, "codes": CODES, "direction": [1.0, 0.0]},
    "measure.dead": {"latents": LATENTS, "codes": CODES},
    "measure.idempotence": {"rule": rules.VQ(0.1), "state": rules.VQ(0.1).init(CODES)},
    "measure.drift": {"latents": np.stack([LATENTS, LATENTS + 0.1]), "every": 1},
    "reference.cell_moment": {"dim": 2},
    "reference.cell_moment_bounds": {"dim": 2},
    "reference.gaussian_norm": {"dim": 2, "scale": 1.0},
    "reference.lloyd": {"latents": LATENTS, "num_codes": 2, "restarts": 1, "seed": 0},
    "reference.lloyd_max": {"distribution": UNIFORM, "num_codes": 2},
    "reference.optimal_1d": {"samples": [0.0, 1.0, 3.0], "num_codes": 2},
    "reference.panter_dite": {"distribution": UNIFORM, "num_codes": 2},
    "reference.random_swap": {"latents": LATENTS, "num_codes": 2, "swaps": 1, "seed": 0},
    "reference.zador": {"density_norm": 1.0, "num_codes": 2, "dim": 2, "moment": None},
    "assign.nearest": {"latents": LATENTS, "codes": CODES},
    "assign.threads": {"number": 1},
    "streams.Batched": {"iterable": [LATENTS, LATENTS], "dim": 2},
    "streams.ClosedLoop": {
        "source": streams.Uniform(dim=2),
        "latent_dim": 2,
        "hidden": 2,
        "step_size": 0.05,
        "commitment": 0.25,
        "quantize_from": 1,
        "estimator": "rotation",
    },
    "streams.Distribution": {"d": "beta", "shapes": (2.0, 5.0), "loc": 0.0, "scale": 1.0},
    "streams.Fading": {"speed": 0.1, "half_life": 10.0, "direction": None},
    "streams.Gaussian": {"dim": 2},
    "streams.Jump": {"at": 1, "by": 0.5},
    "streams.Latents": {"data": LATENTS, "block": None},
    "streams.Mixture": {"means": CODES, "scale": 0.1, "weights": None},
    "streams.Oscillation": {"amplitude": 0.1, "period": 10.0, "direction": None},
    "streams.Patches": {"photograph": None, "size": 2, "colour": False},
    "streams.RandomWalk": {"scale": 0.1},
    "streams.Recorded": {"latents": np.stack([LATENTS, LATENTS + 0.1]), "every": 1, "interpolate": False},
    "streams.Ring": {"radius": 1.0, "width": 0.1},
    "streams.Rotation": {"rate": 0.1},
    "streams.Scaling": {"rate": 0.1, "limit": None},
    "streams.Stationary": {},
    "streams.Stream": {"source": streams.Uniform(dim=2), "drift": streams.Stationary()},
    "streams.Translation": {"speed": 0.1, "direction": None, "limit": None},
    "streams.Uniform": {"dim": 2},
    "rules.EMA": {"decay": 0.9, "smoothing": 0.0, "start": "matched"},
    "rules.NSVQ": {
        "step_size": 0.05,
        "bandwidth": 1.0,
        "strength": None,
        "form": "gaussian",
        "start": "matched",
        "decay": 0.9,
    },
    "rules.VQ": {"step_size": 0.05, "clock": "step", "start": "matched"},
    "rules.Transport": {"rule": rules.VQ(0.05), "neighbours": 1},
    "rules.Replacement": {"rule": rules.EMA(0.9), "every": 1, "least": 1, "policy": "count"},
    "rules.Reestimate": {"rule": rules.VQ(0.05), "every": 1, "until": 5, "reservoir": 3},
    "rules.EntropyVQ": {"step_size": 0.05, "strength": 0.1, "temperature": 1.0, "balance": 1.0, "start": "matched"},
    "rules.Wasserstein": {"rule": rules.VQ(0.05), "pull": 0.1, "decay": 0.9},
    "rules.Affine": {"rule": rules.VQ(0.05), "per": "covariance", "decay": 0.9},
    "rules.Sinkhorn": {"step_size": 0.05, "temperature": 1.0, "rounds": 3, "tolerance": 0.1, "start": "matched"},
    "rules.CosineVQ": {"step_size": 0.05, "start": "matched"},
    "rules.CVQ": {
        "step_size": 0.05,
        "decay": 0.9,
        "anchors": "closest",
        "similarity": "euclidean",
        "temperature": 1.0,
        "contrastive": 0.0,
        "start": "matched",
    },
    "rules.GRITVQ": {
        "step_size": 0.05,
        "radius": 1.0,
        "rank": 1,
        "features": True,
        "decoder": 1.0,
        "optimizer": "sgd",
        "start": "matched",
    },
    "rules.HyperVQ": {"step_size": 0.05, "curvature": 1.0, "temperature": 1.0, "start": "matched"},
    "rules.IBQ": {
        "step_size": 0.05,
        "similarity": "dot",
        "temperature": 1.0,
        "entropy_weight": 0.05,
        "entropy_temperature": 0.01,
        "start": "matched",
    },
    "rules.NeuralGas": {"step_size": 0.05, "range": 1.0, "start": "matched"},
    "rules.SOM": {"step_size": 0.05, "range": 1.0, "grid": [1, 2], "neighbourhood": "gaussian", "start": "matched"},
    "rules.FSCL": {"step_size": 0.05, "fairness": 1.0, "decay": 1.0, "start": "matched"},
    "rules.Conscience": {"step_size": 0.05, "bias": 1.0, "decay": 0.9, "start": "matched"},
    "rules.SimVQ": {"step_size": 0.05, "bias": True, "optimizer": "sgd", "start": "matched"},
    "rules.FVQ": {
        "step_size": 0.05,
        "patch": 1,
        "width": 2,
        "depth": 0,
        "heads": 1,
        "positions": False,
        "layout": "runs",
        "residual": False,
        "train_base": True,
        "eps": 1e-6,
        "optimizer": "sgd",
        "start": "matched",
    },
    "rules.GraphVQ": {
        "step_size": 0.05,
        "features": CODES,
        "edges": np.empty((0, 2), int),
        "width": 2,
        "optimizer": "sgd",
        "start": "matched",
    },
    "rules.TrainedVQ": {
        "step_size": 0.05,
        "optimizer": "sgd",
        "momentum": 0.0,
        "weight_decay": 0.0,
        "start": "matched",
    },
    "rules.TransVQ": {
        "step_size": 0.05,
        "width": 2,
        "depth": 1,
        "heads": 1,
        "mlp_ratio": 1,
        "positions": True,
        "optimizer": "adam",
        "start": "matched",
    },
    "schedules.constant": {"value": 0.1},
    "schedules.cosine": {"start": 1.0, "end": 0.1, "steps": 5},
    "schedules.exponential": {"start": 1.0, "half_life": 5.0, "begin": 0},
    "schedules.harmonic": {"start": 1.0, "delay": 1.0},
    "schedules.linear": {"start": 1.0, "end": 0.1, "steps": 5},
    "vqtheory.simulate": {
        "rule": rules.VQ(0.1),
        "stream": STREAM,
        "codes": CODES,
        "steps": 2,
        "batch_size": 2,
        "seed": 0,
        "init": "latents",
        "dtype": "float64",
        "records": 1,
        "save": None,
        "progress": False,
        "on_record": None,
        "threads": None,
    },
    "vqtheory.resume": {
        "folder": RUN,
        "steps": None,
        "rule": None,
        "progress": False,
        "threads": None,
        "stream": None,
    },
}
VARIANTS = [  # other ways through the same door
    ("theory.transient_codes", {"num_codes": 4, "step_size": 0.1, "growth": -0.01, "dim": 2, "steps": 50, "records": 2}),
    ("theory.steady_state", {"num_codes": 3, "lag": 0.001, "density": stats.norm()}),
    ("theory.surviving_codes", {"speed": 0.01, "step_size": 0.1, "density": stats.norm()}),
    ("theory.critical_speed", {"num_codes": 2, "step_size": 0.1, "steps": 1000, "batch_size": 8}),
    ("theory.high_resolution_codes", {"lag": 1e-3, "density": stats.norm(), "edge": "tail"}),
    *(
        (f"theory.{name}", {**row, "step_size": 0.05, "bandwidth": 0.3, "source": source, "direction": None})
        for name, row in (("capture_speed", {}), ("capture_reach", {"speed": 0.001}))
        for source in (streams.Uniform(dim=1), streams.Gaussian(dim=2), stats.uniform(), LATENTS)
    ),
    *(
        (f"theory.{name}", {"rule": rule, "density": UNIFORM, "codes": [0.2, 0.8], "speed": 0.0, **row})
        for name, row in (("mean_motion", {"steps": 5, "counts": None}), ("fixed_point", {}))
        for rule in (rules.EMA(0.9), rules.NSVQ(0.1))
        if not (row and isinstance(rule, rules.NSVQ))
    ),
]
EVERY_RULE = (
    rules.VQ(),
    rules.EMA(),
    rules.NSVQ(),
    rules.CosineVQ(),
    rules.CVQ(),
    rules.IBQ(),
    rules.HyperVQ(),
    rules.GRITVQ(),
    rules.NeuralGas(),
    rules.SOM(),
    rules.FSCL(),
    rules.Conscience(),
    MAP,
    rules.TrainedVQ(),
    rules.TransVQ(width=2),
)
METHODS = {
    **{f"{type(rule).__name__}.init": (rule.init, {"codes": CODES, "seed": 0}) for rule in EVERY_RULE},
    **{
        f"{type(rule).__name__}.advance": (rule.advance, {"state": rule.init(CODES), "batches": BATCHES})
        for rule in EVERY_RULE
    },
    **{
        f"{type(stream).__name__}.{name}": (getattr(stream, name), row)
        for stream in (STREAM, streams.Recorded(np.stack([LATENTS, LATENTS])))
        for name, row in (
            (
                "draw",
                {"start": 0, "steps": 1, "batch_size": 2, "seed": 0, "dtype": np.float64, "displacement": False},
            ),
            ("at", {"t": 1, "seed": 0}),
        )
    },
    "StreamSnapshot.sample": (STREAM.at(1).sample, {"size": 2}),
    "StreamSnapshot.density": (STREAM.at(1).density, {"x": LATENTS}),
    "StreamSnapshot.optimum": (streams.Stream(streams.Uniform(dim=1)).at(1).optimum, {"num_codes": 2}),
    "ClosedLoop.init": (streams.ClosedLoop(streams.Uniform(dim=2), hidden=2).init, {"seed": 0}),
    "ClosedLoop.respond": (
        (loop := streams.ClosedLoop(streams.Uniform(dim=2), hidden=2)).respond,
        {"state": loop.init(0), "codes": CODES, "batch_size": 2},
    ),
    "Cells.residual": (measure.cells(LATENTS, CODES).residual, {"unbiased": False}),
    "Cells.lag": (measure.cells(LATENTS, CODES).lag, {"direction": [1.0, 0.0]}),
    "TangentKernel.lag": (theory.tangent_kernel(MAP, MAP.init(CODES)).lag, {"speed": 0.1, "step_size": 0.1}),
}
RESULTS = (
    "streams.Law",
    "streams.Motion",
    "streams.Source",
    "streams.Snapshot",
    "streams.Drift",
    "rules.Rule",
    "theory.CodebookSizes",
    "theory.Cure",
    "theory.LiveCodes",
    "theory.Prediction",
)


def public():
    """Every public callable by name; what a call returns, and what a class of one's own starts from, is no door."""
    for module in (theory, measure, reference, assign, streams, rules, schedules):
        room = module.__name__.split(".")[-1]
        names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
        for name in names:
            target = getattr(module, name)
            own = getattr(target, "__module__", "").startswith(f"vqtheory.{room}") or room == "assign"
            returned = isinstance(target, type) and (issubclass(target, tuple) or target is theory.TangentKernel)
            if own and not returned and f"{room}.{name}" not in RESULTS:
                yield f"{room}.{name}", target
    yield from (("vqtheory.simulate", vq.simulate), ("vqtheory.resume", vq.resume))


class Late(BaseException):
    """A call that takes too long."""


@contextlib.contextmanager
def at_most(seconds):
    """Ends what takes longer, where the system has an alarm."""

    def ring(*_):
        raise Late

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def use(thing):
    """What a door lets in has to work: an object is put to its work, and what comes of it is looked at."""
    if isinstance(thing, rules.Rule):
        state, counted = thing.advance(thing.init(CODES), BATCHES)
        return thing.advance(state, BATCHES)[1]["hits"], counted, repr(thing)  # codes may diverge, and simulate says so
    if isinstance(thing, Drift):
        return [streams.Stream(streams.Uniform(dim=2), thing).draw(t, 2, 2, 0).x for t in (0, 1000)]
    if isinstance(thing, Source):
        stream = streams.Stream(thing)
        return stream.draw(0, 1, 2, 0).x, stream.at(0).mean, stream.at(1).sample(2)
    if isinstance(thing, streams.Stream | streams.Recorded):
        return thing.draw(0, 1, 2, 0).x, thing.at(0).sample(2)
    if isinstance(thing, streams.ClosedLoop):
        return thing.respond(thing.init(0), np.zeros((2, thing.dim)), 2)[1].x
    if isinstance(thing, schedules._Schedule):
        return thing(0), thing(3), thing(np.arange(4.0))
    if hasattr(thing, "__enter__"):
        with thing:
            return None
    return thing


def numbers(answer):
    """All floats in an answer."""
    if isinstance(answer, (float, np.ndarray, np.floating)):
        return np.ravel(answer).astype(float) if np.asarray(answer).dtype.kind in "fc" else np.empty(0)
    if isinstance(answer, dict):
        answer = list(answer.values())
    elif isinstance(answer, vq.Run):
        answer = [answer.codes] if answer.status != "diverged" else []
    elif dataclasses.is_dataclass(answer):
        answer = [getattr(answer, field.name) for field in dataclasses.fields(answer)]
    if isinstance(answer, (list, tuple)):
        return np.concatenate([np.empty(0), *map(numbers, answer)])
    return np.empty(0)


def complaint(owner, target, parameter, arguments):
    """What is wrong with how a call ends, or None."""
    extra = arguments.pop("shapes", ()) if "Distribution" in owner else ()
    try:
        with at_most(SECONDS):
            if "Distribution" in owner:
                extra = extra if isinstance(extra, tuple) else (extra, 5.0)
                answer = use(target(arguments.pop("d"), *extra, **arguments))
            else:
                answer = use(target(**arguments))
    except (ValueError, TypeError, FileNotFoundError) as error:
        said = str(error)
        named = any(name in said for name in (parameter, *owner.split("."), "schedule")) or type(error) is FileNotFoundError
        if type(error) in (ValueError, TypeError, FileNotFoundError, protocols.Diverged) and named and said.endswith("."):
            return f"speaks of what is underneath: {said[:200]}" if FOREIGN.search(said) else None
        return f"{type(error).__name__}: {said[:200]}"
    except Late:
        return f"takes more than {SECONDS} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    values, doc = numbers(answer), inspect.getdoc(target) or ""
    if np.isnan(values).any() and "nan" not in doc:
        return "nan comes back"
    if np.isinf(values).any() and not re.search(r"\binf", doc):
        return "infinity comes back, and the docstring does not say so"
    return None


def complaints(owner, target, row):
    """What is wrong with one callable, and how many calls were made."""
    parameters = [p for p in inspect.signature(target).parameters if p in row]
    with np.errstate(all="warn"):
        use(target(**row)) if "Distribution" not in owner else None  # it may compile, and takes the time that it takes
    valid = complaint(owner, target, "", dict(row))
    wrong = [] if valid is None or owner == "vqtheory.resume" else [f"{owner}: {valid}"]
    for parameter in parameters:
        for kind, nonsense in NONSENSE.items():
            said = complaint(owner, target, parameter, row | {parameter: nonsense()})
            if said is not None:
                wrong.append(f"{owner}({parameter}={kind}): {said}")
    return wrong, len(parameters) * len(NONSENSE)


def test_every_public_callable_has_a_row():
    missing = [name for name, _ in public() if name not in ROWS]
    assert not missing, f"Write one row of small valid arguments in ROWS of tests/test_doors.py for: {', '.join(missing)}."
    for name, target in public():
        named = [p.name for p in inspect.signature(target).parameters.values() if p.kind is not p.VAR_KEYWORD]
        assert set(named) == set(ROWS[name]), f"The row of {name} lacks a parameter."


@pytest.mark.filterwarnings("ignore:.*are fewer than t(wo|en) to:UserWarning")
@pytest.mark.filterwarnings("ignore:.*codes of GraphVQ have no edge:UserWarning")
@pytest.mark.filterwarnings("ignore:(Replacement has at least|Reestimate leaves|(Affine|Wasserstein).*leaves):UserWarning")
@pytest.mark.parametrize(
    "room", ["theory", "measure", "reference", "assign", "streams", "rules", "schedules", "vqtheory", "methods"]
)
def test_nonsense_meets_a_sentence(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VQTHEORY_DATA", "no such folder")
    vq.simulate(rules.VQ(0.1), STREAM, codes=CODES, steps=2, save=RUN, progress=False)
    doors = [(name, target, ROWS[name]) for name, target in public() if name.split(".")[0] == room]
    doors += [(name, dict(public())[name], row) for name, row in VARIANTS if name.split(".")[0] == room]
    doors += [(name, *door) for name, door in METHODS.items() if room == "methods"]
    results = [complaints(*door) for door in doors]
    wrong = [line for lines, _ in results for line in lines]
    assert not wrong, f"{len(wrong)} of {sum(calls for _, calls in results)} calls:\n" + "\n".join(wrong)


class Own(NamedTuple):
    """A state of one's own."""

    codes: np.ndarray
    step: int


class OwnRule:
    """A rule of one's own that hands back whatever it is told to."""

    def __init__(self, start, answer):
        self.start, self.answer = start, answer

    def init(self, codes, seed):
        return self.start(codes)

    def advance(self, state, batches):
        return self.answer(state, len(batches.x))


class OwnStream:
    """A stream of one's own that hands back whatever it is told to."""

    dim = 2

    def __init__(self, batches):
        self.batches = batches

    def draw(self, start, steps, batch_size, seed, dtype=float):
        return self.batches


def test_shapes_that_do_not_fit_together():
    for name in (name for name in ROWS if name.startswith("theory.")):
        row = {parameter: value for parameter, value in ROWS[name].items() if isinstance(value, (int, float))}
        row = {parameter: value for parameter, value in row.items() if not isinstance(value, bool)}
        first, second = list(row)[:2] if len(row) > 1 else (None, None)
        if first is None or "array" not in inspect.getdoc(getattr(theory, name.split(".")[1])):
            continue
        wrong = ROWS[name] | {first: [row[first]] * 2, second: [row[second]] * 3}
        with pytest.raises(ValueError, match=r"have shapes that fit together|must be"):
            getattr(theory, name.split(".")[1])(**wrong)


def test_rules_and_streams_that_break_the_contract_are_told_so():
    def started(codes):
        return Own(codes, 0)

    def moved(state, steps):
        return Own(state.codes, state.step + steps)

    hits = {"hits": np.array([1, 1])}
    broken = {
        "The state that OwnRule.init returns must be": (lambda codes: codes, None),
        "The codes that OwnRule.init returns must keep their shape": (lambda codes: Own(codes[:1], 0), None),
        "OwnRule.advance must return the state and a dictionary": (started, lambda state, steps: None),
        "must have 'hits', how many samples each of the 2 codes has won. It has none": (started, lambda *a: (moved(*a), {})),
        "must have 'hits', how many samples each of the 2 codes has won. Got shape": (
            started,
            lambda *a: (moved(*a), {"hits": np.ones(3)}),
        ),
        "The state that OwnRule.advance returns must be": (started, lambda state, steps: (state.codes, hits)),
    }
    for sentence, (start, answer) in broken.items():
        with pytest.raises(ValueError, match=re.escape(sentence)):
            vq.simulate(OwnRule(start, answer), STREAM, codes=CODES, steps=2, progress=False)
    for batches in (None, LATENTS, protocols.Batches(LATENTS), protocols.Batches(np.zeros((1, 2, 3)))):
        with pytest.raises(ValueError, match="must return Batches of latents"):
            vq.simulate(rules.VQ(0.1), OwnStream(batches), codes=CODES, steps=2, progress=False)
    good = vq.simulate(OwnRule(started, lambda *a: (moved(*a), hits)), STREAM, codes=CODES, steps=2, progress=False)
    assert good.status == "finished"
    with pytest.raises(ValueError, match=re.escape("VQ is a class: write VQ(...) for one.")):
        vq.simulate(rules.VQ, STREAM, codes=CODES, steps=2)


def test_numbers_of_any_type_are_kept_as_plain_ones():
    for given in (Decimal("0.5"), Fraction(1, 2), np.float32(0.5), np.float16(0.5), np.array(0.5)):
        rule, drift = rules.VQ(given), streams.Translation(given)
        assert type(rule.step_size) is type(drift.speed) is float
        assert repr(rule) == "VQ(step_size=0.5)"
        assert repr(drift) == "Translation(speed=0.5)"
    assert type(rules.VQ(np.int8(1)).step_size) is type(streams.Jump(np.int8(100), 1).at) is int


def test_survivors_under_adam_take_one_chain_a_step():
    """As many as the largest K whose critical speed is reached; in little time where they are many."""
    for batch_size in (1, 64):
        critical = theory.adam_critical_speed(np.arange(1, 13), 1.0, batch_size)
        for ratio in (0.05, 0.3, 0.9, 1 - 1e-10, 1.0, *critical[[1, 4, 9]]):
            expected = max(1, int(np.sum(critical >= ratio)))
            assert theory.adam_surviving_codes(ratio, 1.0, batch_size, 12) == expected
    with at_most(10):
        assert theory.adam_surviving_codes(1e-6, 1e-3, 8) == 413
