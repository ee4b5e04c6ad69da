"""A small table trained by a system's own program, with real values.

Stages run at the times of the run on a machine (`timed`), and in an order drawn at random out of
those that the schedule allows (`random`): a window that is too small may work on one machine alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from simulator.caches import Window, policy_class, window_need
from simulator.caches.replays import Stream, run_replays
from simulator.config.assign import apply, assignments
from simulator.config.catalogue import load_named
from simulator.config.experiment import CacheConfig, PipelineConfig
from simulator.config.model import Sharding
from simulator.config.parameters import adapter_of
from simulator.config.problems import did_you_mean, validate
from simulator.config.reader import Marks, dotted
from simulator.config.tables import TablesConfig
from simulator.engine.checker import HazardReport, StaleRead, execute
from simulator.engine.durability import mlps_behind
from simulator.engine.orders import random_order
from simulator.engine.pipeline import Mode
from simulator.engine.timer import Timing, time_system
from simulator.errors import CapacityError, ConfigError, Problem, UsageError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.topology import build_topology
from simulator.systems import Job, UsedKeys, create, names, system_class, used_keys
from simulator.systems.checkpointed import Checkpointed
from simulator.traces import MiniBatch
from simulator.traces.cuts import Parts, parted

__all__ = ["HazardCase", "HazardOutcome", "run_case"]

Order = Literal["timed", "random"]
ORDERS: tuple[Order, ...] = ("timed", "random")
MOST_READS, MOST_BATCHES, MOST_ROWS = 20_000_000, 200_000, 50_000_000
"""What a check takes on: values of all rows, and every read, are in memory."""
SLOTS = 36
"""Of each table, where nothing else is said."""
SHOWN = 5
"""Stale reads listed one by one."""


@dataclass(frozen=True, slots=True)
class HazardCase:
    """Tables of `rows` rows; every mini-batch looks `batch_rows` distinct ones up in each.

    None: what the system needs, or its default. `slots`: of each table; None: `SLOTS`, or as many
    as rows where those do not hold what the system keeps.
    """

    policy: str | None = None
    window_past: int | None = None
    window_future: int | None = None
    mode: str | None = None
    rows: int = 60
    batch_rows: int = 6
    slots: int | None = None
    batches: int = 400
    seed: int = 0
    system: str = "scratchpipe"
    platform: str | None = None
    """None: one with all that the system needs."""
    tables: int = 1
    order: str = "both"
    """Of stages: `timed`, `random`, or `both`."""
    gpus: int | None = None
    sharding: Sharding = "table"
    """How tables are cut over several GPUs."""
    parameters: tuple[str, ...] = ()
    """Those of the system that differ, `key=value`."""
    tier: str | None = None
    """Memory below the processor's own that has the tables."""
    host_slots: int | None = None
    """Rows of each table that the processor's own memory keeps before that; None: none."""
    fetch_ahead: int = 1
    """Stages that the fetch of those takes where stages overlap."""


