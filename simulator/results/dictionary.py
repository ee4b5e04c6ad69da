"""The data dictionary: every column that a run writes, with its unit and what it means.

The one source of `docs/columns.md`, of `scratchpipe explain`, and of the types of the Parquet
files. A column that is not here cannot be written.
"""

from __future__ import annotations

from simulator.results.cache_columns import CACHE
from simulator.results.checkpoint_columns import WRITTEN
from simulator.results.column import Column
from simulator.results.device_columns import RESOURCE
from simulator.results.load_columns import LOADED
from simulator.results.point_columns import IDENTITY, POINT, SHARED
from simulator.results.published import BASIS, ERROR
from simulator.results.query_columns import QUERIES
from simulator.results.resources import KINDS
from simulator.results.spread_columns import SPREAD
from simulator.results.start_columns import START

__all__ = [
    "CHECKPOINT",
    "DEVICES",
    "IDENTITY",
    "LOAD",
    "METRICS",
    "STAGES",
    "TIMELINE",
    "Column",
    "describe",
    "markdown",
    "names",
]

_TIMED = "over the timed mini-batches, warm-up left out"

_TIME = (
    Column(
        "iteration_time_us",
        "float",
        "us",
        f"Simulated time between the ends of consecutive mini-batches, mean {_TIMED}.",
    ),
    Column("iteration_time_p50_us", "float", "us", "Median of the time between mini-batches."),
    Column(
        "iteration_time_p99_us", "float", "us", "Time between mini-batches that 99 % of them keep."
    ),
    Column(
        "throughput_samples_per_s", "float", "samples/s", "Batch size over mean iteration time."
    ),
    Column(
        "speedup_over_hybrid",
        "float",
        "1",
        "Iteration time of `hybrid` with the same swept values over this one; of several the one "
        "on the same platform and operator profile; null where hybrid was not simulated.",
    ),
)

_USE = (
    Column(
        "bottleneck",
        "text",
        "",
        "The resource with the highest utilization, pools left out; `latency` where none is used "
        "half of the time.",
    ),
    Column(
        "bottleneck_utilization",
        "float",
        "1",
        "Utilization of the resource with the highest one, also where `bottleneck` is `latency`.",
    ),
    *(
        Column(
            f"{kind.name}_utilization",
            "float",
            "1",
            f"Utilization of the busiest of the {kind.meaning}; null where none is used.",
        )
        for kind in KINDS.values()
        if kind.summarized
    ),
    Column(
        "energy_mj",
        "float",
        "mJ/batch",
        "Energy of all resources together (`energy_mj` of `devices.parquet`), mean of a "
        "mini-batch.",
    ),
)

_WALL = tuple(
    Column(name, "float", "s", meaning, deterministic=False)
    for name, meaning in (
        ("wall_s", "Wall-clock time of this point, all of it."),
        (
            "wall_draw_s",
            "Wall-clock time that was waited for mini-batches to be drawn or read; points that "
            "share them tell all of it.",
        ),
        (
            "wall_plan_s",
            "Wall-clock time of the cache replay, all of it where points share the replay; what "
            "several replays prepare together is divided among them.",
        ),
        ("wall_memory_s", "Wall-clock time of the DRAM model."),
        ("wall_events_s", "Wall-clock time of the discrete-event simulation."),
    )
)

METRICS: tuple[Column, ...] = (
    *POINT,
    *_TIME,
    *QUERIES,
    *SPREAD,
    ERROR,
    BASIS,
    *CACHE,
    *START,
    *_USE,
    Column(
        "memory_sampling_error",
        "float",
        "1",
        "Largest relative standard error of memory times that stand for other mini-batches; 0 "
        "where none do (`run.memory_fidelity` exact or table).",
    ),
    *_WALL,
    Column(
        "realtime_factor",
        "float",
        "1",
        "Simulated time over wall-clock time of this point; above 1 is faster than the machine.",
        deterministic=False,
    ),
)
"""Columns of `metrics.parquet` and `metrics.csv`: one row a simulated point."""

