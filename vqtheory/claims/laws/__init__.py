"""The claims, one file per law."""
