"""What points share: the mini-batches of a trace, and the cache replays of them."""

from __future__ import annotations

from typing import Any

from simulator.caches import Window
from simulator.config.experiment import PointConfig, canonical_json
from simulator.engine.pipeline import window_of
from simulator.errors import ScratchPipeError
from simulator.systems import Context, System, create

__all__ = ["context_of", "hold_window", "replay_key", "trace_key"]


def trace_key(point: PointConfig) -> str:
    """Equal for points that see the same mini-batches, equally many of them."""
    model, run = point.model, point.run
    return canonical_json(
        {
            "trace": point.trace.model_dump(mode="json"),
            "rows": model.rows_per_table,
            "lookups": model.lookups_per_table,
            "batch_size": model.batch_size,
            "seed": run.seed,
            "batches": run.batches,
            "warmup": run.warmup_batches,
        }
    )


def replay_key(point: PointConfig) -> str:
    """Equal for points that share a replay (trace, policy, capacity, window, rows kept).

    Known before the trace is opened. Two points whose caches grow to the same size have different
    keys and share a replay all the same where they are simulated together.
    """
    try:
        system = create(point.system.name, context_of(point))
    except ScratchPipeError as error:
        return canonical_json([trace_key(point), type(error).__name__])
    run, cache = point.run, point.cache
    kept = None if run.memory_fidelity == "exact" else min(run.sample_batches, run.batches)
    facts: list[Any] = [trace_key(point), system.replay, kept]
    if system.replay == "static":
        facts += [cache.fraction, cache.scope]
    elif system.replay == "planned":
        window = hold_window(point, system)
        facts += [cache.model_dump(mode="json"), window.past, window.future]
    return canonical_json(facts)


def context_of(point: PointConfig) -> Context:
    """What the system of `point` is built from, before the size of its cache is known."""
    return Context(
        model=point.model,
        profile=point.operators,
        platform=point.platform,
        gpus=point.system.gpus,
    )


def hold_window(point: PointConfig, system: System) -> Window:
    """The hold window: none where stages do not overlap, else what the pipeline needs; each side
    may be overridden."""
    past, future = window_of(system.stage_names) if system.pipelined else (0, 0)
    pipeline = point.pipeline
    if system.pipelined and pipeline.window_past is not None:
        past = pipeline.window_past
    if system.pipelined and pipeline.window_future is not None:
        future = pipeline.window_future
    return Window(past, future)
