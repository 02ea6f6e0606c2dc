"""`python -m simulations.presets`: quantizers of other packages beside the layers that `from_module` makes of them.

The small VQ-VAE on faces of 32 pixels a side, 512 codes of 16 dimensions, 400 updates of 16 images, Adam at 1e-3 for all
that has a gradient. The module of the other package ("theirs") and the layer ("ours") begin with the same weights and the
same codes, and see the same images. A training that collapses is chaotic: how far two runs may be apart that mean the same
is seen of "theirs, changed", whose encoder begins with weights larger by one part in a million. A row per run: codes used
and PSNR of 640 test images, codes used in the last 100 updates, and how far the codes are from theirs after 16 updates, in
the norm of theirs. It needs the extra torch, vector-quantize-pytorch, diffusers and VQTHEORY_DATA, and takes some minutes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
import tyro
from diffusers.models.autoencoders.vae import VectorQuantizer
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from vector_quantize_pytorch import VectorQuantize as Lucidrains

from simulations.stacks_faces import pixels
from vqtheory.nn import Replacement, VectorQuantize
from vqtheory.nn.batches import tensors
from vqtheory.nn.foreign import finder
from vqtheory.nn.models import VQVAE
from vqtheory.nn.training.data import load

CODES, DIM, SIZE, BATCH, UPDATES, RATE = 512, 16, 32, 16, 400, 1e-3
TESTED, LAST, THRESHOLD, EARLY, CHANGE = 640, 100, 2, 16, 1e-6
WAYS = ("theirs", "ours", "theirs, changed")
KINDS = ("lucidrains", "lucidrains with expiry", "diffusers")


def made(kind: str) -> nn.Module:
    """A quantizer of another package."""
    if kind == "diffusers":
        return VectorQuantizer(CODES, DIM, beta=0.25)
    expiry = {"kmeans_init": True, "threshold_ema_dead_code": THRESHOLD} if kind.endswith("expiry") else {}
    return Lucidrains(DIM, CODES, accept_image_fmap=True, **expiry)


def main(kinds: tuple[str, ...] = KINDS, updates: int = UPDATES, batch_size: int = BATCH, seed: int = 0) -> None:
    """Train the quantizers in each way, and print the table.

    Args:
        kinds: Which quantizers.
        updates: In each run.
        batch_size: Images in an update.
        seed: Of the weights, and of what theirs draw.
    """
    images = load(size=SIZE)
    train, test = pixels(np.asarray(images.train)), pixels(np.asarray(images.test[:TESTED]))
    batches = [train[np.arange(step * batch_size, (step + 1) * batch_size) % len(train)] for step in range(updates)]
    rows = []
    for kind in kinds:
        runs = {way: trained(kind, way, batches, test, seed) for way in WAYS}
        early = {way: run.pop("early") for way, run in runs.items()}
        for way, run in runs.items():
            apart = float((early[way] - early["theirs"]).norm() / early["theirs"].norm())
            rows.append({"quantizer": kind, "run": way, "apart": apart, **run})
    print(pl.DataFrame(rows))


def trained(kind: str, way: str, batches: Sequence[Tensor], test: Tensor, seed: int) -> dict[str, Any]:
    """What a run ends with, and its codes early on."""
    model, optimizer = begun(kind, way, seed)
    used: set[int] = set()
    early = torch.empty(0)
    for update, batch in enumerate(batches):
        quantized, loss, indices = passed(model.quantizer, model.encode(batch))
        optimizer.zero_grad()
        (mse_loss(model.decode(quantized), batch) + loss).backward()
        optimizer.step()
        if update >= len(batches) - LAST:
            used |= set(indices.unique().tolist())
        if update < EARLY:
            early = codes_of(model.quantizer)
    return {"used, last updates": len(used), "early": early} | tested(model, test)


def begun(kind: str, way: str, seed: int) -> tuple[VQVAE, torch.optim.Optimizer]:
    """A model before its first update, with its optimizer."""
    torch.manual_seed(seed)
    model = VQVAE.preset("small", VectorQuantize(DIM, CODES))
    quantizer = made(kind)
    if way == "ours":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the expiry, which is below
            quantizer = VectorQuantize.from_module(quantizer)
    if way == "theirs, changed":
        for weight in model.encoder.parameters():
            weight.data.mul_(1 + CHANGE)
    model.quantizer = quantizer
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    if way == "ours" and kind.endswith("expiry"):
        Replacement(quantizer, optimizer, every=1, least=THRESHOLD, policy="count")
    return model, optimizer


def codes_of(quantizer: nn.Module) -> Tensor:
    """A copy of the codes."""
    return finder("presets", quantizer)().detach().clone()


def passed(quantizer: nn.Module, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantized latents, loss and indices, wherever they are in what is returned."""
    quantized, *rest = quantizer(latents)
    loss = next(part for part in tensors(rest) if part.is_floating_point() and part.ndim == 0)
    return quantized, loss, next(part for part in tensors(rest) if not part.is_floating_point())


@torch.no_grad()
def tested(model: VQVAE, test: Tensor) -> dict[str, Any]:
    """Of test images."""
    model.eval()
    parts = [passed(model.quantizer, model.encode(part)) for part in test.split(64)]
    decoded = torch.cat([model.decode(quantized) for quantized, *_ in parts]).clamp(-1, 1)
    used = len(torch.cat([indices.reshape(-1) for *_, indices in parts]).unique())
    return {"used, test": used, "psnr": round(10 * math.log10(4 / float(mse_loss(decoded, test))), 2)}


if __name__ == "__main__":
    tyro.cli(main, prog="python -m simulations.presets")
