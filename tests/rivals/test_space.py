"""SPACE: hot rows in HBM with adders, the others from DIMMs, in inference alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rivalry import points, replayed, simulated, words

from simulator.caches.facts import HIT, LOOKUP, MISS
from simulator.engine import simulate_points
from simulator.engine.hazards import HazardCase, run_case
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.hardware.program import Move, Pool
from simulator.results.record import PointResult
from simulator.systems.mlp import dense_bytes
from simulator.systems.space import even_share

RUN: dict[str, Any] = {"run": {"mode": "inference", "batches": 3, "warmup_batches": 1}}
HBM, DIMMS = 8 * 28e9, 2 * 25.6e9


def entry(pool: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    host = {"near_memory": {"part": "space_hbm", **(pool or {})}}
    return {"name": "space", "platform": {"base": "space_v100", "name": "m", "host": host}, **keys}


def ran(pool: dict[str, Any] | None = None, **keys: Any) -> PointResult:
    changes = {name: keys.pop(name) for name in ("trace", "model", "run") if name in keys}
    return simulated(entry(pool, **keys), **{**RUN, **changes})["space"]


def busy(result: PointResult, resource: str) -> float:
    return next(float(r["busy_us"]) for r in result.devices if r["resource"] == resource)


def longest(result: PointResult) -> float:
    """Microseconds of the slower of both memories."""
    return max(busy(result, "near_memory.dram"), busy(result, "cpu.dram"))


@pytest.mark.parametrize(("near", "far"), [(4.0, 1.0), (300.0, 38.4), (1.0, 3.0)])
def test_the_even_share_makes_the_longer_time_as_short_as_can_be(near: float, far: float) -> None:
    """h* = B_near / (B_near + B_far) minimises max(h N E / B_near, (1 - h) N E / B_far)."""
    shares = np.linspace(0, 1, 2001)
    times = np.maximum(shares / near, (1 - shares) / far)
    assert even_share(near, far) == pytest.approx(shares[times.argmin()], abs=1e-3)


@pytest.mark.parametrize("alpha", [0.6, 0.9, 1.05])
def test_hbm_gets_the_share_of_lookups_that_it_has_of_the_bandwidth(alpha: float) -> None:
    _, (facts,) = replayed(entry(), 1, trace={"kind": "zipf", "alpha": alpha}, **RUN)
    share = facts[HIT].lookups / facts[LOOKUP].lookups
    assert share == pytest.approx(even_share(HBM, DIMMS), abs=0.015)
    assert facts[HIT].lookups + facts[MISS].lookups == facts[LOOKUP].lookups


def test_no_other_share_is_faster_by_much() -> None:
    """Its memories take as long as each other but for what HBM and DIMMs reach of their pins."""
    model = {"batch_size": 1024, "rows_per_table": 100_000}
    times = {h: longest(ran(hot_share=h, model=model)) for h in (0.4, 0.6, 0.9, 1.0)}
    best = longest(ran(model=model))
    assert all(best < 1.08 * other for other in times.values())
    assert times[0.4] > 1.5 * best
    assert times[1.0] > 1.02 * best


def test_without_hot_rows_all_come_from_the_dimms() -> None:
    """Every lookup is a row that the DIMMs are read for and the link carries, HBM idles."""
    one = {"run": {**RUN["run"], "batches": 1, "warmup_batches": 0}}
    none = ran(hot_share=0.0, **one)
    rows = 256 * 4 * 20 * 512
    assert busy(none, "near_memory.dram") == 0.0
    reads = next(r["bytes"] for r in none.devices if r["resource"] == "near_link.down")
    assert rows <= reads <= 1.05 * rows
    assert busy(none, "cpu.dram") > rows / 51.2e3


def test_with_all_rows_hot_the_dimms_idle() -> None:
    """A pool of eight channels; its nodes are even, for slots go round them."""
    every = ran(hot_share=1.0, trace={"kind": "uniform"})
    plain = simulated(
        {**entry({"cut": "horizontal"}), "name": "recnmp"}, **{**RUN, "trace": {"kind": "uniform"}}
    )["recnmp"]
    near = busy(every, "near_memory.dram")
    assert near == pytest.approx(busy(plain, "near_memory.dram"), rel=0.03)
    system, (facts,) = replayed(entry(hot_share=1.0), 1, **RUN)
    assert facts[MISS].lookups == 0
    (pool,) = (word for word in words(system, facts) if isinstance(word, Pool))
    assert pool.elsewhere is not None
    assert pool.elsewhere.rows.lookups == 0


def test_vectors_alone_leave_hbm() -> None:
    system, (facts,) = replayed(entry(), 1, **RUN)
    sizes = {w.name: w.bytes for w in words(system, facts) if isinstance(w, Move)}
    assert sizes["pooled_to_gpu"] == 256 * 4 * 512 + dense_bytes(points(entry(), **RUN)[0].model)
    assert sizes["instructions"] == -(-facts[HIT].lookups * 79 // 8)


def test_worse_memories_are_never_faster() -> None:
    good = ran(hot_share=0.8).metrics["iteration_time_us"]
    for pool in ({"channels": 4}, {"additions": 1e8}):
        assert ran(pool, hot_share=0.8).metrics["iteration_time_us"] >= good
    for pool in ({"latency": "300 us"}, {"channels": 1}, {"additions": 1e6}):
        assert ran(pool, hot_share=0.8).metrics["iteration_time_us"] > 1.1 * good


def test_sums_of_pairs_are_rows_of_the_trace(tmp_path: Path) -> None:
    """Users that look up the same two items: their sum is looked up in place of both."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 3, 4096)
    items = np.stack([pairs * 2, pairs * 2 + 1, rng.integers(6, 500, 4096)], axis=1)
    np.savez(tmp_path / "pairs.npz", item=items)
    model = {"tables": 1, "rows_per_table": 500, "lookups_per_table": 3, "batch_size": 64}
    run = {"mode": "inference", "batches": 8, "warmup_batches": 1}
    lookups = {}
    for transform in (None, {"algorithm": "space"}):
        trace = {"path": str(tmp_path / "pairs.npz"), "transform": transform}
        changes = {"model": model, "trace": trace, "run": run}
        system, facts = replayed(entry(), 16, **changes)
        lookups[transform is None] = sum(own[LOOKUP].lookups for own in facts)
        result = simulated(entry(), **changes)["space"]
        assert result.metrics["iteration_time_us"] > 0
        assert system.schedule.names == ("gather_reduce", "mlp")
    assert lookups[False] < 0.75 * lookups[True]


def test_training_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="space has none of: every update of a row"):
        simulate_points(points(entry()))
    with pytest.raises(UsageError, match="trains nothing that could be checked"):
        run_case(HazardCase(system="space"))


def test_what_cannot_be_is_refused_with_what_to_type() -> None:
    with pytest.raises(ConfigError, match="platform: space_v100"):
        simulate_points(points("space", **RUN))
    with pytest.raises(ConfigError, match=r"near_memory\.cut=horizontal"):
        ran({"cut": "vertical"})
    with pytest.raises(CapacityError, match=r"lower hot_share, or leave it out"):
        ran(hot_share=1.0, model={"rows_per_table": 4_000_000})
    with pytest.raises(ConfigError, match="hot_share"):
        ran(hot_share=1.5)
    with pytest.raises(ConfigError, match="gpus: is not used by space: its HBM answers one GPU"):
        points({**entry(), "gpus": 2}, **RUN)
    assert ran(model={"rows_per_table": 4_000_000}).metrics["iteration_time_us"] > 0
