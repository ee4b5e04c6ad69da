"""The cache in host memory once more in plain Python."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

__all__ = ["reference_host_cache"]


def reference_host_cache(
    batches: Sequence[tuple[Sequence[int], Sequence[int]]], slots: int, held: int
) -> list[tuple[set[int], set[int]]]:
    """What comes up and what goes down, mini-batch by mini-batch; `batches`: rows that each reads
    and writes; `held`: mini-batches before one whose rows stay."""
    kept: OrderedDict[int, bool] = OrderedDict()  # row -> changed, the one used longest ago first
    moved = []
    for number, (reads, writes) in enumerate(batches):
        touched = sorted({*reads, *writes})
        running = batches[max(0, number - held) : number + 1]
        stay = {row for pair in running for rows in pair for row in rows}
        missing = [row for row in touched if row not in kept]
        spilled = set()
        for _ in range(len(kept) + len(missing) - slots):
            row = next(row for row in kept if row not in stay)
            if kept.pop(row):
                spilled.add(row)
        for row in touched:
            kept[row] = kept.get(row, False) or row in writes
            kept.move_to_end(row)
        moved.append((set(missing) & set(reads), spilled))
    return moved
