"""What other packages of a training are given and give: logs, callbacks, metrics, folders, codebooks and their options."""

from vqtheory.nn.integrations.logs import Scalars, scalar_log

__all__ = ["Scalars", "scalar_log"]
