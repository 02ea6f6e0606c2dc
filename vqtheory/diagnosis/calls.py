"""The line that makes a change, for whose quantizer it is, to be copied into the code or the command that was diagnosed."""

from __future__ import annotations

import re

from vqtheory import rules
from vqtheory._base.config import text
from vqtheory.diagnosis.recording import Recording
from vqtheory.protocols import Rule
from vqtheory.rules.base import declared

SIMULATION, TRAINING = "vqtheory simulate", "vqtheory train"
LUCIDRAINS, DIFFUSERS, TAMING, ADAPTER = "vector_quantize_pytorch", "diffusers", "taming", "vqtheory.TamingQuantizer"
OURS = ("vqtheory", ADAPTER, SIMULATION, TRAINING)
_COMMANDS = (SIMULATION, TRAINING)
_EACH = "  # and transport.step() after each update"


def layer(recording: Recording, rule: Rule, num_codes: int | None = None) -> str:
    """Our layer with another rule, in place of the quantizer."""
    if recording.package in _COMMANDS:
        return f"{recording.package} --rule {_quoted(rule)}"
    sizes = f"dim={_width(recording)}, codebook_size={num_codes or len(recording.codes)}"
    if _width(recording) != recording.codes.shape[1]:
        sizes += f", codebook_dim={recording.codes.shape[1]}"
    kind = "stacks.Level" if _level(recording) else "VectorQuantize"
    made = f"vqtheory.nn.{kind}({sizes}, rule={_named(rule)})"
    wraps = recording.package in (DIFFUSERS, TAMING, ADAPTER)
    return f"{_place(recording)} = {f'vqtheory.nn.TamingQuantizer({made})' if wraps else made}"


def transport(recording: Recording, rule: Rule) -> str:
    """Codes that are carried."""
    if recording.package == SIMULATION:
        return layer(recording, rule)
    if recording.package == TRAINING:
        return f"{TRAINING} --transport 1"
    return f"transport = vqtheory.nn.Transport({_place(recording)}, {_encoder(recording)}, images){_EACH}"


def replacement(recording: Recording, every: int) -> str:
    """Dead codes put on latents."""
    if recording.package == TRAINING:
        return f"{TRAINING} --replace-every {every}"
    return f"vqtheory.nn.Replacement({_place(recording)}, optimizer, every={every})"


def decay(recording: Recording, rule: rules.EMA) -> str:
    """EMA with another decay."""
    if recording.package == LUCIDRAINS:
        return f"{_place(recording)}._codebook.decay = {rule.decay:g}"
    if recording.package in _COMMANDS or recording.package in ("vqtheory", ADAPTER, None):
        return layer(recording, rule)
    return f"{_place(recording)}.embedding.decay = {rule.decay:g}"


def rate(recording: Recording, value: float) -> str:
    """A learning rate of the codebook that can follow."""
    if recording.package == TRAINING:
        return f"{TRAINING} --codebook-lr {value:.2g}"
    monitor = f"vqtheory.nn.Monitor({_place(recording)}, every=5, optimizer=optimizer)"
    return f"rate = vqtheory.nn.FollowingRate({monitor})  # and rate.step(model, images) after each update"


def step_size(recording: Recording, rule: rules.VQ, factor: float) -> str:
    """A larger step of SGD."""
    if recording.package == SIMULATION:
        return layer(recording, rule)
    if recording.package == TRAINING:
        return f"{TRAINING} --codebook-lr {rule.step_size * recording.codes.shape[1] / 2:.3g}"
    return f'optimizer.param_groups[-1]["lr"] *= {factor:.3g}  # of the codebook, see vqtheory.nn.parameter_groups'


def start(recording: Recording) -> str:
    """Codes that begin on latents."""
    latents = {DIFFUSERS: f"{_parent(recording)}.encode(images).latents"}
    encoder = f"({_encoder(recording)})" if _level(recording) else _encoder(recording)
    encoded = latents.get(recording.package or "", f"{encoder}(images)")
    if recording.package == TAMING:
        encoded = f"{_parent(recording)}.quant_conv({_parent(recording)}.encoder(images))"
    return f"vqtheory.nn.start_on({_place(recording)}, {encoded})"


def fewer(recording: Recording, num_codes: int) -> str:
    """A smaller codebook."""
    match recording.package:
        case "vqtheory simulate" | "vqtheory train":
            return f"{recording.package} --codes {num_codes}"
        case "vector_quantize_pytorch":
            return f"codebook_size={num_codes}  # of your VectorQuantize"
        case "diffusers":
            return f"num_vq_embeddings={num_codes}  # of your diffusers.VQModel"
        case "taming":
            return f"n_embed: {num_codes}"
    return layer(recording, recording.rule or rules.VQ(), num_codes)


def _place(recording: Recording) -> str:
    """The quantizer, with parts of a Sequential by their numbers, as in "model[1]"."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", recording.place or "model.quantizer")


def _level(recording: Recording) -> re.Match[str] | None:
    """The place of a level in a stack of ours: the stack, the chain, and the level's number there."""
    return re.fullmatch(r"(.*)\.chains\[(\d+)\]\.levels\[(\d+)\]", _place(recording))


def _parent(recording: Recording) -> str:
    return re.sub(r"(\.\w+|\[\d+\])$", "", _place(recording)) or "model"


def _encoder(recording: Recording) -> str:
    """What gives the latents of images; of a level in a stack, its own inputs."""
    if level := _level(recording):
        stack, chain, number = level.groups()
        position = number if chain == "0" else f"{stack}.levels.index({_place(recording)})"
        return f"lambda images: {stack}.inputs({_sequence(stack)}(images))[{position}]"
    parent = _parent(recording)
    if recording.package == DIFFUSERS:
        return f"lambda images: {parent}.encode(images).latents"
    if recording.package == TAMING:
        return f"lambda images: {parent}.quant_conv({parent}.encoder(images))"
    return _sequence(_place(recording))


def _sequence(place: str) -> str:
    """What comes before a part: the parts of a Sequential before it, or the encoder of its module."""
    parent, _, behind = place.removesuffix("]").rpartition("[") if place.endswith("]") else place.rpartition(".")
    return f"{parent}[:{behind}]" if place.endswith("]") else f"{parent or 'model'}.encoder"


def _width(recording: Recording) -> int:
    return recording.width or recording.codes.shape[1]


def _named(rule: Rule) -> str:
    """The rule as the layer takes it: its key, where it is as its key makes it."""
    key, trained = declared(rule, "key"), isinstance(rule, rules.TransVQ)  # whose steps are the optimizer's
    if key and (trained or type(rule)() == rule):
        return f'"{key}"'
    return f"vqtheory.rules.{text(rule)}"


def _quoted(rule: Rule) -> str:
    return f'"{text(rule)}"'
