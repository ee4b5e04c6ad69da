"""The spans of a run in columns: a fifth of the memory of as many objects, which are made when they
are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from simulator.errors import ConfigError
from simulator.units import PS_PER_S

__all__ = ["RunSpans", "Span"]

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


@dataclass(frozen=True, slots=True, eq=False)
class RunSpans(Sequence[Span]):
    """Spans by end time; int64, shape (spans,).

    `stages`: of a mini-batch. `key`: mini-batch x `stages` + stage; `after`: the key of what let it
    start, -1 for the first.
    """

    stages: int
    key: Int64s
    start_ps: Int64s
    end_ps: Int64s
    after: Int64s

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
        return cls(count, *np.array(rows, np.int64).reshape(-1, 4).T)

    @property
    def batch(self) -> Int64s:
        """Mini-batch of each span."""
        return self.key // self.stages

    @property
    def stage(self) -> Int64s:
        """Stage of each span."""
        return self.key % self.stages

    def places(self) -> Int64s:
        """Place of the span of each key, -1 for those that have none."""
        places = np.full(1 + int(self.key.max(initial=-1)), -1, np.int64)
        places[self.key] = np.arange(len(self.key))
        return places

    def ends_ps(self) -> Int64s:
        """End of the last stage of each mini-batch from 0 on; -1 where it has none."""
        last = self.stage == self.stages - 1
        ends = np.full(1 + int(self.batch.max(initial=-1)), -1, np.int64)
        ends[self.batch[last]] = self.end_ps[last]
        return ends

    def __len__(self) -> int:
        return len(self.key)

    def __iter__(self) -> Iterator[Span]:
        numbers = (self.key, self.start_ps, self.end_ps, self.after)
        for key, start, end, after in zip(*(each.tolist() for each in numbers), strict=True):
            batch, stage = divmod(key, self.stages)
            yield Span(batch, stage, start, end, None if after < 0 else divmod(after, self.stages))

    @overload
    def __getitem__(self, place: int) -> Span: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Span, ...]: ...
    def __getitem__(self, place: int | slice) -> Span | tuple[Span, ...]:
        chosen = range(len(self))[place]
        if isinstance(chosen, int):
            return self[chosen : chosen + 1][0]
        columns = (each[place] for each in (self.key, self.start_ps, self.end_ps, self.after))
        return tuple(RunSpans(self.stages, *columns))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal to tuples of the same spans
