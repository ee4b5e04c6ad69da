"""What points share: the mini-batches of a trace, and the cache replays of them."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.caches.replays import Kept
from simulator.config.memo import by_identity
from simulator.config.point import PointConfig, canonical_json
from simulator.config.problems import did_you_mean
from simulator.config.tables import OWN_MEMORY
from simulator.config.trace import FileTraceConfig
from simulator.config.transform import summed
from simulator.errors import ConfigError, Problem, ScratchPipeError
from simulator.hardware.devices.loader import Loader
from simulator.hardware.loading import LOADER
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, System, create, names, system_class, used_keys
from simulator.systems.base import WindowNeed
from simulator.systems.checkpointed import Checkpointed
from simulator.systems.inference import ForwardOnly
from simulator.systems.loaded import Loaded
from simulator.traces import Trace, bags_of
from simulator.traces.replay import Place

__all__ = [
    "SHARED_TAIL",
    "build",
    "job_of",
    "kept_batches",
    "sampled_batches",
    "tail_of",
]
__all__ += ["machine_of", "misfits", "place_of", "placed", "plans_a_cache", "replay_key"]
__all__ += ["trace_key"]

SHARED_TAIL = 6
"""Least mini-batches after the timed ones, so that the last of them still shares the machine: as
many as the pipeline of the study holds, for all systems, so that those of one experiment draw the
same mini-batches. A deeper pipeline has as many as it holds."""


_ALL = range(2**62)


def tail_of(depth: int) -> int:
    """Mini-batches after the timed ones, for a pipeline that holds `depth`."""
    return max(SHARED_TAIL, depth)


@by_identity
def trace_key(point: PointConfig) -> str:
    """Equal for points that see the same mini-batches, but for how many follow the timed ones."""
    model, run = point.model, point.run
    return canonical_json(
        {
            "trace": point.trace.model_dump(mode="json"),
            "rows": model.rows_per_table,
            "lookups": model.lookups_per_table,
            "batch_size": model.batch_size,
            "seed": run.seed,
            "batches": run.batches,
            "warmup": run.warmup_batches,
            "past": point.cache.past_share if isinstance(point.trace, FileTraceConfig) else None,
        }
    )


def place_of(point: PointConfig) -> Place:
    """Where the run of a point lies in a file: its timed mini-batches come after those that a
    profile counts, and after those that `trace.transform` chooses sums by."""
    run = point.run
    transform = getattr(point.trace, "transform", None)
    trained = 0.0 if transform is None else transform.train_share
    return Place(max(point.cache.past_share, trained), run.warmup_batches, run.batches, SHARED_TAIL)


@by_identity
def replay_key(point: PointConfig) -> str:
    """Equal for points that share a replay (trace, policy, capacity, window, rows kept).

    Known before the trace is opened. Two points whose caches grow to the same size have different
    keys and share a replay all the same where they are simulated together.
    """
    try:
        system = build(point)[0]
    except ScratchPipeError as error:
        return canonical_json([trace_key(point), type(error).__name__])
    return canonical_json([trace_key(point), tail_of(system.schedule.depth), repr(system.replay)])


@by_identity
def plans_a_cache(point: PointConfig) -> bool:
    """Whether the replay of a point plans replacements (the dear kind); False where the point
    cannot run."""
    try:
        return build(point)[0].replay.grown is not None
    except ScratchPipeError:
        return False


def build(
    point: PointConfig,
    need: WindowNeed | None = None,
    trace: Trace | None = None,
    *,
    pools: int = 1,
) -> tuple[System, Topology]:
    """The system of a point on its machine.

    `need`: slots that a hold window takes on the point's `trace`; None while that is not open.
    `pools`: that the threads of a CPU are divided into. Raises `CapacityError` and `ConfigError`
    where model, machine and system do not fit together.
    """
    machine, job = machine_of(point, pools), job_of(point, need, trace)
    try:
        system = create(point.system.name, job, machine)
        if point.run.mode == "inference":
            system = ForwardOnly(system, point.model, machine)
        if point.load is not None:
            system = Loaded(system, point.load, point.model)
        system = _checkpointed(system, point, job, machine)
        if point.tables.tier and system.replay.tiers is None:
            able = [name for name in names() if "tables" in (used_keys(name).uses or ())]
            raise ConfigError(
                f"{point.system.title} has no tables that tiers of the host hold: give tables.tier "
                f"in the entries of systems that have ({', '.join(able)})"
            )
    except ConfigError as error:
        raise placed(point, error) from error
    return system, machine


def _checkpointed(system: System, point: PointConfig, job: Job, machine: Topology) -> System:
    """`system` with what is written beside it: as the point asks, else as the system has it."""
    asked, own = point.checkpoint, system.checkpoint
    if asked is not None and own is not None:
        raise ConfigError(
            f"{point.system.title} writes an {own.kind.replace('_', ' ')} of its own: leave "
            "checkpoint out, or give its entry log: none"
        )
    wanted = asked or own
    return system if wanted is None else Checkpointed(system, wanted, job, machine)


def placed(point: PointConfig, error: ConfigError) -> ConfigError:
    """`error` with its plain sentences at the entry of the point's system."""
    where, key = point.system.where, f"systems.{point.system.label}"
    if not where:
        return error
    return type(error)(*(Problem(where, key, a) if isinstance(a, str) else a for a in error.args))


