"""What to check for hazards, and what of it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from simulator.caches import policy_class
from simulator.config.assign import apply, assignments
from simulator.config.model import Sharding
from simulator.config.parameters import adapter_of
from simulator.config.problems import did_you_mean, validate
from simulator.config.reader import Marks, dotted
from simulator.errors import ConfigError, Problem, UsageError
from simulator.systems import UsedKeys, names, system_class, used_keys

__all__ = ["ORDERS", "HazardCase", "Order", "check", "parameters_of"]

Order = Literal["timed", "random"]
ORDERS: tuple[Order, ...] = ("timed", "random")
MOST_READS, MOST_BATCHES, MOST_ROWS = 20_000_000, 200_000, 50_000_000
"""What a check takes on: values of all rows, and every read, are in memory."""
SLOTS = 36
"""Of each table, where nothing else is said."""


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


def check(case: HazardCase) -> None:
    """`UsageError` for unknown names, options that the system does not use and impossible sizes."""
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
    used = keys.uses - keys.parameters(**parameters_of(case)).without_use()
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


def parameters_of(case: HazardCase) -> Mapping[str, Any]:
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
