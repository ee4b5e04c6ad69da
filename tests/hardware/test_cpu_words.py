"""What words of a program become on a CPU: bytes, rows and lines that a person can redo."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from benches import (
    DIM,
    DRAM,
    LOOKUPS,
    PAPER,
    POOLED,
    ROWS,
    TUNED,
    UNIQUE,
    XEON,
    bench,
    buffer,
    pool,
    price,
    store,
    update,
)
from hypothesis import given
from hypothesis import strategies as st
from machines import server, topology

from simulator.caches.ranges import Ranges
from simulator.columns import column_of
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.engine.together import taken
from simulator.hardware.demand import Demand
from simulator.hardware.devices.cpu_words import PASSES, Package
from simulator.hardware.program import (
    Accumulate,
    Buffer,
    Expand,
    Flow,
    Gather,
    Move,
    Operation,
    Scatter,
    Sort,
    Update,
)

PACKAGE = Package("cpu", DRAM, last_level_cache=50_000_000, device_cache=5_000_000)


def at_cpu(word: Operation, software: OperatorProfile = PAPER) -> Demand:
    return price(topology(server()), word, software)


def test_gather_reduce_reads_a_row_a_lookup_and_writes_pooled_vectors() -> None:
    """And reads each line of the vectors before it writes it."""
    demand = at_cpu(pool("cpu", DRAM))
    assert demand.services[DRAM].bytes == LOOKUPS * (512 + 8) + 2 * POOLED


def test_lookups_that_hit_are_not_read_from_dram() -> None:
    demand = at_cpu(pool("cpu", DRAM, hit_share=0.25))
    assert demand.services[DRAM].bytes == LOOKUPS * (384 + 8) + 2 * POOLED


def test_a_list_with_holes_is_read_whole_and_skipped_one_by_one() -> None:
    """4 B an id at 12 GB/s and 1 ns to skip it, on 20 cores; no row is read."""
    holes = pool("cpu", DRAM, rows=Flow(), into=buffer(DRAM, 0), skipped=1_000_000)
    demand = at_cpu(holes, TUNED)
    assert demand.services[DRAM].bytes == 4_000_000
    thread_ps = 1_000_000 * 1_000 + 4_000_000 / 12e9 * 1e12
    assert demand.services["cpu.cores"].ps == pytest.approx(thread_ps / 20)
    compacted = at_cpu(dataclasses.replace(holes, skipped=0), TUNED)
    assert compacted.minimum_ps == compacted.services[DRAM].bytes == 0
    rows = Sort("sort", "cpu", ROWS, 8, 2, 10**9, skipped=1_000_000)
    less = at_cpu(dataclasses.replace(rows, skipped=0), TUNED).services
    more = at_cpu(rows, TUNED).services
    assert more[DRAM].bytes - less[DRAM].bytes == 4_000_000
    assert (more["cpu.cores"].ps - less["cpu.cores"].ps) * 20 == pytest.approx(thread_ps)


@pytest.mark.parametrize(("size", "lines"), [(64, 1), (65, 2), (512, 8)])
def test_a_row_costs_its_instructions_and_those_of_its_lines(size: int, lines: int) -> None:
    """gather_reduce: 14 ns a row and 0.75 ns a line; waits of 9 ns a line at 0.6 of the buffers."""
    table = dataclasses.replace(store(DRAM), row_bytes=size)
    word = pool("cpu", DRAM, reads=table, rows=Flow(1_000, 1), into=buffer(DRAM, 0))
    waiting = 1_000 * lines * 9_000 / 0.6 + 8_000 / 12e9 * 1e12
    busy = 1_000 * (14_000 + lines * 750)
    assert at_cpu(word).services["cpu.cores"].ps == pytest.approx((busy + waiting) / 20)


STAGED = Buffer("staged", DRAM, UNIQUE * 1024)
ROW_AND_LINES = [
    (pool("cpu", DRAM), TUNED, "gather_reduce", LOOKUPS, 8),
    (pool("cpu", DRAM), PAPER, "gather_reduce", LOOKUPS, 8),
    (Gather("g", "cpu", store(DRAM, 512), ROWS, STAGED), TUNED, "gather", UNIQUE, 16),
    (Scatter("s", "cpu", STAGED, store(DRAM, 512), ROWS), TUNED, "row_scatter", UNIQUE, 16),
    (Expand("e", "cpu", STAGED, ROWS, DIM, 8), PAPER, "expand", LOOKUPS, 8),
    (Accumulate("a", "cpu", STAGED, ROWS, DIM, True, 8), PAPER, "accumulate", LOOKUPS, 8),
    (update("cpu", DRAM, 512), PAPER, "scatter", UNIQUE, 8),
    (update("cpu", DRAM, 512, coalesce=True), TUNED, "accumulate", LOOKUPS, 8),
    (Sort("s", "cpu", ROWS, 8, 2**24, 1), TUNED, "sort", 3 * LOOKUPS, 0),
    (Sort("s", "cpu", ROWS, 8, 2**24, 1), PAPER, "sort", 16 * LOOKUPS, 0),
]
"""Staged rows with their state of 512 B are 16 lines, gradients 8; fused passes count lookups."""


@pytest.mark.parametrize(("word", "software", "operator", "rows", "lines"), ROW_AND_LINES)
def test_instructions_are_counted_by_row_and_by_line(
    word: Operation, software: OperatorProfile, operator: str, rows: int, lines: int
) -> None:
    """16 ns a row and 1 ns a line of the operator that the word stands for, on 16 cores that wait
    for nothing: no other operator has a part in it."""
    times = {"row_time": 16_000, "line_time": 1_000}
    its = getattr(software, operator).model_copy(update=times)
    software = software.model_copy(update={operator: its})
    idle = dict.fromkeys(("memory_latency", "last_level_latency", "page_fault"), 0)
    at_once = dict.fromkeys(("nontemporal_bandwidth", "sequential_bandwidth"), 10**24)
    services = price(bench(cpu={**idle, **at_once}), word, software).services
    assert services["cpu.cores"].ps == pytest.approx(rows * (16_000 + lines * 1_000) / 16)


@pytest.mark.parametrize("coalesce", [False, True])
def test_distinct_rows_have_instructions_where_gradients_are_summed(coalesce: bool) -> None:
    """100 ns a distinct row, on 20 cores."""
    word = Accumulate("a", "cpu", STAGED, ROWS, DIM, True, 8)
    summed = update("cpu", DRAM, 512, coalesce=True) if coalesce else word
    its = TUNED.accumulate.model_copy(update={"distinct_time": 100_000})
    slow = TUNED.model_copy(update={"accumulate": its})
    busy = [at_cpu(summed, s).services["cpu.cores"].ps for s in (slow, TUNED)]
    assert busy[0] - busy[1] == pytest.approx(UNIQUE * 100_000 / 20, rel=1e-6)


@pytest.mark.parametrize("coalesce", [False, True])
def test_lookups_of_the_hottest_row_are_one_thread_s(coalesce: bool) -> None:
    """16 leading bits: as even shares, but for a row with half of the lookups, which one of 20
    threads sums alone; cores are no busier. 2^20 rows in 4 ranges keep 16 threads idle."""
    hot = dataclasses.replace(ROWS, hottest=(LOOKUPS // 2,))
    rows_of = dataclasses.replace(store(DRAM), bytes=512 << 20)

    def priced(bits: int, rows: Flow) -> Demand:
        word = Accumulate("a", "cpu", STAGED, rows, DIM, True, 8)
        summed = update("cpu", DRAM, 512, coalesce=True, rows=rows, writes=rows_of)
        its = TUNED.accumulate.model_copy(update={"range_bits": bits, "row_time": 10**6})
        software = TUNED.model_copy(update={"accumulate": its})
        return at_cpu(summed if coalesce else word, software)

    even, dealt, alone, few = priced(0, hot), priced(16, ROWS), priced(16, hot), priced(2, ROWS)
    assert dealt.minimum_ps == pytest.approx(even.minimum_ps, rel=1e-3)
    assert alone.minimum_ps > LOOKUPS / 2 * 10**6 > 5 * even.minimum_ps
    assert few.minimum_ps == pytest.approx(5 * even.minimum_ps, rel=0.1)
    busy = {d.services["cpu.cores"].ps for d in (even, dealt, alone, few)}
    assert len(busy) == 1


def test_lookups_are_dealt_by_the_ranges_that_they_fall_on() -> None:
    """Two of four ranges have all lookups: two threads sum half each, however many others there
    are. Ranges of other rows say nothing: the same in each."""
    whole = dataclasses.replace(store(DRAM), bytes=512 << 20)
    its = TUNED.accumulate.model_copy(update={"range_bits": 2, "row_time": 10**7})
    software = TUNED.model_copy(update={"accumulate": its})

    def priced(ranges: Ranges | None) -> Demand:
        rows = dataclasses.replace(ROWS, ranges=ranges)
        return at_cpu(update("cpu", DRAM, 512, coalesce=True, rows=rows, writes=whole), software)

    uneven = priced(Ranges(1 << 20, (LOOKUPS // 2, LOOKUPS // 2, 0, 0)))
    even, others = priced(None), priced(Ranges(1 << 19, (LOOKUPS, 0, 0, 0)))
    assert uneven.minimum_ps == pytest.approx(2 * even.minimum_ps, rel=0.05)
    assert others == even
    assert uneven.services["cpu.cores"].ps == even.services["cpu.cores"].ps


def test_expand_writes_a_gradient_for_each_lookup() -> None:
    demand = at_cpu(Expand("expand", "cpu", buffer(DRAM, POOLED), ROWS, DIM, 8))
    assert demand.services[DRAM].bytes == POOLED + 2 * LOOKUPS * 512


@pytest.mark.parametrize(("table_rows", "passes"), [(2**8, 1), (2**16, 2), (2**24 + 1, 4)])
def test_a_radix_sort_on_the_cpu_takes_a_pass_for_each_8_bits(table_rows: int, passes: int) -> None:
    demand = at_cpu(Sort("sort", "cpu", ROWS, 8, table_rows, 10**9), TUNED)
    one = at_cpu(Sort("sort", "cpu", ROWS, 8, 2, 10**9), TUNED)
    row_ps = (demand.services["cpu.cores"].ps - one.services["cpu.cores"].ps) * 20
    assert row_ps == pytest.approx((passes - 1) * LOOKUPS * TUNED.sort.row_time)
    assert demand.services[DRAM].bytes == LOOKUPS * (4 + 3 * 8), "ids; pairs read, owned, written"
    assert demand.latency_ps == 2 * 5_000_000, "counts, then moves: a start of all threads each"


def test_lists_that_the_cache_holds_are_not_read_from_memory() -> None:
    """Those of a micro-benchmark, which sorts the same again and again."""
    cold, warm = (at_cpu(Sort("s", "cpu", ROWS, 8, 10**7, 10**8, held=h)) for h in (0.0, 1.0))
    assert warm.services[DRAM].bytes == 0 < cold.services[DRAM].bytes
    assert warm.services["cpu.cores"].ps < cold.services["cpu.cores"].ps


def test_a_comparison_sort_takes_a_level_for_each_doubling_of_a_table() -> None:
    """40,960 lookups a table: 16 levels of 4 ns, table by table on 8 threads."""
    demand = at_cpu(Sort("sort", "cpu", ROWS, 8, 10**7, 10**8))
    waiting = LOOKUPS * (8 + 12) / 12e9 * 1e12  # in order
    waiting += LOOKUPS * 12 / 64 * 90_000 / 10  # a store waits for its line
    assert demand.minimum_ps == pytest.approx((16 * LOOKUPS * 4_000 + waiting) / 8, rel=1e-5)


def test_accumulate_reads_gradients_and_writes_one_for_each_unique_row() -> None:
    expanded = Accumulate("accumulate", "cpu", buffer(DRAM, POOLED), ROWS, DIM, True, 8)
    written = 2 * UNIQUE * 512
    assert at_cpu(expanded).services[DRAM].bytes == LOOKUPS * 512 + written
    pooled = dataclasses.replace(expanded, expanded=False)
    fresh = POOLED - 5_000_000  # less what the copy of them has left in the cache
    assert at_cpu(pooled).services[DRAM].bytes == fresh + written, "the others stay cached"


def test_pooled_gradients_that_the_last_level_does_not_hold_are_read_again() -> None:
    """Vectors of 100 MB: half of the reads hit 50 MB; 5 MB of the first reads are there."""
    source = dataclasses.replace(buffer(DRAM, 100_000_000), held=None)
    word = Accumulate("accumulate", "cpu", source, ROWS, DIM, False, 8)
    expected = LOOKUPS * 512 / 2 + 95_000_000 + 2 * UNIQUE * 512
    assert at_cpu(word).services[DRAM].bytes == pytest.approx(expected, abs=64)


def test_scatter_reads_and_writes_each_unique_row_once() -> None:
    demand = at_cpu(update("cpu", DRAM, expanded=True))
    assert demand.services[DRAM].bytes == UNIQUE * 512 + 2 * UNIQUE * 512


def test_a_fused_update_reads_the_pooled_gradients_itself() -> None:
    demand = at_cpu(update("cpu", DRAM, coalesce=True), TUNED)
    assert demand.services[DRAM].bytes == POOLED - 5_000_000 + 2 * UNIQUE * 512


@pytest.mark.parametrize("state", [0, 4, 512])
def test_optimizer_state_is_read_and_written_beside_its_row(state: int) -> None:
    lines = -(-state // 64) * 64
    demand = at_cpu(update("cpu", DRAM, state, expanded=True))
    assert demand.services[DRAM].bytes == UNIQUE * 512 + 2 * UNIQUE * (512 + lines)


@pytest.mark.parametrize(("optimizer", "line_ns"), [("sgd", 0), ("adagrad", 12)])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_costs_instructions_for_each_line_of_a_unique_row(
    optimizer: str, line_ns: int, fused: bool
) -> None:
    """A row of 512 B is 8 lines, whatever state lies beside it."""
    word = update("cpu", DRAM, 512, expanded=not fused, coalesce=fused)
    software = TUNED if fused else PAPER
    step = PASSES[Update](dataclasses.replace(word, optimizer=optimizer), software, PACKAGE)
    plain = PASSES[Update](word, software, PACKAGE)
    assert step.busy_ps - plain.busy_ps == UNIQUE * 8 * line_ns * 1000


@pytest.mark.parametrize("state", [0, 512])
def test_optimizer_state_travels_with_its_row(state: int) -> None:
    size = UNIQUE * (512 + state)
    rows, staged = store(DRAM, state), Buffer("staged", DRAM, size, held=0.0)
    gather, scatter = (
        Gather("g", "cpu", rows, ROWS, staged),
        Scatter("s", "cpu", staged, rows, ROWS),
    )
    assert at_cpu(gather).services[DRAM].bytes == 3 * size, "plain stores own their lines"
    assert at_cpu(gather, TUNED).services[DRAM].bytes == 2 * size, "streaming ones do not"
    assert at_cpu(scatter).services[DRAM].bytes == 3 * size
    assert at_cpu(scatter, TUNED).services[DRAM].bytes == 2 * size


def test_entries_that_are_no_whole_lines_are_not_streamed() -> None:
    """516 B, a row and one state: the lines that they begin and end in have to be read first. On
    an H100 server such copies took 1.6 to 2.7 times as long as those of 512 B."""
    rows, staged = store(DRAM, 4), Buffer("staged", DRAM, UNIQUE * 516, held=0.0)
    for word in (
        Gather("g", "cpu", rows, ROWS, staged),
        Scatter("s", "cpu", staged, rows, ROWS),
    ):
        ragged, plain = at_cpu(word, TUNED), at_cpu(word)
        assert ragged.services[DRAM].bytes == plain.services[DRAM].bytes > 3 * UNIQUE * 512
        whole = dataclasses.replace(rows, state_bytes=0)
        key = "reads" if isinstance(word, Gather) else "writes"
        even = at_cpu(dataclasses.replace(word, **{key: whole}), TUNED)
        assert 1.4 < ragged.minimum_ps / even.minimum_ps < 3


@pytest.mark.parametrize(
    ("profile", "passes"),
    [
        ("paper", ("expand", "sort", "accumulate", "scatter")),
        ("stock", ("expand", "sort", "accumulate", "scatter")),
        ("tuned", ("sort", "accumulate")),
    ],
)
def test_the_backward_of_a_cpu_has_the_passes_of_its_software(
    profile: str, passes: tuple[str, ...]
) -> None:
    cpu = topology(server()).processor("cpu")
    names = tuple(name for _, name in cpu.training_passes(load_named("operators", profile)))
    assert names == passes


@pytest.mark.parametrize(("at", "rows"), [("cpu", 97_656), ("gpu", 11_718)])
def test_rows_that_a_processors_own_cache_holds(at: str, rows: int) -> None:
    """50 MB of last level and 6 MB of L2, rows of 512 B."""
    assert topology(server()).processor(at).cached_rows(512) == rows


# lines that wait changed in the cores' caches, and what copies leave in the last level


def left(word: Operation, software: OperatorProfile = PAPER, threads: int | None = None) -> Any:
    return bench(threads).processor("cpu").left_changed(word, software)


def gathered(rows: int, size: int = 512, **changes: int) -> Gather:
    """A gather of `rows` of `size` bytes into a buffer."""
    table = dataclasses.replace(store(DRAM), row_bytes=size)
    word = Gather("gather", "cpu", table, Flow(0, rows), buffer(DRAM, rows * size))
    return dataclasses.replace(word, **changes)


@pytest.mark.parametrize(
    ("rows", "size", "threads", "held"),
    [
        (0, 512, None, 0),
        (1, 512, None, 512),
        (1, 65, None, 128),
        (1000, 512, None, 512_000),
        (100_000, 512, None, 16 * 2 * 2**20),
        (100_000, 512, 4, 4 * 2 * 2**20),
    ],
)
def test_changed_lines_stay_as_far_as_the_cores_hold_them(
    rows: int, size: int, threads: int | None, held: int
) -> None:
    """2 MiB a core, of the cores that have threads."""
    assert left(gathered(rows, size), threads=threads) == held


def test_whole_rows_stay() -> None:
    """32 MiB hold 52,428 rows of 640 B, and 512 B of the next."""
    table = dataclasses.replace(store(DRAM), row_bytes=640)
    source = buffer(DRAM, 640 * 100_000)
    assert left(Scatter("s", "cpu", source, table, Flow(0, 100_000))) == 52_428 * 640


def test_streaming_stores_leave_nothing_and_other_words_do_not_pass() -> None:
    assert left(gathered(1000), TUNED) == 0
    assert left(Move("copy", "cpu", buffer(DRAM, 1), "gpu.hbm")) is None


def test_what_stays_is_not_written_and_what_is_driven_out_is() -> None:
    """1,000 rows of 512 B: read, owned and written; 300,000 B of that stay, 100,000 B of another
    go. They are written back at the rate of evictions."""
    machine = bench(cpu={"memory_path": XEON.memory_path.model_copy(update={"duplex": 0.0})})
    plain, deferred = (
        price(machine, word, PAPER).services
        for word in (gathered(1000), gathered(1000, leaves=300_032, evicts=100_032))
    )
    assert plain[DRAM].bytes == 3 * 512_000
    stays = 300_032 // 64 * 64
    assert deferred[DRAM].bytes == 3 * 512_000 - stays + 100_032
    written = (stays - 100_032) / XEON.memory_path.write_back * 1e12
    assert plain["cpu.path"].ps - deferred["cpu.path"].ps == pytest.approx(written)
    assert plain[DRAM].read_ps == deferred[DRAM].read_ps, "lines are owned all the same"


def test_streaming_stores_and_lines_that_they_drive_out_have_their_own_rates() -> None:
    limits = XEON.memory_path
    services = price(bench(), gathered(1000, evicts=64_000), TUNED).services
    reads = 512_000 / limits.random_read * 1e12 + 1000 * limits.random_piece
    writes = (512_000 / limits.write + 64_000 / limits.write_back) * 1e12
    longer, shorter = max(reads, writes), min(reads, writes)
    expected = longer + (1.0 - limits.duplex) * shorter
    assert services["cpu.path"].ps == pytest.approx(expected)
    assert services[DRAM].bytes == 2 * 512_000 + 64_000


@given(st.integers(0, 3000), st.integers(1, 700), st.integers(0, 10**7))
def test_what_an_operation_defers_is_what_it_does_not_write(
    rows: int, size: int, evicts: int
) -> None:
    """To the byte, whatever the size of rows."""
    word, machine = gathered(rows, size), bench()
    stays = left(word)
    deferred = dataclasses.replace(word, leaves=stays, evicts=evicts)
    before, after = (price(machine, each, PAPER).services for each in (word, deferred))
    assert before[DRAM].bytes - after[DRAM].bytes == stays - evicts
    assert min(s.read_ps for s in after.values()) >= 0.0


@given(st.lists(st.integers(0, 40), min_size=2, max_size=5), st.sampled_from([64, 128, 512]))
def test_mini_batches_that_drive_out_nothing_are_priced_with_the_others(
    lines: list[int], size: int
) -> None:
    """Whole rows, a part of one, or neither: columns never ask which, and tell each its own."""
    word, machine = gathered(1000, size), bench()
    evicts = [64 * each for each in lines]
    together = price(machine, dataclasses.replace(word, evicts=column_of(evicts)), PAPER)
    for place, driven_out in enumerate(evicts):
        alone = price(machine, dataclasses.replace(word, evicts=driven_out), PAPER)
        assert taken(together, place) == alone


@pytest.mark.parametrize(
    ("size", "held", "share"),
    [
        (20 * 2**20, None, 1.0),
        (40 * 2**20, None, 1.0),
        (80 * 2**20, None, 0.5),
        (80 * 2**20, 0.0, 0.0),
        (80 * 2**20, 0.75, 0.75),
    ],
)
def test_the_last_level_holds_what_copies_may_fill_of_a_buffer(
    size: int, held: float | None, share: float
) -> None:
    """40 MiB of it, or what the buffer is known to be held of: found at the latency of a hit, 16
    lines at once, instead of in order from DRAM, and not read there."""
    rows, scatter = size // 512, TUNED.row_scatter
    word = Scatter("s", "cpu", Buffer("b", DRAM, size, held), store(DRAM), Flow(0, rows))
    services = price(bench(), word, TUNED).services
    assert services[DRAM].bytes == pytest.approx(size + (1 - share) * size)
    found = size / 64 * XEON.last_level_latency / 16
    missed = size / XEON.sequential_bandwidth * 1e12
    thread_ps = (
        rows * (scatter.row_time + 8 * scatter.line_time) + share * found + (1 - share) * missed
    )
    thread_ps += size / XEON.nontemporal_bandwidth * 1e12
    assert services["cpu.cores"].ps == pytest.approx(thread_ps / 16)


def test_a_cache_that_devices_may_not_fill_holds_nothing_of_a_copy() -> None:
    word = Scatter("s", "cpu", buffer(DRAM, 512), store(DRAM), Flow(0, 1))
    bare = bench(cpu={"device_cache": 0})
    assert price(bare, word).services[DRAM].bytes == 2 * 512
    assert price(bench(), word).services[DRAM].bytes == 512


def test_an_empty_buffer_is_held_by_nobody() -> None:
    word = Scatter("s", "cpu", buffer(DRAM, 0), store(DRAM), Flow())
    demand = price(bench(), word)
    assert demand.services[DRAM].bytes == demand.minimum_ps == 0
