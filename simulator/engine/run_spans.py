"""The spans of a run in columns, packed group by group; objects are made when asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from simulator.errors import ConfigError
from simulator.results.spans import GROUP
from simulator.units import PS_PER_S

__all__ = ["RunSpans", "Span", "SpanGroup"]

Int64s = npt.NDArray[np.int64]


class Span(NamedTuple):
    """One stage of one mini-batch: picoseconds from the start of the simulation.

    `after`: the (mini-batch, stage) whose end let it start, or None for the first.
    """

    batch: int
    stage: int
    start_ps: int
    end_ps: int
    after: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class SpanGroup:
    """Some spans of a run in columns; int64, shape (spans,).

    `stages`: of a mini-batch. `key`: mini-batch x `stages` + stage; `after`: the key of what let it
    start, -1 for the first.
    """

    stages: int
    key: Int64s
    start_ps: Int64s
    end_ps: Int64s
    after: Int64s

    @property
    def batch(self) -> Int64s:
        """Mini-batch of each span."""
        return self.key // self.stages

    @property
    def stage(self) -> Int64s:
        """Stage of each span."""
        return self.key % self.stages

    def columns(self) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        """`key`, `start_ps`, `end_ps` and `after`."""
        return self.key, self.start_ps, self.end_ps, self.after

    def __len__(self) -> int:
        return len(self.key)

    def __iter__(self) -> Iterator[Span]:
        for key, start, end, after in zip(*(c.tolist() for c in self.columns()), strict=True):
            batch, stage = divmod(key, self.stages)
            yield Span(batch, stage, start, end, None if after < 0 else divmod(after, self.stages))


class RunSpans(Sequence[Span]):
    """Spans by end time, packed in groups of `GROUP` as they come. `stages`: of a mini-batch."""

    def __init__(self, stages: int) -> None:
        self.stages = stages
        self._packed: list[bytes] = []
        self._open = SpanGroup(stages, *(np.empty(0, np.int64) for _ in range(4)))
        """Those behind the packed groups."""
        self._ends: Int64s | None = None
        """What `ends_ps` gave."""

    @classmethod
    def of(cls, spans: Sequence[Span]) -> RunSpans:
        """`spans` in columns. Raises `ConfigError` for times beyond 64 bits."""
        if isinstance(spans, cls):
            return spans
        latest = max((span.end_ps for span in spans), default=0)
        if latest >= 1 << 63:
            raise ConfigError(
                f"the simulated time reaches {latest / PS_PER_S / 86_400:,.0f} days, more than 64 "
                "bits of picoseconds hold (106): fewer mini-batches, or a latency or rate that is "
                "meant"
            )
        count = 1 + max((span.stage for span in spans), default=0)
        rows = [
            (
                span.batch * count + span.stage,
                span.start_ps,
                span.end_ps,
                -1 if span.after is None else span.after[0] * count + span.after[1],
            )
            for span in spans
        ]
        own = cls(count)
        own.extend(np.array(rows, np.int64).reshape(-1, 4))
        return own

    def extend(self, rows: Int64s) -> None:
        """Put spans behind the others: int64, shape (spans, 4), columns as `SpanGroup.columns`."""
        joined = np.concatenate([np.stack(self._open.columns()), rows.T], axis=1)
        while joined.shape[1] > GROUP:
            self._packed.append(zlib.compress(np.diff(joined[:, :GROUP], prepend=0).tobytes(), 1))
            joined = joined[:, GROUP:]
        self._open, self._ends = SpanGroup(self.stages, *joined.copy()), None

    def groups(self, *, back: bool = False) -> Iterator[SpanGroup]:
        """All spans, group by group; `back`: the last group first."""
        if back:
            yield self._open
        for packed in reversed(self._packed) if back else self._packed:
            steps = np.frombuffer(zlib.decompress(packed), np.int64).reshape(4, -1)
            yield SpanGroup(self.stages, *steps.cumsum(axis=1))
        if not back:
            yield self._open

    @property
    def last_ps(self) -> int:
        """When the last stage ends."""
        return int(self._open.end_ps.max())

    def ends_ps(self) -> Int64s:
        """End of the last stage of each mini-batch from 0 on; -1 where it has none."""
        if self._ends is None:
            last = 1 + max((int(g.batch.max(initial=-1)) for g in self.groups()), default=-1)
            self._ends = np.full(last, -1, np.int64)
            for group in self.groups():
                over = group.stage == self.stages - 1
                self._ends[group.batch[over]] = group.end_ps[over]
        return self._ends

    def __len__(self) -> int:
        return GROUP * len(self._packed) + len(self._open)

    def __iter__(self) -> Iterator[Span]:
        return chain.from_iterable(self.groups())

    @overload
    def __getitem__(self, place: int) -> Span: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Span, ...]: ...
    def __getitem__(self, place: int | slice) -> Span | tuple[Span, ...]:
        """One span, or several as a tuple; looks at all."""
        return tuple(self)[place]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal to tuples of the same spans
