"""What a simulation gives back: one `PointResult` a point, all of them in a `Result`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.errors import InvariantError
from simulator.results.dictionary import METRICS, STAGES, Column

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderResult

    from simulator.config.experiment import PointConfig

__all__ = ["PointResult", "Progress", "Result", "StageSpan", "row_of"]

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}
_PANDAS_TYPES = {"text": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a simulation is."""

    point: int
    """Points that are done."""
    points: int
    share: float
    """Share of the point under way, 0 to 1."""
    label: str
    """What is being simulated."""


@dataclass(frozen=True, slots=True)
class StageSpan:
    """One stage of one mini-batch on the clock of the simulation."""

    stage: str
    batch: int
    start_ps: int
    end_ps: int


@dataclass(frozen=True, slots=True)
class PointResult:
    """The outcome of one point.

    `metrics` and each entry of `stages` hold the columns of the data dictionary; a column that is
    left out is null. Raises `InvariantError` for a column that the dictionary does not have, a
    value of another type, NaN and infinity.
    """

    point: PointConfig
    metrics: Mapping[str, Any]
    stages: Sequence[Mapping[str, Any]] = ()
    timeline: Sequence[StageSpan] = ()
    trace_fingerprint: str = ""
    """SHA-256 (hex) of the trace that was replayed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", row_of(METRICS, self.metrics))
        object.__setattr__(self, "stages", tuple(row_of(STAGES, s) for s in self.stages))
        object.__setattr__(self, "timeline", tuple(self.timeline))


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The outcome of an experiment, in the order of its points."""

    name: str
    points: tuple[PointResult, ...] = field(default=())

    def __iter__(self) -> Iterator[PointResult]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def metrics(self) -> list[Mapping[str, Any]]:
        """The metrics rows, one a point."""
        return [point.metrics for point in self.points]

    def stages(self) -> list[Mapping[str, Any]]:
        """The stage rows of all points."""
        return [stage for point in self.points for stage in point.stages]

    def to_pandas(self) -> pd.DataFrame:
        """The metrics as a table; columns as in the data dictionary."""
        return _frame(METRICS, self.metrics())

    def stages_to_pandas(self) -> pd.DataFrame:
        """The stages as a table; columns as in the data dictionary."""
        return _frame(STAGES, self.stages())

    def __repr__(self) -> str:
        """The tables that the command line prints, as text."""
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        plain = Console(
            file=text, width=100, color_system=None, force_terminal=False, force_jupyter=False
        )
        plain.print(self)
        return text.getvalue().rstrip()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from simulator.results.tables import tables

        yield from tables(self, options.max_width)


def row_of(columns: Sequence[Column], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` in the order of `columns`, what is left out as None; checked against them."""
    known = {column.name for column in columns}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise InvariantError(f"columns that the data dictionary does not have: {unknown}")
    return {column.name: _value(column, values.get(column.name)) for column in columns}


def _value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    wanted = _PYTHON_TYPES[column.dtype]
    if not isinstance(value, wanted) or (isinstance(value, bool) and column.dtype != "bool"):
        raise InvariantError(f"column {column.name} ({column.dtype}) was given {value!r}")
    if isinstance(value, int | float) and column.dtype == "float":
        value = float(value)
        if not math.isfinite(value):
            raise InvariantError(f"column {column.name} was given {value!r}: use null")
    return value


def _frame(columns: Sequence[Column], rows: list[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            column.name: pd.Series(
                [row[column.name] for row in rows], dtype=_PANDAS_TYPES[column.dtype]
            )
            for column in columns
        }
    )
