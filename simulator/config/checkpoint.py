"""Check-points: what of a training run must be durable, and on which part of the host."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.config.bounds import AtMost
from simulator.config.types import Frozen, MisfitError

__all__ = ["CheckpointConfig"]

Batches = Annotated[int, Field(gt=0), AtMost(10**9, "no run has so many mini-batches")]


class CheckpointConfig(Frozen):
    """Bytes that are written beside training, and that its updates wait for where they are late."""

    kind: Literal["snapshot", "undo_log"]
    """`snapshot`: rows and MLPs as they are, in `every` equal pieces, one a mini-batch, each
    durable before the next one updates rows; `undo_log`: the values that the rows of a mini-batch
    have before it updates them, durable before it does."""
    to: Annotated[str, Field(min_length=1)]
    """The drive or persistent memory that they go to, by its socket, such as `ssd`."""
    every: Batches = 1
    """Mini-batches from one snapshot to the next; with `undo_log`, from one copy of the MLPs to the
    next, whose bytes are spread over them."""
    rows: Literal["changed", "all"] | None = None
    """Of a snapshot: rows that changed since the one before (null: those), or all rows."""

    @model_validator(mode="after")
    def _rows_of_snapshots(self) -> Self:
        if self.kind == "undo_log" and self.rows is not None:
            raise MisfitError("rows", "has no use: an undo log has those that a mini-batch updates")
        return self

    @property
    def whole(self) -> bool:
        """Whether all rows are written, changed or not."""
        return self.rows == "all"
