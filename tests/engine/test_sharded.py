"""Systems on several GPUs: the same as on one where there is one, and what differs where there are
several: stragglers, shared hosts, hazards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simpy
from small import BOX, simulated

from simulator.caches.facts import (
    COLD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Flow,
)
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.config.sections import CacheConfig
from simulator.engine.checker import execute
from simulator.engine.hazards import HazardCase, run_case
from simulator.engine.orders import random_order
from simulator.engine.pipeline import run_pipeline
from simulator.engine.timer import Timed, Timing, time_system
from simulator.hardware.catalogue import load_machine
from simulator.hardware.demand import Demand, Resource, Service, StageDemand
from simulator.hardware.machine import Machine
from simulator.hardware.program import Stage
from simulator.hardware.topology import build_topology
from simulator.results.record import PointResult
from simulator.systems import Job, System, create
from simulator.traces import MiniBatch

SHARDED = ("hybrid", "static_cache", "straw_man", "scratchpipe")
sharded = pytest.mark.parametrize("name", SHARDED)
WALL = ("point", "wall_", "realtime_factor")


def told(result: PointResult) -> tuple[object, ...]:
    """All that a run says but for the clock on the wall and what the point is called."""

    def kept(row: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in row.items() if not k.startswith((*WALL, "label"))}

    tables = [[kept(row) for row in rows] for rows in (result.stages, result.devices)]
    return kept(result.metrics), *tables, result.timeline


@sharded
@pytest.mark.parametrize("profile", ["tuned", "paper"])
def test_one_gpu_is_the_system_that_was_not_asked(name: str, profile: str) -> None:
    one = {"name": name, "label": "one", "gpus": 1}
    ran = simulated(name, one, platform=BOX, operators=profile)
    assert told(ran[name]) == told(ran["one"])


@sharded
def test_what_moves_does_not_depend_on_how_many_gpus_there_are(name: str) -> None:
    """Rows fetched, evicted, hit: those of the one replay; over the links as many bytes, but for
    what goes back and forth of a link's own accord."""
    entries = [{"name": name, "label": f"on {n}", "gpus": n} for n in (1, 2, 4)]
    ran = [result.metrics for result in simulated(*entries, platform=BOX).values()]
    for key in ("misses_per_batch", "dirty_victims_per_batch", "lookups_per_batch", "cache_rows"):
        assert len({row[key] for row in ran}) == 1, key
    assert [row["gpus"] for row in ran] == [1, 2, 4]


@sharded
def test_links_carry_as_many_bytes_for_many_gpus_as_for_one(name: str) -> None:
    entries = [{"name": name, "label": f"on {n}", "gpus": n} for n in (1, 2, 4)]
    sizes = []
    for result in simulated(*entries, platform=BOX).values():
        sizes.append(sum(row["link_bytes"] or 0 for row in result.stages))
        ports = [r for r in result.devices if r["kind"] == "gpu_link" and r["bytes"]]
        assert bool(ports) == (result.metrics["gpus"] > 1)
    assert sizes[0] == sizes[1] == sizes[2] > 0


@sharded
def test_every_gpu_has_its_rows_of_devices_and_its_energy(name: str) -> None:
    (result,) = simulated({"name": name, "gpus": 3}, platform=BOX).values()
    energies = {r["resource"] for r in result.devices if r["energy_mj"] is not None}
    gpus = {f"gpu{k}.{what}" for k in range(3) for what in ("sm", "hbm")}
    assert energies == {"cpu.cores", "cpu.dram", *gpus}
    total = sum(row["energy_mj"] or 0.0 for row in result.devices)
    assert result.metrics["energy_mj"] == pytest.approx(total)


def test_more_gpus_with_links_of_their_own_are_faster() -> None:
    entries = [{"name": "scratchpipe", "label": f"on {n}", "gpus": n} for n in (1, 2, 4)]
    ran = simulated(*entries, platform=BOX, trace={"kind": "uniform"}, cache={"fraction": 0.8})
    one, two, four = (result.metrics["iteration_time_us"] for result in ran.values())
    assert four < two < one


