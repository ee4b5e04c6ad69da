"""The table from rows to slots against a dictionary, while it fills, loses entries and grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.plan import slot_table
from simulator.caches.plan.slot_table import entry_of, rehash
from simulator.caches.plan.worker_kernels import Copies, find

SLOTS = 9
steps = st.lists(st.tuples(st.sampled_from(["in", "in", "out", "grow"]), st.integers(0, 40)))


def copies(table: slot_table.Int64s, rows: list[int]) -> Copies:
    records = np.zeros((SLOTS, 4), np.int32)
    records[:, 0] = rows
    none = np.zeros((1, 4), np.int32)
    return Copies(table, records, none, none[:, :2].copy())


@settings(max_examples=300, deadline=None)
@given(steps, st.integers(SLOTS + 1, 14), st.integers(1, 2**31 - 1))
def test_it_finds_what_a_dictionary_finds(
    steps: list[tuple[str, int]], size: int, stride: int
) -> None:
    """Rows far apart and nearly full tables: probes wrap around and run into each other."""
    table, slots, rows = np.zeros(size, np.int64), dict[int, int](), [-1] * SLOTS
    for step, k in steps:
        row = k * stride % (2**31 - 1)
        if step == "grow":
            table, old = np.zeros(len(table) + k, np.int64), table
            rehash(old, table)
        elif step == "out" and row in slots:
            slot = slots.pop(row)
            rows[slot] = -1
            slot_table.take_out(table, slot_table.hashed_tag(row), slot)
        elif step == "in" and row not in slots and len(slots) < SLOTS:
            slot = rows.index(-1)
            rows[slot], slots[row] = row, slot
            slot_table.put(table, entry_of(row, slot))
        asked = np.array(sorted({k * stride % (2**31 - 1) for k in range(41)}), np.int64)
        found = np.empty(len(asked), np.int32)
        find(asked, copies(table, rows), found)
        assert found.tolist() == [slots.get(row, -1) for row in asked.tolist()]
    assert np.count_nonzero(table) == len(slots)


@pytest.mark.parametrize("size", [2, 11, 1 << 20])
def test_homes_lie_in_the_table(size: int) -> None:
    homes = [slot_table.home_of(row, size) for row in range(1_000)]
    assert min(homes) >= 0
    assert max(homes) < size
    assert len(set(homes)) > min(size, 1_000) / 2
