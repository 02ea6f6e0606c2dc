"""Many runs: which points there are, where they run, and the table of what came out."""

from vqtheory.sweeps.backends import Backend, Joblib, ThisProcess

__all__ = ["Backend", "Joblib", "ThisProcess"]
