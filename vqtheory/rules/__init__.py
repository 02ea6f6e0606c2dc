"""Rules: how a codebook moves after the latents. One file per rule, the rule's whole story."""

from vqtheory.rules.base import Rule
from vqtheory.rules.conscience import Conscience
from vqtheory.rules.cosine import CosineVQ
from vqtheory.rules.cvq import CVQ
from vqtheory.rules.ema import EMA
from vqtheory.rules.fscl import FSCL
from vqtheory.rules.neural_gas import NeuralGas
from vqtheory.rules.nsvq import NSVQ
from vqtheory.rules.simvq import SimVQ
from vqtheory.rules.som import SOM
from vqtheory.rules.trained import TrainedVQ
from vqtheory.rules.transport import Transport
from vqtheory.rules.transvq import TransVQ
from vqtheory.rules.vq import VQ

__all__ = [
    "CVQ",
    "EMA",
    "FSCL",
    "NSVQ",
    "SOM",
    "VQ",
    "Conscience",
    "CosineVQ",
    "NeuralGas",
    "Rule",
    "SimVQ",
    "TrainedVQ",
    "TransVQ",
    "Transport",
]
