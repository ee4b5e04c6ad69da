"""The command line: `scratchpipe`."""

from simulator.cli.app import main

__all__ = ["main"]