def test_a_batch_that_gpus_do_not_divide_is_allowed() -> None:
    entry = {"name": "scratchpipe", "gpus": 3}
    (result,) = simulated(entry, platform=BOX, model={"batch_size": 511}).values()
    assert result.metrics["gpus"] == 3


# facts by hand

SMALL = {
    "tables": 4,
    "rows_per_table": (100_000,) * 4,
    "lookups_per_table": (20,) * 4,
    "batch_size": 256,
    "bottom_mlp": (64,),
    "top_mlp": (64, 1),
}


def facts_of(sizes: Sequence[int], index: int = 0) -> BatchFacts:
    """A mini-batch whose tables have so many lookups, most of them of rows that are missed."""
    shares = {
        LOOKUP: (1.0, 0.9),
        UNIQUE: (1.0, 0.9),
        HIT: (0.3, 0.25),
        MISS: (0.7, 0.65),
        HIT_LOOKUP: (0.3, 0.25),
        MISS_LOOKUP: (0.7, 0.65),
        VICTIM: (0.0, 0.6),
        WRITE_BACK: (0.0, 0.6),
        COLD: (0.0, 0.0),
    }
    flows = {
        name: tuple(Flow(round(size * a), round(size * b)) for size in sizes)
        for name, (a, b) in shares.items()
    }
    return BatchFacts(index, 256, flows)


def build(name: str, gpus: int, profile: OperatorProfile | str = "tuned") -> System:
    software = load_named("operators", profile) if isinstance(profile, str) else profile
    model = load_named("models", "default").changed(**SMALL)
    job = Job(model, software, CacheConfig(fraction=0.5), gpus=gpus)
    return create(name, job, build_topology(load_machine(BOX), 512))


def timed(system: System, batches: Sequence[BatchFacts], profile: str = "tuned") -> Timed:
    server = build_topology(load_machine(BOX), 512)
    timing = Timing(load_named("operators", profile), "async", 0, len(batches) - 1, check=True)
    return time_system(system, server, batches, timing)


def stage_ps(done: Timed, stage: str) -> int:
    names = [s.name for s in done.programs[0]]
    (span,) = [s for s in done.spans if s.batch == 0 and names[s.stage] == stage]
    return span.end_ps - span.start_ps


@sharded
def test_a_permutation_of_equal_tables_changes_nothing(name: str) -> None:
    sizes = (4000, 3000, 2000, 1000)
    ends = []
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2)):
        batches = [facts_of([sizes[k] for k in order], index) for index in range(3)]
        ends.append([span.end_ps for span in timed(build(name, 4), batches).spans])
    assert ends[1] == pytest.approx(ends[0], rel=1e-9)
    assert ends[2] == pytest.approx(ends[0], rel=1e-9)


@pytest.mark.parametrize("stage", ["load", "plan", "insert", "train"])
def test_a_stage_takes_the_time_of_the_gpu_with_the_most_to_do(stage: str) -> None:
    """One heavy table of four: each stage takes longer than the others need, and at most as long as
    if all were heavy; as long as that where GPUs do not share the memory of the host."""
    heavy, light = 400_000, 4_000
    straggler, equal, idle = (
        stage_ps(timed(build("straw_man", 4), [facts_of(sizes)]), stage)
        for sizes in ([heavy, *[light] * 3], [heavy] * 4, [light] * 4)
    )
    assert idle < 0.6 * straggler
    assert straggler <= equal * (1.0 + 1e-9)
    if stage == "train":
        assert straggler == pytest.approx(equal, rel=0.02)


def test_a_collective_begins_when_the_last_of_its_group_is_there() -> None:
    """10 ps and 3 ps of work, then a collective of 5 ps each, then 1 ps and 20 ps."""
    resources = {name: Resource(name, name, "other") for name in ("gpu0", "gpu1")}

    def work(gpu: str, ps: int) -> Demand:
        return Demand("work", {gpu: Service(ps)})

    lanes = tuple(
        tuple(work(gpu, ps) for ps in times)
        for gpu, times in (("gpu0", (10, 5, 1)), ("gpu1", (3, 5, 20)))
    )
    stage = StageDemand("train", lanes, waits={(0, 1): ((1, 0),), (1, 1): ((0, 0),)})
    for mode in ("serial", "async"):
        clock = Machine(simpy.Environment(), resources, check=True)
        (span,) = run_pipeline(clock, [(stage,)], mode)  # type: ignore[arg-type]
        assert span.end_ps == 10 + 5 + 20