def misfits(point: PointConfig) -> list[Problem]:
    """What the point asks for that the parts of its machine do not have: problems without a place,
    found without building anything."""
    problems = [*_unknown_tiers(point), *_misloaded(point), *_unanswered(point)]
    problems += _unwritten(point)
    problems += _unsummed(point)
    gpus = 0
    for host in point.platform.hosts:
        for socket in host.sockets.values():
            check = getattr(socket.part, "misfits", None)
            problems += check(point.run, point.model) if check is not None else []
            gpus += host.count * socket.count * (socket.part.kind == "gpu")
    wanted = point.system.gpus
    if wanted is not None and wanted > gpus:
        message = f"is {wanted}: {point.platform.name} has {gpus}"
        problems.append(Problem("", "gpus", message))
    return problems


def _misloaded(point: PointConfig) -> Iterator[Problem]:
    """Bucketized features that the model does not have: each is made of a dense value, and looked
    up once a sample."""
    bucketized = 0 if point.load is None else point.load.bucketized
    once = sum(count == 1 for table in point.model.lookups_per_table for count in table)
    for have, what in (
        (point.model.dense_features, "dense features that they could be made of"),
        (once, "features that are looked up once a sample"),
    ):
        if bucketized > have:
            message = f"is {bucketized}, but the model has {have} {what}"
            yield Problem("", "load.bucketized", message)
            return


def _unknown_tiers(point: PointConfig) -> Iterator[Problem]:
    """Names of `tables.tier` that no part of a host has: links and GPUs hold no tables of it."""
    known = [OWN_MEMORY]
    for host in point.platform.hosts:
        for name, socket in host.sockets.items():
            if not socket.join and socket.part.kind != "gpu":
                count = socket.count
                known += [name] if count == 1 else [f"{name}{k}" for k in range(count)]
    for name in point.tables.tier:
        if name.rpartition(".")[2] not in known and name.partition(".")[0] not in known:
            message = f"is no memory of the host of {point.platform.name}"
            hint = f"{did_you_mean(name, known)} it has: {', '.join(known)}".strip()
            yield Problem("", f"tables.tier.{name}", message, hint)


def _unwritten(point: PointConfig) -> Iterator[Problem]:
    """Check-points that nothing of the host keeps, and snapshots whose first period of changes is
    not over when the timed mini-batches begin."""
    asked, warmup = point.checkpoint, point.run.warmup_batches
    if asked is None:
        return
    known = [
        name if socket.count == 1 else f"{name}{k}"
        for host in point.platform.hosts
        for name, socket in host.sockets.items()
        for k in range(socket.count)
        if socket.part.durable
    ]
    if not known:
        message = f"is {asked.to}, but {point.platform.name} has no drive or persistent memory"
        hint = "give its host one, as in `ssd: {part: micron_9400}` and a link to it"
        yield Problem("", "checkpoint.to", message, hint)
    elif asked.to not in known and asked.to.rpartition(".")[2] not in known:
        message = f"is {asked.to}, no drive or persistent memory of {point.platform.name}"
        hint = f"{did_you_mean(asked.to, known)} it has: {', '.join(known)}".strip()
        yield Problem("", "checkpoint.to", message, hint)
    if asked.kind == "snapshot" and not asked.whole and warmup < asked.every:
        message = f"is {asked.every}, but only {warmup} mini-batches come before the timed ones"
        hint = f"set run.warmup_batches to {asked.every} or more, or checkpoint.rows: all"
        yield Problem("", "checkpoint.every", message, hint)


