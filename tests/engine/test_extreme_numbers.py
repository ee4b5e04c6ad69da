"""Every number of a machine and of its software at its extremes: refused, or a finite run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator.config.expand import expand
from simulator.config.part_keys import by_dotted_key
from simulator.engine import parse_experiment, simulate
from simulator.errors import ConfigError

SMALL: dict[str, Any] = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": {"base": "default", "rows_per_table": 300, "tables": 2, "batch_size": 4, "dim": 16},
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": ["hybrid", "scratchpipe"],
    "operators": "paper",
    "cache": {"fraction": 1.0, "prefill": "hot"},
    "run": {"batches": 1, "warmup_batches": 0},
}
SLOW = ("operators.gather_reduce.row_time=1 s", "run.cpu_threads=1")
QUANTITY = re.compile(r"[\d.e+-]+ (B|B/s|ps|FLOP/s|Hz|W|pJ)")


@cache
def numbers() -> dict[str, object]:
    """Every number by its path in the experiment; those of memories have tests of their own."""
    point = expand(parse_experiment(SMALL))[0]
    sockets = point.platform.hosts[0].sockets
    data: dict[str, Any] = {
        f"platform.host.{name}": socket.part.model_dump(mode="json", exclude={"memory", "sources"})
        for name, socket in sockets.items()
    }
    data["operators"] = point.operators.model_dump(mode="json")
    return {
        key: value
        for key, value in by_dotted_key(data)
        if (isinstance(value, int | float) and not isinstance(value, bool))
        or (isinstance(value, str) and QUANTITY.fullmatch(value))
    }


def extremes(value: object) -> Iterator[object]:
    """Nothing, next to nothing, and more than there is."""
    if isinstance(value, str):
        unit = value.split()[-1]
        yield from (f"{number} {unit}" for number in ("0", "1", "1e12", "1e18"))
    elif isinstance(value, int):
        yield from (0, 1, 10**6, 2**62)
    else:
        yield from (0.0, -0.0, 1e-300, 0.001, 1.0, 1e18)


def ran(override: str) -> tuple[pd.DataFrame | None, str]:
    """The table of a run, or why there is none."""
    try:
        return simulate(parse_experiment(SMALL, [override])).to_pandas(), ""
    except ConfigError as error:
        return None, str(error)


@pytest.mark.parametrize("key", numbers())
def test_a_number_at_its_extremes_is_refused_or_gives_a_finite_run(key: str) -> None:
    for value in extremes(numbers()[key]):
        table, refusal = ran(f"{key}={value}")
        if table is None:
            assert key in refusal or "simulated time" in refusal
        else:
            times = table["iteration_time_us"].to_numpy()
            assert np.isfinite(times).all()
            assert (times > 0).all()
            assert not np.isinf(table.select_dtypes("number").to_numpy(float)).any()


def test_a_time_that_64_bits_do_not_hold_is_told() -> None:
    slow = {"batch_size": 100_000, "rows_per_table": 10**5, "lookups_per_table": 50}
    model = {**SMALL["model"], **slow}
    data = {**SMALL, "model": model, "systems": ["hybrid"]}
    with pytest.raises(ConfigError, match="the simulated time reaches"):
        simulate(parse_experiment(data, SLOW))