STAGES: tuple[Column, ...] = (
    *SHARED,
    Column("stage", "text", "", "Stage or operator of the iteration."),
    Column("order", "int", "", "Position of the stage in the iteration, from 0."),
    Column(
        "role",
        "text",
        "",
        "What the stage does with rows: `read` takes them from where they are kept, `write` puts "
        "them back, `train` changes them; `load`, `plan` and `move` touch none.",
    ),
    Column(
        "busy_us",
        "float",
        "us",
        "Time in which the stage runs, from start to end, waits for resources that other stages "
        "use included: the timed window over its mini-batches. `exposed_us` + `hidden_us`.",
    ),
    Column(
        "exposed_us",
        "float",
        "us",
        "The part of it in which the stage is what the iteration waits for: it lies on the "
        "critical path, which leads from the end of the timed window back over the stages whose "
        "ends let the next ones start; of all stages they add up to the iteration time.",
    ),
    Column(
        "hidden_us",
        "float",
        "us",
        "The rest of it, in which the iteration waits for another stage.",
    ),
    *(
        Column(
            f"{kind.name}_bytes",
            "float",
            "bytes/batch",
            f"Bytes that the stage moves through the {kind.meaning}, all together, mean of a "
            "mini-batch; null where none.",
        )
        for kind in KINDS.values()
        if kind.moves_bytes
    ),
)
"""Columns of `stages.parquet`: one row a point and stage."""

DEVICES: tuple[Column, ...] = (*SHARED, *RESOURCE)
"""Columns of `devices.parquet` and `devices.csv`: one row a point and resource."""

LOAD: tuple[Column, ...] = (*SHARED, *LOADED)
"""Columns of `load.parquet` and `load.csv`: one row a point with a load stage, where there are
some."""

CHECKPOINT: tuple[Column, ...] = (*SHARED, *WRITTEN)
"""Columns of `checkpoint.parquet` and `checkpoint.csv`: one row a point that is check-pointed,
where there are some."""

TIMELINE: tuple[Column, ...] = (
    *(c for c in POINT if c.name in ("point", "label")),
    Column("stage", "text", "", "Stage or operator of the iteration."),
    Column("batch", "int", "", "Number of the mini-batch, from 0, warm-up included."),
    Column("start_ps", "int", "ps", "Simulated time at which the stage starts."),
    Column("end_ps", "int", "ps", "Simulated time at which the stage ends."),
)
"""Columns of `timeline.parquet`: one row a stage of a mini-batch, where a timeline was kept."""

_FILES: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
    ("metrics", "`metrics.parquet`, `metrics.csv`: one row a simulated point", METRICS),
    ("stages", "`stages.parquet`: one row a point and stage", STAGES),
    ("devices", "`devices.parquet`, `devices.csv`: one row a point and resource", DEVICES),
    ("load", "`load.parquet`, `load.csv`: one row a point with a load stage", LOAD),
    (
        "checkpoint",
        "`checkpoint.parquet`, `checkpoint.csv`: one row a point that is check-pointed",
        CHECKPOINT,
    ),
    ("timeline", "`timeline.parquet`: one row a stage of a mini-batch", TIMELINE),
)


def describe(name: str) -> list[tuple[str, Column]]:
    """The columns called `name`, with the file that holds each."""
    return [(file, c) for file, _, columns in _FILES for c in columns if c.name == name]


def names() -> list[str]:
    """The names of all columns, each once."""
    return list(dict.fromkeys(c.name for _, _, columns in _FILES for c in columns))


def markdown() -> str:
    """The whole dictionary as a Markdown page."""
    lines = [
        "# Columns",
        "",
        "Generated from `simulator/results/dictionary.py` by `scratchpipe explain --markdown`; do "
        "not edit.",
        "",
        "`us` are microseconds of simulated time, `gbps` are 1e9 bytes per second, a unit of `1` "
        "is a ratio. Wall-clock columns (marked) differ from run to run: they are printed by "
        "`run --json` and kept in `manifest.json` under `durations`, never in the files. All "
        "others are the same, byte for byte, for the same configuration.",
    ]
    for _, title, columns in _FILES:
        lines += ["", f"## {title}", "", "| column | type | unit | meaning |", "|---|---|---|---|"]
        for c in columns:
            wall = "" if c.deterministic else " (wall-clock)"
            lines.append(f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning}{wall} |")
    return "\n".join(lines) + "\n"
