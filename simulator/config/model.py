"""The recommendation model that is trained: embedding tables and the MLPs around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from simulator.config.bounds import AtMost
from simulator.config.per_table import Dims, Lookups, Rows
from simulator.config.types import Frozen, MisfitError, Source
from simulator.errors import ConfigError

__all__ = ["CrossLayers", "ModelConfig", "Sharding"]

T = TypeVar("T")

_FLOAT_BYTES = 4
"""Embedding rows and optimizer state are fp32 in every published system that is modelled."""

Sharding = Literal["table", "row", "column", "auto"]
"""How tables may be cut: not at all, each over all GPUs by rows or by columns, as the planner
likes."""
_MOST_TABLES = 100_000
"""Of a model, and the features that look them up."""
_WIDEST = AtMost(10**6, "no layer is so wide")
Width = Annotated[int, Field(gt=0), _WIDEST]


class CrossLayers(Frozen):
    """Low-rank cross layers (DCN V2): x' = x0 * (U (V x) + b) + x."""

    layers: Annotated[int, Field(gt=0, le=1000)] = 3
    """Cross layers one after the other."""
    rank: Width = 512
    """Columns of U and rows of V."""


def _interaction(value: object) -> object:
    return "cat" if value == "concat" else value


class ModelConfig(Frozen):
    """Embedding tables, pooling, optimizer and MLPs of one training job."""

    name: str = ""
    """What results call it: the catalogue's name, with a `*` where keys were changed."""
    source: Source = "not given"
    """Where the numbers come from."""
    tables: int = Field(gt=0, le=_MOST_TABLES)
    """Embedding tables."""
    rows_per_table: Rows
    """Rows of every table, or a list with one number for each table."""
    dim: Dims
    """Elements (fp32) of an embedding row, or a list with one number for each table."""
    lookups_per_table: Lookups
    """Lookups a sample makes in every table (pooling factor), or a list with one for each. A table
    that several features look up has a list of its own, with a number a feature: `[[1, 10], 4]`."""
    batch_size: int = Field(gt=0, le=10**9)
    """Samples in a mini-batch."""
    optimizer: Literal["sgd", "adagrad", "rowwise_adagrad"] = "sgd"
    """How rows are updated; Adagrad keeps state beside every row."""
    mlp_precision: Literal["fp32", "tf32", "fp16", "bf16"] = "fp32"
    """Arithmetic of the MLPs on the GPU."""
    dense_features: Annotated[int, Field(ge=0), _WIDEST] = 13
    """Dense inputs of a sample; 0 leaves the bottom MLP out."""
    bottom_mlp: tuple[Width, ...] | None = (512, 256)
    """Hidden widths of the bottom MLP; its last layer has `dim` outputs (the largest where tables
    differ) and is not listed. null: none, dense features join the pooled vectors as they are."""
    top_mlp: tuple[Width, ...] = Field(default=(1024, 1024, 512, 256, 1), min_length=1)
    """Widths of the top MLP, the output last."""
    interaction: Annotated[Literal["dot", "cat", "cross"], BeforeValidator(_interaction)] = "dot"
    """How pooled vectors meet before the top MLP: pairwise dot products, side by side (`cat`, also
    written `concat`), or side by side through the layers of `cross`."""
    cross: CrossLayers = CrossLayers()
    """The layers of `interaction: cross`."""
    average_stride: Width | None = None
    """`interaction: cat` alone: pooled vectors side by side are averaged, so many neighbours to
    one, before they join the dense features; null: not."""
    placement: Literal["size", "lookups", "hugectr", "torchrec"] = "size"
    """How tables are spread over several GPUs (`scratchpipe list placements`)."""
    sharding: Sharding = "table"
    """How they may be cut: whole tables, each by rows or by columns over all GPUs, or as the
    planner likes."""

    @field_validator("rows_per_table", "dim", "lookups_per_table", mode="after")
    @classmethod
    def _one_for_each_table(cls, value: tuple[T, ...], info: ValidationInfo) -> tuple[T, ...]:
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

    @field_validator("lookups_per_table", mode="after")
    @classmethod
    def _few_features(cls, value: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        """Features are bounded as tables are."""
        features = sum(map(len, value))
        if features > _MOST_TABLES:
            raise ValueError(f"{features:,} features look up the tables: {_MOST_TABLES:,} at most")
        return value

    @model_validator(mode="after")
    def _vectors_meet(self) -> Self:
        """Dot products need vectors of one length."""
        if self.interaction == "dot" and len(set(self.dim)) > 1:
            raise MisfitError(
                "interaction", "is dot: tables of unlike dim can only be cat or cross"
            )
        if self.interaction == "dot" and self.dense_features and self.bottom_mlp is None:
            raise MisfitError(
                "bottom_mlp", "is null: dense features have no vector for interaction dot to use"
            )
        if self.average_stride is not None and self.interaction != "cat":
            raise MisfitError("average_stride", f"has no use with interaction {self.interaction}")
        return self

    @property
    def width(self) -> int:
        """Elements of a row, of all tables.

        Raises `ConfigError` where they differ.
        """
        if len(set(self.dim)) > 1:
            dims = ", ".join(map(str, sorted(set(self.dim))))
            raise ConfigError(
                f"model {self.name or 'without a name'} has tables of dim {dims}: what asks for "
                "one size of all rows works on tables of one dim"
            )
        return self.dim[0]

    @property
    def tables_by_dim(self) -> tuple[tuple[int, ...], ...]:
        """Tables of each dim, in the order in which dims occur."""
        groups: dict[int, list[int]] = {}
        for table, dim in enumerate(self.dim):
            groups.setdefault(dim, []).append(table)
        return tuple(tuple(tables) for tables in groups.values())

    def changed(self, **keys: object) -> ModelConfig:
        """The same model with other values of some keys, checked: one number stands for all tables
        where there was one."""
        return ModelConfig.model_validate(self.model_dump() | keys)

    def of_tables(self, tables: Sequence[int]) -> ModelConfig:
        """The same model with some of its tables alone."""
        if list(tables) == list(range(self.tables)):
            return self
        update = {
            key: tuple(getattr(self, key)[table] for table in tables)
            for key in ("rows_per_table", "dim", "lookups_per_table")
        }
        return self.model_copy(update={"tables": len(tables), **update})

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(self.rows_per_table)

    @property
    def row_bytes(self) -> int:
        """Bytes of one embedding row, without optimizer state; as `width`."""
        return self.width * _FLOAT_BYTES

    @property
    def common_row_bytes(self) -> int:
        """Bytes of the rows whose lookups read the most bytes."""
        read: dict[int, int] = {}
        for dim, lookups in zip(self.dim, self.table_lookups, strict=True):
            read[dim] = read.get(dim, 0) + dim * lookups
        return max(read, key=lambda dim: (read[dim], dim)) * _FLOAT_BYTES

    @property
    def state_bytes(self) -> int:
        """Bytes of optimizer state that belong to one row; as `width`."""
        return self._state(self.width)

    def _state(self, dim: int) -> int:
        per_row = {"sgd": 0, "adagrad": dim * _FLOAT_BYTES, "rowwise_adagrad": _FLOAT_BYTES}
        return per_row[self.optimizer]

    @property
    def entry_bytes(self) -> tuple[int, ...]:
        """Bytes of a row of each table, with its optimizer state."""
        return tuple(dim * _FLOAT_BYTES + self._state(dim) for dim in self.dim)

    @property
    def table_bytes(self) -> tuple[int, ...]:
        """Bytes of each table, optimizer state included."""
        pairs = zip(self.rows_per_table, self.entry_bytes, strict=True)
        return tuple(rows * size for rows, size in pairs)

    @property
    def table_lookups(self) -> tuple[int, ...]:
        """Lookups of a sample in each table, over its features."""
        return tuple(map(sum, self.lookups_per_table))

    @property
    def features_per_table(self) -> tuple[int, ...]:
        """Features that look up each table: each has a pooled vector of its own."""
        return tuple(map(len, self.lookups_per_table))

    @property
    def features(self) -> int:
        """Features that look up tables: pooled vectors of a sample."""
        return sum(self.features_per_table)

    @property
    def pooled_dims(self) -> tuple[int, ...]:
        """Elements of the pooled vector of each feature, table by table."""
        pairs = zip(self.dim, self.features_per_table, strict=True)
        return tuple(dim for dim, features in pairs for _ in range(features))

    @property
    def lookups_per_batch(self) -> int:
        """Lookups of one mini-batch over all tables."""
        return self.batch_size * sum(self.table_lookups)

    @property
    def bottom_widths(self) -> tuple[int, ...]:
        """Widths of the bottom MLP from its input to its outputs; empty without one."""
        if not self.dense_features or self.bottom_mlp is None:
            return ()
        return (self.dense_features, *self.bottom_mlp, max(self.dim))

    @property
    def vector_widths(self) -> tuple[int, ...]:
        """Elements of the vectors of a sample that meet: the bottom MLP's, one a feature."""
        return (*self.bottom_widths[-1:], *self.pooled_dims)
