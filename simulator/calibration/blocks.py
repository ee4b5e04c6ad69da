"""Which parameters are fitted, to which points, in which order.

A block holds parameters that the same points decide. Later blocks see the results of earlier
ones; streams before rows before contention, because each builds on the bandwidths of the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from simulator.calibration.sockets import CPU, GPU, LINK
from simulator.config.operators import OperatorProfile

__all__ = ["BLOCKS", "Block", "Parameter"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number under `platform.` or `operators.`, searched on a logarithmic scale."""

    path: str
    start: float
    """Where the search starts, whatever the base platform says: fits must not depend on it."""
    low: float
    high: float
    physical: Literal["low", "high", "both", ""] = ""
    """Which of its limits physics sets (a share of 1): an optimum there is an answer. On any other
    limit the measurements do not decide the number, which is an error."""
    decided_by: str = ""
    """The measurement that would decide it, where these do not: for the error's message."""


@dataclass(frozen=True, slots=True)
class Block:
    """Parameters fitted together to the points of some operators."""

    name: str
    operators: tuple[str, ...]
    """Operators of the residual table whose points decide."""
    parameters: tuple[Parameter, ...]
    beside: tuple[str, ...] = ()
    """Operators whose points count, too, so that the fit does not spoil them; they alone decide
    nothing."""
    when: Callable[[OperatorProfile], bool] | None = None
    """Software for which these numbers can be told from others; None: any."""


def _hidden(software: OperatorProfile) -> bool:
    """Instructions of its row kernels hide behind L2, whose bandwidth they show."""
    return not software.gpu.pool_line_time


def _not_hidden(software: OperatorProfile) -> bool:
    return not _hidden(software)


def _bandwidth(path: str, gbps: float) -> Parameter:
    return Parameter(path, gbps * 1e9, 1e8, 1e14)


def _time(path: str, ns: float, low_ns: float = 0.1) -> Parameter:
    return Parameter(path, ns * 1e3, low_ns * 1e3, 1e9)


def _cost(path: str, ns: float) -> Parameter:
    """A time that may be none."""
    return Parameter(path, ns * 1e3, 1.0, 1e9, physical="low")


def _share(path: str, start: float) -> Parameter:
    return Parameter(path, start, 0.02, 1.0, physical="high")


_PATH = f"{CPU}.memory_path"
_NETWORKS = "micro_mlp.csv with rows of other networks (`network`: wide, vectors, many)"

