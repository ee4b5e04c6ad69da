"""Micro-benchmarks of the machine: what a calibration is fitted to.

`measure_machine` writes one CSV a subject, in the columns of `tables.FILES`; the files of the GPU
are written only where there is one. Values are medians with 10th and 90th percentiles. Rows and
staging buffers take turns, so that no repetition finds them in a cache; CPU operators are called as
training calls them, with a pause in between.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["measure_machine"]


def measure_machine(out_dir: Path, quick: bool = False) -> None:
    """Measure this machine and write its CSV files into `out_dir` (made if need be).

    `quick`: fewer sizes and repetitions, under two minutes. Needs PyTorch for the GPU alone: a
    machine without it, or without a GPU, gives `micro_cpu.csv`.
    """
    from simulator.observe.microbench.cpu import CpuBench, measure_cpu
    from simulator.observe.microbench.tables import Budget, write_rows

    budget = Budget(quick)
    out_dir.mkdir(parents=True, exist_ok=True)
    bench = CpuBench(budget)
    write_rows(out_dir, "micro_cpu.csv", measure_cpu(bench))
    if _gpu_there():
        from simulator.observe.microbench.gpu import measure_gpu

        for name, rows in measure_gpu(bench):
            write_rows(out_dir, name, rows)


def _gpu_there() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())
