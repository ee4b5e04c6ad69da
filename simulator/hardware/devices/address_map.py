"""Where a byte address of a memory goes: named and spelled-out orders of its fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from simulator.config.types import Frozen
from simulator.hardware.devices.bounds import Bursts, LineBytes

__all__ = ["MAPS", "AddressMap"]

MAPS: dict[str, tuple[str, ...]] = {
    "row": ("column_low", "column", "bank_group", "bank", "stack_id", "rank", "row"),
    "bgi": ("column_low", "bank_group", "column", "bank", "stack_id", "rank", "row"),
    "bank": ("column_low", "bank_group", "bank", "stack_id", "rank", "column", "row"),
}
"""Named orders of the fields within a pseudo-channel, least significant first. `row` keeps an
embedding row in one DRAM page, `bgi` walks the bank groups first, `bank` all banks first."""


def _complete(order: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if not isinstance(order, str) and sorted(order) != sorted(MAPS["row"]):
        raise ValueError(f"must name each of {', '.join(MAPS['row'])} once")
    return order


class AddressMap(Frozen):
    """Where a byte address goes: field order within a pseudo-channel, least significant first."""

    order: Annotated[Literal["row", "bgi", "bank"] | tuple[str, ...], AfterValidator(_complete)] = (
        "row"
    )
    interleave: LineBytes = Field(default=64)
    """Consecutive bytes before the next (pseudo-)channel."""
    column_low_bursts: Bursts = 1
    """Bursts below the bank-group field in orders that split the column (HBM: 2)."""
    bank_hash: bool = False
    """XOR the low DRAM-row bits into bank group and bank."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields, least significant first."""
        return MAPS[self.order] if isinstance(self.order, str) else self.order