BLOCKS: tuple[Block, ...] = (
    Block(
        "CPU streams",
        ("cpu stream read", "cpu stream write nt"),
        (
            _bandwidth(f"{CPU}.sequential_bandwidth", 12),
            _bandwidth(f"{CPU}.nontemporal_bandwidth", 20),
            _bandwidth(f"{_PATH}.sequential_read", 150),
            _bandwidth(f"{_PATH}.write", 180),
        ),
    ),
    Block(
        "CPU reads",
        ("cpu pooled gather", "cpu gather", "cpu gather, few rows"),
        (
            _time("operators.gather_reduce.row_time", 8),
            _share("operators.gather_reduce.overlap", 0.75),
            _bandwidth(f"{_PATH}.random_read", 110),
            _time("operators.gather.row_time", 8),
            _share("operators.gather.overlap", 0.75),
            _time(f"{CPU}.thread_start", 20_000, 100),
        ),
    ),
    Block(
        "CPU writes",
        ("cpu scatter", "cpu scatter, few rows", "cpu gather and scatter"),
        (_time("operators.row_scatter.line_time", 1.0, 0.05),),
    ),
    Block(
        "CPU sort",
        ("cpu sort",),
        (_time("operators.sort.row_time", 3),),
    ),
    Block(
        "CPU update",
        ("cpu update", "cpu pooled gather"),
        (
            _time(f"{CPU}.last_level_latency", 30, 5),
            _share("operators.accumulate.overlap", 0.75),
            _bandwidth(f"{_PATH}.write_back", 120),
        ),
    ),
    Block(
        "CPU update with state",
        ("cpu update with state",),
        (
            _cost("operators.optimizer_steps.adagrad_line_time", 10),
            _cost("operators.optimizer_steps.rowwise_adagrad_line_time", 5),
        ),
    ),
    Block(
        "GPU kernels",
        (
            "gpu gather",
            "gpu scatter",
            "gpu gather, short rows",
            "gpu scatter, short rows",
            "gpu pooled gather",
            "gpu update",
            "gpu gather, few rows",
            "gpu scatter, few rows",
            "gpu pooled gather, few rows",
            "gpu update, few rows",
        ),
        (
            _time(f"{GPU}.kernel_latency", 4700, 100),
            _time(f"{GPU}.dependent_access", 1000, 50),
            _bandwidth(f"{GPU}.l2_bandwidth", 6300),
        ),
        when=_hidden,
    ),
    Block(
        "GPU kernels",
        (
            "gpu pooled gather",
            "gpu update",
            "gpu pooled gather, few rows",
            "gpu gather, few rows",
            "gpu scatter, few rows",
        ),
        (
            _time(f"{GPU}.kernel_latency", 4700, 100),
            _cost("operators.gpu.pool_line_time", 5),
            _cost("operators.gpu.update_line_time", 5),
            _cost("operators.gpu.update_pair_time", 18),
            _cost("operators.gpu.update_repeat_time", 30),
        ),
        when=_not_hidden,
    ),
    Block(
        "GPU copies of short rows",
        ("gpu gather, short rows", "gpu scatter, short rows"),
        (_cost("operators.gpu.row_time", 10),),
        when=_not_hidden,
    ),
    Block(
        "GPU sort",
        ("gpu sort",),
        (
            _time(f"{GPU}.sort_pass_latency", 11_000, 100),
            Parameter(f"{GPU}.sort_rate", 150e9, 1e8, 1e14),
        ),
    ),
    Block(
        "GPU Plan",
        ("gpu plan",),
        (Parameter(f"{GPU}.random_access_rate", 16e9, 1e8, 1e13),),
        when=_hidden,
    ),
    Block(
        "GPU Plan",
        ("gpu plan",),
        (
            _cost("operators.gpu.plan_slot_time", 0.1),
            _cost("operators.gpu.plan_lookup_time", 0.2),
        ),
        when=_not_hidden,
    ),
    *(
        Block(
            f"MLPs in {precision}",
            (f"mlp {precision}",),
            (
                _share(f"{GPU}.products.{precision}.efficiency", 0.6),
                _time(f"{GPU}.products.{precision}.kernel_latency", 5000, 100),
                Parameter(
                    f"{GPU}.products.{precision}.batched", 2e13, 1e9, 1e15, decided_by=_NETWORKS
                ),
                Parameter(
                    f"{GPU}.products.{precision}.selection", 4e9, 1e6, 1e13, decided_by=_NETWORKS
                ),
            ),
        )
        for precision in ("fp32", "tf32", "fp16", "bf16")
    ),
    Block(
        "copies",
        ("copies",),
        (
            _time(f"{LINK}.latency", 7000, 100),
            Parameter(f"{LINK}.flow_control", 0.033, 1e-3, 0.5),
        ),
    ),
    Block(
        "copies both ways",
        ("copies both ways",),
        (Parameter(f"{LINK}.acknowledgements", 0.05, 1e-3, 0.5),),
    ),
    Block(
        "kernels beside copies",
        ("slowdown of hbm",),
        (Parameter(f"{LINK}.queue", 256e3, 1e3, 1e8, physical="low"),),
    ),
    Block(
        "copies beside the CPU",
        (
            "copies h2d beside cpu",
            "copies h2d beside hbm",
            "slowdown of cpu",
            "copies of several GPUs",
        ),
        (
            _time(f"{LINK}.read_latency", 1000, 10),
            _bandwidth(f"{CPU}.device_path.read", 190),
            _bandwidth(f"{CPU}.device_path.write", 160),
        ),
        beside=("copies",),
    ),
)
