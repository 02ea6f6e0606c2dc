"""What other packages of a training are given: their logs, so far."""

from vqtheory.nn.integrations.logs import Scalars, scalar_log

__all__ = ["Scalars", "scalar_log"]
