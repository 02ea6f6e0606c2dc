"""Rules: how a codebook moves after the latents. One file per rule, the rule's whole story."""

from vqtheory.rules.base import Rule
from vqtheory.rules.cosine import CosineVQ
from vqtheory.rules.cvq import CVQ
from vqtheory.rules.ema import EMA
from vqtheory.rules.nsvq import NSVQ
from vqtheory.rules.simvq import SimVQ
from vqtheory.rules.trained import TrainedVQ
from vqtheory.rules.transport import Transport
from vqtheory.rules.transvq import TransVQ
from vqtheory.rules.vq import VQ

__all__ = ["CVQ", "EMA", "NSVQ", "VQ", "CosineVQ", "Rule", "SimVQ", "TrainedVQ", "TransVQ", "Transport"]
