"""Where the tables of a system with tables on the host lie: in tiers of its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from simulator.config.shares import Share, Written
from simulator.config.types import Frozen, MisfitError

__all__ = ["MOST_AHEAD", "OWN_MEMORY", "TablesConfig"]

OWN_MEMORY = "dram"
"""What the memory of the processor itself is called among tiers."""
MOST_AHEAD = 64
"""Stages of a fetch."""
_ROUNDING = 1e-6
_MOST_TIERS = 16


def _one_tier(value: object) -> object:
    """A name alone: all tables lie there."""
    return {value: 1.0} if isinstance(value, str) else value


class TablesConfig(Frozen):
    """The tiers that tables on the host lie in."""

    tier: Annotated[
        dict[str, Share],
        BeforeValidator(_one_tier, json_schema_input_type=dict[str, Written] | str),
    ] = Field(default_factory=dict)
    """Memory -> its share of the tables, such as `{dram: 60 %, cxl0: 40 %}`; the first gets what
    comes first in `order`. `dram` is the processor's own memory, others are named by their socket.
    A name alone takes all tables. Empty: all lie in the processor's own memory."""
    cache: Share = 0.0
    """Share of the tables that the processor's own memory keeps, row by row, before the one memory
    that `tier` names: what a mini-batch touches there comes up first, and rows that were used
    longest ago go back if they were changed (LRU). 0: rows stay where they lie."""
    fetch_ahead: Annotated[int, Field(ge=1, le=MOST_AHEAD)] | None = None
    """Mini-batches that rows for `cache` come up for at once, where stages overlap: the fetch takes
    as many stages, an equal part of the rows and of the latency below in each. null: as many as the
    latency takes cycles, none of which is shorter than a training step of the dense part."""
    by: Literal["row", "table"] = "row"
    """`row`: every table is spread over all tiers, each has its share of the rows; `table`: tables
    stay whole, and each tier has tables of its share of the bytes, as near as whole tables come."""
    order: Literal["hottest", "hash"] = "hottest"
    """Which rows (or tables) come first. `hottest`: those that are looked up most, rows by the
    profile that `cache.profile` says, tables by lookups a row; `hash`: by a hash of their number,
    so that every tier is looked up by its share."""

    @property
    def shares(self) -> dict[str, float]:
        """The tiers that have any."""
        return {name: share for name, share in self.tier.items() if share}

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: Any) -> Any:
        tier = value.get("tier") if isinstance(value, Mapping) else None
        if isinstance(tier, Mapping) and len(tier) > _MOST_TIERS:
            raise MisfitError("tier", f"names {len(tier)} memories: {_MOST_TIERS} at most")
        return value

    @model_validator(mode="after")
    def _all_tables(self) -> Self:
        """Every row lies somewhere."""
        total = sum(self.tier.values())
        if self.tier and abs(total - 1.0) > _ROUNDING:
            parts = " + ".join(f"{100 * share:g} %" for share in self.tier.values())
            raise MisfitError("tier", f"shares {parts} = {100 * total:g} %: must add up to 100 %")
        if (self.fetch_ahead or 1) > 1 and not self.cache:
            raise MisfitError(
                "fetch_ahead",
                f"is {self.fetch_ahead}, but host memory keeps no rows: set tables.cache",
            )
        if self.cache and (len(self.shares) != 1 or OWN_MEMORY in self.shares):
            raise MisfitError(
                "cache",
                f"is {100 * self.cache:g} %: it keeps rows of one memory below the processor's "
                f"own, but tier names {', '.join(self.shares) or 'none'}: set tables.tier to that "
                "memory alone, such as ssd",
            )
        return self
