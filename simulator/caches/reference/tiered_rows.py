"""Which GPU serves which lookup where hotter rows have copies near samples, in plain Python: one
lookup after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Piece", "served"]


@dataclass
class Piece:
    """What a GPU has of a tier of a table in a mini-batch."""

    lookups: list[int] = field(default_factory=list)
    """Rows that it is asked for, in the order of the samples."""
    wanted: int = 0
    """Lookups of its own samples in the tier, whoever serves them."""
    crossing: int = 0
    """Bags of its own samples that rows of the tier do not fill."""
    below: int = 0
    """Lookups of its own samples in no tier."""
    trained: set[int] = field(default_factory=set)
    """Rows of its residue that any sample looks up."""


def served(
    bags: Sequence[Sequence[int]], tiers: Sequence[tuple[set[int], int]], gpus: int
) -> list[list[Piece]]:
    """Of each tier what each GPU has of one table.

    `bags`: the rows of each sample; `tiers`: rows of each, and how many GPUs share a copy. Samples
    are divided in order, the first GPUs having one more where they do not divide.
    """
    pieces = [[Piece() for _ in range(gpus)] for _ in tiers]
    for gpu, bag in _divided(bags, gpus):
        for (rows, run), own in zip(tiers, pieces, strict=True):
            own[gpu].crossing += not bag or any(row not in rows for row in bag)
            for row in bag:
                if row in rows:
                    own[gpu].wanted += 1
                    own[gpu // run * run + row % run].lookups.append(row)
                    for peer in range(row % run, gpus, run):
                        own[peer].trained.add(row)
        below = [row for row in bag if not any(row in rows for rows, _ in tiers)]
        for own in pieces:
            own[gpu].below += len(below)
    return pieces


def _divided(bags: Sequence[Sequence[int]], gpus: int) -> Iterator[tuple[int, Sequence[int]]]:
    """Each bag with the GPU of its sample."""
    share, more = divmod(len(bags), gpus)
    begin = 0
    for gpu in range(gpus):
        end = begin + share + (gpu < more)
        for bag in bags[begin:end]:
            yield gpu, bag
        begin = end
