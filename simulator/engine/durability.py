"""What a check-point writes in a run, and how long training waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simulator.config.checkpoint import CheckpointConfig
from simulator.engine.measure import SECONDS_PER_DAY, timed_window
from simulator.engine.measure import Timed as Window
from simulator.engine.pipeline import Span
from simulator.engine.timer import Timed
from simulator.hardware.demand import Service
from simulator.units import PS_PER_S, PS_PER_US

__all__ = ["checkpoint_row", "mlps_behind"]

_PJ_PER_MJ = 1e9


def checkpoint_row(
    asked: CheckpointConfig, timed: Timed, window: Window, first: int, last: int
) -> dict[str, Any]:
    """Columns of `checkpoint.parquet` without those of the point; means over mini-batches `first`
    to `last`."""
    batches, elapsed_ps = window.batches, window.elapsed_ps
    written = _summed(timed, first, last, lambda service: service.written)
    energy_pj = _summed(timed, first, last, lambda service: service.energy_pj)
    spans = [s for s in timed.spans if s.stage == 0 and first <= s.batch <= last]
    waited_ps = sum(timed.meter.waited_ps.get(batch, 0) for batch in range(first, last + 1))
    rest = timed_window(timed.unlogged, first, last)
    return {
        "checkpoint": asked.kind,
        "to": asked.to,
        "every": asked.every,
        "written_bytes": written / batches,
        "write_us": sum(s.end_ps - s.start_ps for s in spans) / batches / PS_PER_US,
        "rest_us": rest.elapsed_ps / rest.batches / PS_PER_US,
        "waited_us": waited_ps / batches / PS_PER_US,
        "waited_share": waited_ps / elapsed_ps,
        "checkpoint_gb_per_day": written * PS_PER_S / elapsed_ps * SECONDS_PER_DAY / 1e9,
        "checkpoint_mj": energy_pj / _PJ_PER_MJ / batches,
    }


def mlps_behind(spans: Sequence[Span], every: int, logged: int) -> int:
    """Most mini-batches by which the MLPs that a log gives back after a failure are older than its
    rows; `every`: mini-batches that a copy of them is spread over; `logged`: the stage that updates
    rows. Stage 0 writes the log. Before the first copy is whole there are the MLPs of the start.
    """
    most = whole = written = 0
    for span in sorted(spans, key=lambda span: (span.end_ps, span.batch, span.stage)):
        if span.stage == 0:
            written = span.batch + 1
            whole = max(0, written // every - 1) * every
        elif span.stage == logged:
            most = max(most, span.batch + 1 - whole)
    return most


def _summed(timed: Timed, first: int, last: int, value: Callable[[Service], float]) -> float:
    """`value` of all that is read and written for it, on all ranks."""
    return float(sum(value(s) * timed.fold.copies(name) for name, s in _used(timed, first, last)))


def _used(timed: Timed, first: int, last: int) -> Iterator[tuple[str, Service]]:
    for stages in timed.demands[first : last + 1]:
        for lane in stages[0].lanes:
            for demand in lane:
                yield from demand.services.items()