def _unanswered(point: PointConfig) -> Iterator[Problem]:
    """What of a point makes no sense where mini-batches are queries, or where they are not."""
    kind = system_class(point.system.name)
    if point.run.mode == "training":
        if kind.no_training:
            message = f"is training, which {point.system.name} has none of: {kind.no_training}"
            hint = "leave that system out, or set run.mode: inference"
            yield Problem("", "run.mode", message, hint)
        return
    why = kind.no_inference
    if why:
        message = f"is inference, which {point.system.name} has none of: {why}"
        yield Problem("", "run.mode", message, "leave that system out, or set run.mode: training")
    elif point.load is not None:
        message = "is a load stage, which queries do not have: they come with their values"
        yield Problem("", "load", message, "leave load out, or set run.mode: training")
    elif point.checkpoint is not None:
        message = "is given, but queries change nothing that could be written"
        yield Problem("", "checkpoint", message, "leave it out, or set run.mode: training")
    elif point.run.arrivals is not None and point.pipeline.mode == "lockstep":
        message = "is lockstep: a query would wait for those after it to move on"
        yield Problem("", "pipeline.mode", message, "set pipeline.mode: async with run.arrivals")


def _unsummed(point: PointConfig) -> Iterator[Problem]:
    """Why a point can have no sums of rows (`trace.transform`), where it asks for some."""
    if getattr(point.trace, "transform", None) is None:
        return
    if point.run.mode == "training":
        message = "stores sums of rows, of which training would update all that hold a row"
        yield Problem("", "trace.transform", message, "set run.mode: inference, or leave it out")
    elif not any(map(summed, point.model.lookups_per_table)):
        message = "has nothing to sum: every feature of the model makes one lookup a sample"
        hint = "give model.lookups_per_table more where samples look up several rows"
        yield Problem("", "trace.transform", message, hint)


def machine_of(point: PointConfig, pools: int = 1) -> Topology:
    """The machine of a point, its load stage beside it."""
    load = point.load
    return build_topology(
        point.platform,
        point.model.common_row_bytes,
        fidelity=point.run.memory_fidelity,
        cpu_threads=point.run.cpu_threads,
        pools=pools,
        beside={} if load is None else {LOADER: Loader(name=load.profile.name, load=load)},
    )


def job_of(point: PointConfig, need: WindowNeed | None = None, trace: Trace | None = None) -> Job:
    """What the system of a point is built from."""
    return Job(
        model=point.stored,
        software=point.operators,
        cache=point.cache,
        pipeline=point.pipeline,
        tables=point.tables,
        gpus=point.system.gpus,
        parameters=point.system.parameters,
        seed=point.run.seed,
        batches=point.run.warmup_batches + point.run.batches,
        held_misses=point.run.held_misses,
        keep=kept_batches(point),
        lookups_alone=point.run.memory_fidelity == "table" and not point.run.check,
        check=point.run.check,
        window_need=need,
        bags=None if trace is None else bags_of(trace),
        trace=trace,
    )


def sampled_batches(point: PointConfig) -> Kept:
    """Mini-batches whose rows are looked at: all, or timed ones, evenly spread, that stand for the
    others."""
    run = point.run
    if run.memory_fidelity == "exact":
        return _ALL
    count = min(run.sample_batches, run.batches)
    return tuple(run.warmup_batches + run.batches * k // count for k in range(count))


def kept_batches(point: PointConfig) -> Kept:
    """Mini-batches whose rows are kept: all, or the samples with the one before each."""
    if point.run.memory_fidelity == "exact":
        return _ALL
    samples = sampled_batches(point)
    return tuple(sorted({*samples, *(index - 1 for index in samples if index)}))
