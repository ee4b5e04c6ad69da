"""Systems: their stages, what moves where, and what they refuse with the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from jobs import FACTS, PROFILES, machine, model, system

from simulator import systems
from simulator.caches import Window
from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, VICTIM, WRITE_BACK, BatchFacts, Flow
from simulator.caches.replays import PlannedReplay, StaticReplay, UniqueReplay
from simulator.errors import ConfigError
from simulator.hardware.program import (
    Buffer,
    Dense,
    Exchange,
    Gather,
    Move,
    Operation,
    Plan,
    Pool,
    Scatter,
    Stage,
    Store,
    Update,
    Wait,
)
from simulator.hardware.topology import Topology
from simulator.systems import System
from simulator.systems.mlp import interaction_flops, mlp_flops

BUILT_IN = ("hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only")
every_system = pytest.mark.parametrize("name", BUILT_IN)
every_profile = pytest.mark.parametrize("profile", PROFILES)
cached = pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])

POOLED = 2048 * 8 * 512


def words(stages: tuple[Stage, ...]) -> list[Operation]:
    return [word for stage in stages for word in stage.operations]


def moves(name: str, facts: BatchFacts = FACTS, **keys: Any) -> dict[str, Move]:
    stages = system(name, **keys).stages(facts)
    return {word.name: word for word in words(stages) if isinstance(word, Move)}


def stage(name: str, called: str, **keys: Any) -> Stage:
    (wanted,) = [s for s in system(name, **keys).stages(FACTS) if s.name == called]
    return wanted


# programs


@every_system
@every_profile
def test_stages_bear_the_names_that_the_schedule_announces(name: str, profile: str) -> None:
    program = system(name, profile=profile)
    assert tuple(stage.name for stage in program.stages(FACTS)) == program.schedule.names


@pytest.mark.parametrize("name", systems.names())
def test_every_system_has_a_summary(name: str) -> None:
    assert systems.summary(name).endswith((".", ":"))


def test_the_systems_of_the_study_come_first() -> None:
    assert systems.names()[: len(BUILT_IN)] == BUILT_IN


def buffers(word: Operation) -> Iterator[Buffer | Store]:
    for field in fields(word):
        value = getattr(word, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Buffer | Store):
                yield item


def doable(machine: Topology, word: Operation) -> bool:
    """Whether the machine has a rule for a word, a way for a move, a link for an exchange."""
    if isinstance(word, Move):
        return bool(machine.route(word.what.memory, word.into))
    if isinstance(word, Exchange):
        return machine.groups.of(word.group, word.at).link is not None
    return type(word) in machine.processor(word.at).rules


@every_system
@every_profile
@pytest.mark.parametrize("platform", ["v100_p3", "p3_16xlarge", "gh200"])
def test_every_word_can_be_done_where_it_is_said(name: str, profile: str, platform: str) -> None:
    small = {"rows_per_table": (10_000,) * 8}
    program, server = system(name, platform, profile, **small), machine(platform)
    for word in words(program.stages(FACTS)):
        assert doable(server, word), word.name
        for thing in buffers(word):
            assert server.memory(thing.memory).place == thing.memory, thing.name
        if isinstance(word, Move):
            assert word.at == word.what.memory, "a move starts where its bytes lie"


@every_system
def test_nothing_to_move_is_a_program_as_well(name: str) -> None:
    nothing = BatchFacts(0, 0, {flow: (Flow(),) * 8 for flow in FACTS.flows})
    program = system(name)
    assert tuple(s.name for s in program.stages(nothing)) == program.schedule.names


@every_system
def test_the_same_facts_are_the_same_program(name: str) -> None:
    program = system(name)
    assert program.stages(FACTS) == program.stages(FACTS) == system(name).stages(FACTS)


@every_system
def test_each_row_is_trained_once(name: str) -> None:
    """Pools cover the lookups, updates the unique rows, over all GPUs."""
    stages = words(system(name).stages(FACTS))
    pooled = sum(word.rows.lookups for word in stages if isinstance(word, Pool))
    trained = sum(word.rows.rows for word in stages if isinstance(word, Update))
    assert pooled == 327_680
    assert trained == 300_000


@every_system
def test_there_is_one_training_step_of_the_mlps(name: str) -> None:
    """Of all samples, over all GPUs."""
    steps = [word for word in words(system(name).stages(FACTS)) if isinstance(word, Dense)]
    ranks = 8 if name == "gpu_only" else 1
    samples = 2048 // ranks
    flops = mlp_flops(model(), samples) - interaction_flops(model(), samples)
    assert [step.flops for step in steps] == [flops] * ranks


@pytest.mark.parametrize(
    ("name", "replay"),
    [
        ("hybrid", UniqueReplay),
        ("gpu_only", UniqueReplay),
        ("static_cache", StaticReplay),
        ("straw_man", PlannedReplay),
        ("scratchpipe", PlannedReplay),
    ],
)
def test_what_a_system_replays(name: str, replay: type) -> None:
    assert isinstance(system(name).replay, replay)


def test_systems_that_need_the_same_replay_share_it() -> None:
    assert system("hybrid").replay == system("gpu_only").replay
    assert system("straw_man").replay != system("scratchpipe").replay, "another window"


# hybrid


def test_only_pooled_vectors_cross_the_link_under_hybrid() -> None:
    moved = moves("hybrid")
    assert set(moved) == {"pooled_to_gpu", "gradients_to_cpu"}
    assert moved["gradients_to_cpu"].bytes == POOLED == 8_388_608
    assert moved["pooled_to_gpu"].bytes == POOLED + 2048 * 14 * 4
    assert moved["pooled_to_gpu"].into == "gpu.hbm"
    assert moved["gradients_to_cpu"].into == "cpu.dram"


@every_profile
def test_all_embedding_work_of_hybrid_is_on_the_cpu(profile: str) -> None:
    at = {
        type(word).__name__: word.at
        for word in words(system("hybrid", profile=profile).stages(FACTS))
    }
    assert {name for name, place in at.items() if place == "gpu"} == {"Dense", "Wait"}
    assert at["Pool"] == at["Sort"] == at["Update"] == "cpu"


# straw-man and ScratchPipe


@cached
def test_exchange_moves_missed_rows_one_way_and_written_back_victims_the_other(name: str) -> None:
    moved = moves(name)
    assert moved["missed_rows"].bytes == 180_000 * 512
    assert moved["victim_rows"].bytes == 160_000 * 512
    assert (moved["missed_rows"].at, moved["missed_rows"].into) == ("cpu.dram", "gpu.hbm")
    assert (moved["victim_rows"].at, moved["victim_rows"].into) == ("gpu.hbm", "cpu.dram")


@cached
def test_ids_go_down_and_lists_of_rows_come_back(name: str) -> None:
    moved = moves(name)
    assert moved["ids_to_gpu"].bytes == 327_680 * 8 + 2048 * 14 * 4
    assert moved["lists_to_cpu"].bytes == (180_000 + 160_000) * 8


@cached
@pytest.mark.parametrize(("optimizer", "entry"), [("sgd", 512), ("adagrad", 1024)])
def test_optimizer_state_crosses_the_link_with_its_row(
    name: str, optimizer: str, entry: int
) -> None:
    moved = moves(name, rows_per_table=(1_000_000,) * 8, optimizer=optimizer)
    assert moved["missed_rows"].bytes == 180_000 * entry


@cached
def test_rows_are_gathered_moved_and_scattered_under_one_name(name: str) -> None:
    """What Collect stages in a memory is what Exchange moves and what Insert finds."""
    stages = words(system(name).stages(FACTS))
    gathered = {word.into for word in stages if isinstance(word, Gather)}
    moved = [w for w in stages if isinstance(w, Move) and w.what in gathered]
    scattered = {word.source for word in stages if isinstance(word, Scatter)}
    assert {replace(word.what, memory=word.into) for word in moved} == scattered
    assert len(gathered) == len(scattered) == 2


@cached
def test_missed_rows_go_up_and_victims_down(name: str) -> None:
    flows = {
        (type(word), word.at): word.rows
        for word in words(system(name).stages(FACTS))
        if isinstance(word, Gather | Scatter)
    }
    assert flows[Gather, "cpu"] == flows[Scatter, "gpu"] == FACTS[MISS]
    assert flows[Gather, "gpu"] == flows[Scatter, "cpu"] == FACTS[WRITE_BACK]


@cached
def test_stages_of_both_have_two_lanes_where_both_sides_work(name: str) -> None:
    lanes = {stage.name: len(stage.lanes) for stage in system(name).stages(FACTS)}
    assert lanes == {"load": 1, "plan": 1, "collect": 2, "exchange": 2, "insert": 2, "train": 1}


@cached
def test_the_host_waits_for_the_gpu_at_the_end_of_every_stage_but_load(name: str) -> None:
    for stage in system(name).stages(FACTS):
        for lane in stage.lanes:
            asynchronous = any(isinstance(word, Move) or word.at == "gpu" for word in lane)
            waits = [isinstance(word, Wait) for word in lane]
            assert waits[-1] == (asynchronous and stage.name != "load")
            assert not any(waits[:-1])


def test_straw_man_and_scratchpipe_differ_in_their_schedule_alone() -> None:
    """And in the mini-batches of the hold window, which Plan is told."""
    straw, pipe = system("straw_man"), system("scratchpipe")
    first, planned, *others = pipe.stages(FACTS)
    ((plan, *copies),) = planned.lanes
    alone = Stage("plan", ((replace(plan, ahead=0), *copies),))
    assert straw.stages(FACTS) == (first, alone, *others)
    assert straw.schedule.stages == pipe.schedule.stages
    assert (straw.schedule.depth, pipe.schedule.depth) == (1, 6)
    assert straw.schedule.window == Window(0, 0)
    assert pipe.schedule.window == Window(3, 2)


@cached
def test_plan_scans_every_slot(name: str) -> None:
    (plan,) = [word for word in words(system(name).stages(FACTS)) if isinstance(word, Plan)]
    ahead = {"scratchpipe": 2, "straw_man": 0}[name]
    assert plan == Plan("plan", "gpu", 327_680, 300_000, 180_000, 8_000_000, ahead=ahead)


@pytest.mark.parametrize(
    ("scope", "slots"), [("table", (1_000_000,) * 8), ("global", (8_000_000,))]
)
def test_a_cache_is_a_share_of_each_table_or_of_all(scope: str, slots: tuple[int, ...]) -> None:
    assert system("scratchpipe", cache={"scope": scope}).replay.slots == slots


# static cache


def test_static_cache_trains_misses_on_the_cpu_and_hits_on_the_gpu() -> None:
    gpu_lane, cpu_lane = stage("static_cache", "backward").lanes
    assert {word.at for word in cpu_lane} == {"cpu"}
    assert {word.at for word in gpu_lane} == {"gpu"}
    (cold,) = [word for word in cpu_lane if isinstance(word, Update)]
    (hot,) = [word for word in gpu_lane if isinstance(word, Update)]
    assert cold.rows == FACTS[MISS]
    assert hot.rows == FACTS[HIT]
    assert (cold.writes.name, hot.writes.name) == ("tables", "cache")


def test_static_cache_pools_each_lookup_where_its_row_lies() -> None:
    hot, cold = (lane[0] for lane in stage("static_cache", "forward").lanes)
    assert isinstance(hot, Pool)
    assert isinstance(cold, Pool)
    assert (hot.at, hot.rows.lookups) == ("gpu", 127_680)
    assert (cold.at, cold.rows.lookups) == ("cpu", 200_000)


def test_partial_sums_and_gradients_cross_the_link_under_static_cache() -> None:
    moved = moves("static_cache")
    assert {name: word.bytes for name, word in moved.items()} == {
        "ids_to_gpu": 327_680 * 8,
        "cold_ids_to_cpu": 200_000 * 8,
        "partial_sums": POOLED + 2048 * 14 * 4,
        "gradients_to_cpu": POOLED,
    }


def test_a_static_cache_pins_a_share_of_each_table() -> None:
    pinned = system("static_cache", cache={"fraction": 0.05})
    assert pinned.replay.slots == (500_000,) * 8
    with pytest.raises(ConfigError, match=r"cache\.scope must be 'table'"):
        system("static_cache", cache={"scope": "global"})


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "gpu_only"])
def test_other_systems_use_one_gpu_of_several(name: str) -> None:
    program = system(name, "p3_16xlarge", cache={"fraction": 0.01})
    assert program.gpus == 1
    places = {word.at for word in words(program.stages(FACTS)) if not isinstance(word, Move)}
    assert places == {"cpu", "gpu0"}


# a system from outside


class Silent(System):
    """Does nothing."""

    def __init__(self, job: systems.Job, machine: Topology) -> None:
        del machine
        self.replay = UniqueReplay(job.keep)
        self.schedule = systems.Serial.of("nothing")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        del facts
        return (Stage("nothing", ()),)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that announces the system as `silent`."""
    entry = EntryPoint("silent", f"{__name__}:Silent", systems.ENTRY_POINTS)
    monkeypatch.setattr(systems, "plugins", lambda group: {"silent": entry})


@pytest.mark.usefixtures("outside")
def test_a_system_from_outside_is_made_like_any_other() -> None:
    *built_in, last = systems.names()
    assert built_in[: len(BUILT_IN)] == list(BUILT_IN)
    assert last == "silent"
    silent = system("silent")
    assert (silent.gpus, silent.equal_ranks) == (1, ())
    assert systems.summary("silent") == "Does nothing."
    assert systems.used_keys("silent").uses is None, "nothing is refused"


def test_every_flow_that_a_program_needs_is_in_the_facts_of_its_replay() -> None:
    """Else a system would take an unknown flow for an empty one."""
    needed = {
        "hybrid": (LOOKUP, UNIQUE),
        "gpu_only": (LOOKUP, UNIQUE),
        "straw_man": (LOOKUP, UNIQUE, MISS, WRITE_BACK, VICTIM),
        "scratchpipe": (LOOKUP, UNIQUE, MISS, WRITE_BACK, VICTIM),
    }
    for name, flows in needed.items():
        kept = BatchFacts(0, 2048, {flow: FACTS.flows[flow] for flow in flows})
        assert system(name).stages(kept) == system(name).stages(FACTS)
