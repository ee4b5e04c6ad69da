"""The pool before packed chunks once more in plain Python, row by row."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["reference_packed"]

Moves = tuple[list[int], set[int], list[int], int, int]
"""Rows that were missed, that came up, that went down in order; chunks read, chunks written."""


def reference_packed(
    uses: Sequence[Sequence[int]],
    rows: int,
    capacity: int,
    packed: int,
    resident: Sequence[int] = (),
) -> list[Moves]:
    """What each mini-batch moves in a pool of `capacity` rows before chunks of `packed` rows;
    `resident`: rows that it has before the first, changed ones."""
    chunks = [list(range(k, min(k + packed, rows))) for k in range(0, rows, packed)]
    lies_in = [row // packed for row in range(rows)]
    buckets: list[list[int]] = [[] for _ in range(len(uses) + 1)]
    there, changed = set(resident), set(resident)

    def following(row: int, number: int) -> int:
        return next((n for n in range(number + 1, len(uses)) if row in uses[n]), len(uses))

    def put(new: Sequence[int], number: int) -> None:
        for row in new:
            buckets[following(row, number)].append(row)

    put(resident, -1)
    moved: list[Moves] = []
    for number, wanted in enumerate(uses):
        missed = [row for row in wanted if row not in there]
        read = sorted({lies_in[row] for row in missed})
        up = [r for c in read for r in chunks[c] if lies_in[r] == c and r not in there]
        buckets[number] = []
        there |= set(up)
        put([row for row in up if row not in wanted], number)
        down: list[int] = []
        for bucket in reversed(buckets[number + 1 :]):
            while bucket and (len(there) > capacity or len(down) % packed):
                row = bucket.pop()
                there.remove(row)
                if row in changed:
                    down.insert(0, row)
        changed -= set(down)
        pieces = [down[k : k + packed] for k in range(0, len(down), packed)]
        for piece in pieces:
            for row in piece:
                lies_in[row] = len(chunks)
            chunks.append(piece)
        changed |= set(wanted)
        put(wanted, number)
        moved.append((missed, set(up), down, len(read), len(pieces)))
    return moved
