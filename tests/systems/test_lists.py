"""Lists that a GPU makes for the host: of which ids, how wide, and how they get there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jobs import FACTS, machine, model

from simulator.caches.facts import BatchFacts, Flow
from simulator.caches.replays.static import MISS_LOOKUP
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.config.sections import CacheConfig, PipelineConfig
from simulator.hardware.program import (
    Buffer,
    Move,
    Operation,
    Plan,
    Pool,
    Sort,
    Split,
    Stage,
    Wait,
)
from simulator.systems import Job, System, create

cached = pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
widths = pytest.mark.parametrize("width", [4, 8])
LOOKUPS, COLD = 327_680, 200_000
DENSE = 2048 * 14 * 4


def software(**changes: Any) -> OperatorProfile:
    """The profile `observed` (8 bytes, copied, compacted) with changed keys."""
    profile: OperatorProfile = load_named("operators", "observed")
    return profile.model_copy(update=changes)


def program(name: str, **changes: Any) -> System:
    job = Job(model(), software(**changes), CacheConfig(), PipelineConfig())
    return create(name, job, machine())


def stages(name: str, facts: BatchFacts = FACTS, **changes: Any) -> dict[str, Stage]:
    return {stage.name: stage for stage in program(name, **changes).stages(facts)}


def words(stage: Stage, kind: type[Operation]) -> list[Any]:
    return [word for word in stage.operations if isinstance(word, kind)]


# missed and victim rows


@cached
@widths
def test_ids_are_as_wide_as_the_software_keeps_them(name: str, width: int) -> None:
    done = stages(name, id_bytes=width)
    (down,) = words(done["load"], Move)
    (back,) = words(done["plan"], Move)
    assert down.bytes == LOOKUPS * width + DENSE
    assert back.bytes == (180_000 + 160_000) * width


@cached
@widths
def test_mapped_lists_are_written_by_plan_itself(name: str, width: int) -> None:
    """Nothing is copied after it; the host waits as before."""
    plan, wait = stages(name, id_bytes=width, lists="mapped")["plan"].operations
    assert isinstance(plan, Plan)
    assert isinstance(wait, Wait)
    assert plan.lists == Buffer("lists_to_cpu", "cpu.dram", (180_000 + 160_000) * width)


@cached
def test_copied_lists_are_a_move_after_plan(name: str) -> None:
    plan, copy, wait = stages(name)["plan"].operations
    assert isinstance(plan, Plan)
    assert isinstance(copy, Move)
    assert isinstance(wait, Wait)
    assert plan.lists is None


@cached
def test_only_plan_differs_between_copied_and_mapped_lists(name: str) -> None:
    copied, mapped = stages(name), stages(name, lists="mapped")
    assert {key for key in copied if copied[key] != mapped[key]} == {"plan"}


# a static cache


@widths
def test_a_copied_list_of_cold_ids_crosses_the_link_after_the_split(width: int) -> None:
    ids, split, back, _ = stages("static_cache", id_bytes=width)["split"].operations
    assert isinstance(ids, Move)
    assert isinstance(back, Move)
    assert ids.bytes == LOOKUPS * width
    assert split == Split("split", "gpu", LOOKUPS)
    assert (back.what.memory, back.into, back.bytes) == ("gpu.hbm", "cpu.dram", COLD * width)


def test_a_mapped_list_of_cold_ids_is_written_by_the_split() -> None:
    ids, split, wait = stages("static_cache", lists="mapped", id_bytes=4)["split"].operations
    assert isinstance(ids, Move)
    assert isinstance(wait, Wait)
    into = Buffer("cold_ids_to_cpu", "cpu.dram", COLD * 4)
    assert split == Split("split", "gpu", LOOKUPS, into)


@pytest.mark.parametrize("lists", ["copied", "mapped"])
def test_a_list_with_holes_is_as_long_as_all_lookups(lists: str) -> None:
    split = stages("static_cache", lists=lists, cold_list="holes")["split"]
    sizes = {word.name: word.bytes for word in words(split, Move)}
    sizes |= {w.lists.name: w.lists.bytes for w in words(split, Split) if w.lists}
    assert sizes == {"ids_to_gpu": LOOKUPS * 8, "cold_ids_to_cpu": LOOKUPS * 8}


@pytest.mark.parametrize(("cold_list", "skipped"), [("compacted", 0), ("holes", LOOKUPS - COLD)])
def test_the_cpu_skips_the_ids_of_hot_rows_in_a_list_with_holes(
    cold_list: str, skipped: int
) -> None:
    """When it pools and when it sorts; in the list of the GPU those of cold rows are marked."""
    done = stages("static_cache", cold_list=cold_list)
    lists = words(done["forward"], Pool) + words(done["backward"], Sort)
    assert {(word.at, word.skipped) for word in lists} == {("cpu", skipped), ("gpu", COLD)}
    (cold,) = [word for word in lists if isinstance(word, Pool) and word.at == "cpu"]
    assert cold.rows.lookups == COLD


def test_a_list_of_holes_alone_leaves_no_row_to_the_cpu() -> None:
    """All rows are hot: the list is there all the same."""
    flows = {**FACTS.flows, "miss": (Flow(),), MISS_LOOKUP: (Flow(),)}
    done = stages("static_cache", replace(FACTS, flows=flows), cold_list="holes")
    (pool,) = [word for word in words(done["forward"], Pool) if word.at == "cpu"]
    assert (pool.rows.lookups, pool.skipped) == (0, LOOKUPS)
    back = words(done["split"], Move)[-1]
    assert back.bytes == LOOKUPS * 8


def test_without_hot_rows_a_list_with_holes_has_none() -> None:
    flows = {**FACTS.flows, "miss": (Flow(LOOKUPS, 300_000),), MISS_LOOKUP: (Flow(LOOKUPS),)}
    facts = replace(FACTS, flows=flows)
    holes, compacted = (
        program("static_cache", cold_list=kind).stages(facts) for kind in ("holes", "compacted")
    )
    assert holes == compacted
