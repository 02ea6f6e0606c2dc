"""What all tests of a diagnosis share."""

import pytest


@pytest.fixture(autouse=True)
def short_replays(monkeypatch):
    """A ranking that a text asks for takes a moment, and not two seconds."""
    monkeypatch.setattr("vqtheory.diagnosis.findings.SECONDS", 0.2)