# who submits


@pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
def test_one_process_submits_for_all_gpus_and_is_slower(name: str) -> None:
    entry = {"name": name, "gpus": 4}
    host = {}
    times = {}
    for kind in ("one", "one_per_gpu"):
        profile = {"base": "tuned", "gpu": {"host_processes": kind}}
        (result,) = simulated(entry, platform=BOX, operators=profile).values()
        used = {r["resource"]: r["busy_us"] for r in result.devices if r["kind"] == "host"}
        host[kind] = {name for name, busy in used.items() if busy}
        times[kind] = result.metrics["iteration_time_us"]
    assert host["one"] == {"gpu0.launch"}
    assert host["one_per_gpu"] == {f"gpu{k}.launch" for k in range(4)}
    assert times["one"] > times["one_per_gpu"]


# hazards

PLAIN = HazardCase(platform=BOX, gpus=2, tables=3, batches=80)


@sharded
@pytest.mark.parametrize("gpus", [2, 3])
def test_sharded_systems_train_like_one_batch_at_a_time(name: str, gpus: int) -> None:
    outcome = run_case(replace(PLAIN, system=name, gpus=gpus))
    assert outcome.stale == 0
    assert outcome.tables_equal
    assert outcome.report.trained_rows == 80 * 6 * 3


@pytest.mark.parametrize("policy", ["lru", "random"])
def test_a_window_that_is_too_small_is_caught_on_several_gpus(policy: str) -> None:
    outcome = run_case(replace(PLAIN, policy=policy, window_future=1))
    assert len(outcome.reports["timed"].stale) > 10
    assert len(outcome.reports["random"].stale) > 10
    assert not outcome.tables_equal
    assert ", 2 GPUs, " in outcome.sentence()


def test_write_backs_that_one_gpu_forgets_are_caught_in_its_tables_alone() -> None:
    """Two tables of 60 rows, one a GPU: rows of the second go stale."""
    model = load_named("models", "default").changed(
        tables=2, rows_per_table=(60, 60), lookups_per_table=(1, 1), batch_size=6
    )
    server = build_topology(load_machine(BOX), model.row_bytes)
    software = load_named("operators", "tuned")
    job = Job(model, software, CacheConfig(fraction=0.6), gpus=2, keep=range(60))
    system = create("scratchpipe", job, server)
    rng = np.random.default_rng(0)
    offsets = (np.arange(7),) * 2

    class Drawn:
        rows, past, batches, has_time_order = (60, 60), 0, 60, False

        def minibatch(self, index: int) -> MiniBatch:
            ids = tuple(rng.choice(60, 6, replace=False).astype(np.int64) for _ in range(2))
            return MiniBatch(index, ids, offsets)

    replayed = run_replays(Stream(Drawn(), 60), [system.replay], threads=1)  # type: ignore[arg-type]
    programs = [system.stages(facts) for facts in replayed[system.replay].facts]
    order = random_order(60, 6, "async", 0)
    slots = sum(system.replay.slots)
    good = execute(programs, order, rows=120, slots=slots)
    assert not good.stale
    assert good.tables_equal
    forgetful = execute([without_write_back(p) for p in programs], order, rows=120, slots=slots)
    assert forgetful.stale
    assert all(read.row >= 60 for read in forgetful.stale)
    assert not forgetful.tables_equal


def without_write_back(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The program without the lanes that write victims of gpu1 into their tables."""
    return tuple(
        Stage(
            stage.name,
            tuple(
                lane
                for lane in stage.lanes
                if getattr(getattr(lane[0], "source", None), "name", "") != "victim_rows.gpu1"
            ),
        )
        for stage in stages
    )
