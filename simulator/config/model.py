"""The recommendation model that is trained: embedding tables and the MLPs around them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from simulator.config.types import Frozen, Source

__all__ = ["ModelConfig"]

_FLOAT_BYTES = 4
"""Embedding rows and optimizer state are fp32 in every published system that is modelled."""


_MOST = 10**13
"""Rows of a table: far beyond any real one, and far below what 64 bits can number."""


def _counts(value: object) -> object:
    """A whole number, or one for each table: always a tuple inside, of length 1 for a number."""
    items = value if isinstance(value, list | tuple) else [value]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int):
            raise ValueError(f"{item!r}: expected a whole number, or one for each table")
        if not 0 < item <= _MOST:
            rule = "must be greater than 0" if item <= 0 else f"must be at most {_MOST:,}"
            raise ValueError(f"{item!r}: {rule}")
    return tuple(items)


def _not_empty(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value:
        raise ValueError("is an empty list: expected a whole number, or one for each table")
    return value


def _compact(value: tuple[int, ...]) -> int | list[int]:
    """Written as people write it: one number where all tables are alike."""
    return value[0] if len(set(value)) == 1 else list(value)


_POSITIVE = {"type": "integer", "exclusiveMinimum": 0}

PerTable = Annotated[
    tuple[int, ...],
    BeforeValidator(_counts),
    AfterValidator(_not_empty),
    PlainSerializer(_compact),
    WithJsonSchema({"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 1}]}),
]

Width = Annotated[int, Field(gt=0, le=10**6)]


class ModelConfig(Frozen):
    """Embedding tables, pooling, optimizer and MLPs of one training job."""

    name: str = ""
    """What results call it: the catalogue's name, with a `*` where keys were changed."""
    source: Source = "not given"
    """Where the numbers come from."""
    tables: int = Field(gt=0, le=100_000)
    """Embedding tables."""
    rows_per_table: PerTable
    """Rows of every table, or a list with one number for each table."""
    dim: int = Field(gt=0, le=65_536)
    """Elements (fp32) of an embedding row."""
    lookups_per_table: PerTable
    """Lookups a sample makes in every table (pooling factor), or a list with one for each."""
    batch_size: int = Field(gt=0, le=10**9)
    """Samples in a mini-batch."""
    optimizer: Literal["sgd", "adagrad", "rowwise_adagrad"] = "sgd"
    """How rows are updated; Adagrad keeps state beside every row."""
    mlp_precision: Literal["fp32", "tf32", "fp16", "bf16"] = "fp32"
    """Arithmetic of the MLPs on the GPU."""
    dense_features: int = Field(default=13, ge=0)
    """Dense inputs of a sample; 0 leaves the bottom MLP out."""
    bottom_mlp: tuple[Width, ...] = (512, 256)
    """Hidden widths of the bottom MLP; its last layer has `dim` outputs and is not listed."""
    top_mlp: tuple[Width, ...] = Field(default=(1024, 1024, 512, 256, 1), min_length=1)
    """Widths of the top MLP, the output last."""
    interaction: Literal["dot", "cat"] = "dot"
    """How pooled vectors meet before the top MLP: pairwise dot products, or side by side."""
    placement: Literal["size", "lookups", "hugectr", "torchrec"] = "size"
    """How tables are spread over several GPUs (`scratchpipe list placements`)."""
    sharding: Literal["table", "row", "column", "auto"] = "table"
    """How they may be cut: whole tables, each by rows or by columns over all GPUs, or as the
    planner likes."""

    @field_validator("rows_per_table", "lookups_per_table", mode="after")
    @classmethod
    def _one_for_each_table(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        """One number stands for all tables."""
        tables: int = info.data.get("tables", len(value))
        if len(value) == 1:
            return value * tables
        if len(value) != tables:
            raise ValueError(
                f"lists {len(value)} numbers but there are {tables} tables: "
                "give one number for all tables, or one for each"
            )
        return value

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(self.rows_per_table)

    @property
    def row_bytes(self) -> int:
        """Bytes of one embedding row, without optimizer state."""
        return self.dim * _FLOAT_BYTES

    @property
    def state_bytes(self) -> int:
        """Bytes of optimizer state that belong to one row."""
        per_row = {"sgd": 0, "adagrad": self.row_bytes, "rowwise_adagrad": _FLOAT_BYTES}
        return per_row[self.optimizer]

    @property
    def table_bytes(self) -> tuple[int, ...]:
        """Bytes of each table, optimizer state included."""
        return tuple(rows * (self.row_bytes + self.state_bytes) for rows in self.rows_per_table)

    @property
    def lookups_per_batch(self) -> int:
        """Lookups of one mini-batch over all tables."""
        return self.batch_size * sum(self.lookups_per_table)

    @property
    def bottom_widths(self) -> tuple[int, ...]:
        """Widths of the bottom MLP from its input to its `dim` outputs; empty without one."""
        return (self.dense_features, *self.bottom_mlp, self.dim) if self.dense_features else ()
