"""What the trace verbs draw or rewrite, and the format that they write it in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator._progress import tell
from simulator.cli.numbers import MOST_LOOKUPS, MOST_TABLES
from simulator.cli.trace_files import numbers
from simulator.errors import TraceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.traces.base import Trace
    from simulator.traces.features import Feeds
    from simulator.traces.pieces import Piece, Source

__all__ = ["as_rows", "features_of", "generated", "require_disk", "trace_config", "written_format"]


def features_of(lookups: str, tables: int) -> tuple[int, ...]:
    """Mean lookups of each feature of a table, as `--lookups` says; bounded as in a model."""
    features = numbers(lookups, lookups.count(",") + 1, "--lookups", MOST_LOOKUPS)
    if features is None:
        raise UsageError("--lookups: expected N or N,N,...")
    if sum(features) > MOST_LOOKUPS:
        raise UsageError(
            f"--lookups: the features of a table make {sum(features):,} lookups a sample, "
            f"{MOST_LOOKUPS:,} at most"
        )
    if tables * len(features) > MOST_TABLES:
        raise UsageError(
            f"--lookups: {tables * len(features):,} features look up {tables:,} tables, "
            f"{MOST_TABLES:,} at most: lower --tables, or give fewer numbers"
        )
    return features


def require_disk(target: Path, lookups: int) -> None:
    """Raise `UsageError` where the ids, which are spooled beside the target, fill the disk."""
    import shutil

    from simulator.units import format_bytes

    folder = target.resolve().parent
    free = shutil.disk_usage(folder).free if folder.is_dir() else 2**63
    if 8 * lookups > free:
        raise UsageError(
            f"{lookups:,} lookups take about {format_bytes(8 * lookups)}, but {folder} has "
            f"{format_bytes(free)} free: lower --batches, --batch-size, --lookups or --tables"
        )


def as_rows(
    source: Source, ids: str, rows: tuple[int, ...] | None, feeds: Feeds
) -> Iterator[Piece]:
    """The pieces of `source`, checked, with row numbers as `--ids` says."""
    from simulator.traces.id_map import RULES, folded
    from simulator.traces.pieces import checked

    rule = next((rule for rule in RULES if rule == ids), None)
    if rule is None:
        raise UsageError(f"--ids {ids}: expected one of {', '.join(RULES)}")
    if rule == "error":
        return checked(source, rows and [rows[table] for table in feeds.table_of])
    if rows is None and rule != "renumber":
        raise UsageError(f"--ids {ids} folds ids into tables: give their rows with --rows")
    return folded(source, rule, rows or (None,) * len(feeds.names), feeds)


def generated(trace: Trace, batches: int, features: int, jagged: bool) -> Iterator[Piece]:
    """Mini-batches, a column a feature; every table has as many."""
    from simulator.traces.features import by_feature
    from simulator.traces.pieces import Piece

    for index in range(batches):
        tell(f"mini-batch {index + 1:,} of {batches:,}", index / batches)
        batch = trace.minibatch(index)
        for table, (ids, bags) in enumerate(zip(batch.ids, batch.pooled, strict=True)):
            for feature, (own, lengths) in enumerate(by_feature(ids, bags, features)):
                yield Piece(table * features + feature, own, lengths if jagged else None)


def trace_config(given: dict[str, Any], settings: list[str]) -> Any:
    """The trace of the options `given` and of `--set`. Raises `ConfigError`."""
    from simulator.config.assign import apply, assignments
    from simulator.config.catalogue import adapter
    from simulator.config.problems import validate
    from simulator.config.reader import Mark, Marks
    from simulator.errors import ConfigError

    changes, problems = assignments(settings, "trace")
    if problems:
        raise ConfigError(*problems)
    options = Marks({(): Mark("command line", "command line")})
    try:
        data, marks = apply({"trace": given}, options, changes)
    except ValueError as error:
        raise UsageError(str(error)) from None
    trace = data["trace"]
    if isinstance(trace, dict) and "alpha" in trace and "kind" not in trace:
        trace["kind"] = "zipf"
    config, problems = validate(adapter("traces"), trace, marks.below(("trace",)), ("trace",))
    if problems:
        raise ConfigError(*problems)
    return config


def written_format(target: Path, to: str) -> str:
    """The format of a file to write: as asked for, or by its name. Raises `UsageError`."""
    from simulator.traces.files import detect_format
    from simulator.traces.writing import WRITABLE

    try:
        name = detect_format(target) if to == "auto" else to
    except TraceError as error:
        raise UsageError(str(error)) from None
    if name not in WRITABLE:
        raise UsageError(f"{target}: {name} files are not written; use {', '.join(WRITABLE)}")
    return name
