"""The command line: one module per command."""

from precbench.cli.app import main

__all__ = ["main"]
