"""Spans in columns are the spans that they were made of."""

from __future__ import annotations

import random
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.run_spans import RunSpans, Span
from simulator.errors import ConfigError
from simulator.results.spans import GROUP, SpanColumns, Spans, StageSpan

PS = st.integers(0, 2**62)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Span, ...]:
    """Every stage of some mini-batches, in any order."""
    batches, stages = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    keys = [(batch, stage) for batch in range(batches) for stage in range(stages)]
    order = draw(st.permutations(keys))
    after = st.none() | st.sampled_from(keys)
    return tuple(Span(*key, draw(PS), draw(PS), draw(after)) for key in order)


@given(spans=runs())
def test_columns_give_the_spans_back(spans: tuple[Span, ...]) -> None:
    columns = RunSpans.of(spans)
    assert columns == spans
    assert tuple(columns) == spans
    assert columns[0] == spans[0]
    assert columns[-1] == spans[-1]
    assert columns[1:4] == spans[1:4]
    assert RunSpans.of(columns) is columns
    last = max(span.stage for span in spans)
    ends = [span.end_ps for span in sorted(spans) if span.stage == last]
    assert columns.ends_ps().tolist() == ends
    assert columns != spans[:-1]


def test_a_time_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ConfigError, match="days, more than 64 bits"):
        RunSpans.of([Span(0, 0, 0, 1 << 63, None)])


@pytest.mark.parametrize("count", [0, 1, 7, GROUP, GROUP + 5, 3 * GROUP])
def test_columns_are_packed_as_spans_one_by_one(count: int) -> None:
    names = ("load", "never", "train", "plan")
    numbers = random.Random(count)
    rows = [Span(k, numbers.choice((0, 2, 3)), k, 2 * k + 1, None) for k in range(count)]
    own = RunSpans.of(rows)
    packed = Spans.of_columns(
        SpanColumns(names, each.stage, each.batch, each.start_ps, each.end_ps)
        for each in own.groups()
    )
    assert own == rows
    assert list(chain(*reversed(list(own.groups(back=True))))) == rows
    alone = Spans(StageSpan(names[s.stage], s.batch, s.start_ps, s.end_ps) for s in rows)
    assert packed.packed() == alone.packed()
    assert list(packed) == list(alone)
