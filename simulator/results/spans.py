"""The spans of a point, packed: a point of a million mini-batches has millions of them.

Spans are packed group by group as they come, about 10 B each, and unpacked group by group as they
are read: never more than one group stands in memory as objects.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

__all__ = ["GROUP", "SpanColumns", "Spans", "StageSpan"]

GROUP = 1 << 14
"""Spans of a group: 512 KiB of numbers."""
_NUMBERS = np.dtype("<i8")
_COLUMNS = 4


class StageSpan(NamedTuple):
    """One stage of one mini-batch on the clock of the simulation."""

    stage: str
    batch: int
    start_ps: int
    end_ps: int


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """Some spans in columns: `stages[stage[k]]` is the name of the stage of span k; int64, shape
    (spans,)."""

    stages: Sequence[str]
    stage: npt.NDArray[np.int64]
    batch: npt.NDArray[np.int64]
    start_ps: npt.NDArray[np.int64]
    end_ps: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stage)

    def __iter__(self) -> Iterator[StageSpan]:
        numbers = (self.stage, self.batch, self.start_ps, self.end_ps)
        for stage, *rest in zip(*(column.tolist() for column in numbers), strict=True):
            yield StageSpan(self.stages[stage], *rest)


class Spans(Sequence[StageSpan]):
    """Spans in their order; numbers fit 64 bits."""

    def __init__(self, spans: Iterable[StageSpan] = ()) -> None:
        """Pack `spans`, which are taken one group after the other."""
        stages: dict[str, int] = {}
        self._groups: list[bytes] = []
        self._count = 0
        source = iter(spans)
        while group := [
            (stages.setdefault(s.stage, len(stages)), s.batch, s.start_ps, s.end_ps)
            for s in islice(source, GROUP)
        ]:
            columns = np.array(group, _NUMBERS).T
            self._groups.append(zlib.compress(columns.tobytes(), 1))
            self._count += len(group)
        self._stages = tuple(stages)

    @classmethod
    def of_columns(cls, given: Iterable[SpanColumns]) -> Spans:
        """Pack spans that are in columns, `GROUP` at a time but for the last: as `Spans` of the
        same one by one."""
        spans, stages = cls(), dict[str, int]()
        for group in given:
            used, firsts = np.unique(group.stage, return_index=True)
            number = np.zeros(len(group.stages), np.int64)
            for stage in used[np.argsort(firsts)].tolist():
                number[stage] = stages.setdefault(group.stages[stage], len(stages))
            columns = (number[group.stage], group.batch, group.start_ps, group.end_ps)
            if len(group):
                spans._groups.append(zlib.compress(np.array(columns, _NUMBERS).tobytes(), 1))
            spans._count += len(group)
        spans._stages = tuple(stages)
        return spans

    def columns(self) -> Iterator[SpanColumns]:
        """All spans, group by group."""
        for group in self._groups:
            numbers = np.frombuffer(zlib.decompress(group), _NUMBERS).reshape(_COLUMNS, -1)
            yield SpanColumns(self._stages, *numbers)

    def packed(self) -> dict[str, Any]:
        """What `unpacked` makes the same spans of, for JSON."""
        groups = [binascii.b2a_base64(group, newline=False).decode() for group in self._groups]
        return {"stages": list(self._stages), "spans": self._count, "groups": groups}

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> Spans:
        """Raises `ValueError`, `KeyError` or `TypeError` for what `packed` does not give."""
        spans = cls()
        spans._stages = tuple(packed["stages"])
        spans._groups = [binascii.a2b_base64(group) for group in packed["groups"]]
        try:
            spans._count = sum(map(len, spans.columns()))
        except zlib.error as error:
            raise ValueError(f"packed spans are damaged: {error}") from error
        if spans._count != packed["spans"]:
            raise ValueError(f"{packed['spans']} spans are packed as {spans._count}")
        return spans

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[StageSpan]:
        return chain.from_iterable(self.columns())

    @overload
    def __getitem__(self, index: int) -> StageSpan: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[StageSpan, ...]: ...
    def __getitem__(self, index: int | slice) -> StageSpan | tuple[StageSpan, ...]:
        """One span, or several as a tuple; reads what stands before, as a list would not."""
        chosen = range(self._count)[index]
        if isinstance(chosen, int):
            return next(islice(self, chosen, None))
        wanted = set(chosen)
        known = {number: span for number, span in enumerate(self) if number in wanted}
        return tuple(known[number] for number in chosen)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal to lists of the same spans

    def __repr__(self) -> str:
        return f"<{self._count:,} spans of {', '.join(self._stages) or 'no stage'}>"
