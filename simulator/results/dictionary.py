"""The data dictionary: every column that a run writes, with its unit and what it means.

The one source of `docs/columns.md`, of `scratchpipe explain`, and of the types of the Parquet
files. A column that is not here cannot be written.
"""

from __future__ import annotations

from simulator.config.machine import LEVELS
from simulator.results.checkpoint_columns import WRITTEN
from simulator.results.column import Column
from simulator.results.load_columns import LOADED
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

_POINT = (
    Column("point", "text", "", "Key of the point: SHA-256 (hex) of its resolved configuration."),
    Column("system", "text", "", "The system that was simulated (`scratchpipe list systems`)."),
    Column("label", "text", "", "What the experiment calls the system; its name unless given."),
    Column(
        "training_is_ours",
        "bool",
        "",
        "Whether the source of the system is about inference alone while mini-batches train: how "
        "they do is an extension of this project ([X] in notes), no claim of that source.",
    ),
    Column("policy", "text", "", "Replacement policy of the GPU cache; null without a cache."),
    Column("platform", "text", "", "The machine; a `*` marks a catalogue entry with changed keys."),
    Column(
        "calibrated",
        "text",
        "",
        "How much of the platform came out of a calibration (`scratchpipe calibrate`): `yes` all "
        "of its parts, `partly` some, `no` none: data sheets and assumptions. What that is worth "
        "stands in docs/validation.md.",
        choices=LEVELS,
    ),
    Column("model", "text", "", "The model; a `*` marks a catalogue entry with changed keys."),
    Column("locality", "text", "", "The trace: its locality class, data set, file or kind."),
    Column("operators", "text", "", "Operator profile: what the software costs on the hardware."),
    Column("sweep", "text", "", "The values that the sweep gave to this point, `path=value`."),
    Column("cache_fraction", "float", "1", "Share of all embedding rows that the cache holds."),
    Column("cache_rows", "int", "rows", "Slots of the cache, all pools together."),
    Column(
        "cache_grown",
        "bool",
        "",
        "The cache asked for could not hold its window and was enlarged to one that can.",
    ),
    Column("window_past", "int", "batches", "Earlier mini-batches whose rows were held."),
    Column("window_future", "int", "batches", "Coming mini-batches whose rows were held."),
    Column("tables", "int", "tables", "Embedding tables of the model."),
    Column("dim", "int", "elements", "Elements of an embedding row; null where tables differ."),
    Column("batch_size", "int", "samples", "Samples of a mini-batch."),
    Column("gpus", "int", "GPUs", "GPUs that the system used."),
    Column("batches", "int", "batches", "Mini-batches that were timed."),
    Column("seed", "int", "", "Seed of everything that was drawn."),
)

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

_CACHE = (
    Column(
        "lookup_hit_rate",
        "float",
        "1",
        "Share of lookups whose row was in the GPU cache when its mini-batch was planned.",
    ),
    Column(
        "unique_hit_rate",
        "float",
        "1",
        "Share of the unique rows of a mini-batch that were in the GPU cache when it was planned.",
    ),
    Column("lookups_per_batch", "float", "lookups", "Lookups of a mini-batch, all tables, mean."),
    Column(
        "unique_rows_per_batch", "float", "rows", "Unique rows of a mini-batch, all tables, mean."
    ),
    Column(
        "misses_per_batch",
        "float",
        "rows",
        "Unique rows that were not in the cache when their mini-batch trained, mean; what a window "
        "or a pass loaded before is none (cdlrm, hugectr_etc), though the link carries it.",
    ),
    Column(
        "bypass_rows_per_batch",
        "float",
        "rows",
        "Unique rows that were read and trained where they lie, for the cache had no slot for them "
        "(conflict misses), mean; null where every row gets one.",
    ),
    Column(
        "bypass_lookups_per_batch",
        "float",
        "lookups",
        "Lookups of those rows, each over the link, mean; null where every row gets a slot.",
    ),
    Column(
        "rows_per_slot",
        "float",
        "1",
        "Rows that a cache must hold at once for none to be read where it lies (those of a "
        "mini-batch; with those of the one before where they are locked; those of a window), over "
        "its slots, mean. Sets fill unevenly: of 32 ways 0.24 % of the rows find no slot at 0.7, "
        "7 % at 1, 21 % at 1.25. Null where every row gets a slot.",
    ),
    Column(
        "filled_rows_per_batch",
        "float",
        "rows",
        "Rows that came up to host memory from the tier below, mean; null where it keeps none.",
    ),
    Column(
        "spilled_rows_per_batch",
        "float",
        "rows",
        "Changed rows that left host memory for the tier below, mean; null where it keeps none.",
    ),
    Column("victims_per_batch", "float", "rows", "Rows evicted to make room, mean."),
    Column(
        "dirty_victims_per_batch", "float", "rows", "Victims that had to be written back, mean."
    ),
    Column(
        "cold_misses_per_batch", "float", "rows", "Missed rows that were never in the cache, mean."
    ),
    Column(
        "capacity_misses_per_batch",
        "float",
        "rows",
        "Missed rows that had been in the cache and were evicted, mean; without the held ones "
        "where those are counted.",
    ),
    Column(
        "held_misses_per_batch",
        "float",
        "rows",
        "Missed rows that the same cache without a window would have kept, mean; null unless "
        "`run.held_misses`.",
    ),
    Column(
        "popular_samples_per_batch",
        "float",
        "samples",
        "Samples whose rows are all hot, mean; null where hot rows are told from no others by "
        "sample.",
    ),
)


