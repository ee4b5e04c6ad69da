"""Jobs, machines and facts for tests of systems."""

from __future__ import annotations

from functools import cache
from typing import Any

from simulator.caches.facts import (
    COLD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Flow,
)
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.catalogue import load_named
from simulator.config.machine import MachineConfig
from simulator.config.model import ModelConfig
from simulator.config.sections import CacheConfig, PipelineConfig
from simulator.hardware.catalogue import load_machine
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, System, create

PROFILES = ("paper", "stock", "tuned", "observed")


def facts_of(shards: int = 8) -> BatchFacts:
    """A mini-batch of the default model, evenly over its tables (or `shards`): 327,680 lookups of
    300,000 rows, of which 120,000 hit."""
    totals = {
        LOOKUP: (327_680, 300_000),
        UNIQUE: (327_680, 300_000),
        HIT: (127_680, 120_000),
        MISS: (200_000, 180_000),
        HIT_LOOKUP: (127_680, 120_000),
        MISS_LOOKUP: (200_000, 180_000),
        VICTIM: (0, 170_000),
        WRITE_BACK: (0, 160_000),
        COLD: (0, 1_000),
    }
    flows = {
        name: (Flow(lookups // shards, rows // shards),) * shards
        for name, (lookups, rows) in totals.items()
    }
    return BatchFacts(0, 2048, flows)


FACTS = facts_of()


@cache
def _machine(name: str) -> MachineConfig:
    return load_machine(name)


def machine(name: str = "v100_p3", row_bytes: int = 512) -> Topology:
    """A machine of the catalogue."""
    return build_topology(_machine(name), row_bytes)


def model(**changes: object) -> ModelConfig:
    """The default model with changed keys."""
    default: ModelConfig = load_named("models", "default")
    return default.changed(**changes)


def job(
    profile: str = "paper",
    *,
    cache: dict[str, Any] | None = None,
    pipeline: dict[str, Any] | None = None,
    gpus: int | None = None,
    **changes: object,
) -> Job:
    """A job with the default model (`changes`: its keys) and a profile of the catalogue."""
    return Job(
        model(**changes),
        load_named("operators", profile),
        CacheConfig(**(cache or {})),
        PipelineConfig(**(pipeline or {})),
        gpus,
    )


ROOM_FOR_ALL = {"gpu_only": "p3_16xlarge"}
"""Machines whose HBM holds the default model."""


def system(name: str, platform: str | None = None, profile: str = "paper", **keys: Any) -> System:
    """A system on a machine that has room for it."""
    where = platform or ROOM_FOR_ALL.get(name, "v100_p3")
    return create(name, job(profile, **keys), machine(where))
