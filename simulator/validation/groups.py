"""Sections of the validation page that sum errors up: by what binds, by stage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simulator.results.resources import title_of
from simulator.validation.compare import Comparison
from simulator.validation.markdown import grid, ms, share, signed
from simulator.validation.numbers import Errors, Time

__all__ = ["by_bottleneck", "by_stage"]


def by_bottleneck(comparison: Comparison) -> Iterable[str]:
    """Lines of the section about whole iterations by the resource that binds them."""
    yield "## Errors by what binds"
    yield ""
    yield (
        "Whole iterations by the resource that binds them as simulated, latency where none is busy "
        "enough to."
    )
    yield ""
    groups: dict[str, list[Time]] = {}
    for time in comparison.all_iterations:
        groups.setdefault(time.bottleneck, []).append(time)
    rows = (
        (title_of(bottleneck), str(len(times)), *_summed_up(times))
        for bottleneck, times in groups.items()
    )
    yield from grid(("bound by", "n", "median", "worst", "bias"), rows)
    yield ""


def by_stage(comparison: Comparison) -> Iterable[str]:
    """Lines of the section about the stages of each system."""
    yield "## Errors of stages"
    yield ""
    groups: dict[tuple[str, str], list[Time]] = {}
    for time in comparison.stages:
        groups.setdefault((time.system, time.stage or ""), []).append(time)
    rows = []
    for (system, stage), times in groups.items():
        middle = sorted(time.measured_us for time in times)[len(times) // 2]
        rows.append((system, stage, str(len(times)), ms(middle), *_summed_up(times)))
    heads = ("system", "stage", "n", "measured (median)", "median", "worst", "bias")
    yield from grid(heads, rows)
    yield ""


def _summed_up(times: Sequence[Time]) -> Sequence[str]:
    """Median, worst and bias of a group of times, which has a member."""
    errors = Errors.of_times(times)
    assert errors is not None, "a group has a member"
    return share(errors.median), signed(errors.worst), signed(errors.bias)
