"""Tables that are cut: every lookup in one part, rows numbered anew, samples as they were."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.traces import Bags, MiniBatch
from simulator.traces.cuts import TablePart, parted, parted_bags, split, whole_rows

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Listed:
    """Mini-batches of one table of `rows` rows; row 0 is the hottest, then 1, and so on."""

    bags: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...] = (17,)

    batches = 1
    past = 0
    has_time_order = False

    def minibatch(self, index: int) -> MiniBatch:
        ids = np.array([row for bag in self.bags for row in bag], np.int64)
        return MiniBatch(index, (ids,), (np.cumsum([0, *map(len, self.bags)]),))

    def hottest(self, table: int, count: int, share: float = 0.5) -> Int64s:
        del table, share
        return np.arange(count)

    def fingerprint(self) -> str:
        return "listed"


bags = st.lists(st.lists(st.integers(0, 16), max_size=5).map(tuple), min_size=1, max_size=9)


def bags_of(batch: MiniBatch, table: int) -> list[list[int]]:
    ids, offsets = batch.ids[table], batch.offsets[table]
    return [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]


@given(bags.map(tuple), st.integers(1, 6))
def test_every_lookup_is_in_the_part_of_its_row(
    listed: tuple[tuple[int, ...], ...], n: int
) -> None:
    """Bag by bag in order, row r as r // n in part r mod n."""
    parts = tuple(TablePart(0, "row", k, n) for k in range(n))
    batch = split(Listed(listed).minibatch(0), parts)
    assert batch.samples == len(listed)
    for k in range(n):
        wanted = [[row // n for row in bag if row % n == k] for bag in listed]
        assert bags_of(batch, k) == wanted
        assert all(row < parts[k].rows(17) for bag in wanted for row in bag)
    assert sum(part.rows(17) for part in parts) == 17


@given(bags.map(tuple), st.integers(1, 4))
def test_each_copy_serves_its_samples_and_each_column_all(
    listed: tuple[tuple[int, ...], ...], n: int
) -> None:
    kinds = ("replica", "column")
    parts = tuple(TablePart(0, kind, k, n) for kind in kinds for k in range(n))  # type: ignore[arg-type]
    batch = split(Listed(listed).minibatch(0), parts)
    served = [0] * len(listed)
    for k in range(n):
        first, last = parts[k].samples(len(listed))
        own = [list(bag) if first <= s < last else [] for s, bag in enumerate(listed)]
        assert bags_of(batch, k) == own
        assert bags_of(batch, n + k) == [list(bag) for bag in listed]
        served[first:last] = [s + 1 for s in served[first:last]]
    assert served == [1] * len(listed), "each sample by one copy"


def test_no_parts_are_the_trace_itself() -> None:
    trace = Listed(((1, 2), (3,)))
    batch = trace.minibatch(0)
    assert parted(trace, ()) is trace
    assert split(batch, ()) is batch


@pytest.mark.parametrize("n", [1, 2, 3, 16])
def test_the_hottest_rows_of_a_part_are_the_hottest_that_it_has(n: int) -> None:
    trace = parted(Listed(((0,),)), tuple(TablePart(0, "row", k, n) for k in range(n)))
    for k, rows in enumerate(trace.rows):
        assert trace.hottest(k, rows).tolist() == list(range(rows))
        assert trace.hottest(k, 1).tolist() == [0]


def test_parts_have_their_share_of_the_bags_and_columns_count_once() -> None:
    parts = (
        TablePart(0, "row", 0, 4),
        TablePart(1, "column", 0, 2),
        TablePart(1, "column", 1, 2),
        TablePart(2),
    )
    shared = parted_bags(Bags((8.0, 3.0, 1.0), (90, 40, 9)), parts)
    assert shared == Bags((2.0, 3.0, 3.0, 1.0), (90, 40, 40, 9))
    assert whole_rows(parts, 3) == (0, 1, 3)
    assert whole_rows((), 3) == (0, 1, 2)


def test_a_trace_of_parts_is_told_from_the_whole() -> None:
    trace = Listed(((0, 1), (2,)))
    prints = {
        parted(trace, parts).fingerprint()
        for parts in ((), (TablePart(0, "row", 0, 2),), (TablePart(0, "row", 1, 2),))
    }
    assert len(prints) == 3


@given(bags.map(tuple), st.integers(1, 4))
def test_parts_of_a_table_that_two_features_share_keep_the_bags_of_each(
    listed: tuple[tuple[int, ...], ...], n: int
) -> None:
    """Two bags a sample: what is pooled together is cut like the lookups of a sample."""
    whole = Listed((*listed, *listed)).minibatch(0)
    shared = MiniBatch(0, whole.ids, (whole.offsets[0][::2],), bags=whole.offsets)
    kinds = ("row", "column", "replica")
    parts = tuple(TablePart(0, kind, k, n) for kind in kinds for k in range(n))  # type: ignore[arg-type]
    cut, alone = split(shared, parts), split(whole, parts)
    assert cut.bags is not None
    for k in range(2 * n):
        assert cut.ids[k].tolist() == alone.ids[k].tolist()
        assert cut.bags[k].tolist() == alone.offsets[k].tolist()
        assert cut.offsets[k].tolist() == alone.offsets[k][::2].tolist()
    for k in range(2 * n, 3 * n):
        first, last = parts[k].samples(shared.samples)
        served = slice(*(2 * edge for edge in (first, last)))
        assert [len(bag) for bag in np.split(cut.ids[k], cut.bags[k][1:-1])][served] == [
            len(bag) for bag in (*listed, *listed)
        ][served]
        assert len(cut.bags[k]) == 2 * shared.samples + 1
