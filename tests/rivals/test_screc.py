"""SCRec: rows as tensor-trains, in DRAM and in flash of a SmartSSD, queries alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rivalry import points, replayed, simulated, stage_times, words

from simulator.caches.facts import LOOKUP
from simulator.caches.tiers import Tiering
from simulator.engine import simulate_points
from simulator.engine.explanation import explain_system
from simulator.engine.hazards import HazardCase, run_case
from simulator.engine.prepare import open_for
from simulator.errors import CapacityError, ConfigError, ScratchPipeError, UsageError
from simulator.hardware.program import Pool
from simulator.hardware.tensor_train import Rebuild, TensorTrain, factors
from simulator.results.record import PointResult
from simulator.systems import System

INFERENCE = {"mode": "inference", "batches": 4, "warmup_batches": 2}
ROW, LOOKUPS, ROWS = 512, 256 * 4 * 20, 20_000
FLOPS = 12_288
US = 1e6


def entry(drive: dict[str, Any] | None = None, name: str = "screc", **own: Any) -> dict[str, Any]:
    ssd = {"part": "smartssd", **(drive or {})}
    machine = {"base": "screc_v100", "name": "drive", "host": {"ssd": ssd}}
    return {"name": name, "platform": machine, **own}


def ran(drive: dict[str, Any] | None = None, name: str = "screc", **own: Any) -> PointResult:
    changes = {key: own.pop(key) for key in ("model", "trace") if key in own}
    return simulated(entry(drive, name, **own), run=INFERENCE, **changes)[name]


def used(result: PointResult, resource: str) -> dict[str, Any]:
    return next(dict(row) for row in result.devices if row["resource"] == resource)


def lookup_us(result: PointResult) -> float:
    return stage_times(result)["lookup"]


def levels_of(system: System) -> tuple[tuple[int, ...], ...]:
    """Rows of each table as trains, in DRAM and in flash."""
    tiers = system.replay.tiers
    assert isinstance(tiers, Tiering)
    return tiers.rows


# tensor-trains


@pytest.mark.parametrize(("rank", "flops"), [(8, 4_096), (16, FLOPS), (32, 40_960), (64, 147_456)])
def test_a_row_takes_as_many_products_as_its_two_contractions(rank: int, flops: int) -> None:
    """D of 128 is 4 x 4 x 8: 2 n1 r n2 r, then 2 n1 n2 r n3."""
    assert factors(128) == (4, 4, 8)
    assert TensorTrain(10, 128, rank).flops == flops


def test_cores_are_three_rows_of_matrices() -> None:
    """10 M rows are three digits to base 216: 216 (4 r + 4 r r + 8 r) elements of 4 B."""
    assert TensorTrain(10_000_000, 128, 16).bytes == 4 * 216 * (4 * 16 + 4 * 256 + 8 * 16)
    assert TensorTrain(27, 128, 16).bytes * 2 == TensorTrain(216, 128, 16).bytes


@pytest.mark.parametrize(("dim", "shape"), [(1, (1, 1, 1)), (13, (1, 1, 13)), (64, (4, 4, 4))])
def test_any_dim_has_three_factors(dim: int, shape: tuple[int, int, int]) -> None:
    assert factors(dim) == shape


# levels


@settings(max_examples=25, deadline=None)
@given(
    trains=st.floats(0, 1),
    dram=st.floats(0, 1),
    alpha=st.sampled_from([0.0, 0.9]),
    seed=st.integers(0, 9),
)
def test_lookups_of_each_level_are_those_of_plain_sets(
    trains: float, dram: float, alpha: float, seed: int
) -> None:
    """The hottest rows are trains, the next lie in DRAM, all others in flash."""
    own = entry(train_share=trains, dram_share=min(dram, 1.0 - trains))
    change = {
        "model": {"tables": 2, "rows_per_table": 300, "batch_size": 8},
        "trace": {"kind": "zipf", "alpha": alpha},
        "run": {**INFERENCE, "seed": seed},
    }
    system, facts = replayed(own, 3, **change)
    (point,) = points(own, **change)
    trace = open_for(point, 1)
    for batch in facts:
        for table, flow in enumerate(batch.flows[LOOKUP]):
            first, second, _ = levels_of(system)[table]
            hottest = trace.hottest(table, 300).tolist()
            levels = set(hottest[:first]), set(hottest[first : first + second])
            counts = [0, 0, 0]
            for row in trace.minibatch(batch.index).ids[table].tolist():
                counts[next((k for k in (0, 1) if row in levels[k]), 2)] += 1
            assert flow.tiers == tuple(counts)


def test_every_lookup_is_served_once_and_every_row_lies_once() -> None:
    system, facts = replayed(entry(train_share=0.01, dram_share=0.2), 2, run=INFERENCE)
    assert levels_of(system) == ((200, 4_000, 15_800),) * 4
    operations = words(system, facts[0])
    (pool,) = (word for word in operations if isinstance(word, Pool))
    (rebuild,) = (word for word in operations if isinstance(word, Rebuild))
    assert pool.elsewhere is not None
    served = [flow.lookups for flow in (rebuild.rows, pool.elsewhere.rows, pool.rows)]
    assert sum(served) == LOOKUPS
    assert all(served)
    result = ran(train_share=0.01, dram_share=0.2)
    timed = replayed(entry(train_share=0.01, dram_share=0.2), 6, run=INFERENCE)[1][2:]
    trains, dram, flash = np.mean([facts[LOOKUP].tiers for facts in timed], axis=0)
    assert used(result, "ssd.flash")["bytes"] == pytest.approx(flash * 4096)
    assert used(result, "ssd.dram")["bytes"] == pytest.approx(dram * ROW)
    assert used(result, "ssd.tensor_cores")["busy_us"] == pytest.approx(trains * FLOPS / 250e9 * US)


def test_pooled_vectors_and_ids_are_all_that_crosses_the_link() -> None:
    result = ran()
    assert used(result, "ssd_link.up")["bytes"] == pytest.approx(256 * 4 * ROW)
    assert used(result, "ssd_link.down")["bytes"] == pytest.approx(8 * LOOKUPS)


def test_without_trains_and_dram_it_reads_flash_as_rm_ssd_does() -> None:
    own, other = ran(train_share=0, dram_share=0), ran(name="rm_ssd")
    assert lookup_us(own) == pytest.approx(lookup_us(other))
    assert used(own, "ssd.flash")["bytes"] == LOOKUPS * 4096
    assert used(own, "ssd.tensor_cores")["busy_us"] == 0


def test_without_trains_it_is_a_static_cache_in_the_drive() -> None:
    """Rows of the level above take the lookups that the same share of a static cache hits."""
    _, (facts, *_) = replayed(entry(train_share=0, dram_share=0.1), 1, run=INFERENCE)
    cached = {"name": "static_cache", "cache": {"fraction": 0.1}}
    _, (twin, *_) = replayed(cached, 1, run=INFERENCE)
    assert facts[LOOKUP].tiers == (0, twin["hit"].lookups, twin["miss"].lookups)


def test_slow_tensor_cores_bind_it() -> None:
    slow = {"tensor_cores": {"rate": "1 GFLOP/s", "memory": "4 MiB"}}
    result = ran(slow, train_share=1)
    assert lookup_us(result) == pytest.approx(10 + LOOKUPS * FLOPS / 1e9 * US, rel=1e-3)


# placement


@pytest.mark.parametrize(
    "drive",
    [
        {"memory": {"capacity": "16 MiB"}},
        {
            "tensor_cores": {"rate": "20 GFLOP/s", "memory": "64 KiB"},
            "memory": {"capacity": "4 MiB"},
        },
    ],
)
def test_no_other_share_is_faster_by_much(drive: dict[str, Any]) -> None:
    own = lookup_us(ran(drive))
    for share in (0.0, 0.001, 0.01, 0.1, 0.3):
        try:
            other = lookup_us(ran(drive, train_share=share))
        except CapacityError:
            continue
        assert own <= 1.05 * other, share


def test_trains_fill_the_chip_where_flash_binds() -> None:
    """A tenth of the rows fit into DRAM: what trains hold flash need not serve."""
    drive = {
        "memory": {"capacity": "4 MiB"},
        "tensor_cores": {"rate": "250 GFLOP/s", "memory": "256 KiB"},
    }
    system, _ = replayed(entry(drive), 1, run=INFERENCE)
    levels = levels_of(system)
    used_bytes = sum(TensorTrain(rows[0], 128, 16).bytes for rows in levels)
    assert 0.8 * 256 * 1024 < used_bytes <= 256 * 1024
    assert sum(rows[1] for rows in levels) == pytest.approx(4 * 2**20 / ROW, abs=4)
    assert all(sum(rows) == ROWS for rows in levels)


@pytest.mark.parametrize(
    "worse",
    [
        {"flash": {"read_time": "900 us"}},
        {"flash": {"interface": "10 MB/s"}},
        {"memory": {"capacity": "1 MiB"}},
        {"tensor_cores": {"rate": "1 GFLOP/s", "memory": "4 MiB"}},
        {"tensor_cores": {"rate": "250 GFLOP/s", "memory": "16 KiB"}},
        {"tensor_cores": None},
        {"row_time": "2 us"},
        {"latency": "50 us"},
    ],
)
def test_no_number_of_the_drive_makes_it_faster_by_being_worse(worse: dict[str, Any]) -> None:
    base = {"memory": {"capacity": "8 MiB"}}
    assert lookup_us(ran({**base, **worse})) >= 0.999 * lookup_us(ran(base))


# what is refused


def test_training_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="is training, which screc has none of"):
        simulate_points(points(entry()), threads=1)
    with pytest.raises(UsageError, match="screc trains nothing that could be checked"):
        run_case(HazardCase(system="screc"))
    assert "answers queries alone" in "\n".join(explain_system("screc").lines())


def test_a_machine_without_such_a_drive_is_named_one() -> None:
    with pytest.raises(ConfigError, match=r"platform: screc_v100.*smartssd"):
        simulate_points(points({"name": "screc", "platform": "ssd_v100"}, run=INFERENCE), threads=1)


@pytest.mark.parametrize(
    ("drive", "own", "said"),
    [
        (
            {"tensor_cores": {"rate": "1 GFLOP/s", "memory": "64 KiB"}},
            {"train_share": 0.5},
            r"Trains of rank 16 for 50.000% of the rows need .* lower train_share or rank",
        ),
        (
            {"memory": {"capacity": "1 MiB"}},
            {"dram_share": 0.5},
            r"40,000 rows in DRAM, 50.000% of all, need 20.48 MB.*1.049 MB: lower dram_share",
        ),
        ({"tensor_cores": None}, {"train_share": 0.1}, "has no tensor cores: set it to 0"),
        ({}, {"train_share": 0.6, "dram_share": 0.6}, "0.6 and dram_share 0.6 are more than all"),
        ({}, {"train_share": 1.5}, "train_share"),
        ({}, {"dram_share": -0.1}, "dram_share"),
        ({}, {"rank": 0}, "rank"),
        ({}, {"gpus": 2}, "gpus"),
        ({"flash": {"capacity": "1 MB"}}, {}, r"tables with 80,000 rows of 512 B"),
    ],
)
def test_bad_input_is_named_with_what_to_type(
    drive: dict[str, Any], own: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScratchPipeError, match=said):
        simulate_points(points(entry(drive, **own), run=INFERENCE), threads=1)


def test_rows_of_unlike_dim_are_looked_up() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    system, facts = replayed(entry(train_share=0.1), 2, model=model, run=INFERENCE)
    rebuilt = [word for word in words(system, facts[0]) if isinstance(word, Rebuild)]
    assert sorted(word.flops for word in rebuilt) == sorted(
        TensorTrain(1, d, 16).flops for d in (64, 128)
    )
    assert lookup_us(ran(model=model)) > 0


def test_a_drive_without_tensor_cores_is_one_of_two_levels() -> None:
    system, _ = replayed(entry({"tensor_cores": None}), 1, run=INFERENCE)
    assert all(rows[0] == 0 for rows in levels_of(system))
