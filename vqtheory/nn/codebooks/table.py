"""Which codebook a rule has."""

from __future__ import annotations

from vqtheory import rules
from vqtheory.nn.codebooks.base import Codebook
from vqtheory.nn.codebooks.cosine import CosineCodebook
from vqtheory.nn.codebooks.ema import EMACodebook
from vqtheory.nn.codebooks.maps import MapCodebook
from vqtheory.nn.codebooks.nsvq import NSVQCodebook

CODEBOOKS: dict[type, type[Codebook]] = {
    rules.VQ: Codebook,
    rules.EMA: EMACodebook,
    rules.NSVQ: NSVQCodebook,
    rules.TransVQ: MapCodebook,
    rules.SimVQ: MapCodebook,
    rules.CosineVQ: CosineCodebook,
}


RULES = {"vq": rules.VQ, "ema": rules.EMA, "nsvq": rules.NSVQ, "transvq": rules.TransVQ, "simvq": rules.SimVQ}
