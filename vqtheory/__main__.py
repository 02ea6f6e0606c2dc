"""`python -m vqtheory`: the same as the command `vqtheory`."""

from vqtheory.cli.app import main

if __name__ == "__main__":
    raise SystemExit(main())