@dataclass(frozen=True, slots=True)
class HazardOutcome:
    """A case and what its run showed."""

    case: HazardCase
    window: Window
    policy: str | None
    mode: str
    reports: Mapping[Order, HazardReport]
    """What each order showed."""
    mlps_behind: int | None = None
    """Of a system with a log of its own: mini-batches by which the MLPs in it are older than its
    rows, at most, at the machine's times; None: it has none, or nobody timed it."""

    @property
    def report(self) -> HazardReport:
        """That of the first order."""
        return next(iter(self.reports.values()))

    @property
    def stale(self) -> int:
        """Stale reads of all orders."""
        return sum(len(report.stale) for report in self.reports.values())

    @property
    def behind(self) -> int:
        """Most mini-batches that a stale read of any order is behind."""
        return max(report.behind for report in self.reports.values())

    @property
    def lacking(self) -> int:
        """Most updates that a stale read of any order lacks, where they were counted."""
        return max(report.lacking for report in self.reports.values())

    @property
    def lost(self) -> int:
        """Lost updates of all orders."""
        return sum(report.lost for report in self.reports.values())

    @property
    def tables_equal(self) -> bool:
        """Whether every order ends with the tables of sequential training."""
        return all(report.tables_equal for report in self.reports.values())

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the case, counts, and the first stale reads."""
        return asdict(self.case) | {
            "policy": self.policy,
            "mode": self.mode,
            "window_past": self.window.past,
            "window_future": self.window.future,
            "trained_rows": self.report.trained_rows,
            "stale_reads": self.stale,
            "stale_reads_by_order": {
                order: len(report.stale) for order, report in self.reports.items()
            },
            "stale_by_at_most_batches": self.behind,
            "stale_by_at_most_updates": self.lacking,
            "lost_updates": self.lost,
            "tables_equal": self.tables_equal,
            "logged_mlps_behind": self.mlps_behind,
            "first_stale_reads": [asdict(read) for read in self._first()],
        }

    def _first(self) -> Sequence[StaleRead]:
        """The first stale reads of the first order that has some."""
        found = (report.stale for report in self.reports.values() if report.stale)
        return next(found, ())[:SHOWN]

    def _amount(self) -> str:
        """How stale reads are, and what is lost."""
        if self.lacking:
            return f"each lacks at most {_counted(self.lacking, 'update', 'updates')} of its row"
        behind = _counted(self.behind, "mini-batch", "mini-batches")
        return f"at most {behind} behind, {_counted(self.lost, 'update', 'updates')} lost"

    def _exactly(self) -> str:
        """How equal tables are, for people: values of the check are whole numbers."""
        claim = system_class(self.case.system).consistency
        if claim is not None and claim.result == "reordered":
            return "in exact arithmetic (floating-point sums are in another order)"
        return "bit for bit"

    def _logged(self) -> str:
        """How old the MLPs of a log are."""
        if self.mlps_behind is None:
            return ""
        behind = _counted(self.mlps_behind, "mini-batch", "mini-batches")
        return f"; the MLPs in its log are at most {behind} older than the rows"

    def sentence(self) -> str:
        """The outcome for people."""
        window, report = self.window, self.report
        orders = " and ".join(_ORDER_TEXTS[order] for order in self.reports)
        counts = " and ".join(f"{len(each.stale)}" for each in self.reports.values())
        counts = counts if self.stale else "0"
        how = [self.case.system, f"window (past {window.past}, future {window.future})"]
        how += [self.policy] if self.policy is not None else []
        how += [f"{self.case.gpus} GPUs"] if (self.case.gpus or 1) > 1 else []
        how += [f"tables cut by {self.case.sharding}"] if self.case.sharding != "table" else []
        head = (
            f"{', '.join([*how, self.mode])}: "
            f"{counts} stale reads in {report.trained_rows:,} row reads of {report.batches} "
            f"mini-batches {orders}"
        )
        if not self.stale and self.tables_equal:
            return f"{head}; the tables equal sequential training {self._exactly()}{self._logged()}"
        head += f" ({self._amount()})" if self.stale or self.lost else ""
        lines = [
            f"  mini-batch {read.batch} trained row {read.row} without {_missing(read)}"
            for read in self._first()
        ]
        return "\n".join([f"{head}; the tables differ from sequential training", *lines])


def _missing(read: StaleRead) -> str:
    if read.lacks is None:
        return f"the update of mini-batch {read.missing}"
    return _counted(read.lacks, "update", "updates")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


_ORDER_TEXTS: dict[Order, str] = {"timed": "at the machine's times", "random": "in random order"}


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


def run_case(case: HazardCase) -> HazardOutcome:
    """Replay, time and execute one case.

    Raises `UsageError` for unknown names, options that the system does not use and impossible
    sizes, `CapacityError` where the slots that were given cannot hold what the system needs; where
    none were given, and `SLOTS` cannot, there are as many as rows.
    """
    _check(case)
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
    job = Job(
        model,
        load_named("operators", config.operators),
        CacheConfig(
            policy=case.policy or "lru",
            fraction=min(1.0, (slots + 0.5) / case.rows),
            if_too_small="grow",
        ),
        PipelineConfig(window_past=case.window_past, window_future=case.window_future),
        gpus=case.gpus,
        parameters=_parameters(case),
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
    orders = {
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


def _tables(case: HazardCase) -> TablesConfig:
    """Where the tables of a case lie."""
    kept = 0.0 if case.host_slots is None else min(1.0, case.host_slots / case.rows)
    tier = {} if case.tier is None else {case.tier: 1.0}
    return TablesConfig(tier=tier, cache=kept, fetch_ahead=case.fetch_ahead)


def _need(trace: _Drawn, window: Window, scope: str, _depth: int, parts: Parts) -> tuple[int, ...]:
    """Slots that the window takes: rows of a mini-batch do not fall evenly on parts of tables."""
    tables = parted(trace, parts)
    return window_need(Stream(tables, trace.batches), tables.rows, window, scope=scope)


def _check(case: HazardCase) -> None:
    if case.system not in UsedKeys():
        raise UsageError(f"no system {case.system!r}; known: {', '.join(names())}")
    untrained = system_class(case.system).no_training
    if untrained:
        raise UsageError(f"{case.system} trains nothing that could be checked: {untrained}")
    if case.mode not in (None, "lockstep", "async"):
        raise UsageError(f"no pipeline mode {case.mode!r}: lockstep or async")
    if case.policy is not None:
        policy_class(case.policy)
    if case.sharding not in get_args(Sharding):
        raise UsageError(f"no sharding {case.sharding!r}: {', '.join(get_args(Sharding))}")
    if case.order not in (*ORDERS, "both"):
        raise UsageError(f"no order {case.order!r}: timed, random or both")
    reads = case.batches * case.batch_rows * case.tables
    for number, what, most, options in (
        (reads, "row reads", MOST_READS, "--batches, --batch-rows or --tables"),
        (case.batches, "mini-batches", MOST_BATCHES, "--batches"),
        (case.rows * case.tables, "rows", MOST_ROWS, "--rows or --tables"),
    ):
        if number > most:
            raise UsageError(
                f"{number:,} {what} are more than the {most:,} that a check keeps in memory: "
                f"lower {options}"
            )
    if case.batch_rows > case.rows:
        raise UsageError(f"{case.batch_rows} distinct rows a mini-batch of {case.rows} rows")
    if case.slots is not None and case.slots > case.rows:
        raise UsageError(f"{case.slots} slots for {case.rows} rows: the table fits")
    if case.host_slots is not None and case.tier is None:
        raise UsageError(f"--host-slots {case.host_slots} needs a --tier that has the tables")
    _refuse_unused(case)


def _refuse_unused(case: HazardCase) -> None:
    """Options that the system would ignore are an error."""
    keys = used_keys(case.system)
    if keys.uses is None:
        return
    used = keys.uses - keys.parameters(**_parameters(case)).without_use()
    options = {
        "--policy": (case.policy, "cache"),
        "--slots": (case.slots, "cache"),
        "--mode": (case.mode, "pipeline"),
        "--window-past": (case.window_past, "pipeline"),
        "--window-future": (case.window_future, "pipeline"),
        "--gpus": (case.gpus, "gpus"),
        "--tier": (case.tier, "tables"),
        "--host-slots": (case.host_slots, "tables"),
    }
    for option, (value, key) in options.items():
        if value is None or key in used or (option == "--slots" and "cache.fraction" in used):
            continue
        why = f" ({keys.refused[key]})" if key in keys.refused else ""
        raise UsageError(f"{case.system} has no use for {option} {value}{why}: leave it out")


def _parameters(case: HazardCase) -> Mapping[str, Any]:
    """The parameters of the case's system; `ConfigError` for unknown ones and bad values."""
    changes, problems = assignments(case.parameters)
    keys = used_keys(case.system)
    for change in changes:
        if change.path not in [(name,) for name in keys.own]:
            name = dotted(change.path)
            known = ", ".join(keys.own) or "none"
            hint = f"{did_you_mean(name, keys.own)} parameters of {case.system}: {known}".strip()
            problems.append(Problem(f"--set {name}", name, "unknown key", hint))
    if not problems:
        given, marks = apply({}, Marks(), changes)
        _, problems = validate(adapter_of(keys.parameters), given, marks, ())
    if problems:
        raise ConfigError(*problems)
    return dict(given)


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
