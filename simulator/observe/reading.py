"""Reads what `observe` wrote back, checked: a damaged file is one error that says which and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from simulator.config.problems import validate
from simulator.config.reader import Mark, Marks
from simulator.config.types import Frozen
from simulator.errors import ConfigError, UsageError
from simulator.files import read_json
from simulator.observe.record import FORMAT, OBSERVED, STAGES
from simulator.streams import arrow_file

__all__ = ["read_observed", "stage_rows"]

_Count = Annotated[int, Field(ge=0, le=2**62)]
_Some = Annotated[int, Field(ge=1, le=2**31)]
_Time = Annotated[float, Field(gt=0, le=1e15)]
"""Microseconds of something that took some."""

_Counted = Literal["lookups", "unique_rows", "misses", "victims", "write_backs"]
_COLUMNS = ["label", "sweep", "repeat", "stage", "busy_us"]


class _Machine(Frozen):
    """What is read of the facts of a machine; others stand beside them."""

    model_config = ConfigDict(extra="ignore")

    cpu: str
    versions: dict[str, str]
    cores: _Some | None = None
    gpu: str | None = None
    gpus: _Some | None = None
    driver: str | None = None


class _Point(Frozen):
    """What is read of a point."""

    model_config = ConfigDict(extra="ignore")

    label: str
    sweep: str
    repeats: _Count


class _Failed(_Point):
    """A point that could not be observed."""

    error: str


class _Measured(_Point):
    """A point with its times and counts."""

    batches: _Some
    threads: _Some | None = None
    iteration_us: _Time
    repeats_us: Annotated[tuple[_Time, ...], Field(min_length=1)]
    stages_us: dict[str, Annotated[float, Field(ge=0, le=1e15)]]
    counts: dict[_Counted, _Count]
    counts_independent: bool = False


class _Observed(Frozen):
    """`observed.json`; its experiment is read as every other one."""

    model_config = ConfigDict(extra="ignore")

    name: str
    threads: _Some
    machine: _Machine
    experiment: dict[str, Any]
    points: tuple[dict[str, Any], ...]


def read_observed(folder: Path) -> dict[str, Any]:
    """`observed.json` of a run directory, with the `file` that it is.

    Raises `UsageError` where there is none to read, `ConfigError` with every value that is missing
    or that no observation has.
    """
    file = folder / OBSERVED
    if not file.is_file():
        raise UsageError(f"{folder}: no {OBSERVED} here (write one with `scratchpipe observe`)")
    data = _json(file)
    if not isinstance(data, dict):
        raise UsageError(f"{file}: holds no JSON object")
    if data.get("format") != FORMAT:
        raise UsageError(f"{file}: format {data.get('format')!r}: this release reads {FORMAT}")
    here = Marks({(): Mark(str(file), str(file))})
    _, problems = validate(TypeAdapter(_Observed), data, here, ())
    points = data.get("points")
    for number, point in enumerate(points if isinstance(points, list) else ()):
        kind = _Failed if isinstance(point, dict) and "error" in point else _Measured
        problems += validate(TypeAdapter(kind), point, here, ("points", number))[1]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return data | {"file": str(file)}


def _json(file: Path) -> Any:
    try:
        return read_json(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not JSON: {error}") from error


def stage_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of `stages.parquet` (label, sweep, repeat, stage, busy_us); none without the file.

    Raises `UsageError` for a file that is damaged.
    """
    file = folder / STAGES
    if not file.is_file():
        return []
    import pyarrow.parquet as pq

    try:
        with arrow_file(file) as source:
            table = pq.read_table(source)
        missing = [name for name in _COLUMNS if name not in table.column_names]
        if missing:
            raise ValueError(f"it is without {', '.join(missing)}")
        rows: list[dict[str, Any]] = table.select(_COLUMNS).to_pylist()
        for number, row in enumerate(rows):
            _check(number, row)
    except Exception as error:
        # Whatever a damaged file makes its reader raise, it is one thing to whoever asked.
        reason = " ".join(str(error).split())
        raise UsageError(f"{file} is damaged: {reason}; observe the experiment again") from error
    return rows


def _check(number: int, row: dict[str, Any]) -> None:
    for name in _COLUMNS:
        value = row[name]
        if name == "busy_us":
            good = isinstance(value, float) and 0 <= value < float("inf")
        else:
            good = isinstance(value, int if name == "repeat" else str)
        if not good:
            raise ValueError(f"{name} of row {number} is {value!r}")
