"""Rows out of large tables read the page table beside themselves: one line a row where no cache
holds its entry."""

from __future__ import annotations

import dataclasses
import math

import pytest
from benches import DIM, DRAM, UNIQUE, bench, buffer, pool, price, store, update

from simulator.hardware.program import Flow, Gather, Scatter, Store

PAGE, GIB = 4096, 2**30
ROWS = 100_000


def table(size: int, row_bytes: int = DIM) -> Store:
    return dataclasses.replace(store(DRAM), row_bytes=row_bytes, bytes=size)


def read(size: int, cache: int, row_bytes: int = DIM) -> int:
    """Bytes of DRAM that a gather of `ROWS` rows out of a table of `size` bytes adds."""
    machine = bench(cpu={"last_level_cache": cache})
    words = [
        Gather("gather", "cpu", table(n, row_bytes), Flow(0, ROWS), buffer(DRAM, ROWS * row_bytes))
        for n in (size, 0)
    ]
    walked, plain = (price(machine, word).services[DRAM].bytes for word in words)
    return walked - plain


def test_a_row_of_a_table_far_beyond_the_cache_reads_a_line_more() -> None:
    """1 TiB has 33.5 M lines of entries; 9 KiB of cache hold 16 touches of 576 B."""
    missed = math.exp(-16 / (1024 * GIB / (8 * PAGE)))
    assert read(1024 * GIB, 16 * 576) == 64 * round(ROWS * missed) == 64 * ROWS


def test_the_cache_holds_a_share_of_the_lines() -> None:
    """40 GiB have 1,310,720 lines; 300 MiB hold 546,133 touches of a row of 512 B and its line:
    exp(-0.4167) = 65.9 % are read."""
    missed = math.exp(-(300 * 2**20 / 576) / (40 * GIB / (8 * PAGE)))
    assert missed == pytest.approx(0.659, abs=1e-3)
    assert read(40 * GIB, 300 * 2**20) == 64 * round(ROWS * missed)


def test_a_small_table_is_translated_out_of_the_cache() -> None:
    assert read(2**20, 300 * 2**20) == 0


def test_a_row_longer_than_a_page_is_translated_page_by_page() -> None:
    assert read(1024 * GIB, 2**20, row_bytes=3 * PAGE) == pytest.approx(3 * 64 * ROWS, rel=1e-3)


def test_huge_pages_need_few_entries() -> None:
    machine = bench(cpu={"page": 2 * 2**20})
    word = Gather("gather", "cpu", table(40 * GIB), Flow(0, ROWS), buffer(DRAM, ROWS * DIM))
    plain = dataclasses.replace(word, reads=table(0))
    assert price(machine, word) == price(machine, plain)


def test_stores_and_updates_are_translated_once_a_row_and_lookups_only_where_they_miss() -> None:
    machine = bench(cpu={"last_level_cache": 2**20})
    huge = table(1024 * GIB)
    scatter = Scatter("scatter", "cpu", buffer(DRAM, ROWS * DIM), huge, Flow(0, ROWS))
    for word, plain, rows in (
        (scatter, dataclasses.replace(scatter, writes=table(0)), ROWS),
        (
            update("cpu", DRAM, writes=huge, coalesce=True),
            update("cpu", DRAM, writes=table(0), coalesce=True),
            UNIQUE,
        ),
        (
            pool("cpu", DRAM, reads=huge, hit_share=0.75),
            pool("cpu", DRAM, reads=table(0), hit_share=0.75),
            8 * 20 * 2048 // 4,
        ),
    ):
        more = price(machine, word).services[DRAM].bytes
        more -= price(machine, plain).services[DRAM].bytes
        assert more == pytest.approx(64 * rows, rel=1e-3)


def test_a_walk_takes_time_of_path_and_threads() -> None:
    machine = bench(cpu={"last_level_cache": 2**20})
    word = Gather("gather", "cpu", table(1024 * GIB), Flow(0, ROWS), buffer(DRAM, ROWS * DIM))
    walked = price(machine, word)
    plain = price(machine, dataclasses.replace(word, reads=table(0)))
    assert walked.services["cpu.path"].ps > plain.services["cpu.path"].ps
    assert walked.minimum_ps > plain.minimum_ps
