"""From points with one trace to their replays, those that are equal made once.

Points that share replays may be timed in several processes: `replays_ahead` makes the replays for
all of them, `write_ahead` and `read_ahead` take them from one process to the others in a file,
whose arrays all of these map, so that memory has them once.
"""

from __future__ import annotations

import functools
import mmap
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simulator._machine import return_memory
from simulator._threads import cores
from simulator.caches.replays import Replay, Replayed, Stream, run_replays
from simulator.config.point import PointConfig
from simulator.engine.prepare import batches_of, open_for, prepare, window_slots
from simulator.engine.sharing import tail_of, trace_key
from simulator.hardware.topology import Topology
from simulator.results.record import Progress
from simulator.systems import System
from simulator.traces import Trace

__all__ = ["Ahead", "Kept", "Prepared", "Report", "Tracker", "keeping", "prepare_all", "read_ahead"]
__all__ += ["replays_ahead", "replays_of", "streams_of", "write_ahead"]

Report = Callable[[Progress], None]
_ALIGNED = 64
"""Bytes that arrays in a file are aligned to."""


@dataclass(frozen=True)
class Prepared:
    """A point with its system on its machine."""

    point: PointConfig
    system: System
    machine: Topology

    @property
    def tail(self) -> int:
        """Mini-batches after the timed ones."""
        return tail_of(self.system.schedule.depth)


@dataclass
class Tracker:
    """Turns mini-batches and points done into `Progress` reports."""

    report: Report | None
    points: int
    done: int
    group: int
    """Points in the present group."""

    def replayed(self, share: float, label: str) -> None:
        """`share` of the group's replays is made; they count as half of its first point."""
        self._say(Progress(self.done, self.points, 0.5 * share, f"replaying {label}", share))

    def timed(self, member: int, label: str) -> None:
        """A point of the group is timed."""
        self._say(Progress(self.done + member, self.points, 0.5, f"timing {label}"))

    def _say(self, progress: Progress) -> None:
        if self.report is not None:
            self.report(progress)


_Key = tuple[str, int]
"""Of the mini-batches of a trace, and how many of them follow the timed ones."""


@dataclass(frozen=True)
class Ahead:
    """Replays by the mini-batches that they replay, with the wall-clock seconds of drawing them."""

    replays: Mapping[_Key, dict[Replay, Replayed]] = field(default_factory=dict)
    drawn_s: Mapping[_Key, float] = field(default_factory=dict)


@dataclass
class Kept:
    """The replays that this process made last, and the points that they are of."""

    ahead: Ahead = field(default_factory=Ahead)
    points: tuple[PointConfig, ...] = ()

    def take(self, prepared: Collection[Prepared], made: Mapping[Replay, object]) -> None:
        """Keep what was `made` for points with one tail, in the place of what was kept before."""
        replays = {r: told for r, told in made.items() if isinstance(told, Replayed)}
        self.ahead = Ahead({_key(prepared): replays})
        self.points = tuple(p.point for p in prepared if p.system.replay in replays)

    def has(self, point: PointConfig) -> bool:
        """Whether the replay of `point` is there."""
        named = point.system.label, point.key()
        return any((own.system.label, own.key()) == named for own in self.points)

    def forget(self) -> None:
        """Keep nothing: memory holds the replays of one group of points at a time."""
        self.ahead, self.points = Ahead(), ()


_keepers: list[Kept] = []


@contextmanager
def keeping() -> Iterator[Kept]:
    """Keep the last replays that are made meanwhile in this process."""
    kept = Kept()
    _keepers.append(kept)
    try:
        yield kept
    finally:
        _keepers.remove(kept)


def prepare_all(
    members: Sequence[PointConfig], trace: Trace
) -> tuple[dict[int, Prepared], dict[int, Exception]]:
    """Points of one trace by number: those that can run, and why others cannot."""
    prepared: dict[int, Prepared] = {}
    failed: dict[int, Exception] = {}
    need = functools.cache(functools.partial(window_slots, members[0], trace))
    for member, point in enumerate(members):
        try:
            prepared[member] = Prepared(point, *prepare(point, trace, need))
        except Exception as error:
            failed[member] = error
    return prepared, failed


