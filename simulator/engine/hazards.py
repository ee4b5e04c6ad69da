"""A small table trained through ScratchPipe's plan and pipeline, with real values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import simpy

from simulator.caches import PoolPlan, Window, build_planners, plan_batches, policy_names
from simulator.config.catalogue import load_named
from simulator.config.experiment import RunConfig
from simulator.config.platform import PlatformConfig
from simulator.engine.functional import HazardReport, execute
from simulator.engine.pipeline import Mode, Span, run_pipeline, window_of
from simulator.engine.replay import counts_of
from simulator.errors import UsageError
from simulator.hardware.build import build_platform
from simulator.hardware.machine import Machine
from simulator.systems.base import Context
from simulator.systems.cached import STAGES
from simulator.systems.scratchpipe import ScratchPipe
from simulator.traces import MiniBatch

__all__ = ["HazardCase", "HazardOutcome", "run_case"]

SHOWN = 5
"""Stale reads listed one by one."""


@dataclass(frozen=True, slots=True)
class HazardCase:
    """One table of `rows` rows; every mini-batch looks `batch_rows` distinct ones up."""

    policy: str = "lru"
    window_past: int | None = None
    window_future: int | None = None
    mode: str = "lockstep"
    rows: int = 60
    batch_rows: int = 6
    slots: int = 36
    batches: int = 400
    seed: int = 0

    @property
    def window(self) -> Window:
        """The hold window: what the pipeline needs, unless given."""
        past, future = window_of(STAGES)
        return Window(
            past if self.window_past is None else self.window_past,
            future if self.window_future is None else self.window_future,
        )


@dataclass(frozen=True, slots=True)
class HazardOutcome:
    """A case and what its run found."""

    case: HazardCase
    report: HazardReport

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the case, counts, and the first stale reads."""
        window = self.case.window
        return asdict(self.case) | {
            "window_past": window.past,
            "window_future": window.future,
            "trained_rows": self.report.trained_rows,
            "stale_reads": len(self.report.stale),
            "tables_equal": self.report.tables_equal,
            "first_stale_reads": [asdict(one) for one in self.report.stale[:SHOWN]],
        }

    def sentence(self) -> str:
        """The outcome for people."""
        case, window, report = self.case, self.case.window, self.report
        head = (
            f"window (past {window.past}, future {window.future}), {case.policy}, {case.mode}: "
            f"{len(report.stale)} stale reads in {report.trained_rows:,} row reads of "
            f"{report.batches} mini-batches"
        )
        if not report.stale and report.tables_equal:
            return f"{head}; the tables equal sequential training bit for bit"
        lines = [
            f"  mini-batch {one.batch} trained row {one.row} without the update of mini-batch "
            f"{one.missing}"
            for one in report.stale[:SHOWN]
        ]
        return "\n".join([f"{head}; the tables differ from sequential training", *lines])


def run_case(case: HazardCase) -> HazardOutcome:
    """Plan, time and execute one case.

    Raises `UsageError` for unknown names and impossible sizes, `CapacityError` where the slots
    cannot hold the window.
    """
    _check(case)
    plans = _plan(case)
    return HazardOutcome(
        case, execute(plans, _time(case, plans), rows=case.rows, capacity=case.slots)
    )


def _check(case: HazardCase) -> None:
    if case.mode not in ("lockstep", "async"):
        raise UsageError(f"no pipeline mode {case.mode!r}: lockstep or async")
    if case.policy not in policy_names():
        raise UsageError(f"no policy {case.policy!r}; known: {', '.join(policy_names())}")
    if case.batch_rows > case.rows:
        raise UsageError(f"{case.batch_rows} distinct rows a mini-batch of {case.rows} rows")


def _plan(case: HazardCase) -> list[PoolPlan]:
    rng = np.random.Generator(np.random.PCG64(case.seed))
    offsets = np.arange(case.batch_rows + 1, dtype=np.int64)
    batches = [
        MiniBatch(
            index,
            (rng.choice(case.rows, case.batch_rows, replace=False).astype(np.int64),),
            (offsets,),
        )
        for index in range(case.batches)
    ]
    counts = np.bincount(np.concatenate([b.ids[0] for b in batches]), minlength=case.rows)
    planners = build_planners(
        case.policy,
        (case.rows,),
        (case.slots,),
        case.window,
        seed=case.seed,
        hottest=[np.argsort(-counts, kind="stable")[: case.slots].astype(np.int64)],
    )
    return [plan.pools[0] for plan in plan_batches(batches, planners, case.window, threads=1)]


def _time(case: HazardCase, plans: Sequence[PoolPlan]) -> tuple[Span, ...]:
    """The stages of every mini-batch on the server of the study."""
    model = load_named("models", "default").model_copy(
        update={
            "tables": 1,
            "rows_per_table": (case.rows,),
            "lookups_per_table": (1,),
            "batch_size": case.batch_rows,
        }
    )
    server: PlatformConfig = load_named("platforms", "v100_p3")
    memories = {"cpu": server.cpu.memory.load(), "gpu": server.gpu.memory.load()}
    platform = build_platform(server, memories, RunConfig(), model.row_bytes)
    profile = load_named("operators", platform.config.operators)
    system = ScratchPipe(Context(model, profile, platform.config, slots=case.slots))
    works = [
        tuple(platform.price_stage(stage) for stage in system.stages(counts_of(index, (plan,))))
        for index, plan in enumerate(plans)
    ]
    machine = Machine(simpy.Environment(), platform.turnaround, check=True)
    return run_pipeline(machine, works, cast(Mode, case.mode))
