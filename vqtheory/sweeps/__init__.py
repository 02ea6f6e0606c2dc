"""Many runs: which points there are, where they run, and the table of what came out."""

from vqtheory.sweeps.backends import Backend, Joblib, ThisProcess
from vqtheory.sweeps.cluster import Cluster

__all__ = ["Backend", "Cluster", "Joblib", "ThisProcess"]
