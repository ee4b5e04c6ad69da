"""A small table trained by a system's own program, with real values.

Stages run at the times of the run on a machine (`timed`), and in an order drawn at random out of
those that the schedule allows (`random`): a window that is too small may work on one machine alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import cast

import numpy as np
import numpy.typing as npt

from simulator.caches import Window, window_need
from simulator.caches.replays import Stream, run_replays
from simulator.config.catalogue import load_named
from simulator.config.sections import CacheConfig, PipelineConfig
from simulator.config.tables import TablesConfig
from simulator.engine.checker import execute
from simulator.engine.durability import mlps_behind
from simulator.engine.hazard_case import ORDERS, SLOTS, HazardCase, check, parameters_of
from simulator.engine.hazard_outcome import HazardOutcome
from simulator.engine.orders import random_order
from simulator.engine.pipeline import Mode
from simulator.engine.run_spans import Span
from simulator.engine.timer import Timing, time_system
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, create, system_class
from simulator.systems.checkpointed import Checkpointed
from simulator.traces import MiniBatch
from simulator.traces.cuts import Parts, parted

__all__ = ["HazardCase", "HazardOutcome", "run_case"]


def run_case(case: HazardCase) -> HazardOutcome:
    """Replay, time and execute one case.

    Raises `UsageError` for unknown names, options that the system does not use and impossible
    sizes, `CapacityError` where the slots that were given cannot hold what the system needs; where
    none were given, and `SLOTS` cannot, there are as many as rows.
    """
    check(case)
    platform = case.platform or system_class(case.system).shown_on
    case = replace(case, platform=platform)
    if case.slots is not None:
        return _run(case, case.slots)
    try:
        return _run(case, SLOTS)
    except CapacityError:
        return _run(case, case.rows)


def _run(case: HazardCase, slots: int) -> HazardOutcome:
    trace = _drawn(case)
    model = load_named("models", "default").changed(
        tables=case.tables,
        rows_per_table=trace.rows,
        lookups_per_table=1,
        batch_size=case.batch_rows,
        sharding=case.sharding,
    )
    config = load_machine(case.platform or "")
    machine = build_topology(config, model.row_bytes)
    _require_tier(case.tier, machine)
    job = Job(
        model,
        load_named("operators", config.operators),
        CacheConfig(
            policy=case.policy or "lru",
            fraction=min(1.0, (slots + 0.5) / case.rows),
        ),
        PipelineConfig(window_past=case.window_past, window_future=case.window_future),
        gpus=case.gpus,
        parameters=parameters_of(case),
        seed=case.seed,
        batches=case.batches,
        check=True,
        keep=range(case.batches),
        trace=trace,
        tables=_tables(case),
        window_need=None if case.sharding == "table" else partial(_need, trace),
    )
    system = create(case.system, job, machine)
    log = system.checkpoint
    if log is not None:
        system = Checkpointed(system, log, job, machine)
    stream = Stream(trace, case.batches)
    tables = parted(trace, system.replay.parts)
    facts = run_replays(stream, [system.replay], threads=1)[system.replay].facts
    mode = cast(Mode, case.mode or "lockstep")
    timing = Timing(job.software, mode, 0, case.batches - 1, check=True)
    schedule = system.schedule
    shown, waits, beside = schedule.order(mode), schedule.waits, schedule.beside
    drawn = partial(random_order, len(facts), len(schedule.names), shown, case.seed, waits)
    orders: dict[str, Callable[[], Sequence[Span]]] = {
        "timed": lambda: time_system(system, machine, facts, timing).spans,
        "random": lambda: drawn(beside=beside),
    }
    spans = {order: orders[order]() for order in ORDERS if case.order in (order, "both")}
    reports = {
        order: execute(
            [system.stages(batch) for batch in facts],
            own,
            rows=sum(tables.rows),
            slots=sum(system.replay.slots),
            resident=system.replay.resident(tables),
        )
        for order, own in spans.items()
    }
    window = getattr(system.replay, "window", Window(0, 0))
    timed = spans.get("timed")
    behind = None if log is None or timed is None else mlps_behind(timed, log.every, beside.logged)
    return HazardOutcome(case, window, system.replay.policy, shown, reports, behind)


def _require_tier(tier: str | None, machine: Topology) -> None:
    """A machine with the memory that is asked for."""
    if tier is None:
        return
    try:
        machine.memory(tier)
    except ConfigError as error:
        raise UsageError(
            f"--tier {tier}: {error}: name a machine that has it with --platform, such as ssd_v100"
        ) from error


def _tables(case: HazardCase) -> TablesConfig:
    """Where the tables of a case lie."""
    kept = 0.0 if case.host_slots is None else min(1.0, case.host_slots / case.rows)
    tier = {} if case.tier is None else {case.tier: 1.0}
    return TablesConfig(tier=tier, cache=kept, fetch_ahead=case.fetch_ahead)


def _need(trace: _Drawn, window: Window, scope: str, _depth: int, parts: Parts) -> tuple[int, ...]:
    """Slots that the window takes: rows of a mini-batch do not fall evenly on parts of tables."""
    tables = parted(trace, parts)
    return window_need(Stream(tables, trace.batches), tables.rows, window, scope=scope)


@dataclass(frozen=True)
class _Drawn:
    """Mini-batches of distinct rows of each table, as a trace."""

    minibatches: Sequence[MiniBatch]
    rows: tuple[int, ...]

    has_time_order = False
    past = 0

    @property
    def batches(self) -> int:
        return len(self.minibatches)

    def minibatch(self, index: int) -> MiniBatch:
        return self.minibatches[index]

    @cached_property
    def _by_count(self) -> list[npt.NDArray[np.int64]]:
        """The rows of each table, the most accessed first."""
        orders = []
        for table, rows in enumerate(self.rows):
            ids = np.concatenate([batch.ids[table] for batch in self.minibatches])
            counts = np.bincount(ids, minlength=rows)
            orders.append(np.argsort(-counts, kind="stable").astype(np.int64))
        return orders

    def hottest(self, table: int, count: int, share: float = 1.0) -> npt.NDArray[np.int64]:
        del share
        return self._by_count[table][:count]

    def fingerprint(self) -> str:
        return ""


def _drawn(case: HazardCase) -> _Drawn:
    rng = np.random.Generator(np.random.PCG64(case.seed))
    offsets = np.arange(case.batch_rows + 1, dtype=np.int64)
    batches = []
    for index in range(case.batches):
        ids = tuple(
            rng.choice(case.rows, case.batch_rows, replace=False).astype(np.int64)
            for _ in range(case.tables)
        )
        batches.append(MiniBatch(index, ids, (offsets,) * case.tables))
    return _Drawn(batches, (case.rows,) * case.tables)