def streams_of(
    trace: Trace, prepared: Mapping[int, Prepared], threads: int
) -> Iterator[tuple[Stream, dict[int, Prepared]]]:
    """The mini-batches of `trace`, with each number of them that points want, and those points."""
    for tail in dict.fromkeys(problem.tail for problem in prepared.values()):
        chosen = {member: p for member, p in prepared.items() if p.tail == tail}
        repeats = any(p.point.operators.follows_hottest for p in chosen.values())
        range_bits = max(p.point.operators.accumulate.range_bits for p in chosen.values())
        first = next(iter(chosen.values())).point
        count = batches_of(first, trace, tail)
        yield Stream(trace, count, repeats, range_bits, ahead=threads > 1), chosen


def replays_of(
    stream: Stream,
    prepared: Collection[Prepared],
    tracker: Tracker,
    threads: int,
    ahead: Ahead,
) -> dict[Replay, Replayed | Exception]:
    """Every distinct replay of points with one tail; where all together fail, each on its own, or
    why it failed. What they needed beside the facts is given back to the system."""
    for keeper in _keepers:
        keeper.forget()
    key = _key(prepared)
    replays: dict[Replay, Replayed | Exception] = {**ahead.replays.get(key, {})}
    stream.wall_s += ahead.drawn_s.get(key, 0.0)
    missing = [problem for problem in prepared if problem.system.replay not in replays]
    if missing:
        replays |= _replays(stream, missing, tracker, threads)
        return_memory()
    for keeper in _keepers:
        keeper.take(prepared, replays)
    return replays


def _key(prepared: Collection[Prepared]) -> _Key:
    first = next(iter(prepared))
    return trace_key(first.point), first.tail


def _replays(
    stream: Stream, prepared: Collection[Prepared], tracker: Tracker, threads: int
) -> dict[Replay, Replayed | Exception]:
    wanted = list(dict.fromkeys(problem.system.replay for problem in prepared))
    labels = {problem.point.locality: None for problem in prepared}
    replays: dict[Replay, Replayed | Exception] = {}

    def report(done: int) -> None:
        tracker.replayed(done / stream.batches, next(iter(labels)))

    try:
        replays |= run_replays(stream, wanted, threads=threads, progress=report)
    except Exception as error:
        if len(wanted) == 1:
            return {wanted[0]: error}
        for replay in wanted:
            alone = [problem for problem in prepared if problem.system.replay == replay]
            replays |= _replays(stream, alone, tracker, threads)
    return replays


def replays_ahead(
    points: Sequence[PointConfig], *, progress: Report | None = None, threads: int | None = None
) -> Ahead:
    """The replays of `points`, which have one trace; those that fail are left out, and fail again
    where their points are simulated."""
    workers = threads or cores()
    trace = open_for(points[0], workers)
    prepared, _ = prepare_all(points, trace)
    tracker = Tracker(progress, len(points), 0, len(points))
    replays: dict[_Key, dict[Replay, Replayed]] = {}
    drawn_s = {}
    for stream, chosen in streams_of(trace, prepared, workers):
        key = _key(chosen.values())
        made = replays_of(stream, chosen.values(), tracker, workers, Ahead())
        replays[key] = {r: told for r, told in made.items() if isinstance(told, Replayed)}
        drawn_s[key] = stream.wall_s
    return Ahead(replays, drawn_s)


def write_ahead(file: Path, ahead: Ahead) -> None:
    """Write replays for `read_ahead`. Raises `OSError`, and whatever pickling a replay raises."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(ahead, protocol=5, buffer_callback=buffers.append)
    pieces: list[bytes | memoryview] = [body, *(buffer.raw() for buffer in buffers)]
    sizes = np.array([len(buffers), *map(len, pieces)], "<i8")
    with file.open("wb") as stream:
        for piece in (sizes.tobytes(), *pieces):
            stream.write(piece)
            stream.write(bytes(-stream.tell() % _ALIGNED))


def read_ahead(file: Path) -> Ahead:
    """What `write_ahead` wrote, by this program: its arrays lie in the file until they are changed.

    Raises `OSError` where it is not there."""
    with file.open("rb") as stream:
        whole = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY))
    count = int(np.frombuffer(whole, "<i8", 1)[0])
    head = np.frombuffer(whole, "<i8", count + 2)
    end, pieces = _aligned(head.nbytes), []
    for size in head[1:].tolist():
        pieces.append(whole[end : end + size])
        end = _aligned(end + size)
    body, *arrays = pieces
    ahead: Ahead = pickle.loads(body, buffers=arrays)
    return ahead


def _aligned(place: int) -> int:
    return place + -place % _ALIGNED
