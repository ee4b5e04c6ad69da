"""One word of one mini-batch and the memory that it is bound to: what rules work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.errors import UsageError
from simulator.hardware.program import Gather, Scatter, Store
from simulator.observe.dataflow import Dataflow
from simulator.observe.items import LISTS, Item, Position
from simulator.observe.steps import Step
from simulator.observe.workspace import Workspace

__all__ = ["Binding", "Rule", "pairs_key", "pieces_of", "rows_on_host", "store_of"]


@dataclass(frozen=True)
class Binding:
    """One word of one mini-batch, to be bound to `work`'s memory."""

    work: Workspace
    at: Position
    number: int
    """Of the mini-batch."""
    pairs: dict[tuple[Position, int], Any]
    """What sorts hand to updates: by position of the update and turn."""

    @property
    def flow(self) -> Dataflow:
        return self.work.flow

    @property
    def takes(self) -> tuple[Item, ...]:
        return self.flow.takes[self.at]

    @property
    def count(self) -> int:
        """Lookups of the mini-batch."""
        return len(self.work.inputs.batches[self.number].ids)

    @property
    def optimizer(self) -> str:
        return self.work.inputs.point.model.optimizer

    def buffer(self, item: Item, kind: str) -> Any:
        return self.work.buffer(item, kind, self.number)

    def handed(self) -> dict[str, Any]:
        """What passes of one backward hand to each other, of this mini-batch."""
        update = self.at if self.flow.is_update(self.at) else self.flow.update_of(self.at)
        handed: dict[str, Any] = self.pairs.setdefault(pairs_key(self, update), {})
        return handed

    def lookups(self) -> Any:
        """Ids or slots of all lookups, on the GPU."""
        return self.buffer(self.takes[0], "gpu")[: self.count]


Rule = Callable[[Binding, Any], Sequence[Step]]


def pairs_key(b: Binding, update: Position | None) -> tuple[Position, int]:
    """Pairs are for one mini-batch at a time, but in a pipeline."""
    assert update is not None, "the data flow found none"
    return update, b.work.turn(b.number) if b.work.overlaps else 0


def store_of(word: Gather | Scatter) -> Store:
    return word.reads if isinstance(word, Gather) else word.writes


def rows_on_host(b: Binding, word: Gather | Scatter) -> Callable[[], Any]:
    """Where the rows lie: on the list that came from the GPU, or known beforehand. Asked for when
    they are moved."""
    store = store_of(word)
    listed = b.flow.moved_list(word.rows, b.number)
    if listed is not None and not store.slotted:
        rows, lists = b.buffer(LISTS, "cpu")[listed].numpy(), b.work.lists[b.number]
        return lambda: rows[: lists.count(listed)]
    pieces = pieces_of(word)
    return lambda: pieces


def pieces_of(word: Gather | Scatter) -> Any:
    pieces = store_of(word).pieces(word.rows)
    if pieces is None:
        raise UsageError(f"the replay keeps no rows for {word.name} at {word.at}")
    return pieces