_SHARED = (
    *(c for c in _POINT if c.name in ("point", "system", "label", "policy", "platform", "model")),
    *(c for c in _POINT if c.name in ("locality", "operators", "sweep", "cache_fraction")),
)
IDENTITY = tuple(column.name for column in _SHARED)
"""Columns that the rows of stages and resources share with their point."""

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
        ("wall_draw_s", "Wall-clock time that was waited for mini-batches to be drawn or read."),
        ("wall_plan_s", "Wall-clock time of the cache replay (shared replays count once)."),
        ("wall_memory_s", "Wall-clock time of the DRAM model."),
        ("wall_events_s", "Wall-clock time of the discrete-event simulation."),
    )
)

METRICS: tuple[Column, ...] = (
    *_POINT,
    *_TIME,
    *QUERIES,
    *SPREAD,
    ERROR,
    BASIS,
    *_CACHE,
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
    *_SHARED,
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

DEVICES: tuple[Column, ...] = (
    *_SHARED,
    Column(
        "resource",
        "text",
        "",
        "Name of the resource by the parts of the machine, such as `cpu.dram` or `gpu5.hbm`.",
    ),
    Column("device", "text", "", "The device that the resource belongs to, such as `gpu5`."),
    Column(
        "kind",
        "text",
        "",
        "What it is: " + ", ".join(f"`{kind}`" for kind in KINDS) + ".",
        choices=tuple(KINDS),
    ),
    Column(
        "bytes",
        "float",
        "bytes/batch",
        "Bytes through the resource a mini-batch, mean; null where it moves none: its memory "
        "counts them.",
    ),
    Column(
        "busy_us",
        "float",
        "us",
        "Simulated time a mini-batch in which the resource could not have done other work, mean.",
    ),
    Column(
        "utilization",
        "float",
        "1",
        "That time as a share of the elapsed simulated time: 1 is saturated, 0 not used.",
    ),
    Column(
        "bandwidth_gbps",
        "float",
        "1e9 bytes/s",
        "Achieved bandwidth: bytes over elapsed simulated time; null where no bytes move.",
    ),
    Column(
        "share_of_peak",
        "float",
        "1",
        "Achieved bandwidth over the nominal peak; null where there is none.",
    ),
    Column(
        "energy_mj",
        "float",
        "mJ/batch",
        "Energy of the resource, mean of a mini-batch: of a memory its activates, bursts, refresh "
        "and background; of a CPU or GPU the package without its memory, idle power and what "
        "activity adds. Null where nobody accounts for it.",
    ),
    Column(
        "written_gb_per_day",
        "float",
        "1e9 bytes/day",
        "Bytes written to a drive, whole pages, if training went on for a day; null for what does "
        "not wear.",
    ),
    Column(
        "fill_h",
        "float",
        "h",
        "Time of training in which a drive has been written as often as it has bytes; null where "
        "nothing is written to it.",
    ),
)
"""Columns of `devices.parquet` and `devices.csv`: one row a point and resource."""

LOAD: tuple[Column, ...] = (*_SHARED, *LOADED)
"""Columns of `load.parquet` and `load.csv`: one row a point with a load stage, where there are
some."""

CHECKPOINT: tuple[Column, ...] = (*_SHARED, *WRITTEN)
"""Columns of `checkpoint.parquet` and `checkpoint.csv`: one row a point that is check-pointed,
where there are some."""

TIMELINE: tuple[Column, ...] = (
    *(c for c in _POINT if c.name in ("point", "label")),
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
