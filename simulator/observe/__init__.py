"""Really trains, and measures the machine it runs on.

Executes the program of a system in PyTorch and compiled kernels, on the trace, cache policy and
model that the simulator takes: correct before it is timed. `inputs` replays the trace, `dataflow`
finds what the words of the program hand to each other, `workspace` holds the memory, `rules` bind
each word to it, `runner` keeps the schedule. `run.observe` times training;
`microbench.measure_machine` times single operators.

PyTorch is an extra (`lab`) and is imported only when something
is measured.
"""
