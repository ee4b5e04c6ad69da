"""The filter of hot rows equals LRU as stack distances tell it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.caches.row_filter import row_hits
from simulator.traces.reuse import stack_distances_reference

rows = st.lists(st.integers(0, 12), max_size=60)


@given(rows, rows, st.integers(0, 15))
def test_a_lookup_hits_where_its_stack_distance_fits(
    before: list[int], lookups: list[int], capacity: int
) -> None:
    distances = stack_distances_reference(before + lookups)[len(before) :]
    expected = [0 < distance <= capacity for distance in distances]
    found = row_hits(np.array(before, np.int64), np.array(lookups, np.int64), capacity)
    assert found.tolist() == expected
