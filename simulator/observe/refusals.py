"""What `observe` refuses before anything is drawn, planned or trained.

A point that does not fit its machine is no refusal: it says so itself when its turn comes, and the
others run. All else is found from the point, its system and the words of its program: those of a
mini-batch without lookups, and those of mini-batches in which flows have rows that may be empty
(`System.kinds`).
"""

from __future__ import annotations

from collections.abc import Callable

from simulator.caches.facts import BatchFacts
from simulator.config.point import PointConfig
from simulator.engine.sharing import build
from simulator.errors import ScratchPipeError, UsageError
from simulator.hardware.program import Stage
from simulator.observe.dataflow import Dataflow, shape_of
from simulator.observe.items import stores_of
from simulator.observe.processes import require_ranks
from simulator.observe.rows import most_threads
from simulator.observe.rules import require_rules, rules_for
from simulator.observe.rules_stock import require_operators
from simulator.observe.shares import Share
from simulator.observe.software import require_software
from simulator.observe.trainer import kinds_of
from simulator.systems import System

__all__ = ["program_of", "ranks_of", "require_trainable"]

Program = tuple[Stage, ...]

_ADVICE = (
    "leave {} out of systems, or have hybrid, static_cache, scratchpipe or gpu_only in its place"
)


def require_trainable(point: PointConfig, device: str) -> None:
    """Raise `UsageError` for a point that `observe` cannot train on `device` (`cpu`, `cuda`): of a
    kind that it does not train, or whose system has words that it has no rule for."""
    _require_kind(point)
    require_operators(point)
    if len(point.model.tables_by_dim) > 1:
        raise UsageError(
            "observe trains tables of one dim, whose rows lie in one array: --set model.dim=64"
        )
    ranks = point.system.gpus or ranks_of(point)
    require_software(point.operators, ranks)
    if ranks > 1:
        require_ranks(point, device, ranks)
    try:
        system, machine = build(point)
    except ScratchPipeError:
        return
    try:
        _require_system(system, point, kinds_of(machine))
    except UsageError as error:
        raise UsageError(f"{error} ({_ADVICE.format(point.system.title)})") from error


def program_of(point: PointConfig) -> tuple[Program, Callable[[str], str]] | None:
    """The stages of a mini-batch without lookups, as the first process does them, and the kinds of
    places; None where the point does not fit its machine."""
    try:
        system, machine = build(point)
    except ScratchPipeError:
        return None
    facts = BatchFacts.of_nothing(point.model.batch_size)
    return _stages(system, facts), kinds_of(machine)


def ranks_of(point: PointConfig) -> int:
    """GPUs that the system of a point takes; 1 where the point does not fit its machine."""
    try:
        return build(point)[0].gpus
    except ScratchPipeError:
        return 1


def _require_kind(point: PointConfig) -> None:
    """Refuse what is no training of rows in memory by the threads of one pool."""
    if (point.run.cpu_threads or 0) > most_threads():
        raise UsageError(
            f"run.cpu_threads is {point.run.cpu_threads}, but this process may use "
            f"{most_threads()} cores: --set run.cpu_threads={most_threads()}"
        )
    if point.run.mode != "training":
        raise UsageError("observe trains: --set run.mode=training")
    if point.pipeline.cpu_pool != "shared":
        raise UsageError(
            "observe moves rows with one shared pool of threads: --set pipeline.cpu_pool=shared"
        )
    if point.load is not None:
        raise UsageError("observe trains mini-batches that lie in memory: leave out load")
    if point.checkpoint is not None:
        raise UsageError("observe writes no check-points: leave out checkpoint")
    if point.tables.tier:
        raise UsageError(
            "observe trains tables in one memory of the host: leave out tables.tier, or bind the "
            "process to the memory that is meant (numactl --membind)"
        )


def _require_system(system: System, point: PointConfig, kind_of: Callable[[str], str]) -> None:
    """Refuse stages that wait for more than a cycle, mini-batches of several kinds, rows that lie
    more than once or elsewhere, and words without a rule."""
    title = point.system.title
    if system.unobserved:
        raise UsageError(f"observe does not train {title}: {system.unobserved}")
    if len(system.kinds) > 1:
        raise UsageError(
            f"observe trains mini-batches that all do the same; those of {title} are "
            f"of {len(system.kinds)} kinds"
        )
    if system.schedule.order("lockstep") not in ("serial", "lockstep"):
        raise UsageError(
            f"observe runs stages in turn or in lock-step cycles; those of {title} "
            "wait for what its schedule names"
        )
    samples = point.model.batch_size
    nothing = BatchFacts.of_nothing(samples)
    program = _stages(system, nothing)
    fullest = _stages(system, BatchFacts.of_nothing(samples, *system.kinds[0]))
    for each in (program, fullest):
        _require_tables(title, each, kind_of)
        require_rules(each, kind_of, rules_for(point.operators))
    if shape_of(program) != shape_of(fullest):
        raise UsageError(
            f"observe trains mini-batches that all do the same; those of {title} do more where "
            f"there are rows of {' or '.join(system.kinds[0])}"
        )
    share = Share.of_one(point.model) if system.gpus == 1 else Share(point.model, system.placed)
    Dataflow([program], [nothing], share, kind_of)


def _require_tables(title: str, program: Program, kind_of: Callable[[str], str]) -> None:
    """Rows lie in the host's memory or on the GPU."""
    elsewhere = sorted(m for m in stores_of(program) if kind_of(m) not in ("cpu", "gpu"))
    if elsewhere:
        raise UsageError(
            f"observe keeps rows in memory of the host or of the GPU, but those of {title} lie in "
            f"{elsewhere[0]}"
        )


def _stages(system: System, facts: BatchFacts) -> Program:
    """As the first process does them."""
    alone = system.gpus == 1 or not system.placed
    return system.stages(facts) if alone else system.rank_stages(facts, 0)
