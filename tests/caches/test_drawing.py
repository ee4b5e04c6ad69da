"""Mini-batches that are drawn ahead are those of the trace, and so is what goes wrong."""

import threading

import numpy as np
import pytest

from simulator.caches.replays import PlannedReplay, Stream, run_replays
from simulator.caches.replays import drawing as module
from simulator.caches.replays.drawing import drawn
from simulator.config.trace import ZipfTraceConfig
from simulator.errors import TraceError
from simulator.traces import open_trace
from simulator.traces.base import MiniBatch


class Told:
    """A trace of mini-batches of `lookups` lookups that says who asked for them, and fails at
    `bad`."""

    def __init__(self, *, on_any_thread=True, lookups=4, bad=None):
        self.drawn_on_any_thread = on_any_thread
        self.lookups, self.bad = lookups, bad
        self.asked = []

    def minibatch(self, index):
        self.asked.append((index, threading.current_thread()))
        if index == self.bad:
            raise TraceError(f"mini-batch {index} is bad")
        return MiniBatch(index, (np.arange(self.lookups),), (np.array([0, self.lookups]),))


@pytest.mark.parametrize("count", [0, 1, 30])
@pytest.mark.parametrize("ahead", [False, True])
def test_all_come_in_order_and_once(count, ahead):
    trace = Told()
    assert [batch.index for batch in drawn(trace, count, ahead=ahead)] == list(range(count))
    assert sorted(index for index, _ in trace.asked) == list(range(count))
    later = [batch.index for batch in drawn(trace, count, first=-7, ahead=ahead)]
    assert later == list(range(-7, count - 7))


def test_only_traces_that_say_so_are_drawn_on_another_thread():
    for trace, is_other in ((Told(), True), (Told(on_any_thread=False), False)):
        list(drawn(trace, 5, ahead=True))
        here = threading.current_thread()
        assert {thread is not here for _, thread in trace.asked} == {is_other}


def test_few_are_ahead_and_fewer_of_large_ones(monkeypatch):
    monkeypatch.setattr(module, "_LOOKUPS_AHEAD", 12)
    for lookups, most in ((1, 8), (4, 3), (100, 1)):
        trace = Told(lookups=lookups)
        for batch in drawn(trace, 40, ahead=True):
            assert len(trace.asked) <= batch.index + 1 + most


def test_what_fails_is_raised_in_its_place_and_nothing_is_drawn_after_it_is_left():
    trace = Told(bad=4)
    coming = drawn(trace, 100, ahead=True)
    assert [next(coming).index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(TraceError, match="mini-batch 4 is bad"):
        next(coming)
    asked = len(trace.asked)
    assert asked < 20
    assert list(coming) == []
    left = drawn(Told(), 100, ahead=True)
    next(left)
    left.close()


def rows_of(facts):
    flows = ((name, flow) for name, each in facts.flows.items() for flow in each)
    return [
        (n, f.lookups, f.rows, f.longest, None if f.ids is None else f.ids.tolist())
        for n, f in flows
    ]


def test_facts_do_not_depend_on_it():
    zipf = ZipfTraceConfig(kind="zipf", alpha=1.0)
    trace = open_trace(zipf, rows=(3000,), lookups=(4,), batch_size=64, seed=0)
    replay = PlannedReplay((1000,), prefill="steady", keep=range(20))
    told = []
    for ahead in (False, True):
        stream = Stream(trace, 20, ahead=ahead)
        facts = run_replays(stream, [replay], threads=2)[replay].facts
        told.append([rows_of(each) for each in facts])
    assert told[0] == told[1]
