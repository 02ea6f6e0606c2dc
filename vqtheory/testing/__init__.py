"""Test a rule of your own: hypothesis strategies, and `check_rule`, which holds a rule to its contract.

`rule_checks` has the same checks one by one, for a test of your own.

This is the one part of the package that needs hypothesis.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError:
    raise ImportError("vqtheory.testing needs hypothesis. Install it: pip install 'hypothesis>=6.170'.") from None

from vqtheory.testing._report import Check, Failure, Report, check_rule, rule_checks
from vqtheory.testing.strategies import codebooks, drifts, latents, schedules

__all__ = ["Check", "Failure", "Report", "check_rule", "codebooks", "drifts", "latents", "rule_checks", "schedules"]
