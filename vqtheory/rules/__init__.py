"""Rules: how a codebook moves after the latents. One file per rule, the rule's whole story."""

from vqtheory.rules.affine import Affine
from vqtheory.rules.base import Rule
from vqtheory.rules.conscience import Conscience
from vqtheory.rules.cosine import CosineVQ
from vqtheory.rules.cvq import CVQ
from vqtheory.rules.ema import EMA
from vqtheory.rules.entropy import EntropyVQ
from vqtheory.rules.fscl import FSCL
from vqtheory.rules.fvq import FVQ
from vqtheory.rules.graph import GraphVQ
from vqtheory.rules.ibq import IBQ
from vqtheory.rules.interpretations import GRITVQ, HyperVQ
from vqtheory.rules.neural_gas import NeuralGas
from vqtheory.rules.nsvq import NSVQ
from vqtheory.rules.reestimate import Reestimate
from vqtheory.rules.replacement import Replacement
from vqtheory.rules.simvq import SimVQ
from vqtheory.rules.sinkhorn import Sinkhorn
from vqtheory.rules.som import SOM
from vqtheory.rules.trained import TrainedVQ
from vqtheory.rules.transport import Transport
from vqtheory.rules.transvq import TransVQ
from vqtheory.rules.vq import VQ
from vqtheory.rules.wasserstein import Wasserstein

__all__ = [
    "CVQ",
    "EMA",
    "FSCL",
    "FVQ",
    "GRITVQ",
    "IBQ",
    "NSVQ",
    "SOM",
    "VQ",
    "Affine",
    "Conscience",
    "CosineVQ",
    "EntropyVQ",
    "GraphVQ",
    "HyperVQ",
    "NeuralGas",
    "Reestimate",
    "Replacement",
    "Rule",
    "SimVQ",
    "Sinkhorn",
    "TrainedVQ",
    "TransVQ",
    "Transport",
    "Wasserstein",
]
