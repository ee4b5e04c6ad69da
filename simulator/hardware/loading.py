"""The word of the load stage: raw values become the tensors of a mini-batch.

As in `program`: data, without time.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.hardware.program import Operation

__all__ = ["LOADER", "Preprocess"]

LOADER = "loader"
"""What the cores or accelerators that load are called on every machine."""


@dataclass(frozen=True, slots=True)
class Preprocess(Operation):
    """Read a mini-batch from storage, decode and transform it: counts of its values.

    A label a sample is read beside them, and not transformed.
    """

    samples: int
    dense: int
    """Dense values: each is read, and its logarithm taken."""
    ids: int
    """Ids: each is hashed into the rows of its table."""
    bucketized: int
    """Those of them that are made of a dense value; the others are read."""
    columns: int
    """Columns of the data set that are read."""

    @property
    def stored_ids(self) -> int:
        """Ids that are read."""
        return max(0, self.ids - self.bucketized)

    @property
    def stored(self) -> int:
        """Values that are read."""
        return self.samples + self.dense + self.stored_ids
