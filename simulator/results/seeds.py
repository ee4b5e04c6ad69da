"""Points repeated with other seeds: what is simulated for each, and how far they lie apart.

A point with `run.seeds: n` is simulated with n seeds, from `run.seed` on. Its numbers, stages and
timeline are those of the first; beside them stand the least and the most of all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from simulator.config.point import PointConfig
from simulator.config.sections import MOST_SEED
from simulator.errors import UsageError
from simulator.results.spread_columns import SPREAD_OF

if TYPE_CHECKING:
    from simulator.results.record import PointResult

__all__ = ["each_seed", "require_one_seed", "with_spread"]


def each_seed(point: PointConfig) -> tuple[PointConfig, ...]:
    """`point` once for each of its seeds; itself where it has one."""
    run = point.run
    if run.seeds == 1:
        return (point,)
    seeds = ((run.seed + n) % (MOST_SEED + 1) for n in range(run.seeds))
    runs = (run.model_copy(update={"seed": seed, "seeds": 1}) for seed in seeds)
    return tuple(point.model_copy(update={"run": one}) for one in runs)


def require_one_seed(points: Iterable[PointConfig], verb: str) -> None:
    """Raise `UsageError` for points of several seeds, which `verb` does not simulate."""
    if any(point.run.seeds > 1 for point in points):
        raise UsageError(f"run.seeds is for `run`: {verb} simulates one seed; set run.seeds=1")


def with_spread(
    points: Sequence[PointConfig], results: Sequence[PointResult]
) -> Iterator[PointResult]:
    """The outcome of each of `points` out of the `results` of its seeds; points that lack one are
    left out."""
    found = {_name(result.point): result for result in results}
    for point in points:
        seeds = [found.get(_name(one)) for one in each_seed(point)]
        whole = [result for result in seeds if result is not None]
        if len(whole) == len(seeds):
            yield whole[0] if len(whole) == 1 else _spread(point, whole)


def _name(point: PointConfig) -> tuple[str, str, str]:
    return point.system.label, point.sweep_text(), point.key()


def _spread(point: PointConfig, seeds: Sequence[PointResult]) -> PointResult:
    first, key = seeds[0], {"point": point.key()}
    metrics = {**first.metrics, **key, "seeds": len(seeds)}
    for metric, ends in SPREAD_OF.items():
        values = [seed.metrics[metric] for seed in seeds if seed.metrics[metric] is not None]
        if values:
            metrics |= zip(ends, (min(values), max(values)), strict=True)
    return dataclasses.replace(
        first,
        point=point,
        metrics=metrics,
        stages=[{**row, **key} for row in first.stages],
        devices=[{**row, **key} for row in first.devices],
        load=None if first.load is None else {**first.load, **key},
    )
