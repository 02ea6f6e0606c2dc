"""`python -m simulations.stacks_faces`: a residual stack of 8 levels of 1,024 codes in a small VQ-VAE on faces.

400 updates of 16 images of 32 pixels a side, 16 dimensions, Adam at 1e-3 for all that has a gradient; the stack starts on
the latents of 64 images. With "carried" the first level rides on the encoder by `vqtheory.nn.Transport`. A row per run and
level: codes used and perplexity among the latents of 640 test images, PSNR of these by so many levels, the distinct tuples
of the whole stack, and, of what a `Monitor` of the model has seen, the level's spread in the end, its speed and the speed
over the spread, over the first half of the updates and over all. Without the carrying there is also a replay of the rule
alone on the inputs that each level was given of 32 images, as in `simulations.stacks`, beside the count of the stack on the
same latents, and the dimensions that the inputs fill, over the first half of the updates. It needs the extra torch and
VQTHEORY_DATA. A run that is in the table is kept, so that it goes on where it was stopped.
"""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import torch
import tyro
from torch import Tensor
from torch.nn.functional import mse_loss

from simulations.stacks import replayed
from simulations.tables import DATA, write
from vqtheory.diagnosis.motion import motion_of
from vqtheory.nn import Monitor, ResidualQuantize, Transport, tuple_usage
from vqtheory.nn.models import VQVAE
from vqtheory.nn.ops.mode import evaluating
from vqtheory.nn.ops.search import assign
from vqtheory.nn.training.data import load
from vqtheory.protocols import Rule
from vqtheory.rules import EMA, NSVQ, TrainedVQ

PATH = DATA / "stacks_faces.parquet"
LEVELS, CODES, DIM, SIZE, BATCH = 8, 1024, 16, 32, 16
UPDATES, EVERY, RATE = 400, 20, 1e-3
STARTING, TESTED, PROBED, SHOWN = 64, 640, 32, 5  # images; updates from one frame of a replay to the next
RULES: dict[str, Rule] = {"vq": TrainedVQ(RATE), "ema": EMA(), "nsvq": NSVQ()}  # as the simulator has them


def main(updates: int = UPDATES) -> None:
    """Train what is not in the table yet, a few minutes for each run, and write it.

    Args:
        updates: In each run.
    """
    rows = pl.read_parquet(PATH).to_dicts() if PATH.is_file() else []
    if {row["updates"] for row in rows} - {updates}:
        raise SystemExit(
            f"{PATH} has runs of {rows[0]['updates']} updates, not of {updates}: delete it to have it made anew."
        )
    done = {(row["rule"], row["carried"]) for row in rows}
    images = load(size=SIZE)
    train, test = (pixels(np.asarray(part)) for part in (images.train[: updates * BATCH + STARTING], images.test[:TESTED]))
    for carried, rule in product((False, True), RULES):
        if (rule, carried) in done:
            continue
        began = time.monotonic()
        rows += trained(rule, carried, train, test, updates)
        write(PATH, pl.DataFrame(rows, infer_schema_length=None), time.monotonic() - began, ("torch",))
        print(pl.DataFrame(rows[-LEVELS:]).select("rule", "carried", "level", "used", "on_probe", "replayed", "psnr"))


def pixels(images: np.ndarray) -> Tensor:
    """Images uint8 [N, H, W, 3] as [N, 3, H, W] in [-1, 1]."""
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def trained(rule: str, carried: bool, train: Tensor, test: Tensor, updates: int) -> list[dict]:
    """The rows of a run."""
    torch.manual_seed(0)
    stack = ResidualQuantize(DIM, CODES, LEVELS, rule)
    model = VQVAE.preset("small", stack)
    with torch.no_grad():
        stack.initialize(model.encode(train[:STARTING]))
    first, frames = [codes.numpy().copy() for codes in stack.codebooks], []
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    monitor = Monitor(model, every=EVERY, optimizer=optimizer if rule == "vq" else None)
    transport = Transport(stack.levels[0], model.encode, train[:BATCH]) if carried else None
    for update in range(updates + 1):
        if transport is not None:
            transport.step()
        images = train[STARTING:][update * BATCH % (len(train) - STARTING) :][:BATCH]
        output = model(images)
        optimizer.zero_grad()
        (mse_loss(output.images, images) + output.quantized.loss).backward()
        if update < updates:
            optimizer.step()
        monitor.step(model, train[:BATCH])
        if update % SHOWN == 0 and not carried:
            frames.append(inputs(model, stack, train[:PROBED]))
    run = {"rule": rule, "carried": carried, "updates": updates, "on_probe": None, "replayed": None, "dimension": None}
    rows = [run | row | moved(monitor, level) for level, row in enumerate(tested(model, stack, test))]
    for row, level, codes, last in zip(rows, zip(*frames, strict=True), first, stack.codebooks, strict=False):
        used = len(assign(torch.from_numpy(level[-1]), last).unique())
        row |= {"on_probe": used, "replayed": replayed(RULES[rule], np.stack(level), codes)}
        row |= {
            "dimension": float(motion_of(np.stack(level[: len(level) // 2]), np.arange(len(level) // 2)).dimension.mean())
        }
    return rows


def inputs(model: VQVAE, stack: ResidualQuantize, images: Tensor) -> list[np.ndarray]:
    """What each level is given of images, without a trace in the training."""
    with torch.no_grad(), evaluating(model):
        return [rows.numpy().copy() for rows in stack.inputs(model.encode(images))]


@torch.no_grad()
def tested(model: VQVAE, stack: ResidualQuantize, test: Tensor) -> list[dict[str, Any]]:
    """What each level has of test images."""
    model.eval()
    indices = torch.cat([stack(model.encode(part)).indices for part in test.split(64)])
    usage = tuple_usage(indices)
    rows = []
    for level in range(LEVELS):
        decoded = [model.decode(stack.decode(part[..., : level + 1])) for part in indices.split(64)]
        error = float(mse_loss(torch.cat(decoded).clamp(-1, 1), test))
        row = {"level": level, "used": usage.used[level], "perplexity": usage.levels[level]}
        rows.append(row | {"psnr": float(10 * np.log10(4 / error)), "tuples": usage.share})
    return rows


def moved(monitor: Any, level: int) -> dict[str, float]:
    """Spread and speed of a level's own input, and how many spreads it moves per update."""
    seen = monitor.table.filter(layer=monitor.names[level])
    relative = (seen["speed"] / seen["spread"]).drop_nulls()
    early = relative[: len(relative) // 2]
    numbers = {"spread": seen["spread"][-1], "speed": seen["speed"].drop_nulls().mean()}
    return numbers | {"relative": relative.mean(), "relative_early": early.mean()}


if __name__ == "__main__":
    tyro.cli(main, prog="python -m simulations.stacks_faces")
