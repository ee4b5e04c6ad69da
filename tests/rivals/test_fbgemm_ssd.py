"""FBGEMM's tables on a drive: misses, bytes of the drive, rate of a shard, hazards, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import BYPASS, MISS, VICTIM
from simulator.engine.sharing import build
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Gather, Scatter
from simulator.results.record import PointResult

MACHINE: dict[str, Any] = {"platform": "ssd_v100"}
SMALL = {"rows_per_table": 500, "batch_size": 32, "tables": 2, "lookups_per_table": 4}
"""Tables that a set of 1024 ways can hold."""
FREE = {
    "part": "micron_9200",
    "read_latency": "1 ps",
    "write_latency": "1 ps",
    "read_iops": 10**9,
    "write_iops": 10**9,
    "read_bandwidth": "100 TB/s",
    "write_bandwidth": "100 TB/s",
    "request_time": "0 ps",
}


def on(drive: dict[str, Any] | None = None) -> dict[str, Any]:
    """The machine with another drive, behind a link that bounds nothing."""
    link = {"part": "pcie3_x4", "raw_bandwidth": "100 TB/s", "outstanding_reads": 10**6}
    sockets = {"ssd": drive or FREE, "ssd_link": {**link, "join": ["cpu", "ssd"]}}
    return {"platform": {"base": "ssd_v100", "host": sockets}}


def flash(result: PointResult) -> dict[str, Any]:
    return next(row for row in result.devices if row["resource"] == "ssd.flash")


@pytest.mark.parametrize(("fraction", "rel"), [(1.0, 0.0), (0.25, 0.03)])
def test_one_set_for_all_misses_what_the_straw_man_does(fraction: float, rel: float) -> None:
    """An LRU pool; who of one mini-batch's rows leaves first is a matter of the set's order."""
    cache = {"fraction": fraction, "prefill": "empty"}
    rival = {"name": "fbgemm_ssd", "ways": round(1000 * fraction)}
    one_pool = {"name": "straw_man", "cache": {"scope": "global"}}
    results = simulated(rival, one_pool, model=SMALL, cache=cache, **MACHINE)
    mine, other = (results[n].metrics for n in ("fbgemm_ssd", "straw_man"))
    assert mine["misses_per_batch"] == pytest.approx(other["misses_per_batch"], rel=rel)
    assert mine["bypass_rows_per_batch"] == 0


def gather_us(entry: dict[str, Any]) -> float:
    """Time of a row that the CPU gathers for a mini-batch."""
    changes = {"operators": "tuned", **on()}
    system, (facts,) = replayed(entry, 1, cache={"prefill": "empty"}, **changes)
    (point,) = points(entry, **changes)
    _, machine = build(point)
    gathers = [w for w in words(system, facts) if isinstance(w, Gather) and w.at == "cpu"]
    demands = [machine.price(w, point.operators).minimum_ps for w in gathers]
    return sum(demands) / sum(w.rows.rows for w in gathers) / 1e6


def test_free_calls_on_a_free_drive_gather_as_the_straw_man_does() -> None:
    """No time for a get, a thread a core: the gather of an SSD tier, row for row, and that is no
    slower than the same gather from DRAM."""
    mine = {"name": "fbgemm_ssd", "get_time": "0 ps", "put_time": "0 ps", "shards": 1024}
    tier = gather_us({"name": "straw_man", "tables": {"tier": "ssd"}})
    assert gather_us(mine) == pytest.approx(tier, rel=0.02)
    assert tier <= gather_us({"name": "straw_man"})


def test_a_shard_gets_as_many_rows_as_was_measured() -> None:
    """62.8 MiB/s of rows of 512 B, where the drive is no limit."""
    slow = simulated({"name": "fbgemm_ssd", "shards": 1}, operators="tuned", **MACHINE)
    result = slow["fbgemm_ssd"]
    rows = result.metrics["misses_per_batch"]
    rate = rows * 512 / (stage_times(result)["collect"] * 1e-6)
    assert rate == pytest.approx(62.8 * 2**20, rel=0.05)


def test_shards_share_the_gets_until_the_drive_is_the_limit() -> None:
    """Two shards take half the time of one; 840,000 reads a second are all that the drive has."""
    times = {}
    for shards in (1, 2, 64):
        result = simulated({"name": "fbgemm_ssd", "shards": shards}, operators="tuned", **MACHINE)
        times[shards] = stage_times(result["fbgemm_ssd"])["collect"]
        rows = result["fbgemm_ssd"].metrics["misses_per_batch"]
    assert times[2] == pytest.approx(times[1] / 2, rel=0.05)
    assert times[64] >= rows / 840_000 * 1e6


def test_bytes_of_the_drive_are_pages_read_and_rows_appended() -> None:
    """A page of 4 KiB for each row that is missed, 8 times its bytes; rows as they are go back."""
    result = simulated("fbgemm_ssd", **MACHINE)["fbgemm_ssd"]
    misses, bypass = (result.metrics[k] for k in ("misses_per_batch", "bypass_rows_per_batch"))
    _, facts = replayed("fbgemm_ssd", 12, **MACHINE)
    put = np.mean([-(-(f[VICTIM].rows * 512) // 4096) for f in facts[6:]])
    scratch = np.mean([-(-(f[BYPASS].rows * 512) // 4096) for f in facts[6:]])
    assert bypass > 0
    assert flash(result)["bytes"] == pytest.approx((misses + put + scratch) * 4096, rel=1e-6)


def test_a_row_that_is_written_more_often_wears_the_drive_more() -> None:
    once, thrice = (
        simulated({"name": "fbgemm_ssd", "write_amplification": n}, **MACHINE)["fbgemm_ssd"]
        for n in (1.0, 3.0)
    )
    written = [
        flash(r)["written_gb_per_day"] * r.metrics["iteration_time_us"] for r in (once, thrice)
    ]
    assert written[1] == pytest.approx(3 * written[0], rel=0.01)
    assert flash(thrice)["fill_h"] < flash(once)["fill_h"]


def test_rows_are_read_from_the_drive_and_put_back_to_it() -> None:
    system, facts = replayed("fbgemm_ssd", 12, cache={"fraction": 0.05}, **MACHINE)
    batch = facts[-1]
    below = [w for w in words(system, batch) if isinstance(w, Gather) and w.at == "cpu"]
    back = [w for w in words(system, batch) if isinstance(w, Scatter) and w.at == "cpu"]
    assert {w.reads.memory for w in below} == {w.writes.memory for w in back} == {"ssd.flash"}
    assert sum(w.rows.rows for w in below) == batch[MISS].rows
    assert sum(w.rows.rows for w in back) == batch[VICTIM].rows + batch[BYPASS].rows


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("tables", [1, 3])
def test_it_trains_like_one_batch_at_a_time(seed: int, tables: int) -> None:
    outcome = executed("fbgemm_ssd", "ways=2", seed=seed, tables=tables, slots=12)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_rows_of_unlike_dim_are_trained() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    (result,) = simulated("fbgemm_ssd", model=model, **MACHINE).values()
    assert result.metrics["iteration_time_us"] > 0


def built(*entries: Any, **changes: Any) -> None:
    for point in points(*entries, **changes):
        build(point)


def refused(*entries: Any, kind: type[ConfigError] = ConfigError, **changes: Any) -> str:
    with pytest.raises(kind) as caught:
        built(*entries, **changes)
    return str(caught.value)


def test_a_platform_without_a_drive_has_the_remedy() -> None:
    text = refused("fbgemm_ssd")
    for word in ("v100_p3 has none", "ssd_link", "join: [cpu, ssd]", "ssd_v100"):
        assert word in text


def test_the_drive_is_named_where_there_are_several() -> None:
    two = {"ssd": {"part": "micron_9200", "count": 2}}
    changes = {"platform": {"base": "ssd_v100", "host": two}}
    assert "has 2: set drive to one of ssd0, ssd1" in refused("fbgemm_ssd", **changes)
    assert "has no drive 'ssd7': ssd0, ssd1" in refused(
        {"name": "fbgemm_ssd", "drive": "ssd7"}, **changes
    )
    (point,) = points({"name": "fbgemm_ssd", "drive": "ssd1"}, **changes)
    system, _ = build(point)
    (batch,) = replayed({"name": "fbgemm_ssd", "drive": "ssd1"}, 1, **changes)[1]
    gathers = [w for w in words(system, batch) if isinstance(w, Gather) and w.at == "cpu"]
    assert {w.reads.memory for w in gathers} == {"ssd1.flash"}


def test_tables_beyond_the_drive_are_refused_with_the_arithmetic() -> None:
    """4 x 10,000,000 x 512 B = 20.48 GB."""
    small = {"ssd": {"part": "micron_9200", "capacity": "10 GB"}}
    text = refused(
        "fbgemm_ssd",
        kind=CapacityError,
        model={"rows_per_table": 10_000_000},
        platform={"base": "ssd_v100", "host": small},
    )
    for word in ("40,000,000 rows of 512 B", "20.48 GB", "ssd.flash", "10 GB"):
        assert word in text


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"ways": 0}, "ways: is 0: must be at least 1"),
        ({"shards": 0}, "shards: is 0: must be at least 1"),
        ({"write_amplification": 0.5}, "write_amplification: is 0.5: must be at least 1"),
        ({"get_time": "-1 us"}, "get_time"),
        ({"cache": {"policy": "lru"}}, "is not used by fbgemm_ssd"),
        ({"gpus": 2}, "gpus"),
    ],
)
def test_bad_input_is_named(entry: dict[str, Any], words: str) -> None:
    assert words in refused({"name": "fbgemm_ssd", **entry}, **MACHINE)
