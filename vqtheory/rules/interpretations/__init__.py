"""Rules of papers that leave something open: each file begins with what that is, and with what was chosen in its place."""

from vqtheory.rules.interpretations.gritvq import GRITVQ
from vqtheory.rules.interpretations.hypervq import HyperVQ

__all__ = ["GRITVQ", "HyperVQ"]
