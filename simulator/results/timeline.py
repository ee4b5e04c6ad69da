"""A timeline as Trace Event JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A process a point and a process a kind of resource that moves bytes, a thread a stage: stages share
resources, and slices of one thread may not overlap. Flow arrows follow each mini-batch through its
stages. Counters: the bandwidth of each kind, all its resources together, and the rows of the
scratchpad that mini-batches between Plan and Train use.

Slices of stages say what moves: unique rows and victims of a mini-batch, and the bytes of the stage
through each kind of resource.

Approximated: rows are means of a mini-batch; bytes of a stage are its mean over the timed
mini-batches, spread evenly over each of its spans; rows in use are unique rows a mini-batch (mean)
times mini-batches in flight, rows that two of them share counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.results.extension import extension_mark
from simulator.results.resources import KINDS, KindFacts
from simulator.results.rows import Row, by_point
from simulator.units import PS_PER_US

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.results.reading import StoredRun

__all__ = ["MOST_EVENTS", "Timeline", "trace_events"]

Event = dict[str, Any]
_MOVING = tuple(kind for kind in KINDS.values() if kind.moves_bytes)


MOST_EVENTS = 150_000
"""Events of a file, about 15 MB: more, and viewers take minutes to open it."""
_MOST_SPANS = 20_000
"""Spans of one point."""


@dataclass(frozen=True)
class Timeline:
    """A trace, and how much of what was asked for is in it."""

    document: dict[str, Any]
    points: int
    """Points drawn, the first of those asked for."""
    cut: bool
    """Whether a point had more mini-batches than are drawn of one."""


def trace_events(run: StoredRun, points: Iterable[int]) -> Timeline:
    """The trace of the points with these numbers; times are microseconds of simulated time.

    Of more points than `MOST_EVENTS` holds the first are drawn, of a long one its first
    mini-batches.
    """
    metrics = run.metrics()
    stages = by_point(metrics, run.stages())
    events: list[Event] = []
    drawn, cut = 0, False
    for position, number in enumerate(points):
        first_pid = 1 + position * (len(_MOVING) + 1)
        spans = run.spans_of(metrics[number])
        shown = _first_batches(spans).to_pylist()
        more = list(_Point(metrics[number], stages[number], shown, first_pid).events())
        if drawn and len(events) + len(more) > MOST_EVENTS:
            break
        events += more
        drawn += 1
        cut = cut or len(shown) < spans.num_rows
    document = {
        "displayTimeUnit": "ns",
        "otherData": {"run": run.name, "config": run.manifest["config_hash"]},
        "traceEvents": events,
    }
    return Timeline(document, drawn, cut)


def _first_batches(spans: pa.Table) -> pa.Table:
    """Whole mini-batches, as many as `_MOST_SPANS` spans hold, at least one."""
    import pyarrow.compute as pc

    if spans.num_rows <= _MOST_SPANS:
        return spans
    numbers, counts = np.unique(spans.column("batch").to_numpy(), return_counts=True)
    whole = max(1, int(np.searchsorted(np.cumsum(counts), _MOST_SPANS, side="right")))
    return spans.filter(pc.less_equal(spans.column("batch"), int(numbers[whole - 1])))


class _Point:
    """The events of one point; its stages are process `first_pid`, its resources those after."""

    def __init__(
        self, metrics: Row, stages: Sequence[Row], spans: Sequence[Row], first_pid: int
    ) -> None:
        self.unique_rows = metrics["unique_rows_per_batch"]
        self.spans = sorted(spans, key=itemgetter("start_ps", "end_ps", "batch"))
        self.stages = {row["stage"]: row for row in sorted(stages, key=itemgetter("order"))}
        self.threads = {stage: 1 + n for n, stage in enumerate(self.stages)}
        self.first_pid = first_pid
        rows = {"unique rows": self.unique_rows, "victims": metrics.get("victims_per_batch")}
        self.rows = {name: round(mean) for name, mean in rows.items() if mean is not None}
        label = f"{metrics['label']}{extension_mark(bool(metrics.get('training_is_ours')))}"
        names = (label, metrics["locality"], metrics["sweep"])
        self.title = " ".join(str(name) for name in names if name)

    def events(self) -> Iterator[Event]:
        yield from self._names(self.first_pid, f"{self.title}: stages", list(self.threads))
        for span in self.spans:
            event = self._slice(self.first_pid, span)
            event["args"] |= self.rows | self._bytes_of(self.stages[span["stage"]])
            yield event
        yield from self._flows()
        yield from self._scratchpad()
        for number, kind in enumerate(_MOVING):
            yield from self._use(kind, self.first_pid + 1 + number)

    def _bytes_of(self, stage: Row) -> dict[str, int]:
        """What a stage moves through each kind of resource."""
        moved = {f"{kind.title} bytes": stage[f"{kind.name}_bytes"] for kind in _MOVING}
        return {name: round(size) for name, size in moved.items() if size}

    def _use(self, kind: KindFacts, pid: int) -> Iterator[Event]:
        """The spans of the stages that move bytes through a kind of resource, its bandwidth."""
        column = f"{kind.name}_bytes"
        size = {stage: row[column] for stage, row in self.stages.items() if row[column]}
        if not size:
            return
        yield from self._names(pid, f"{self.title}: {kind.title}", list(size))
        steps: list[tuple[int, float]] = []
        for span in self.spans:
            stage, length = span["stage"], span["end_ps"] - span["start_ps"]
            if stage not in size or length <= 0:
                continue
            event = self._slice(pid, span)
            event["args"] |= {"resource": kind.title, "bytes": round(size[stage])}
            yield event
            rate = size[stage] * 1e3 / length  # bytes a picosecond -> 1e9 bytes a second
            steps += [(span["start_ps"], rate), (span["end_ps"], -rate)]
        yield from _counter(pid, f"{kind.title} bandwidth (GB/s)", "GB/s", steps)

    def _names(self, pid: int, process: str, stages: list[str]) -> Iterator[Event]:
        yield _meta("process_name", pid, 0, {"name": process})
        yield _meta("process_sort_index", pid, 0, {"sort_index": pid})
        for stage in stages:
            tid = self.threads[stage]
            yield _meta("thread_name", pid, tid, {"name": stage})
            yield _meta("thread_sort_index", pid, tid, {"sort_index": tid})

    def _slice(self, pid: int, span: Row) -> Event:
        return {
            "name": f"{span['stage']} {span['batch']}",
            "cat": "stage",
            "ph": "X",
            "ts": span["start_ps"] / PS_PER_US,
            "dur": (span["end_ps"] - span["start_ps"]) / PS_PER_US,
            "pid": pid,
            "tid": self.threads[span["stage"]],
            "args": {"batch": span["batch"]},
        }

    def _flows(self) -> Iterator[Event]:
        """An arrow from each stage of a mini-batch to its next one."""
        batches: dict[int, list[Row]] = {}
        for span in self.spans:
            batches.setdefault(span["batch"], []).append(span)
        for batch, spans in sorted(batches.items()):
            ordered = sorted(spans, key=lambda span: self.threads[span["stage"]])
            for position, span in enumerate(ordered):
                last = position == len(ordered) - 1
                yield {
                    "name": "mini-batch",
                    "cat": "flow",
                    "ph": "s" if position == 0 else "f" if last else "t",
                    **({} if position == 0 else {"bp": "e"}),
                    "id": f"{self.first_pid}.{batch}",
                    "ts": span["start_ps"] / PS_PER_US,
                    "pid": self.first_pid,
                    "tid": self.threads[span["stage"]],
                }

    def _scratchpad(self) -> Iterator[Event]:
        """Rows in use from their plan to the end of their training, where there is a scratchpad."""
        planned = [name for name, row in self.stages.items() if row["role"] == "plan"]
        trained = [name for name, row in self.stages.items() if row["role"] == "train"]
        if not planned or not trained or self.unique_rows is None:
            return
        begins = [span["start_ps"] for span in self.spans if span["stage"] == planned[0]]
        ends = [span["end_ps"] for span in self.spans if span["stage"] == trained[-1]]
        rows = float(self.unique_rows)
        steps = [(time, rows) for time in begins] + [(time, -rows) for time in ends]
        yield from _counter(self.first_pid, "scratchpad rows in use", "rows", steps)


def _counter(pid: int, name: str, unit: str, steps: list[tuple[int, float]]) -> Iterator[Event]:
    """A step function out of its changes, one event a moment."""
    changes: dict[int, float] = {}
    for time, change in steps:
        changes[time] = changes.get(time, 0.0) + change
    value = 0.0
    for time in sorted(changes):
        value += changes[time]
        shown = round(max(0.0, value), 6)
        yield {"name": name, "ph": "C", "ts": time / PS_PER_US, "pid": pid, "args": {unit: shown}}


def _meta(name: str, pid: int, tid: int, args: Event) -> Event:
    return {"name": name, "ph": "M", "pid": pid, "tid": tid, "args": args}
