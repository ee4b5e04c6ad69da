"""Compares what was observed on a real machine with what the simulator says of it.

`compare.compare` simulates the experiments of run directories that `scratchpipe observe` wrote;
`page.write_page` writes what came out as Markdown with figures. Nothing here is fitted.
"""
