"""Really trains, and measures the machine it runs on.

A reference implementation of the five systems in PyTorch, on the trace, cache policy and model
that the simulator takes: correct before it is timed. Row copies on the CPU are small compiled
kernels. `run.observe` times training; `microbench.measure_machine` times single operators.

PyTorch is an extra (`pip install scratchpipe-sim[hardware]`) and is imported only when something
is measured.
"""
