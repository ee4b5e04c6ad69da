"""Systems: their stages, and what they refuse with the arithmetic."""

from __future__ import annotations

import pytest
from simulator.hardware.work import Collective, Copy, CpuWork

from simulator import systems
from simulator.config.catalogue import load_named
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.systems import BatchCounts, Context
from simulator.systems.gpu_only import spread_tables

COUNTS = BatchCounts(
    index=0,
    lookups=327_680,
    unique_rows=300_000,
    lookup_hits=127_680,
    unique_hits=120_000,
    misses=180_000,
    victims=170_000,
    write_backs=160_000,
)


def context(platform: str = "v100_p3", profile: str = "paper", **changes: object) -> Context:
    options = {"slots": 8_000_000, "gpus": None} | {
        key: changes.pop(key) for key in ("slots", "gpus") if key in changes
    }
    model = load_named("models", "default").model_copy(update=changes)
    return Context(
        model, load_named("operators", profile), load_named("platforms", platform), **options
    )


ROOM_FOR_ALL = {"gpu_only": "p3_16xlarge"}


@pytest.mark.parametrize("profile", ["paper", "stock", "tuned"])
@pytest.mark.parametrize("name", systems.names())
def test_stages_bear_the_names_that_the_system_announces(name: str, profile: str) -> None:
    system = systems.create(name, context(ROOM_FOR_ALL.get(name, "v100_p3"), profile))
    assert tuple(stage.name for stage in system.stages(COUNTS)) == system.stage_names


@pytest.mark.parametrize("name", systems.names())
def test_every_system_has_a_summary(name: str) -> None:
    assert systems.summary(name).endswith((".", ":"))


def copies(name: str) -> dict[str, Copy]:
    system = systems.create(name, context())
    found = {}
    for stage in system.stages(COUNTS):
        for lane in stage.lanes:
            found |= {work.name: work for work in lane if isinstance(work, Copy)}
    return found


def test_only_pooled_vectors_cross_the_link_under_hybrid() -> None:
    moved = copies("hybrid")
    assert set(moved) == {"pooled_to_gpu", "gradients_to_cpu"}
    assert moved["gradients_to_cpu"].bytes == 8_388_608
    assert moved["pooled_to_gpu"].bytes == 8_388_608 + 2048 * 14 * 4


@pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
def test_exchange_moves_missed_rows_one_way_and_written_back_victims_the_other(name: str) -> None:
    moved = copies(name)
    assert moved["missed_rows"].bytes == 180_000 * 512
    assert moved["victim_rows"].bytes == 160_000 * 512
    assert moved["missed_rows"].to_gpu
    assert not moved["victim_rows"].to_gpu


def test_static_cache_trains_misses_on_the_cpu_and_hits_on_the_gpu() -> None:
    stages = {s.name: s for s in systems.create("static_cache", context()).stages(COUNTS)}
    gpu_lane, cpu_lane = stages["backward"].lanes
    assert all(isinstance(work, CpuWork) for work in cpu_lane)
    assert cpu_lane[0].rows == 327_680 - 127_680
    assert gpu_lane[-1].accesses[2].count == 120_000


def test_41_gb_of_tables_on_one_v100_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(CapacityError) as caught:
        systems.create("gpu_only", context())
    text = str(caught.value)
    for part in ("80,000,000 rows x 512 B", "40.96 GB", "32 GB", "p3_16xlarge", "at least 2"):
        assert part in text


def test_a_cache_beyond_the_gpu_is_refused() -> None:
    with pytest.raises(CapacityError, match=r"65,000,000 cache slots.*33.28 GB.*32 GB"):
        systems.create("scratchpipe", context(slots=65_000_000))


def test_tables_beyond_the_cpu_are_refused() -> None:
    with pytest.raises(CapacityError, match="CPU DRAM"):
        systems.create("hybrid", context(rows_per_table=(10**8,) * 8))


def test_more_gpus_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="9 GPUs"):
        systems.create("gpu_only", context("p3_16xlarge", gpus=9))


def test_an_unknown_system_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="scratchpipe"):
        systems.create("magic", context())


def test_tables_are_spread_by_bytes() -> None:
    model = load_named("models", "default").model_copy(
        update={"tables": 4, "rows_per_table": (50, 10, 40, 20), "lookups_per_table": (1,) * 4}
    )
    assert spread_tables(model, 2) == ((0, 1), (2, 3))


def test_all_to_all_leaves_out_what_stays_on_its_gpu() -> None:
    system = systems.create("gpu_only", context("p3_16xlarge"))
    stages = {stage.name: stage for stage in system.stages(COUNTS)}
    (work,) = stages["all_to_all"].lanes[0]
    assert isinstance(work, Collective)
    assert work.bytes == 2048 * 1 * 512 * 7 // 8


def test_one_gpu_needs_no_collective() -> None:
    system = systems.create("gpu_only", context("h200"))
    assert system.stage_names == ("ids", "gather_reduce", "mlp", "sort_update")
