"""Small points and programs of rivals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from sections import laid_over

from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Stream, run_replays
from simulator.config.expand import expand
from simulator.config.point import PointConfig
from simulator.engine import parse_experiment, simulate_points
from simulator.engine.hazards import HazardCase, HazardOutcome, run_case
from simulator.engine.prepare import open_for
from simulator.engine.sharing import build
from simulator.hardware.program import Operation
from simulator.results.record import PointResult
from simulator.systems import Streams, System, system_class

MODEL = {
    "base": "default",
    "tables": 4,
    "rows_per_table": 20_000,
    "batch_size": 256,
    "bottom_mlp": [64],
    "top_mlp": [64, 1],
}


def points(*entries: Any, **changes: Any) -> tuple[PointConfig, ...]:
    """Resolved points; `changes`: sections of the experiment, laid over small ones."""
    sections: dict[str, Any] = {
        "platform": "v100_p3",
        "model": MODEL,
        "trace": {"kind": "zipf", "alpha": 0.9},
        "cache": {"fraction": 0.2},
        "run": {"batches": 6, "warmup_batches": 6, "check": True},
    }
    sections = laid_over(sections, changes)
    return expand(parse_experiment({"config_version": 1, "systems": list(entries), **sections}))


def simulated(*entries: Any, **changes: Any) -> dict[str, PointResult]:
    """Results by label."""
    resolved = points(*entries, **changes)
    return {p.point.system.label: p for p in simulate_points(resolved, threads=1)}


def stage_times(result: PointResult) -> dict[str, float]:
    """Busy microseconds of each stage."""
    return {row["stage"]: row["busy_us"] for row in result.stages}


def replayed(entry: Any, batches: int, **changes: Any) -> tuple[System, list[BatchFacts]]:
    """A system and the facts of its first mini-batches."""
    (point,) = points(entry, **changes)
    trace = open_for(point, 1)
    system, _ = build(point, None, trace)
    facts = run_replays(Stream(trace, batches), [system.replay], threads=1)[system.replay].facts
    return system, facts


def words(system: System, facts: BatchFacts) -> list[Operation]:
    """All operations of a mini-batch."""
    return [word for stage in system.stages(facts) for word in stage.operations]


def without_wait(monkeypatch: pytest.MonkeyPatch, name: str, stage: str, other: str) -> None:
    """Takes from the schedule of the system `name` that `stage` waits for `other`."""
    kind = system_class(name)
    build = kind.__init__

    def without(self: object, *arguments: object) -> None:
        build(self, *arguments)  # type: ignore[arg-type, misc]
        schedule = self.schedule  # type: ignore[attr-defined]
        kept = tuple(a for a in schedule.after if (a.stage, a.other) != (stage, other))
        assert len(kept) == len(schedule.after) - 1
        self.schedule = Streams(schedule.stages, kept, schedule.in_flight)  # type: ignore[attr-defined]

    monkeypatch.setattr(kind, "__init__", without)


@cache
def executed(name: str, *parameters: str, **case: Any) -> HazardOutcome:
    """A rival executed on values."""
    sizes = {"batches": 120, **case}
    return run_case(HazardCase(system=name, parameters=parameters, **sizes))


def leave_out(monkeypatch: pytest.MonkeyPatch, system: type[System], left_out: str) -> None:
    """Have stages of `system` called `left_out` do nothing."""
    stages = system.stages
    monkeypatch.setattr(
        system,
        "stages",
        lambda self, facts: tuple(
            replace(stage, lanes=()) if stage.name == left_out else stage
            for stage in stages(self, facts)
        ),
    )
