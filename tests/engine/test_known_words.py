"""Runs that take what is the same from the run before are those that are written anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator._compiled import PLAIN
from simulator.columns import Column
from simulator.engine import running
from simulator.engine.known_words import KnownWords, changed
from simulator.engine.run_words import RunWords
from simulator.engine.running import run_compiled
from simulator.engine.together import ByGroup
from simulator.hardware.demand import Demand, Resource, Service, StageDemand, Turnaround

COUNT = 5
RESOURCES = {
    "dram": Resource("dram", "cpu", "dram", 10**9, Turnaround(((0.25, 0.1), (0.75, 0.3)))),
    "hbm": Resource("hbm", "gpu", "hbm", 10**9),
    "threads": Resource("threads", "cpu", "pool", one_requester=True),
    "host": Resource("host", "gpu", "host"),
}
FASTER = RESOURCES | {"dram": replace(RESOURCES["dram"], turnaround=Turnaround(((0.5, 0.2),)))}
GROUPS = (
    (np.arange(COUNT),),
    (np.array([0, 2, 4]), np.array([1, 3])),
    (np.array([0, 1, 2, 3]), np.array([4])),
)


WORK = Demand("work", {"dram": Service(3.0)})


def numbers(count: int) -> st.SearchStrategy[Any]:
    """A time, or one of each of `count` mini-batches."""
    times = st.floats(0.0, 60.0) | st.just(-0.0) | st.just(7.0)
    if count == 1:
        return times
    lists = st.lists(times, min_size=count, max_size=count)
    return times | lists.map(lambda each: Column(np.array(each)))


@st.composite
def demands(draw: st.DrawFn, count: int) -> Demand:
    """An operation of mini-batches in columns, with other records from time to time."""
    names = draw(st.lists(st.sampled_from(["dram", "hbm", "threads"]), unique=True, max_size=2))
    size = draw(st.integers(0, 9))
    used = {n: Service(draw(numbers(count)), draw(numbers(count)), size) for n in names}
    host = draw(st.sampled_from(["", "host"]))
    loaded = {name: 1.5 for name in names if draw(st.booleans())}
    told: dict[str, Any] = {"host": host, "submit_ps": 3} if host else {}
    return Demand("work", used, latency_ps=draw(st.integers(0, 5)), loaded=loaded, **told)


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[Any, ByGroup[StageDemand]]]:
    """Runs of which each has many operations of those before, as the same object or equal."""
    kept: dict[int, list[Demand]] = {}

    def operation(count: int) -> Demand:
        known = kept.setdefault(count, [])
        if known and draw(st.integers(0, 3)):
            demand = draw(st.sampled_from(known))
            return demand if draw(st.booleans()) else replace(demand)
        known.append(draw(demands(count)))
        return known[-1]

    shape = draw(st.lists(st.integers(0, 2), min_size=2, max_size=2))
    found = []
    for _ in range(4):
        groups = draw(st.sampled_from(GROUPS))
        programs = [
            tuple(
                StageDemand(
                    "stage", tuple(tuple(operation(len(g)) for _ in range(k)) for k in (1, size))
                )
                for size in shape
            )
            for g in groups
        ]
        machine = draw(st.sampled_from([RESOURCES, RESOURCES, FASTER]))
        found.append((machine, ByGroup(groups, programs)))
    return found


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
@settings(max_examples=120, deadline=None)
@given(runs())
def test_a_run_behind_others_is_as_it_is_alone(
    asked: list[tuple[Any, ByGroup[StageDemand]]],
) -> None:
    before = KnownWords()
    for machine, works in asked:
        window = (1, COUNT - 1)
        alone, meter = run_compiled(machine, works, "async", (), window)
        spans, own = run_compiled(machine, works, "async", (), window, before=before)
        assert spans == alone
        assert (own.opened, own.closed) == (meter.opened, meter.closed)


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
def test_a_stage_whose_lanes_lie_elsewhere_waits_for_those_in_front_of_it() -> None:
    """As many lanes in all, the second in the stage before: that changes no condition."""
    works = [
        ByGroup(GROUPS[0], [tuple(StageDemand("stage", ((WORK,),) * n) for n in lanes)])
        for lanes in ((1, 2), (2, 1), (1, 2))
    ]
    before = KnownWords()
    for each in works:
        alone, _ = run_compiled(RESOURCES, each, "async", (), (1, COUNT - 1))
        spans, _ = run_compiled(RESOURCES, each, "async", (), (1, COUNT - 1), before=before)
        assert spans == alone


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
def test_only_words_that_changed_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def works(slow: float) -> ByGroup[StageDemand]:
        demand = Demand("slow", {"dram": Service(slow)})
        return ByGroup(GROUPS[0], [(StageDemand("stage", ((same, demand, same),)),)])

    same, before = Demand("same", {"hbm": Service(5.0), "dram": Service(2.0)}), KnownWords()
    written: list[tuple[str, Any]] = []
    write = RunWords._write_table

    def noted(self: RunWords, name: str, rows: Any, group: Any, some: slice, *which: Any) -> None:
        written.append((name, *which))
        write(self, name, rows, group, some, *which)

    monkeypatch.setattr(RunWords, "_write_table", noted)
    running.run_compiled(RESOURCES, works(3.0), "serial", (), (0, 4), before=before)
    written.clear()
    running.run_compiled(RESOURCES, works(4.0), "serial", (), (0, 4), before=before)
    assert written == [("OPS", slice(1, 2)), ("SERVICES", slice(2, 3))]


def test_records_are_the_same_to_the_last_bit() -> None:
    column = Column(np.array([1.0, 0.0]))
    old = [(1, 0.0), (1, column), (2, 2), (3, True), (4, 4)]
    new = [(1, -0.0), (1, Column(np.array([1.0, 0.0]))), (2, 2.0), (3, 1), (4, 4)]
    assert changed(new, old) == [slice(0, 1), slice(2, 4)]
    assert changed([(Column(np.array([1.0, -0.0])),)], [(column,)]) == [slice(0, 1)]
