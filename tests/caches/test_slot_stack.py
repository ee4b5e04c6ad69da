"""Slots of a stack and who has which, against a list and dictionaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.plan.slot_stack import DenseSlots, FreeSlots, HashedSlots, TableSlots, tag_of
from simulator.caches.replays.oracle_slots import PoolSlots
from simulator.errors import CapacityError

steps = st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 99), max_size=30)), max_size=12)


@settings(max_examples=100, deadline=None)
@given(steps, st.sampled_from([(DenseSlots, 1), (HashedSlots, 1), (HashedSlots, 5 * 2**26)]))
def test_slots_are_those_of_a_dictionary(
    steps: list[tuple[bool, set[int]]], kind: tuple[type[Any], int]
) -> None:
    """Rows of several hash tables, too, which have 2**31 rows each."""
    of, factor = kind
    table: TableSlots = of(100 * factor)
    slots: dict[int, int] = {}
    for puts, chosen in steps:
        mine = [row for row in chosen if (row in slots) != puts]
        asked = np.array(mine, np.int64) * factor
        if puts:
            own = [k for k in range(200) if k not in slots.values()][: len(mine)]
            slots |= dict(zip(mine, own, strict=True))
            table.put(asked, np.array(own, np.int32) + np.int32(1))
        else:
            assert (table.take_out(asked) - 1).tolist() == [slots.pop(row) for row in mine]
        found = table.of(np.arange(100) * factor)
        assert found.tolist() == [slots.get(row, -1) for row in range(100)]


def test_rows_have_tags_of_their_own() -> None:
    rows = [*range(3000), *range(2**31 - 3000, 2**31), *(2**k for k in range(12, 31))]
    tags = {int(tag_of(row)) for row in rows}
    assert len(tags) == len(rows)
    assert 0 <= min(tags) <= max(tags) < 2**31


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10), st.integers(0, 10), steps, st.integers(0, 100), st.integers(1, 2))
def test_slots_are_those_of_a_plain_stack(
    kept: int, waiting: int, steps: list[tuple[bool, set[int]]], edge: int, threads: int
) -> None:
    """Two tables; rows come in two parts, and leave in order."""
    pool = PoolSlots((edge, 100 - edge), 120, threads)

    def split(rows: list[int]) -> list[np.ndarray[Any, Any]]:
        low, high = ([r for r in rows if (r < edge) == first] for first in (True, False))
        return [np.array(low, np.int64), np.array(high, np.int64) - edge]

    def by_table(parts: list[list[int]]) -> list[int]:
        return [r for part in parts for low in (True, False) for r in part if (r < edge) == low]

    def packed(rows: list[int]) -> list[np.ndarray[Any, Any]]:
        return [each << 16 | 5 for each in split(rows)]

    begin = [list(range(kept)), list(range(50, 50 + waiting))]
    pool.begin([split(rows) for rows in begin], "they are there")
    slots = dict(zip(by_table(begin), range(100), strict=False))
    free = list(range(119, len(slots) - 1, -1))
    for takes, chosen in steps:
        mine = sorted(row for row in chosen if (row in slots) != takes)
        parts = [mine[1::2], mine[0::2]]
        if takes:
            pool.take([packed(part) for part in parts], "they come in")
            left = len(free) - len(mine)
            slots |= dict(zip(by_table(parts), free[left:], strict=True))
            del free[left:]
            rows, own = pool.in_order([packed(part) for part in parts])
            assert [each.tolist() for each in rows] == [each.tolist() for each in packed(mine)]
            assert own.tolist() == [slots[row] for row in mine]
        else:
            freed = [slots.pop(row) for row in mine]
            free += freed
            rows, own = pool.give([packed(part) for part in parts])
            assert [each.tolist() for each in rows] == [each.tolist() for each in packed(mine)]
            assert own.tolist() == freed
        assert pool.of(split(list(range(100)))).tolist() == [slots.get(r, -1) for r in range(100)]
    with pytest.raises(CapacityError, match="need a slot, but there are 120: they come in"):
        pool.take([[np.arange(len(free) + 1) << 16, np.empty(0, np.int64)]], "they come in")


def test_slots_that_are_only_counted_run_out_where_others_do() -> None:
    free = FreeSlots(10)
    free.counted(0, 7, "first")
    free.counted(2, 5, "second")
    with pytest.raises(CapacityError, match="12 rows need a slot, but there are 10: third"):
        free.counted(1, 3, "third")
