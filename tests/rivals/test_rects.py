"""RecTS: packed victims against plain code, Belady's misses, bytes of chunks, hazards, refusals."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rivalry import executed, points, replayed, simulated, stage_times

from simulator.caches.facts import MISS, UNIQUE
from simulator.caches.host_cache import FILLED, SPILLED
from simulator.caches.plan.packing import NEXT
from simulator.caches.reference.packed import reference_packed
from simulator.caches.replays.packed import PackedPool
from simulator.engine.sharing import build
from simulator.errors import CapacityError, ConfigError
from simulator.results.record import PointResult

MACHINE: dict[str, Any] = {"platform": "ssd_v100"}
KEPT = 0.2


def rects(**keys: Any) -> dict[str, Any]:
    return {"name": "rects", "kept": KEPT, **keys}


def flash(result: PointResult) -> dict[str, Any]:
    return next(row for row in result.devices if row["resource"] == "ssd.flash")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_moves_are_those_of_the_plain_reference(data: st.DataObject) -> None:
    check_against_reference(data)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_so_are_they_with_words_of_64_bits(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulator.caches.replays.packed._NARROW", 0)
        check_against_reference(data)


def check_against_reference(data: st.DataObject) -> None:
    rows, packed = data.draw(st.integers(4, 30)), data.draw(st.integers(1, 5))
    capacity = data.draw(st.integers(3, rows))
    batch = st.lists(st.integers(0, rows - 1), min_size=1, max_size=3, unique=True)
    uses = data.draw(st.lists(batch, min_size=1, max_size=14))
    pool = PackedPool(rows, capacity, packed)
    for ids in uses:
        pool.expect(np.array(ids, np.int64))
    pool.begin()
    resident = data.draw(st.lists(st.integers(0, rows - 1), max_size=capacity, unique=True))
    pool.fill(np.array(resident, np.int64))
    for expected in reference_packed(uses, rows, capacity, packed, resident):
        assert served(pool) == expected


def served(pool: PackedPool) -> tuple[object, ...]:
    """What the next mini-batch moves, as the reference tells it."""
    own = pool.serve()
    return (
        own.missed.tolist(),
        set(own.filled.tolist()),
        own.spilled.tolist(),
        own.read,
        own.written,
    )


@pytest.mark.parametrize("beyond", [False, True])
def test_words_are_as_wide_as_the_last_mini_batch_needs(beyond: bool) -> None:
    """The most mini-batches whose numbers have room in 16 bits beside the flags, and one more; of
    all but the first and the last few none uses a row."""
    most = (2**15 >> NEXT) - 2
    drawn = np.random.default_rng(0)
    few = [drawn.choice(12, 3, replace=False).tolist() for _ in range(8)]
    uses = [*few[:4], *[[]] * (most - 8 + beyond), *few[4:]]
    pool = PackedPool(12, 5, 2)
    for ids in uses:
        pool.expect(np.array(ids, np.int64))
    pool.begin()
    assert pool._words.dtype == (np.int64 if beyond else np.int16)
    moves = [served(pool) for _ in uses]
    assert moves == reference_packed(uses, 12, 5, 2)
    assert len({len(move[0]) for move in moves[-4:]}) > 1  # type: ignore[arg-type]


def test_chunks_of_one_row_miss_what_belady_does() -> None:
    cache = {"fraction": KEPT, "prefill": "empty", "policy": "belady"}
    rival = rects(chunk="512 B", past=0, ahead=0)
    belady = {"name": "straw_man", "cache": cache}
    results = simulated(rival, belady, **MACHINE)
    mine, other = (results[n].metrics for n in ("rects", "straw_man"))
    assert mine["misses_per_batch"] == other["misses_per_batch"] > 0
    assert mine["filled_rows_per_batch"] == mine["misses_per_batch"]


def test_chunks_are_read_and_written_whole() -> None:
    """Bytes of the drive are chunks, and victims fill theirs."""
    result = simulated(rects(past=6), **MACHINE)["rects"]
    _, facts = replayed(rects(past=6), 12, **MACHINE)
    read = float(np.mean([f[FILLED].chunks for f in facts[6:]]))
    written = result.metrics["spilled_rows_per_batch"] / 32  # rows of 512 B in 16 KiB
    assert flash(result)["bytes"] == pytest.approx((read + written) * 16_384)
    assert sum(f[SPILLED].rows for f in facts) == 32 * sum(f[SPILLED].chunks or 0 for f in facts)
    a_day = written * 16_384 / result.metrics["iteration_time_us"] * 1e6 * 86_400 / 1e9
    assert flash(result)["written_gb_per_day"] == pytest.approx(a_day)


def test_packing_brings_several_wanted_rows_with_a_read() -> None:
    """Rows that are needed together lie together: fewer reads, and more hits, than rows alone."""
    long = {"run": {"batches": 20, "warmup_batches": 0, "check": True}}
    results = simulated(
        {**rects(), "label": "packed"},
        {**rects(chunk="512 B"), "label": "alone"},
        **long,
        **MACHINE,
    )
    packed, alone = (results[n].metrics for n in ("packed", "alone"))
    assert packed["unique_hit_rate"] > alone["unique_hit_rate"]
    assert packed["iteration_time_us"] < alone["iteration_time_us"]
    _, facts = replayed(rects(), 20, **MACHINE)
    assert sum(f[MISS].rows for f in facts) > 1.5 * sum(f[FILLED].chunks or 0 for f in facts)


def test_all_rows_in_dram_is_hybrid() -> None:
    """Once every row that is used came up, nothing moves."""
    small = {"model": {"rows_per_table": 100, "batch_size": 64}}
    results = simulated({"name": "rects", "kept": 1.0}, "hybrid", **small, **MACHINE)
    mine, other = (results[n] for n in ("rects", "hybrid"))
    assert mine.metrics["filled_rows_per_batch"] == mine.metrics["spilled_rows_per_batch"] == 0
    times = [r.metrics["iteration_time_us"] for r in (mine, other)]
    assert times[0] == pytest.approx(times[1], rel=0.02)
    assert stage_times(mine)["fetch"] == 0


def test_a_larger_pool_reads_no_more() -> None:
    misses = [
        simulated(rects(kept=kept, chunk="512 B"), **MACHINE)["rects"].metrics["misses_per_batch"]
        for kept in (0.15, 0.3, 0.6)
    ]
    assert misses == sorted(misses, reverse=True)


def test_rows_are_conserved() -> None:
    """What came up and did not go down unchanged is in the pool or went down: never beyond room."""
    system, facts = replayed(rects(), 8, **MACHINE)
    assert system.replay.capacities == (4000,) * 4  # type: ignore[attr-defined]
    for batch in facts:
        assert batch[MISS].rows <= batch[FILLED].rows
        assert batch[MISS].rows <= batch[UNIQUE].rows
        assert batch[SPILLED].rows <= batch[FILLED].rows + 4 * 31


@pytest.mark.parametrize("chunk", ["512 B", "2 KiB", "16 KiB"])
@pytest.mark.parametrize("seed", range(2))
def test_it_trains_like_one_batch_at_a_time(chunk: str, seed: int) -> None:
    outcome = executed("rects", "kept=0.2", f"chunk={chunk}", seed=seed, tables=2)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def built(*entries: Any, **changes: Any) -> None:
    for point in points(*entries, **changes):
        build(point)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"chunk": "256 B"}, "chunk is 256 B, but a row has 512 B: set chunk to at least that"),
        ({"kept": 0}, "kept: is 0: must be greater than 0"),
        ({"kept": 1.5}, "kept: is 1.5: must be at most 1"),
        ({"drive": "nvme9"}, "has no drive 'nvme9': ssd"),
        ({"cache": {"fraction": 0.1}}, "is not used by rects"),
        ({"gpus": 2}, "gpus"),
    ],
)
def test_bad_input_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built({"name": "rects", **entry}, **MACHINE)
    assert words in str(caught.value)


def test_no_drive_and_no_room_are_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="v100_p3 has none: join one to the cpu"):
        built("rects")
    small = {"ssd": {"part": "micron_9200", "capacity": "10 MB"}}
    with pytest.raises(CapacityError, match=r"ssd\.flash of .* holds 10 MB"):
        built("rects", platform={"base": "ssd_v100", "host": small})


@pytest.mark.parametrize("past", [0, 6])
def test_a_pool_below_a_mini_batch_is_refused_with_what_would_do(past: int) -> None:
    """The mini-batch is named as the run counts them, and less than it says does not do."""
    which = "mini-batch [1-6] before the run" if past else "mini-batch [0-9]+"
    found = rf"systems\.rects: {which} uses "
    found += (
        r"[\d,]+ distinct rows of table [0-3], the largest share of all, but its pool has room "
    )
    found += r"for 200 of 20,000: set kept to (0\.\d+) or more, or lower model\.batch_size$"
    none = {"batches": 1, "warmup_batches": 0}
    run = {"run": none} if past else {}
    with pytest.raises(CapacityError) as caught:
        simulated(rects(kept=0.01, past=past, ahead=0), **run, **MACHINE)
    message = re.search(found, str(caught.value).splitlines()[-1])
    assert message, str(caught.value)
    enough = float(message[1])
    simulated(rects(kept=enough, past=past, ahead=0), **run, **MACHINE)
    with pytest.raises(CapacityError, match="set kept to"):
        simulated(rects(kept=round(enough - 0.0002, 4), past=past, ahead=0), **run, **MACHINE)
