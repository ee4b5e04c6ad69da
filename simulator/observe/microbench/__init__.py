"""Micro-benchmarks of the machine: what a calibration is fitted to.

`measure_machine` writes one CSV a subject, in the columns of `tables.FILES`; the files of the GPU
are written only where there is one, those of links where there are several. Values are medians with
10th and 90th percentiles. Rows and staging buffers take turns, so that no repetition finds them in
a cache; CPU operators are called as training calls them, with a pause in between.

`python -m simulator.observe.microbench DIR` measures alone, without a fit.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator._extras import install
from simulator.errors import MeasurementError, OutputError, UsageError
from simulator.files import check_folder, explained, replace_file
from simulator.observe.microbench.session import Session
from simulator.observe.microbench.tables import FILES, Budget, Subject

__all__ = ["MACHINE", "measure_machine", "this_machine"]

MACHINE = "machine.json"
"""What was measured, beside the CSV files: processor, caches, memory, GPU, versions."""


def measure_machine(
    out_dir: Path,
    quick: bool = False,
    progress: Callable[[str], None] | None = None,
    only: Sequence[str] = (),
    minutes: float | None = None,
    replace: bool = False,
) -> None:
    """Measure this machine and write its files into `out_dir` (made if need be).

    `quick`: fewer sizes and repetitions, 2.5 minutes at most with a GPU; else about six.
    `progress`: called with what is measured, how long it took, and what failed. `only`: parts of
    names of subjects or files, to measure those alone. `minutes`: begin nothing after that time.
    `replace`: lose measurements that `out_dir` holds.

    A machine without a GPU, or without PyTorch, gives `micro_cpu.csv` alone; a GPU without Triton
    raises `UsageError`. `OutputError` where `out_dir` holds files or cannot be written.
    `MeasurementError` at the end where some subjects failed: what the others measured is kept.
    `UsageError` before anything is measured or lost where nothing has a name of `only`.
    """
    from simulator.observe.machine import describe_machine

    names = {MACHINE, *FILES}
    check_folder(out_dir)
    if out_dir.is_dir() and not names.issuperset(file.name for file in out_dir.iterdir()):
        raise OutputError(f"{out_dir} holds other files: choose another folder")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not replace:
        again = shlex.join(["--from", str(out_dir)])
        raise OutputError(
            f"{out_dir} holds measurements: fit those ({again}), measure into another folder "
            "(--measurements DIR), or --replace to lose them"
        )
    until = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    device = "cuda" if _gpu_there() else "cpu"
    _require_known(only, Budget(quick), device == "cuda")
    with explained(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        for stale in names:
            (out_dir / stale).unlink(missing_ok=True)
        described = json.dumps(describe_machine(device), indent=1) + "\n"
        replace_file(out_dir / MACHINE, described.encode())
    session = Session(out_dir, progress or (lambda _: None), until, only)
    _measure(session, quick, device == "cuda")
    if session.failed:
        raise _failure(session)


def _require_known(only: Sequence[str], budget: Budget, with_gpu: bool) -> None:
    """Raise `UsageError` for a name of `only` that no subject and no file has; the GPU is asked
    for its subjects only about names that the CPU's lack."""
    from simulator.observe.microbench.subjects import cpu_groups, gpu_groups, open_cpu, open_gpu

    bench = open_cpu(budget)
    unknown = _unknown(only, cpu_groups(bench)) if only else []
    if unknown and with_gpu:
        try:
            unknown = _unknown(unknown, gpu_groups(open_gpu(budget), bench))
        except Exception:  # the measurement says what is the matter with the GPU
            return
    if unknown:
        raise UsageError(f"nothing to measure is called {', '.join(unknown)}")


def _unknown(
    only: Sequence[str], groups: Mapping[str, Callable[[], Sequence[Subject]]]
) -> list[str]:
    """Names of `only` that stand in no subject's of `groups`."""
    texts = [subject.text for make in groups.values() for subject in make()]
    return [name for name in only if not any(name in text for text in texts)]


def _failure(session: Session) -> MeasurementError:
    lines = "\n".join(f"    {name}: {error}" for name, error in session.failed.items())
    return MeasurementError(
        f"{len(session.failed)} measurements failed; the others are in {session.out_dir}, to fit "
        f"with scratchpipe calibrate --from {shlex.quote(str(session.out_dir))}\n{lines}"
    )


def _measure(session: Session, quick: bool, with_gpu: bool) -> None:
    from simulator.observe.microbench.subjects import cpu_groups, gpu_groups, open_cpu, open_gpu

    bench = open_cpu(Budget(quick))
    for group, make in cpu_groups(bench).items():
        session.run(make, group)
    if with_gpu:
        try:
            groups = gpu_groups(open_gpu(bench.budget), bench)
        except Exception as error:  # what the CPU gave is kept
            session.fail("gpu", error)
            return
        for group, make in groups.items():
            session.run(make, group)


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
            f"there is a GPU but no Triton to compile its kernels: {install('lab')}, or hide the "
            "GPU with CUDA_VISIBLE_DEVICES="
        ) from None
    return True
