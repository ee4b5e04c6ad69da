"""Mini-batches divided over trainers, against a plain Python division."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import LOOKUP, UNIQUE, Flow
from simulator.caches.replays.samples import Divided, SampleParts, Shared
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


def divided(
    samples: list[tuple[list[int], ...]], sizes: list[int], *, keeps: bool
) -> tuple[list[Shared], Divided]:
    batch = minibatch(samples)
    tables = [
        SampleParts(rows, sizes).divided(batch.ids[table], batch.offsets[table], keeps=keeps)
        for table, rows in enumerate(ROWS)
    ]
    return tables, Divided.of_tables(tables, (0, ROWS[0]), batch.offsets if keeps else None)


@settings(max_examples=200, deadline=None)
@given(bags, st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_every_trainer_has_its_samples(
    samples: list[tuple[list[int], ...]], first: int, second: int, keeps: bool
) -> None:
    cuts = [0, *sorted(min(cut, len(samples)) for cut in (first, second)), len(samples)]
    sizes = [b - a for a, b in pairwise(cuts)]
    tables, whole = divided(samples, sizes, keeps=keeps)
    slots = 100 + whole.rows
    every = whole.lookups(slots)
    looked_up = {trainer: whole.of(trainer, slots, every) for trainer in range(3)}
    for table, start in enumerate((0, ROWS[0])):
        of = [
            [start + i for sample in samples[a:b] for i in sample[table]] for a, b in pairwise(cuts)
        ]
        shared = tables[table]
        rows = (start + shared.rows).tolist()
        everyone = [i for own in of for i in own]
        assert rows == list(dict.fromkeys(everyone))
        assert len(rows) == shared.distinct == whole.edges[table + 1] - whole.edges[table]
        if keeps:
            assert whole.rows[whole.edges[table] : whole.edges[table + 1]].tolist() == rows
            assert every[table].ids.tolist() == everyone  # type: ignore[union-attr]
        for place, row in enumerate(rows):
            assert shared.times[place] == everyone.count(row)
            alone = [trainer for trainer, own in enumerate(of) if row in own]
            assert shared.who[place] == (alone[0] if everyone.count(row) == 1 else -1)
        assert shared.bare().parts == shared.parts
        for trainer, own in enumerate(of):
            lookup, unique = (looked_up[trainer][name][table] for name in (LOOKUP, UNIQUE))
            assert (lookup.lookups, unique.rows) == (len(own), len(set(own)))
            for flow, wanted in ((lookup, own), (unique, list(dict.fromkeys(own)))):
                assert (flow.ids is not None) == keeps
                if keeps:
                    assert flow.ids.tolist() == wanted  # type: ignore[union-attr]
                    assert flow.slots.tolist() == [100 + i for i in wanted]  # type: ignore[union-attr]


def test_chosen_rows_are_told_table_by_table() -> None:
    _, whole = divided([([1, 1, 4], [2]), ([4, 8], [])], [2], keeps=True)
    chosen = np.array([True, False, True, False])
    first, second = whole.kept([Flow(3, 2), Flow()], chosen, 7 * whole.rows)
    assert (first.lookups, first.rows, second.lookups, second.rows) == (3, 2, 0, 0)
    assert first.ids.tolist() == [1, 8]  # type: ignore[union-attr]
    assert first.slots.tolist() == [7, 56]  # type: ignore[union-attr]
    assert second.ids.tolist() == []  # type: ignore[union-attr]
