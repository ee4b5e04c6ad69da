"""HugeCTR's hybrid embedding: none frequent is GPU-only, all frequent is data-parallel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.caches.replays.tiered_rows import CROSSING, TRAINED
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Exchange, Pool, Stage, Update
from simulator.systems import system_class
from simulator.systems.hugectr_hybrid import HybridParameters

BOX: dict[str, Any] = {"platform": "p3_16xlarge"}
NEVER = 10**9
ONE_HOT = {"lookups_per_table": 1}


def hybrid(gpus: int, threshold: int | None) -> dict[str, Any]:
    return {"name": "hugectr_hybrid", "gpus": gpus, "threshold": threshold}


def exchanged(entry: dict[str, Any], **changes: Any) -> dict[str, int]:
    """Bytes of the exchanges of the first GPU, by name."""
    system, (facts,) = replayed(entry, 1, **BOX, **changes)
    at = [w for w in words(system, facts) if isinstance(w, Exchange) and w.at == "gpu0"]
    return {word.name: word.bytes for word in at}


@pytest.mark.parametrize("sharding", ["table", "row"])
@pytest.mark.parametrize("gpus", [1, 3, 4])
def test_without_frequent_rows_it_is_gpu_only(gpus: int, sharding: str) -> None:
    """To the picosecond and the microjoule."""
    systems = [hybrid(gpus, NEVER), {"name": "gpu_only", "gpus": gpus}]
    results = simulated(*systems, model={"sharding": sharding}, **BOX)
    mine, other = results["hugectr_hybrid"], results["gpu_only"]
    assert stage_times(mine) == stage_times(other)
    for column in ("iteration_time_us", "energy_mj", "unique_rows_per_batch"):
        assert mine.metrics[column] == other.metrics[column]


@pytest.mark.parametrize("sharding", ["table", "row"])
def test_with_all_rows_frequent_it_is_data_parallel(sharding: str) -> None:
    """No all-to-all; all rows are all-reduced beside the MLPs."""
    sizes = exchanged(hybrid(4, 0), model={"sharding": sharding})
    assert not {"all_to_all", "all_to_all_back", "reduce_scatter", "all_gather"} & set(sizes)
    assert sizes["all_reduce"] > 0
    assert sizes["all_reduce_frequent"] == 4 * 20_000 * 512
    times = stage_times(simulated(hybrid(4, 0), **BOX)["hugectr_hybrid"])
    assert times["all_to_all"] == times["all_to_all_back"] == 0


@pytest.mark.parametrize("threshold", [0, 5, None, NEVER])
def test_one_gpu_synchronizes_nothing(threshold: int | None) -> None:
    assert exchanged(hybrid(1, threshold)) == {}


@pytest.mark.parametrize("sharding", ["table", "row"])
def test_what_crosses_is_the_share_of_infrequent_lookups(sharding: str) -> None:
    """One lookup a sample and table: B T (1 - q) D over all GPUs, 2 F D for the frequent rows."""
    model = ONE_HOT | {"sharding": sharding}
    system, (facts,) = replayed(hybrid(4, 4), 1, model=model, operators="hugectr_2021", **BOX)
    frequent = sum(system.replay.slots)
    assert frequent % 4 == 0 < frequent < 80_000
    infrequent = facts[MISS].lookups
    assert 0 < infrequent < facts[LOOKUP].lookups == 4 * 256
    assert facts[CROSSING].lookups == infrequent
    program = [w for w in words(system, facts) if isinstance(w, Exchange)]
    sent = sum(w.bytes for w in program if w.name == "all_to_all")
    assert sent == infrequent * 256, "in half precision, whichever part a row is in"
    assert {w.bytes for w in program if w.name == "all_reduce_frequent"} == {frequent * 256}


def test_a_part_sends_a_partial_sum_for_a_bag_and_no_more_than_it_looks_up() -> None:
    """Several lookups a sample: no more than every part for every bag, no less than every bag."""
    model = {"sharding": "row", "lookups_per_table": 3}
    system, (facts,) = replayed(hybrid(4, 4), 1, model=model, operators="hugectr_2021", **BOX)
    program = [w for w in words(system, facts) if isinstance(w, Exchange)]
    vectors = sum(w.bytes for w in program if w.name == "all_to_all") / 256
    assert facts[CROSSING].lookups < vectors <= facts[MISS].lookups
    assert vectors < 4 * facts[CROSSING].lookups


def test_lookups_are_split_by_row_and_by_sample() -> None:
    """Each lookup once: frequent ones at the GPU of their sample, others at their row's."""
    system, (facts,) = replayed(hybrid(4, 20), 1, run={"memory_fidelity": "exact"}, **BOX)
    _, (whole,) = replayed({"name": "gpu_only", "gpus": 4}, 1, **BOX)
    facts.check()
    assert facts[HIT].lookups + facts[MISS].lookups == whole[LOOKUP].lookups
    assert facts[TRAINED].rows + facts[MISS].rows == whole[UNIQUE].rows
    pools = [w for w in words(system, facts) if isinstance(w, Pool)]
    assert sum(pool.rows.lookups for pool in pools) == whole[LOOKUP].lookups
    updates = [w for w in words(system, facts) if isinstance(w, Update) and w.writes.slotted]
    assert [w.at for w in updates] == [f"gpu{k}" for k in range(4)]
    assert {w.rows.rows for w in updates} == {facts[TRAINED].rows}
    assert np.array_equal(np.unique(facts[HIT].ids), np.sort(facts[TRAINED].ids))


