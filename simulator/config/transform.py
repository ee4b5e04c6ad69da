"""Sums of rows that are looked up together, stored as further rows of their table.

The key `trace.transform`: which of the published ways of choosing the sums, and how much memory
they may take. What the ways have in common is in `simulator.traces.transform`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from simulator.config.bounds import AtMost
from simulator.config.types import Frozen

__all__ = [
    "GraceTransform",
    "MerciTransform",
    "SpaceTransform",
    "Transform",
    "TransformConfig",
    "extra_rows",
    "summed",
]

_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Transform(Frozen):
    """What all of them take."""

    extra_rows: Annotated[float, Field(ge=0.0), AtMost(16, "no table grows so much")] = 1.0
    """Rows that sums may take, as a share of the rows of the table; 0: none (GRACE's h, 1 in its
    artifact; MERCI's are 0.25, 0.5, 1 and 8)."""


class _Trained(Transform):
    """Sums that are chosen by what samples look up together."""

    train_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Share of the file, from its beginning, that they are chosen by."""


class GraceTransform(_Trained):
    """Clusters grown over the graph of what is looked up together (GRACE, ASPLOS 2023; defaults
    are those of its artifact)."""

    algorithm: Literal["grace"]
    max_length: Annotated[int, Field(ge=1, le=16)] = 5
    """Rows of a cluster at most: one of c rows stores the sums of all its subsets."""
    decay: Annotated[float, Field(ge=0.0), AtMost(100, "no cluster would have three rows")] = 0.4
    """A row joins if its score is at least so much of that of the row that joined before it."""
    edge_share: _Share = 0.2
    """Share of the pairs that are kept, the most frequent first."""
    alpha: _Share = 0.5
    """Weight of the upper bound in a score, against the lower."""


class MerciTransform(_Trained):
    """Clusters merged by benefit over memory (MERCI, ASPLOS 2021; defaults are those of its
    code)."""

    algorithm: Literal["merci"]
    train_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    """Share of the file, from its beginning, that they are chosen by."""
    min_count: Annotated[int, Field(ge=1), AtMost(10**9, "no row is looked up so often")] = 10
    """Rows that fewer training samples look up are left alone."""
    part_size: Annotated[int, Field(ge=2, le=1024)] = 128
    """Rows of a part, within which clusters are merged."""


class SpaceTransform(_Trained):
    """All pairs of the most popular rows (SPACE, ISCA 2021, as the artifact of GRACE has it)."""

    algorithm: Literal["space"]


TransformConfig = Annotated[
    GraceTransform | MerciTransform | SpaceTransform, Discriminator("algorithm")
]
"""Any of them."""


def summed(lookups: Sequence[int]) -> bool:
    """Whether a table has anything to sum; `lookups`: of a sample, for each of its features."""
    return any(count > 1 for count in lookups)


def extra_rows(
    rows: Sequence[int], lookups: Sequence[Sequence[int]], transform: Transform | None
) -> tuple[int, ...]:
    """Rows for sums that each table is given beside its `rows`; none where there is nothing to
    sum. They are there whether sums fill them or not."""
    share = 0.0 if transform is None else transform.extra_rows
    return tuple(
        int(share * count) if summed(own) else 0 for count, own in zip(rows, lookups, strict=True)
    )
