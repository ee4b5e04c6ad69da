"""What a simulation gives back: one `PointResult` a point, all of them in a `Result`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.results.dictionary import CHECKPOINT, DEVICES, LOAD, METRICS, STAGES
from simulator.results.rows import Row, frame_of, row_of
from simulator.results.spans import Spans, StageSpan
from simulator.results.tables import tables

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderResult

    from simulator.config.point import PointConfig

__all__ = ["PointResult", "Progress", "Result", "StageSpan"]

_HTML = '<pre style="line-height: 1.25; overflow-x: auto">{code}</pre>'


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
    replayed: float = 1.0
    """Share of the replays that the point under way waits for, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PointResult:
    """The outcome of one point.

    `metrics`, `load`, `checkpoint` and each entry of `stages` and `devices` hold the columns of the
    data dictionary; a column that is left out is null. Raises `InvariantError` for a column that
    the dictionary does not have, a value of another type, NaN and infinity.
    """

    point: PointConfig
    metrics: Row
    stages: Sequence[Row] = ()
    """A row a stage."""
    devices: Sequence[Row] = ()
    """A row a resource of the machine."""
    timeline: Spans = field(default_factory=Spans)
    trace_fingerprint: str = ""
    """SHA-256 (hex) of the trace that was replayed."""
    load: Row | None = None
    """Of its load stage; None where it has none."""
    checkpoint: Row | None = None
    """Of what it writes to survive a failure; None where it writes nothing."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", row_of(METRICS, self.metrics))
        object.__setattr__(self, "stages", tuple(row_of(STAGES, row) for row in self.stages))
        object.__setattr__(self, "devices", tuple(row_of(DEVICES, row) for row in self.devices))
        if self.load is not None:
            object.__setattr__(self, "load", row_of(LOAD, self.load))
        if self.checkpoint is not None:
            object.__setattr__(self, "checkpoint", row_of(CHECKPOINT, self.checkpoint))

    def with_metrics(self, metrics: Row) -> PointResult:
        """The same outcome with other metrics; its other rows were checked before."""
        changed = copy(self)
        object.__setattr__(changed, "metrics", row_of(METRICS, metrics))
        return changed


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The outcome of an experiment, in the order of its points."""

    name: str
    points: tuple[PointResult, ...] = field(default=())
    software: str = ""
    """A line where the options of the run changed the machine, and the operator profile with it."""

    def __iter__(self) -> Iterator[PointResult]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def metrics(self) -> list[Row]:
        """The metrics rows, one a point."""
        return [point.metrics for point in self.points]

    def stages(self) -> list[Row]:
        """The stage rows of all points."""
        return [row for point in self.points for row in point.stages]

    def devices(self) -> list[Row]:
        """The rows of all resources of all points."""
        return [row for point in self.points for row in point.devices]

    def loads(self) -> list[Row]:
        """The rows of load stages, one a point that has one."""
        return [point.load for point in self.points if point.load is not None]

    def checkpoints(self) -> list[Row]:
        """The rows of check-points, one a point that has some."""
        return [point.checkpoint for point in self.points if point.checkpoint is not None]

    def swept(self) -> list[Row]:
        """The swept values of each point, by path."""
        return [point.point.swept for point in self.points]

    def to_pandas(self) -> pd.DataFrame:
        """The metrics as a table; columns as in the data dictionary."""
        return frame_of(METRICS, self.metrics())

    def stages_to_pandas(self) -> pd.DataFrame:
        """The stages as a table; columns as in the data dictionary."""
        return frame_of(STAGES, self.stages())

    def devices_to_pandas(self) -> pd.DataFrame:
        """The resources as a table; columns as in the data dictionary."""
        return frame_of(DEVICES, self.devices())

    def loads_to_pandas(self) -> pd.DataFrame:
        """The load stages as a table; columns as in the data dictionary."""
        return frame_of(LOAD, self.loads())

    def checkpoints_to_pandas(self) -> pd.DataFrame:
        """The check-points as a table; columns as in the data dictionary."""
        return frame_of(CHECKPOINT, self.checkpoints())

    def __repr__(self) -> str:
        """The tables that the command line prints, as text."""
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        plain = Console(
            file=text,
            width=100,
            color_system=None,
            force_terminal=False,
            force_jupyter=False,
            markup=False,
            emoji=False,
        )
        plain.print(self)
        return text.getvalue().rstrip()

    def _repr_html_(self) -> str:
        """The same tables for notebooks."""
        from io import StringIO

        from rich.console import Console

        wide = Console(
            file=StringIO(),
            width=140,
            record=True,
            force_jupyter=False,
            markup=False,
            emoji=False,
        )
        wide.print(self)
        return wide.export_html(inline_styles=True, code_format=_HTML)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for part in tables(self, options.max_width):
            yield Text(part) if isinstance(part, str) else part
