"""What makes a training run what it is."""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from typing import Any

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.config import Configured, parse
from vqtheory.nn.branches import BranchQuantize
from vqtheory.nn.codebooks import RULES, Codebook
from vqtheory.nn.degradation import Degradation
from vqtheory.nn.estimators import estimator_of, text_of
from vqtheory.nn.models import MODELS, VQFR, Autoencoder
from vqtheory.nn.models.dqvae import DQVAE, GATES, grain_shares
from vqtheory.nn.quantize import VectorQuantize
from vqtheory.nn.references import BY_NAME, REFERENCES, Reference
from vqtheory.nn.transport import check_carried
from vqtheory.rules.base import Rule
from vqtheory.rules.replacement import POLICIES

_OWNER = "train"
_OWN_LAYER = (  # what a quantizer of another package does not have
    "codebook_dim",
    "codebook_optimizer",
    "codebook_lr",
    "replace_every",
    "replace_policy",
    "transport",
    "transport_images",
    "transport_neighbours",
    "estimator",
    "codebook_weight",
    "alternate",
    "latents",
)
_OF_CODES = (*(name for name in _OWN_LAYER if name != "codebook_dim"), "quantize_from")  # what moves them
_WHOLE = {"codes": 1, "dim": 1, "size": 1, "steps": 1, "batch_size": 1, "seed": 0, "records": 1, "probe_every": 1}
_WHOLE |= {"transport_neighbours": 1, "quantize_from": 0, "validation": 0}

_BY_NAME: dict[str, Any] = {**BY_NAME, "Degradation": Degradation}
_CHOICES = {"model": MODELS, "codebook_optimizer": ("adam", "sgd"), "replace_policy": POLICIES}