@pytest.mark.parametrize("sharding", ["table", "row"])
@pytest.mark.parametrize(("gpus", "threshold"), [(1, 3), (4, 0), (4, 2), (4, 3), (3, NEVER)])
def test_it_trains_like_one_batch_at_a_time(gpus: int, threshold: int, sharding: str) -> None:
    outcome = executed(
        "hugectr_hybrid",
        f"threshold={threshold}",
        platform="p3_16xlarge",
        gpus=gpus,
        sharding=sharding,
        tables=5,
        batches=60,
    )
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_a_copy_that_misses_the_sums_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = system_class("hugectr_hybrid")
    build = kind.stages

    def without(self: Any, facts: BatchFacts) -> tuple[Stage, ...]:
        def kept(word: object) -> bool:
            return not (isinstance(word, Update) and word.writes.slotted and word.at == "gpu2")

        return tuple(
            Stage(s.name, tuple(tuple(filter(kept, lane)) for lane in s.lanes))
            for s in build(self, facts)
        )

    monkeypatch.setattr(kind, "stages", without)
    outcome = executed.__wrapped__(
        "hugectr_hybrid", "threshold=0", platform="p3_16xlarge", gpus=4, tables=5, batches=60
    )
    assert outcome.stale > 0


def test_frequent_rows_follow_the_threshold() -> None:
    """B I sqrt(2 p / (M (M - 1))) = 256 x 20 x sqrt(0.02 / (64 x 63)) = 11.4 lookups."""
    sizes = [
        sum(replayed(hybrid(4, threshold), 1, **BOX)[0].replay.slots)
        for threshold in (5, None, 12, 40)
    ]
    assert sizes[1] == sizes[2]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[3] > 0


def test_thresholds_of_several_hosts_count_gpus_or_hosts() -> None:
    """20 mini-batches, rates 190 and 130: 4 GPUs of 2 hosts, 8/7 of all-to-all at 8 hosts; an
    eighth of the rate and GPUs in place of hosts are the same (MLPerf v2.1 and v2.0)."""

    def least(hosts: int, **own: Any) -> float:
        entry = {"name": "hugectr_hybrid", **own}
        platform = {"base": "hgx_h100", "hosts": hosts}
        system, _ = replayed(entry, 1, platform=platform, model={"batch_size": 512})
        return float(system._threshold(HybridParameters(**own)))

    by_host, by_gpu = least(4, network="by_host"), least(4, network="hierarchical")
    assert by_host == pytest.approx(20 * 4 * 190 / 130 * 4 / 3)
    assert by_gpu == pytest.approx(8 * by_host)
    assert least(4, network="hierarchical", all_to_all_rate="23.75 GB/s") == pytest.approx(by_host)
    assert least(4) == pytest.approx(20 * 32 * 190 / 130 * 32 / 31)


def test_what_does_not_fit_or_does_not_go_is_refused() -> None:
    (point,) = points(hybrid(4, 0), model={"rows_per_table": 20_000_000}, **BOX)
    with pytest.raises(CapacityError, match=r"hugectr_hybrid: .*copies of rows 40\.96 GB"):
        simulate_points([point], threads=1)
    (point,) = points(hybrid(4, 5), model={"sharding": "column"}, **BOX)
    with pytest.raises(ConfigError, match=r"4 tables parts by columns or copies"):
        simulate_points([point], threads=1)
    with pytest.raises(ConfigError, match=r"threshold: is -1: must be at least 0"):
        points(hybrid(4, -1), **BOX)
    with pytest.raises(ConfigError, match=r"is not used by hugectr_hybrid"):
        points({"name": "hugectr_hybrid", "cache": {"fraction": 0.1}}, **BOX)
