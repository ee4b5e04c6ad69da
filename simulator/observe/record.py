"""An observation as files: `observed.json`, `iterations.parquet`, `stages.parquet`.

`observed.json` says what was run on what (the experiment as data, machine, versions) and sums each
point up; the tables hold every timed mini-batch of every repeat. `COLUMNS` documents them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import OutputError
from simulator.files import check_folder, explained, replace_file
from simulator.observe.run import Observation, ObservedPoint

__all__ = ["COLUMNS", "FORMAT", "ITERATIONS", "OBSERVED", "STAGES", "require_free"]
__all__ += ["summary", "write"]

FORMAT = 1
OBSERVED, ITERATIONS, STAGES = "observed.json", "iterations.parquet", "stages.parquet"

COLUMNS: dict[str, str] = {
    "label": "What the experiment calls the system.",
    "sweep": "The values that the sweep gave to the point, `path=value`.",
    "repeat": "Number of the run, from 0; each sets its system up anew.",
    "batch": "Number of the mini-batch in the trace; timed ones alone.",
    "iteration_us": "Host time of the mini-batch until all of it is done; of a pipeline: of the "
    "cycle that trains it.",
    "lookups": "Lookups of the mini-batch.",
    "unique_rows": "Distinct rows of the mini-batch.",
    "misses": "Distinct rows fetched, as the GPU's own planner counted (LRU, a pool a table; empty "
    "for other planned caches), or trained on the CPU (static cache).",
    "victims": "Rows that gave way, chosen and counted by the GPU's own planner; else empty.",
    "write_backs": "Victims that were trained and so written back, counted likewise; else empty.",
    "stage": "Stage, as the simulator names it.",
    "busy_us": "Time of the stage: the longer of its lanes on host and GPU; Collect and Insert of "
    "a pipeline share a pool of threads and both last until it is done with both.",
}
"""What the columns of the two tables mean."""

COUNTS = ("lookups", "unique_rows", "misses", "victims", "write_backs")


def require_free(out_dir: Path, replace: bool = False) -> None:
    """Raise `OutputError` where `out_dir` cannot be written or holds files, an observation too
    unless `replace`."""
    check_folder(out_dir)
    with explained(out_dir):
        if not out_dir.is_dir() or not any(out_dir.iterdir()):
            return
    if not (out_dir / OBSERVED).is_file():
        raise OutputError(f"{out_dir} holds files but no {OBSERVED}: choose another --out")
    if not replace:
        raise OutputError(
            f"{out_dir} holds an observation: choose another --out, or --replace to lose it"
        )


def write(observation: Observation, out_dir: Path) -> list[Path]:
    """Write the three files into `out_dir` (made if need be); an older observation is replaced."""
    require_free(out_dir, replace=True)
    with explained(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        replace_file(out_dir / ITERATIONS, _parquet(_iterations(observation)))
        replace_file(out_dir / STAGES, _parquet(_stages(observation)))
        text = json.dumps(summary(observation), indent=1, allow_nan=False) + "\n"
        replace_file(out_dir / OBSERVED, text.encode())
    return [out_dir / name for name in (OBSERVED, ITERATIONS, STAGES)]


def summary(observation: Observation) -> dict[str, Any]:
    """`observed.json` as data."""
    return {
        "format": FORMAT,
        "name": observation.experiment.name,
        "device": observation.device,
        "threads": observation.threads,
        "machine": observation.machine,
        "experiment": observation.experiment.model_dump(mode="json", exclude_unset=True),
        "points": [_point(observed) for observed in observation.points],
    }


def _point(observed: ObservedPoint) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "label": observed.point.system.label,
        "system": observed.point.system.title,
        "sweep": observed.point.sweep_text(),
        "locality": observed.point.locality,
        "batches": observed.last - observed.first + 1,
        "repeats": len(observed.repeats),
    }
    if observed.error:
        return facts | {"error": observed.error}
    facts["threads"] = observed.threads
    timed = range(observed.first, observed.last + 1)
    times = np.array([[r.iteration_us[b] for b in timed] for r in observed.repeats])
    facts["iteration_us"] = _typical(times)
    facts["iteration_p10_us"], facts["iteration_p90_us"] = (
        float(np.percentile(times, share)) for share in (10, 90)
    )
    facts["repeats_us"] = [float(mean) for mean in times.mean(axis=1)]
    stages = list(dict.fromkeys(stage for _, stage in observed.repeats[0].stage_us))
    facts["stages_us"] = {
        stage: _typical(np.array([[r.stage_us[b, stage] for b in timed] for r in observed.repeats]))
        for stage in stages
    }
    counts = [observed.repeats[0].counts[b] for b in timed]
    if counts[0].victims is not None:  # only a planner of the trainer's own counts them
        facts["counts_independent"] = True
    facts["counts"] = {
        name: sum(getattr(c, name) for c in counts)
        for name in COUNTS
        if getattr(counts[0], name) is not None
    }
    return facts


def _typical(times: npt.NDArray[np.float64]) -> float:
    """Mean over mini-batches (columns) of the median over repeats (rows): mini-batches differ (a
    cache fills up), and a repeat may be disturbed."""
    return float(np.median(times, axis=0).mean())


def _iterations(observation: Observation) -> dict[str, list[Any]]:
    rows: list[tuple[Any, ...]] = []
    for observed in observation.points:
        for repeat, measured in enumerate(observed.repeats):
            for batch in range(observed.first, observed.last + 1):
                counts = [getattr(measured.counts[batch], name) for name in COUNTS]
                rows.append(
                    (*_identity(observed, repeat, batch), measured.iteration_us[batch], *counts)
                )
    return _table(("label", "sweep", "repeat", "batch", "iteration_us", *COUNTS), rows)


def _stages(observation: Observation) -> dict[str, list[Any]]:
    rows = [
        (*_identity(observed, repeat, batch), stage, spent)
        for observed in observation.points
        for repeat, measured in enumerate(observed.repeats)
        for (batch, stage), spent in sorted(measured.stage_us.items())
        if observed.first <= batch <= observed.last
    ]
    return _table(("label", "sweep", "repeat", "batch", "stage", "busy_us"), rows)


def _identity(observed: ObservedPoint, repeat: int, batch: int) -> tuple[str, str, int, int]:
    return observed.point.system.label, observed.point.sweep_text(), repeat, batch


def _table(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: [row[column] for row in rows] for column, name in enumerate(names)}


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    """The table, each column with its meaning."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [
        pa.field(name, _kind(name), metadata={"description": COLUMNS[name]}) for name in columns
    ]
    table = pa.table(columns, schema=pa.schema(fields))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _kind(name: str) -> Any:
    import pyarrow as pa

    if name in ("label", "sweep", "stage"):
        return pa.dictionary(pa.int32(), pa.string())
    return pa.float32() if name.endswith("_us") else pa.int64()
