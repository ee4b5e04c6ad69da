"""The pipeline on its machine, compiled: what `run_pipeline` does in SimPy, event for event.

A line of `simulator.engine.pipeline`, `submission` and `hardware.machine` that yields stands here
as a step of a process: each process remembers the step at which it goes on. Events are ordered as
SimPy orders them (time, processes that begin first, then who was scheduled first), and sums are
made in the same order, so that spans and use are those of SimPy to the last bit;
`tests/engine/test_clockwork.py` holds that. What it does not take (`UncompiledError`) is left to
SimPy.

`m` and `x` are the words of a run as integers and as floats (`simulator.engine.memory`).
"""

from simulator.engine.clockwork.run import run_clockwork

__all__ = ["run_clockwork"]