@dataclass(frozen=True, repr=False)
class TrainingConfig(Configured):
    """The hyperparameters of a training run. `repr` writes them, `TrainingConfig.parse` reads them.

    Parameters
    ----------
    rule : rule or str, optional
        By default VQ(); GraphVQ() with VQCT, which takes no other; and with VQFR the one of its prior.
        How the codebook moves, as `VectorQuantize` takes it, or its text, e.g. "EMA(decay=0.9)". Or a quantizer of
        vector-quantize-pytorch to compare with, see `vqtheory.nn.references`: "fsq", "lfq", "bsq" or
        "expiring-ema".
    codes : int, default 1024
    dim : int, default 64
        Dimensions of the latents.
    codebook_dim : int, optional
        Dimensions of the codes, where latents are to be projected.
    model : {"small", "paper", "dq-vae", "dq-vae-triple", "dq-vae-paper", "vqct", "vqct-paper", "vqfr", "vqfr-paper"},\
            default "small"
        The autoencoder, see `vqtheory.nn.models`.
    gate : {"learned", "entropy"}, optional
        Of DQ-VAE; by default "learned".
    budget : float or (float, float), optional
        The share of regions that DQ-VAE codes by its finest grain and, with three grains, by the middle one; by default 0.5.
    prior : path, optional
        With VQFR, the folder of stage 1, a training with model="small" (of "vqfr-paper", model="paper"). Rule, codes and
        dimensions are its own.
    degradation : Degradation or str, optional
        With VQFR, how images are made worse, by default ``Degradation()``, see `vqtheory.nn.degradation`.
    data : path, optional
        The images, see `vqtheory.nn.training.data.load`.
    size : int, default 64
        Pixels along a side.
    steps : int, default 2000
        Updates. The published runs are 300 epochs.
    batch_size : int, default 16
        Of all processes together.
    lr, lr_decay : float, default 5e-4, 1
        Rate of Adam in the first epoch, and the factor from epoch to epoch; the published one is 0.995.
    codebook_optimizer : {"adam", "sgd"}, default "adam"
        SGD at the rate lr is the simulator's rule at eta = 2 lr / D, see `vqtheory.nn.step_size`.
    codebook_lr : float or schedule, optional
        Rate of the codebook in the first epoch; by default `lr`. A schedule is one of the update. NSVQ's published forms
        need one that lets codes follow the encoder: 0.04 on faces, or "exponential(0.04, half_life=300)" for a more even
        codebook.
    clip : float, optional
        Largest norm of the gradient of all but the codebook, which is never clipped.
    beta : float, default 0.25
        Weight of the commitment loss.
    perceptual, perceptual_weight : path, optional, and float, default 1
        A TorchScript network from images [n, 3, H, W] in [-1, 1] to features, one tensor or several, whose mean squared
        error between reconstructions and images is added to the loss. Loading TorchScript runs its code.
    adversarial, adversarial_weight : path, optional, and float, default 0.1
        A TorchScript network from such images to numbers, a discriminator that is trained beside the model, see
        `vqtheory.nn.training.judges`.
    replace_every : int, optional
        After so many updates each, put codes that were not chosen since on latents: `vqtheory.nn.Replacement`. Optional,
        off by default.
    replace_policy : {"random", "count", "oldest", "split"}, default "random"
        Which codes are replaced, and where they are put, see `vqtheory.nn.Replacement`.
    transport : int, optional
        After so many updates each, move every code as the nearest latents of the first batch of images have moved since:
        `vqtheory.nn.Transport`. 1 follows every update, 10 costs a tenth of it. Optional, off by default.
    transport_images : int, optional
        Images of the first epoch that transport follows; by default `batch_size`.
    transport_neighbours : int, default 1
        Over how many of the nearest latents a move is averaged.
    quantize_from : int, default 0
        The first update that quantizes. Until then the decoder is given the latents as they are, and no code moves; then the
        codebook starts, on latents of the encoder by now. (Deferred quantization: arXiv 2603.17052; the bypass of VQFR,
        arXiv 2205.06803.)
    freeze_encoder_at : int, optional
        The update from which the encoder stays as it is, while codes and decoder go on (staged training: arXiv 2606.11363).
        Latents drift no more from then on, so that every rule meets a stationary encoder.
    validation : int, default 0
        So many images, the last of those to train on, are left out of the training, for settings to be chosen on.
    estimator : str or Estimator, default "straight-through"
        How gradients pass the quantizer: a name of `vqtheory.nn.estimators`, or a call such as "DiVeQ(variance=1e-4)".
    codebook_weight : float, default 1
        Weight of the codebook loss. DiVeQ was published without it, and with `beta` = 0.
    alternate : bool, default False
        Let the codebook's optimizer take its step first, within each pass, see `VectorQuantize.step_inside`.
    amp : bool, default False
        Convolutions in bfloat16.
    seed : int, default 0
        Of weights, codebook and the order of images.
    records : int, default 20
        Rows of the history, each of as many updates.
    probe_every : int, default 50
        Updates from one probe to the next, which `vqtheory.diagnose` goes by, see `vqtheory.nn.Monitor`. There is one at
        each record too.
    latents : (int, int), optional
        From which update, and up to which, to keep all latents and codes, in latents.npy and codes.npy of the folder.

    Examples
    --------
    >>> TrainingConfig("nsvq", steps=100)
    TrainingConfig(NSVQ(), steps=100)
    >>> TrainingConfig.parse("TrainingConfig(EMA(), steps=100)") == TrainingConfig("ema", steps=100)
    True
    """

    rule: Rule | Reference | str = None  # type: ignore[assignment]  # the model's, once it is known
    codes: int = 1024
    dim: int = 64
    codebook_dim: int | None = None
    model: str = "small"
    gate: str | None = None
    budget: Any = None
    prior: str | None = None
    degradation: Degradation | str | None = None
    data: str | None = None
    size: int = 64
    steps: int = 2000
    batch_size: int = 16
    lr: float = 5e-4
    lr_decay: float = 1.0
    codebook_optimizer: str = "adam"
    codebook_lr: Any = None
    clip: float | None = None
    beta: float = 0.25
    perceptual: str | None = None
    perceptual_weight: float = 1.0
    adversarial: str | None = None
    adversarial_weight: float = 0.1
    replace_every: int | None = None
    replace_policy: str = "random"
    transport: int | None = None
    transport_images: int | None = None
    transport_neighbours: int = 1
    quantize_from: int = 0
    freeze_encoder_at: int | None = None
    validation: int = 0
    estimator: Any = "straight-through"
    codebook_weight: float = 1.0
    alternate: bool = False
    amp: bool = False
    seed: int = 0
    records: int = 20
    probe_every: int = 50
    latents: tuple[int, int] | None = None
    _positional = 1

    def __post_init__(self) -> None:
        for name, low in _WHOLE.items():
            self._set(name, check.integer(_OWNER, name, getattr(self, name), low))
        for name in ("lr", "lr_decay", "clip"):
            if getattr(self, name) is not None or name != "clip":
                self._set(name, check.real(_OWNER, name, getattr(self, name), 0, above=True))
        self._set("codebook_lr", _rate(self.codebook_lr))
        for name in ("beta", "codebook_weight", "perceptual_weight", "adversarial_weight"):
            self._set(name, check.real(_OWNER, name, getattr(self, name), 0))
        self._set("estimator", text_of(estimator_of(_OWNER, self.estimator)))
        for name in ("replace_every", "transport", "transport_images", "freeze_encoder_at"):
            if getattr(self, name) is not None:
                self._set(name, check.integer(_OWNER, name, getattr(self, name)))
        for name, options in _CHOICES.items():
            check.choice(_OWNER, name, getattr(self, name), options)
        self._check_size()
        self._check_model()
        for name in ("amp", "alternate"):
            if not isinstance(getattr(self, name), bool):
                raise check.fail(_OWNER, name, "True or False", getattr(self, name))
        for name in ("data", "prior", "perceptual", "adversarial"):
            value = getattr(self, name)
            self._set(name, None if value is None else str(check.path(_OWNER, name, value)))
        self._check_stage()
        if self.rule is None:
            self._set("rule", self._model.rule)
        if isinstance(self.rule, str):
            self._set("rule", parse(self.rule, more=_known()) if "(" in self.rule else _named(self.rule))
        self._check_rule()
        if self.quantize_from and self.quantize_from >= self.steps:
            raise check.fail(_OWNER, "quantize_from", f"below steps = {self.steps}", self.quantize_from)
        if self.latents is not None:
            self._set("latents", self._window(self.latents))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def _model(self) -> type[Autoencoder]:
        return MODELS[self.model].kind

    @property
    def _implied(self) -> set[str]:
        return {"rule"} if self.rule == self._model.rule else set()

    def _check_rule(self) -> None:
        if self._model.layer is BranchQuantize:
            self._refuse(f"with model={self.model!r}", ("codebook_dim", "estimator", "alternate"))
            BranchQuantize(self.dim, self.codes, self.rule)  # type: ignore[arg-type]  # which refuses what does not fit
        if self._model.masks:
            self._refuse(f"with model={self.model!r}, whose codes see a part of the latents", ("latents",))
        if isinstance(self.rule, Reference):
            if self._model.masks:
                raise check.fail(_OWNER, "rule", f"one of the layer's own with model={self.model!r}, which masks", self.rule)
            self.rule.check_codes(_OWNER, self.codes)
            self._refuse("with a quantizer of another package", _OWN_LAYER)
            return
        quantizer = VectorQuantize(2, self.codes, self.rule, estimator=self.estimator)  # which refuses what does not fit
        if self.alternate:
            self._check_alternation(quantizer)
        if self.replace_every is None:
            self._refuse("without replace_every", ("replace_policy",))
        if self.transport is not None:
            check_carried(_OWNER, quantizer, "rule")
        else:
            self._refuse("without transport", ("transport_images", "transport_neighbours"))

    def _check_alternation(self, quantizer: VectorQuantize) -> None:
        if not quantizer.codebook_parameters():
            raise check.fail(_OWNER, "alternate", "False with a rule that has no optimizer", self.rule)
        if quantizer._codebook.soft:
            wanted = "False with a rule that passes the decoder's gradient by itself"
            raise check.fail(_OWNER, "alternate", wanted, self.rule)
        self._refuse("with alternate, whose optimizer steps within a pass", ("replace_every",))

    def _refuse(self, where: str, names: tuple[str, ...]) -> None:
        """Of these fields anything but their default."""
        for item in fields(self):
            if item.name in names and getattr(self, item.name) != item.default:
                raise check.fail(_OWNER, item.name, f"{item.default!r} {where}", getattr(self, item.name))

    def _check_size(self) -> None:
        factor = MODELS[self.model].multiple
        if self.size % factor:
            raise check.fail(_OWNER, "size", f"a multiple of {factor}, by which the model {self.model!r} divides", self.size)

    def _check_model(self) -> None:
        if self._model is not DQVAE:
            self._refuse(f"with model={self.model!r}, which has one grain", ("gate", "budget"))
        if self.gate is not None:
            check.choice(_OWNER, "gate", self.gate, GATES)
        if self.budget is not None:
            budget = tuple(self.budget) if isinstance(self.budget, list) else self.budget
            grain_shares(_OWNER, budget, MODELS[self.model].options["grains"])
            self._set("budget", budget)

    def _check_stage(self) -> None:
        """What VQFR alone has, and what it has not; and weights of networks that are named."""
        if self._model is VQFR:
            if self.prior is None:
                raise check.fail(_OWNER, "prior", f"the folder of stage 1 with model={self.model!r}", None)
            self._refuse(f"with model={self.model!r}, whose codes stay as they are", _OF_CODES)
        else:
            self._refuse(f"with model={self.model!r}, which is trained in one stage", ("prior", "degradation"))
        if isinstance(self.degradation, str):
            self._set("degradation", parse(self.degradation, more=_BY_NAME))
        if self.degradation is not None:
            check.instance(_OWNER, "degradation", self.degradation, Degradation, "a Degradation or its text")
        for name in ("perceptual", "adversarial"):
            if getattr(self, name) is None:
                self._refuse(f"without {name}", (f"{name}_weight",))

    @property
    def model_options(self) -> dict[str, Any]:
        """What is asked of the model beside its sizes."""
        options = {
            name: getattr(self, name) for name in ("gate", "budget", "degradation") if getattr(self, name) is not None
        }
        return options | ({"seed": self.seed} if self._model is VQFR else {})

    def _window(self, latents: Any) -> tuple[int, int]:
        wanted = f"two steps, start < stop <= steps = {self.steps}"
        if not isinstance(latents, (tuple, list)) or len(latents) != 2:
            raise check.fail(_OWNER, "latents", wanted, latents)
        start, stop = (check.integer(_OWNER, "latents", step, 0) for step in latents)
        if not start < stop <= self.steps:
            raise check.fail(_OWNER, "latents", wanted, (start, stop))
        return start, stop

    @classmethod
    def parse(cls, source: str) -> TrainingConfig:
        """What `repr` has written."""
        try:
            call = ast.parse(source.strip(), mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"Cannot read {source!r} as a configuration: {error.msg}.") from None
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != cls.__name__:
            raise ValueError(f"Cannot read {source!r}: it is not a call of {cls.__name__}.")
        named = {str(keyword.arg): parse(ast.unparse(keyword.value), more=_known()) for keyword in call.keywords}
        return cls(*(parse(ast.unparse(argument), more=_known()) for argument in call.args), **named)

    @property
    def codebook_schedule(self) -> Any:
        """The rate of the codebook as a function of the update, before it falls from epoch to epoch."""
        rate = self.lr if self.codebook_lr is None else self.codebook_lr
        return rate if callable(rate) else schedules.constant(rate)

    def record_steps(self) -> set[int]:
        """After how many updates a row of the history is written."""
        records = min(self.records, self.steps)
        return {round((i + 1) * self.steps / records) for i in range(records)}


def _rate(rate: Any) -> Any:
    """A rate of the codebook, a schedule, which may be a text, or None."""
    if isinstance(rate, str) and "(" in rate:
        rate = parse(rate)
    if callable(rate):
        schedules.validate(_OWNER, "codebook_lr", rate, 0, above=True)
        return rate
    return None if rate is None else check.real(_OWNER, "codebook_lr", rate, 0, above=True)


def _known() -> dict[str, Any]:
    """What may be called beside the public names: rules of your own are known once their codebooks are."""
    return Codebook.named() | _BY_NAME


def _named(name: str) -> Rule | Reference:
    known: dict[str, type[Rule] | type[Reference]] = {**RULES, **REFERENCES}
    return known[check.choice(_OWNER, "rule", name, known)]()
