"""Compiled runs of stages are those of SimPy: every span, and the use of every resource, to the
last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator._compiled import PLAIN
from simulator.engine import memory
from simulator.engine.clockwork import run_clockwork
from simulator.engine.pipeline import Mode
from simulator.engine.running import run_compiled, run_in_simpy, run_stages
from simulator.engine.together import ByGroup, InBlocks, by_group
from simulator.engine.worklist import UncompiledError, words_of
from simulator.errors import InvariantError
from simulator.hardware.demand import Demand, Resource, Service, StageDemand, Turnaround

pytestmark = pytest.mark.skipif(PLAIN, reason="nothing is compiled")

MODES: tuple[Mode, ...] = ("serial", "lockstep", "async", "ahead", "streams")
RESOURCES = {
    "dram": Resource("dram", "cpu", "dram", 10**9, Turnaround(((0.25, 0.1), (0.75, 0.3)))),
    "hbm": Resource("hbm", "gpu", "hbm", 10**9, Turnaround(((0.5, 0.2),))),
    "down": Resource("down", "pcie", "link", 10**9),
    "threads": Resource("threads", "cpu", "pool", one_requester=True),
    "host": Resource("host", "gpu", "host"),
    "other": Resource("other", "gpu1", "host"),
}
SHARED = ("dram", "hbm", "down", "threads")
PS = st.integers(0, 40)


@st.composite
def services(draw: st.DrawFn) -> dict[str, Service]:
    """Uses of a few resources, some of which take no time."""
    names = draw(st.lists(st.sampled_from(SHARED), unique=True, max_size=3))
    times = st.floats(0, 60) | st.just(0.0)
    return {
        name: Service(draw(times), draw(times), draw(PS), draw(times), draw(PS)) for name in names
    }


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    """An operation, submitted by a host thread or not."""
    used = draw(services())
    host = draw(st.sampled_from(["", "host", "host", "other"]))
    told: dict[str, Any] = {}
    if host:
        told |= {"host": host, "submit_ps": draw(PS), "submit_more_ps": draw(PS)}
        told |= {"host_ps": draw(PS), "blocks": draw(st.integers(0, 3)) == 0}
        if draw(st.booleans()):
            told["fetched"] = {"down": draw(PS)}
    loaded = {name: draw(st.floats(1.0, 2.0)) for name in used if draw(st.booleans())}
    if draw(st.booleans()):
        told["one_of_ps"] = float(draw(PS))
    return Demand(
        "work",
        used,
        latency_ps=draw(PS),
        minimum_ps=draw(PS),
        loaded=loaded,
        alike={name: draw(st.integers(1, 4)) for name in loaded},
        **told,
    )


@st.composite
def stages(draw: st.DrawFn) -> StageDemand:
    """Up to three lanes; later ones may wait for the first."""
    lanes = draw(st.lists(st.lists(demands(), max_size=3).map(tuple), max_size=3))
    waits = {}
    for number, lane in enumerate(lanes):
        if number and lane and lanes[0] and draw(st.booleans()):
            waits[number, draw(st.integers(0, len(lane) - 1))] = ((0, 0),)
    return StageDemand("stage", tuple(lanes), waits, draw(st.booleans()))


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[StageDemand, ...]]:
    """Mini-batches that repeat a few programs: stages then start and end at the same moments."""
    count = draw(st.integers(1, 3))
    programs = draw(st.lists(st.tuples(*[stages()] * count), min_size=1, max_size=2))
    return [programs[k % len(programs)] for k in range(draw(st.integers(1, 12)))]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batches(), st.sampled_from(MODES), st.data())
def test_compiled_is_simpy_to_the_last_bit(
    works: list[tuple[StageDemand, ...]], mode: Mode, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(works) - 1))
    window = (first, data.draw(st.integers(first, len(works) - 1)))
    last = len(works[0]) - 1
    waits = ((0, last, -1),) if mode == "streams" else ()
    said: list[str] = []
    try:
        spans, meter = run_in_simpy(RESOURCES, works, mode, waits, window)
    except InvariantError as stuck:
        said = [str(stuck)]
    if said:
        with pytest.raises(InvariantError, match="never retired") as compiled:
            run_compiled(RESOURCES, works, mode, waits, window)
        assert [str(compiled.value)] == said
        return
    chunk, size = data.draw(st.integers(1, 3)), data.draw(st.integers(1, len(works)))
    for parts in (works, in_blocks(works, size)):
        own_spans, own_meter = run_compiled(RESOURCES, parts, mode, waits, window, chunk=chunk)
        assert own_spans == spans
        assert own_meter.opened == meter.opened
        assert own_meter.closed == meter.closed


def in_blocks(works: list[tuple[StageDemand, ...]], size: int) -> InBlocks[StageDemand]:
    """`works`, so many at a time."""
    starts = range(0, len(works), size)
    return InBlocks(len(works), lambda: (by_group(works[k : k + size]) for k in starts))


@pytest.mark.parametrize("mode", MODES)
def test_mini_batches_that_are_larger_than_those_before_find_room(mode: Mode) -> None:
    """Room is made for what the first ones take: where that is too little the run begins anew."""
    read = Demand("read", {"dram": Service(5.0)}, host="host", submit_ps=1)
    many = Demand("many", {"dram": Service(2.0), "hbm": Service(3.0)}, loaded={"hbm": 1.5})
    small, large = (
        (StageDemand("a", ((word,) * count,)), StageDemand("b", ((word,), (word,) * count)))
        for word, count in ((read, 1), (many, 60))
    )
    works = [small] * 9 + [large] * 9
    window = (2, 17)
    told: list[int] = []

    def blocks() -> Iterator[ByGroup[StageDemand]]:
        for first in range(0, len(works), 3):
            told.append(first)
            yield by_group(works[first : first + 3])

    waits = ((0, 1, -1),) if mode == "streams" else ()
    spans, meter = run_in_simpy(RESOURCES, works, mode, waits, window)
    given_in_blocks = InBlocks(len(works), blocks)
    own_spans, own_meter = run_compiled(RESOURCES, given_in_blocks, mode, waits, window, chunk=2)
    assert told.count(0) > 1
    assert own_spans == spans
    assert (own_meter.opened, own_meter.closed) == (meter.opened, meter.closed)
    assert run_in_simpy(RESOURCES, given_in_blocks, mode, waits, window)[0] == spans


def lone(**about: Any) -> list[tuple[StageDemand, ...]]:
    return [(StageDemand("stage", ((Demand("work", **about),),)),)]


@pytest.mark.parametrize(
    "about",
    [
        {"latency_ps": 0.5},
        {"latency_ps": 1 << 61, "services": {"hbm": Service(float(1 << 61))}},
        {"services": {"nowhere": Service(1.0)}},
        {"host": "nobody", "submit_ps": 5},
    ],
)
def test_what_compiled_code_does_not_take_is_refused(about: dict[str, Any]) -> None:
    with pytest.raises(UncompiledError):
        run_compiled(RESOURCES, lone(**about), "serial", (), (0, 0))


def test_times_beyond_64_bits_are_left_to_simpy() -> None:
    """Whose integers have no end."""
    long = lone(latency_ps=1 << 62) * 4
    spans, _ = run_stages(RESOURCES, long, "serial", (), (1, 3))
    assert spans[-1].end_ps == 1 << 64


def test_a_stage_without_lanes_takes_no_time() -> None:
    work = [(StageDemand("empty", ()), *lone(minimum_ps=7)[0])] * 2
    spans, _ = run_compiled(RESOURCES, work, "async", (), (0, 1))
    assert [(s.start_ps, s.end_ps) for s in spans if s.stage == 1] == [(0, 7), (7, 14)]


@pytest.mark.parametrize("mode", MODES)
def test_a_long_run_holds_the_words_of_a_few_mini_batches(mode: Mode) -> None:
    """Words are written as stages come to them, and their pages are given back: the run is the
    same as with all words there from the begin."""
    copy = Demand("copy", {"down": Service(7.0, 0.0, 8, 1.0)}, host="host", submit_ps=2)
    read = Demand("read", {"dram": Service(11.0, 3.0, 8, 1.0)}, latency_ps=2, loaded={"dram": 1.5})
    work = Demand("work", {"hbm": Service(5.0, 2.0, 8, 1.0)}, host="host", submit_ps=1, blocks=True)
    long, short = (
        (
            StageDemand("read", ((read,) * count, (copy,))),
            StageDemand("copy", ((copy, work),)),
            StageDemand("work", ((work,) * count,)),
        )
        for count in (4, 2)
    )
    works = [short if number % 3 else long for number in range(300)]
    waits = ((0, 2, -2),) if mode == "streams" else ()
    window = (30, 270)
    held = words_of(works, mode, waits, RESOURCES, 8)
    run_clockwork(held.m, held.x)
    while held.go_on():
        ops = held.m[held.m[memory.OPS] : held.m[memory.SERVICES]].reshape(-1, memory.OP_SIZE)
        assert np.count_nonzero(ops.any(1)) < 0.2 * len(ops)
        run_clockwork(held.m, held.x)
    spans, meter = run_compiled(RESOURCES, works, mode, waits, window, chunk=8)
    whole_spans, whole_meter = run_compiled(RESOURCES, works, mode, waits, window, chunk=1000)
    assert len(spans) == 3 * len(works)
    assert spans == run_in_simpy(RESOURCES, works, mode, waits, window)[0]
    assert spans == whole_spans
    assert (meter.opened, meter.closed) == (whole_meter.opened, whole_meter.closed)
