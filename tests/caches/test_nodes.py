"""What mini-batches do at nodes of a pool, counted as plain dictionaries count it."""

from __future__ import annotations

import numpy as np
import pytest
from given_bags import GivenBags
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.caches.nodes import Homes, NodeCache
from simulator.caches.reference.nodes import PlainNodes
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.nodes import NodesReplay

ROWS = (23, 11)
SAMPLES = 5


def given_bags(looked_up: list[tuple[list[list[int]], ...]]) -> GivenBags:
    return GivenBags(looked_up, ROWS, 3)


batches = st.lists(
    st.tuples(
        *(
            st.lists(
                st.lists(st.integers(0, rows - 1), max_size=6),
                min_size=SAMPLES,
                max_size=SAMPLES,
            )
            for rows in ROWS
        )
    ),
    min_size=1,
    max_size=6,
)
caches = st.none() | st.builds(
    NodeCache, rows=st.integers(1, 5), hot=st.integers(1, 3), stays=st.booleans()
)


@st.composite
def pools(draw: st.DrawFn) -> tuple[Homes, ...]:
    """Rows that go round the nodes of all channels, or of one; or tables that lie in one home."""
    channels = draw(st.integers(1, 3))
    modules = channels * draw(st.integers(1, 3))
    if draw(st.booleans()):
        count = modules * draw(st.integers(1, 2))
        within = draw(st.sampled_from([(None, None), (0, channels - 1)]))
        return tuple(Homes(count, modules, channels, channel=channel) for channel in within)
    count = draw(st.integers(1, 3))
    return tuple(Homes(count, modules, channels, t % count) for t in range(len(ROWS)))


@settings(max_examples=120, deadline=None)
@given(looked_up=batches, homes=pools(), cache=caches, samples=st.integers(0, 6))
def test_counts_are_those_of_plain_dictionaries(
    looked_up: list[tuple[list[list[int]], ...]],
    homes: tuple[Homes, ...],
    cache: NodeCache | None,
    samples: int,
) -> None:
    samples = 0 if cache is not None else samples
    keep = range(0, len(looked_up), 2)
    replay = NodesReplay(keep, homes=homes, cache=cache, samples=samples)
    replayed = run_replays(Stream(given_bags(looked_up), len(looked_up)), [replay], threads=1)
    plain = PlainNodes(ROWS, homes, cache, samples)
    for facts, bags in zip(replayed[replay].facts, looked_up, strict=True):
        wanted = plain.of_batch(bags)
        for name in (LOOKUP, UNIQUE):
            for flow, spread in zip(facts.flows[name], wanted, strict=True):
                assert flow.nodes == spread
                assert (flow.ids is not None) == (facts.index in keep)
                assert sum(spread.lookups) == flow.lookups
                assert sum(spread.rows) == flow.rows
        facts.check()
        whole = facts[LOOKUP].nodes
        assert whole is not None
        assert sum(whole.lookups) == facts[LOOKUP].lookups
        assert whole.channels <= whole.modules <= whole.homes <= facts[LOOKUP].lookups


@settings(max_examples=120, deadline=None)
@given(
    looked_up=batches,
    channels=st.integers(1, 3),
    modules=st.integers(1, 3),
    ranks=st.integers(1, 3),
    counts=st.tuples(st.integers(0, 8), st.integers(0, 4)),
)
def test_lookups_of_copied_rows_go_where_plain_code_sends_them(
    looked_up: list[tuple[list[list[int]], ...]],
    channels: int,
    modules: int,
    ranks: int,
    counts: tuple[int, int],
) -> None:
    homes = (Homes(channels * modules * ranks, channels * modules, channels),) * len(ROWS)
    replay = NodesReplay(homes=homes, copied=counts)
    facts = run_replays(Stream(given_bags(looked_up), len(looked_up)), [replay], threads=1)[replay]
    first, second = (
        {3 * k + start for k in range(n)} for n, start in zip(counts, (0, 23), strict=True)
    )
    plain = PlainNodes(ROWS, homes, None, 0, frozenset(first | second))
    for own, bags in zip(facts.facts, looked_up, strict=True):
        assert [flow.nodes for flow in own.flows[LOOKUP]] == plain.of_batch(bags)
        for flow in own.flows[UNIQUE]:
            spread = flow.nodes
            assert spread is not None
            assert sum(spread.lookups) == flow.lookups
            assert sum(spread.rows) == flow.rows + (homes[0].count - 1) * spread.copied.rows
            assert spread.copied.rows <= spread.copied.modules <= spread.copied.homes


