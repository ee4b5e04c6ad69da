"""The grid of an experiment: every combination of its swept values, for every system.

The work is done where configurations are resolved, so that the engine, one floor down, sees the
same points as the sweep runner.
"""

from simulator.config.expand import expand

__all__ = ["expand"]
