"""Rows of results: checked against the data dictionary, and as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator.errors import InvariantError
from simulator.results.dictionary import IDENTITY, Column

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Row", "by_point", "frame_of", "joined", "mismatch", "model_of", "nested", "row_of"]

Row = Mapping[str, Any]

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}
_PLAIN: dict[str, type] = {"text": str, "int": int, "bool": bool, "float": float}
"""Types whose values need no second look."""
_TYPES: dict[int, tuple[Sequence[Column], list[tuple[Column, str, type | None]]]] = {}
_PANDAS_TYPES = {"text": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


def model_of(row: Row) -> str:
    """What people call the model of a row of metrics: one without a name by its tables."""
    if row["model"]:
        return str(row["model"])
    dim = "" if row.get("dim") is None else f" of dim {row['dim']}"
    return f"of its own ({row['tables']} tables{dim})" if row.get("tables") else "of its own"


def row_of(columns: Sequence[Column], values: Row) -> dict[str, Any]:
    """`values` in the order of `columns`, what is left out as None; checked against them.

    Raises `InvariantError` for a column that is not there, a value of another type, NaN and
    infinity.
    """
    row: dict[str, Any] = {}
    for column, name, plain in _plain_types(columns):
        value = values.get(name)
        known = value is None or type(value) is plain
        if not known or (plain is float and value is not None and not math.isfinite(value)):
            value = _value(column, value)
        row[name] = value
    if not row.keys() >= values.keys():
        unknown = [name for name in values if name not in row]
        raise InvariantError(f"columns that the data dictionary does not have: {unknown}")
    return row


def _plain_types(columns: Sequence[Column]) -> list[tuple[Column, str, type | None]]:
    """Columns with their names, and the type of values that need no second look (of floats, where
    they are finite); None: all need one. Kept for the tables of the dictionary, of which there are
    few."""
    known = _TYPES.get(id(columns))
    if known is None or known[0] is not columns:
        types = [(c, c.name, None if c.choices else _PLAIN.get(c.dtype)) for c in columns]
        known = _TYPES[id(columns)] = (columns, types)
    return known[1]


def _value(column: Column, value: Any) -> Any:
    if value is None:
        return value
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    wanted = _PYTHON_TYPES[column.dtype]
    if not isinstance(value, wanted) or (isinstance(value, bool) and column.dtype != "bool"):
        raise InvariantError(f"column {column.name} ({column.dtype}) was given {value!r}")
    if column.choices and value not in column.choices:
        raise InvariantError(f"column {column.name} was given {value!r}: none of {column.choices}")
    if isinstance(value, int | float) and column.dtype == "float":
        value = float(value)
        if not math.isfinite(value):
            raise InvariantError(f"column {column.name} was given {value!r}: use null")
    return value


def mismatch(wanted: Sequence[str], names: Sequence[str]) -> str:
    """How `names` differ from those wanted, in words; empty where they do not."""
    missing = [name for name in wanted if name not in names]
    foreign = [name for name in names if name not in wanted]
    texts = {"without": missing, "with": foreign}
    return " and ".join(f"{word} {', '.join(some)}" for word, some in texts.items() if some)


def frame_of(columns: Sequence[Column], rows: Sequence[Row]) -> pd.DataFrame:
    """`rows` as a table with the types of `columns`."""
    import pandas as pd

    return pd.DataFrame(
        {
            column.name: pd.Series(
                [row[column.name] for row in rows], dtype=_PANDAS_TYPES[column.dtype]
            )
            for column in columns
        }
    )


def by_point(metrics: Sequence[Row], rows: Iterable[Row]) -> list[list[Row]]:
    """`rows` of stages, resources or spans, those of each row of `metrics` together."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["point"], row["label"]), []).append(row)
    return [groups.get((point["point"], point["label"]), []) for point in metrics]


def nested(
    metrics: Sequence[Row],
    devices: Iterable[Row],
    loads: Iterable[Row] = (),
    checkpoints: Iterable[Row] = (),
) -> list[dict[str, Any]]:
    """The metrics, each with its rows of `devices` under that name, its `load` where it has a load
    stage and its `checkpoint` where it has one: JSON-ready."""
    return [
        {
            **point,
            "devices": [_own(row) for row in rows],
            **({"load": _own(load[0])} if load else {}),
            **({"checkpoint": _own(written[0])} if written else {}),
        }
        for point, rows, load, written in zip(
            metrics,
            by_point(metrics, devices),
            by_point(metrics, loads),
            by_point(metrics, checkpoints),
            strict=True,
        )
    ]


def joined(
    metrics: Sequence[Row], loads: Iterable[Row] = (), checkpoints: Iterable[Row] = ()
) -> list[Row]:
    """The metrics, each with the columns of its load stage and of its check-points; one that both
    have is `checkpoint.COLUMN` of the latter."""
    wide: list[Row] = list(metrics)
    for name, table in (("load", loads), ("checkpoint", checkpoints)):
        rows = [_own(found[0]) if found else {} for found in by_point(metrics, table)]
        own = dict.fromkeys(column for row in rows for column in row)
        taken = {column for row in wide for column in row}
        names = {c: f"{name}.{c}" if c in taken else c for c in own}
        wide = [
            {**row, **{known: more.get(column) for column, known in names.items()}}
            for row, more in zip(wide, rows, strict=True)
        ]
    return wide


def _own(row: Row) -> dict[str, Any]:
    """`row` without the columns that it shares with its point."""
    return {name: value for name, value in row.items() if name not in IDENTITY}
