"""A timeline as Trace Event JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A process a point and device, a thread a stage: stages share devices, and slices of one thread may
not overlap. Flow arrows follow each mini-batch through its stages. Counters: the bandwidth of each
device, and the rows of the scratchpad that mini-batches between Plan and Train use.

Approximated: bytes of a stage are its mean over the timed mini-batches, spread evenly over each of
its spans; rows in use are unique rows a mini-batch (mean) times mini-batches in flight, rows that
two of them share counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from simulator.figures.tables import rows_of
from simulator.results.dictionary import DEVICES

if TYPE_CHECKING:
    from simulator.report.rundir import RunDir

__all__ = ["trace_events"]

Event = dict[str, Any]
PS_PER_US = 1_000_000
_FIRST_USE, _LAST_USE = "plan", "train"


def trace_events(run: RunDir, points: Iterable[str]) -> dict[str, Any]:
    """The trace of the points with these keys; times are microseconds of simulated time."""
    events: list[Event] = []
    for number, key in enumerate(points):
        events += _Point(run, key, first_pid=1 + number * (len(DEVICES) + 1)).events()
    return {
        "displayTimeUnit": "ns",
        "otherData": {"run": str(run.manifest["name"]), "config": run.manifest["config_hash"]},
        "traceEvents": events,
    }


class _Point:
    """The events of one point; its stages are process `first_pid`, its devices those after."""

    def __init__(self, run: RunDir, key: str, first_pid: int) -> None:
        self.metrics = run.metrics[run.metrics["point"] == key].iloc[0]
        label = self.metrics["label"]
        spans = run.timeline[(run.timeline["point"] == key) & (run.timeline["label"] == label)]
        self.spans = spans.sort_values(["start_ps", "end_ps", "batch"], kind="stable")
        stages = run.stages[(run.stages["point"] == key) & (run.stages["label"] == label)]
        self.stages = stages.sort_values("order").set_index("stage")
        self.threads = {str(stage): 1 + n for n, stage in enumerate(self.stages.index)}
        self.first_pid = first_pid
        self.title = " ".join(
            str(part) for part in (label, self.metrics["locality"], self.metrics["sweep"]) if part
        )

    def events(self) -> Iterator[Event]:
        yield from self._names(self.first_pid, f"{self.title}: stages", list(self.threads))
        yield from (self._slice(self.first_pid, row) for row in rows_of(self.spans))
        yield from self._flows()
        yield from self._scratchpad()
        for number, device in enumerate(DEVICES):
            yield from self._device(device.name, device.title, self.first_pid + 1 + number)

    def _device(self, name: str, title: str, pid: int) -> Iterator[Event]:
        """The spans of the stages that move bytes through a device, and its bandwidth."""
        size = {
            stage: float(value)
            for stage, value in self.stages[f"{name}_bytes"].items()
            if value == value and value
        }
        if not size:
            return
        yield from self._names(pid, f"{self.title}: {title}", [str(stage) for stage in size])
        steps: list[tuple[int, float]] = []
        for row in rows_of(self.spans):
            length = row.end_ps - row.start_ps
            if row.stage not in size or length <= 0:
                continue
            event = self._slice(pid, row)
            event["args"]["bytes"] = round(size[row.stage])
            yield event
            rate = size[row.stage] * 1e3 / length  # bytes a picosecond -> 1e9 bytes a second
            steps += [(row.start_ps, rate), (row.end_ps, -rate)]
        yield from _counter(pid, f"{title} bandwidth (GB/s)", "GB/s", steps)

    def _names(self, pid: int, process: str, stages: list[str]) -> Iterator[Event]:
        yield _meta("process_name", pid, 0, {"name": process})
        yield _meta("process_sort_index", pid, 0, {"sort_index": pid})
        for stage in stages:
            tid = self.threads[stage]
            yield _meta("thread_name", pid, tid, {"name": stage})
            yield _meta("thread_sort_index", pid, tid, {"sort_index": tid})

    def _slice(self, pid: int, row: Any) -> Event:
        return {
            "name": f"{row.stage} {row.batch}",
            "cat": "stage",
            "ph": "X",
            "ts": row.start_ps / PS_PER_US,
            "dur": (row.end_ps - row.start_ps) / PS_PER_US,
            "pid": pid,
            "tid": self.threads[row.stage],
            "args": {"batch": int(row.batch)},
        }

    def _flows(self) -> Iterator[Event]:
        """An arrow from each stage of a mini-batch to its next one."""
        for batch, rows in self.spans.groupby("batch", sort=True):
            ordered = sorted(rows_of(rows), key=lambda row: self.threads[row.stage])
            for position, row in enumerate(ordered):
                last = position == len(ordered) - 1
                yield {
                    "name": "mini-batch",
                    "cat": "flow",
                    "ph": "s" if position == 0 else "f" if last else "t",
                    **({} if position == 0 else {"bp": "e"}),
                    "id": f"{self.first_pid}.{batch}",
                    "ts": row.start_ps / PS_PER_US,
                    "pid": self.first_pid,
                    "tid": self.threads[row.stage],
                }

    def _scratchpad(self) -> Iterator[Event]:
        """Rows in use between Plan and Train, where there is a scratchpad."""
        if not {_FIRST_USE, _LAST_USE} <= set(self.threads):
            return
        rows = float(self.metrics["unique_rows_per_batch"])
        begins = self.spans[self.spans["stage"] == _FIRST_USE]["start_ps"]
        ends = self.spans[self.spans["stage"] == _LAST_USE]["end_ps"]
        steps = [(int(t), rows) for t in begins] + [(int(t), -rows) for t in ends]
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
