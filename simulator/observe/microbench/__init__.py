"""Micro-benchmarks of the machine: what a calibration is fitted to.

`measure_machine` writes one CSV a subject, in the columns of `tables.FILES`; the files of the GPU
are written only where there is one. Values are medians with 10th and 90th percentiles. Rows and
staging buffers take turns, so that no repetition finds them in a cache; CPU operators are called as
training calls them, with a pause in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.errors import OutputError, UsageError
from simulator.files import explained, replace_file

__all__ = ["MACHINE", "measure_machine", "this_machine"]

MACHINE = "machine.json"
"""What was measured, beside the CSV files: processor, caches, memory, GPU, versions."""


def measure_machine(
    out_dir: Path, quick: bool = False, progress: Callable[[str], None] | None = None
) -> None:
    """Measure this machine and write its files into `out_dir` (made if need be).

    `quick`: fewer sizes and repetitions, under two minutes; else about five. `progress`: called
    with the name of each file before it is measured. A machine without a GPU, or without PyTorch,
    gives `micro_cpu.csv` alone; a GPU without Triton raises `UsageError`. `OutputError` where
    `out_dir` holds other files or cannot be written.
    """
    from simulator.observe.machine import describe_machine
    from simulator.observe.microbench.cpu import CpuBench, measure_cpu
    from simulator.observe.microbench.tables import FILES, Budget, write_rows

    names = {MACHINE, *FILES}
    if out_dir.is_dir() and not names.issuperset(file.name for file in out_dir.iterdir()):
        raise OutputError(f"{out_dir} holds other files: choose another folder")
    tell = progress or (lambda _: None)
    device = "cuda" if _gpu_there() else "cpu"
    with explained(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        for stale in names:
            (out_dir / stale).unlink(missing_ok=True)
        described = json.dumps(describe_machine(device), indent=1) + "\n"
        replace_file(out_dir / MACHINE, described.encode())
    tell("micro_cpu.csv")
    bench = CpuBench(Budget(quick))
    write_rows(out_dir, "micro_cpu.csv", measure_cpu(bench))
    if device == "cuda":
        from simulator.observe.microbench.gpu import measure_gpu

        for name, rows in measure_gpu(bench):
            tell(name)
            write_rows(out_dir, name, rows)


def this_machine() -> dict[str, Any]:
    """What `machine.json` would say of this machine. Raises `UsageError` as `measure_machine`."""
    from simulator.observe.machine import describe_machine

    return describe_machine("cuda" if _gpu_there() else "cpu")


def _gpu_there() -> bool:
    """Whether there is a GPU and what it takes to use it."""
    try:
        import torch
    except ImportError:
        return False
    if not torch.cuda.is_available():
        return False
    try:
        import triton  # noqa: F401
    except ImportError:
        raise UsageError(
            "there is a GPU but no Triton to compile its kernels: pip install "
            "scratchpipe-sim[hardware], or hide the GPU with CUDA_VISIBLE_DEVICES="
        ) from None
    return True
