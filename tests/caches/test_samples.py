"""Mini-batches divided over trainers, against a plain Python division."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import LOOKUP, UNIQUE, Flow
from simulator.caches.replays.samples import SampleParts
from simulator.traces.base import MiniBatch

ROWS = (9, 3)
bags = st.lists(
    st.tuples(*(st.lists(st.integers(0, rows - 1), max_size=4) for rows in ROWS)), max_size=9
)


def minibatch(samples: list[tuple[list[int], ...]]) -> MiniBatch:
    columns = list(zip(*samples, strict=True)) if samples else [() for _ in ROWS]
    ids = tuple(np.array([i for bag in column for i in bag], np.int64) for column in columns)
    offsets = tuple(np.cumsum([0, *(len(bag) for bag in column)]) for column in columns)
    return MiniBatch(0, ids, offsets)


@settings(max_examples=200, deadline=None)
@given(bags, st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_every_trainer_has_its_samples(
    samples: list[tuple[list[int], ...]], first: int, second: int, keeps: bool
) -> None:
    cuts = [0, *sorted(min(cut, len(samples)) for cut in (first, second)), len(samples)]
    sizes = [b - a for a, b in pairwise(cuts)]
    divided = SampleParts(ROWS, sizes).divided(minibatch(samples), keeps=keeps)
    slots = 100 + divided.rows
    every = divided.lookups(slots)
    looked_up = {trainer: divided.of(trainer, slots, every) for trainer in range(3)}
    for table, start in enumerate((0, ROWS[0])):
        of = [
            [start + i for sample in samples[a:b] for i in sample[table]] for a, b in pairwise(cuts)
        ]
        rows = divided.rows[divided.edges[table] : divided.edges[table + 1]].tolist()
        everyone = [i for own in of for i in own]
        assert rows == list(dict.fromkeys(everyone))
        for place, row in enumerate(rows, divided.edges[table]):
            assert divided.times[place] == everyone.count(row)
            alone = [trainer for trainer, own in enumerate(of) if row in own]
            assert divided.who[place] == (alone[0] if everyone.count(row) == 1 else -1)
        for trainer, own in enumerate(of):
            lookup, unique = (looked_up[trainer][name][table] for name in (LOOKUP, UNIQUE))
            assert (lookup.lookups, unique.rows) == (len(own), len(set(own)))
            for flow, wanted in ((lookup, own), (unique, list(dict.fromkeys(own)))):
                assert (flow.ids is not None) == keeps
                if keeps:
                    assert flow.ids.tolist() == wanted  # type: ignore[union-attr]
                    assert flow.slots.tolist() == [100 + i for i in wanted]  # type: ignore[union-attr]


def test_chosen_rows_are_told_table_by_table() -> None:
    divided = SampleParts(ROWS, (2,)).divided(
        minibatch([([1, 1, 4], [2]), ([4, 8], [])]), keeps=True
    )
    chosen = np.array([True, False, True, False])
    first, second = divided.kept([Flow(3, 2), Flow()], chosen, 7 * divided.rows)
    assert (first.lookups, first.rows, second.lookups, second.rows) == (3, 2, 0, 0)
    assert first.ids.tolist() == [1, 8]  # type: ignore[union-attr]
    assert first.slots.tolist() == [7, 56]  # type: ignore[union-attr]
    assert second.ids.tolist() == []  # type: ignore[union-attr]


@settings(max_examples=50, deadline=None)
@given(bags, st.integers(1, 3), st.booleans())
def test_threads_divide_alike(
    samples: list[tuple[list[int], ...]], trainers: int, keeps: bool
) -> None:
    sizes = [len(part) for part in np.array_split(np.arange(len(samples)), trainers)]
    one, two = (
        SampleParts(ROWS, sizes, threads).divided(minibatch(samples), keeps=keeps)
        for threads in (1, 2)
    )
    assert repr(one) == repr(two)
