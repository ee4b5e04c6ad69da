"""What a load stage does in a run, and what would keep training busy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from simulator.config.loading import LoadConfig
from simulator.engine.measure import Timed as Window
from simulator.engine.measure import timed_window
from simulator.engine.timer import Timed
from simulator.hardware.devices.loader import LoaderDevice, WorkerTime
from simulator.hardware.loading import LOADER, Preprocess
from simulator.units import PS_PER_S, PS_PER_US

__all__ = ["load_row"]

_ROUNDING = 1e-9


def load_row(
    load: LoadConfig, timed: Timed, window: Window, first: int, last: int
) -> dict[str, Any]:
    """Columns of `load.parquet` without those of the point; means over mini-batches `first` to
    `last`."""
    device = timed.machine.devices[LOADER]
    assert isinstance(device, LoaderDevice), "the machine of a point that loads"
    words = [
        word
        for stages in timed.programs[first : last + 1]
        for stage in stages
        for word in stage.operations
        if isinstance(word, Preprocess)
    ]
    works = [device.worker_time(word) for word in words]
    source = _mean([device.stored_bytes(word) for word in words])
    worker_ps = _mean([work.total for work in works])
    rest = timed_window(timed.unfed, first, last)
    rest_ps = rest.elapsed_ps / rest.batches
    sent = _mean([device.tensor_bytes(word) for word in words])
    own_ps = max(worker_ps / load.workers, source * PS_PER_S / device.bandwidth)
    if load.host_bandwidth is not None:
        own_ps = max(own_ps, sent * PS_PER_S / load.host_bandwidth)
    return {
        "loader": load.profile.name,
        "accelerator": load.accelerator,
        "workers": load.workers,
        "worker_us": worker_ps / PS_PER_US,
        **{
            f"{part.name}_us": _mean([getattr(work, part.name) for work in works]) / PS_PER_US
            for part in fields(WorkerTime)
        },
        "source_bytes": source,
        "tensor_bytes": sent,
        "load_us": own_ps / PS_PER_US,
        "rest_us": rest_ps / PS_PER_US,
        "training_busy": rest_ps / (window.elapsed_ps / window.batches),
        "workers_needed": math.ceil(worker_ps / rest_ps * (1.0 - _ROUNDING)),
        "source_needed_gbps": source / rest_ps * PS_PER_S / 1e9,
        "host_needed_gbps": sent / rest_ps * PS_PER_S / 1e9,
        "workers_usd_per_hour": load.usd_per_hour,
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
