"""Words of a program for the conformance kit: the same work for any processor, of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from simulator.hardware.early import Amend, EarlyPool
from simulator.hardware.program import (
    Accumulate,
    Add,
    Buffer,
    Dense,
    Expand,
    Flow,
    Gather,
    Interaction,
    Operation,
    Plan,
    Pool,
    Scatter,
    Sort,
    Split,
    Store,
    Update,
    ZeroCopy,
)

NAME = "it"
"""The device that does it."""
Words = Mapping[str, tuple[type[Operation], Callable[[str, int], Operation]]]

ROW = 256
POOLING = 8


def _rows(count: int) -> Flow:
    return Flow(count, -(-count // 2))


def _store(place: str) -> Store:
    return Store("tables", place, ROW, tables=4)


def _vectors(place: str, count: int) -> Buffer:
    return Buffer("vectors", place, -(-count // POOLING) * ROW)


def _staged(place: str, count: int) -> Buffer:
    return Buffer("staged", place, _rows(count).rows * ROW)


def _pool(place: str, count: int) -> Pool:
    return Pool("x", NAME, _store(place), _rows(count), _vectors(place, count), POOLING)


def _scatter(place: str, count: int) -> Scatter:
    return Scatter("x", NAME, _staged(place, count), _store(place), _rows(count))


def _plan(place: str, count: int) -> Plan:
    return Plan("x", NAME, count, _rows(count).rows, count // 4, count)


WORDS: Words = {
    "pool": (Pool, _pool),
    "pool with holes": (Pool, lambda p, n: replace(_pool(p, n), skipped=3 * n)),
    "early pool": (
        EarlyPool,
        lambda p, n: EarlyPool("x", NAME, _store(p), _rows(n), _vectors(p, n), POOLING),
    ),
    "amend": (Amend, lambda p, n: Amend("x", NAME, _rows(n), _vectors(p, n), ROW)),
    "gather": (Gather, lambda p, n: Gather("x", NAME, _store(p), _rows(n), _staged(p, n))),
    "scatter": (Scatter, _scatter),
    "scatter of what is held": (
        Scatter,
        lambda p, n: replace(_scatter(p, n), source=replace(_staged(p, n), held=1.0)),
    ),
    "scatter that drives lines out": (
        Scatter,
        lambda p, n: replace(_scatter(p, n), evicts=_rows(n).rows * ROW),
    ),
    "expand": (Expand, lambda p, n: Expand("x", NAME, _vectors(p, n), _rows(n), ROW, 4)),
    "sort": (Sort, lambda p, n: Sort("x", NAME, _rows(n), 4, 10**6, 4 * 10**6)),
    "accumulate": (
        Accumulate,
        lambda p, n: Accumulate("x", NAME, _vectors(p, n), _rows(n), ROW, True, 4),
    ),
    "update": (
        Update,
        lambda p, n: Update(
            "x", NAME, _store(p), _rows(n), _vectors(p, n), ROW, coalesce=False, expanded=True
        ),
    ),
    "plan": (Plan, _plan),
    "plan with lists": (Plan, lambda p, n: replace(_plan(p, n), lists=_staged(p, n))),
    "split": (Split, lambda p, n: Split("x", NAME, n, _staged(p, n))),
    "zero copy": (ZeroCopy, lambda p, n: ZeroCopy("x", NAME, _store(p), _store(p), _rows(n))),
    "add": (
        Add,
        lambda p, n: Add("x", NAME, (_vectors(p, n), _vectors(p, n)), _vectors(p, n)),
    ),
    "dense": (
        Dense,
        lambda p, n: Dense(
            "x",
            NAME,
            1000 * n,
            "fp32",
            10 if n else 0,
            64 * n,
            32 * n,
            Interaction(6 if n else 0, 64 * n, 32 * n, 100 * n, 10 * n, 16 * n),
        ),
    ),
}
"""Kinds of work -> the word, and one for a place of rows and a number of lookups or rows."""