@settings(max_examples=120, deadline=None)
@given(
    looked_up=batches,
    nodes=st.integers(1, 3),
    adders=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    counts=st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in (3, 1))),
    channels=st.sampled_from([None, 1, 2]),
)
def test_rows_go_round_the_homes_of_their_region(
    looked_up: list[tuple[list[list[int]], ...]],
    nodes: int,
    adders: tuple[int, int],
    counts: tuple[tuple[int, int], ...],
    channels: int | None,
) -> None:
    """The hottest of a table in the last region, the next ones in the one before; where tables lie
    in channels those of its own."""
    nodes *= channels or 1
    widths = (nodes, nodes * adders[0], nodes * adders[1])
    homes = tuple(
        Homes(sum(widths), nodes, channels or 1, None, widths, channels and table % channels)
        for table in range(len(ROWS))
    )
    placed = tuple((rows - sum(own), *own) for rows, own in zip(ROWS, counts, strict=True))
    replay = NodesReplay(homes=homes, placed=placed)
    facts = run_replays(Stream(given_bags(looked_up), len(looked_up)), [replay], threads=1)[replay]
    regions = dict.fromkeys(range(sum(ROWS)), 0)
    for first, (groups, banks) in zip((0, ROWS[0]), counts, strict=True):
        hottest = [first + 3 * k for k in range(groups + banks)]
        regions |= dict.fromkeys(hottest, 1) | dict.fromkeys(hottest[:banks], 2)
    plain = PlainNodes(ROWS, homes, None, 0, regions=regions)
    for own, bags in zip(facts.facts, looked_up, strict=True):
        assert [flow.nodes for flow in own.flows[LOOKUP]] == plain.of_batch(bags)


def test_tables_in_unlike_homes_have_none_together() -> None:
    """Rows of unlike length lie in unlike numbers of nodes: they are asked for on their own."""
    homes = (Homes(4, 2, 2), Homes(8, 2, 2))
    replay = NodesReplay(homes=homes)
    trace = given_bags([([[1], [2], [], [], []], [[0], [], [], [], []])])
    (facts,) = run_replays(Stream(trace, 1), [replay], threads=1)[replay].facts
    assert facts[LOOKUP].nodes is None
    assert facts.of_tables([0])[LOOKUP].nodes is not None
    assert facts.without_rows().of_tables([1])[UNIQUE].nodes is not None


@pytest.mark.parametrize("samples", [1, 4])
def test_parts_of_mini_batches_may_be_counted_for_ever(samples: int, monkeypatch) -> None:
    """Numbers of parts start anew before they do not fit any more."""
    from simulator.caches.replays import nodes

    monkeypatch.setattr(nodes, "_LAST", 14)
    rng = np.random.default_rng(1)
    looked_up = [
        tuple([rng.integers(0, rows, 3).tolist() for _ in range(SAMPLES)] for rows in ROWS)
        for _ in range(9)
    ]
    homes = (Homes(4, 2, 2),) * 2
    replay = NodesReplay(homes=homes, samples=samples)
    plain = PlainNodes(ROWS, homes, None, samples)
    facts = run_replays(Stream(given_bags(looked_up), 9), [replay], threads=1)[replay].facts
    for own, bags in zip(facts, looked_up, strict=True):
        assert [flow.nodes for flow in own.flows[LOOKUP]] == plain.of_batch(bags)
