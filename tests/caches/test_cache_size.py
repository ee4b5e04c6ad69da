"""Caches sized as a share, in rows or in bytes."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.caches.size import CacheSize
from simulator.config.expand import expand
from simulator.engine import check_points, parse_experiment, simulate_points
from simulator.errors import CapacityError, ConfigError

SIZES = (1000, 400, 7)


@pytest.mark.parametrize(
    ("size", "slots"),
    [
        (CacheSize(0.1), (100, 40, 1)),
        (CacheSize(1.0), SIZES),
        (CacheSize(rows=1407), SIZES),
        (CacheSize(rows=141), (100, 40, 1)),
        (CacheSize(rows=704), (500, 200, 4)),
        (CacheSize(bytes=704 * 64 + 63, entry_bytes=64), (500, 200, 4)),
    ],
)
def test_slots_of_pools(size: CacheSize, slots: tuple[int, ...]) -> None:
    assert size.slots(SIZES) == slots


@pytest.mark.parametrize("rows", [201, 500, 777, 1406])
def test_no_row_is_lost_to_rounding(rows: int) -> None:
    slots = CacheSize(rows=rows).slots(SIZES)
    assert sum(slots) == rows
    assert all(abs(s - rows * n / sum(SIZES)) < 1 for s, n in zip(slots, SIZES, strict=True))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (CacheSize(rows=1408), r"cache.rows 1,408 is more than the 1,407 rows .* at most 1,407"),
        (
            CacheSize(bytes=2**20, entry_bytes=64),
            r"cache.bytes 1.049 MB \(16,384 x 64 B\) .* 90048 B",
        ),
        (CacheSize(rows=3), r"leaves pools without a slot: set cache.rows to at least 201"),
    ],
)
def test_what_cannot_be_is_refused_with_the_arithmetic(size: CacheSize, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        size.slots(SIZES)


@pytest.mark.parametrize(
    "size", [CacheSize(0.05), CacheSize(rows=70), CacheSize(bytes=4480, entry_bytes=64)]
)
def test_what_is_advised_is_enough(size: CacheSize) -> None:
    need = (107, 43, 2)
    number = size.holding(need, SIZES).rpartition("at least ")[2].replace(",", "")
    if size.fraction is not None:
        enough = CacheSize(float(number))
    elif size.rows is not None:
        enough = CacheSize(rows=int(number))
    else:
        enough = CacheSize(bytes=int(number.removesuffix(" B")), entry_bytes=64)
    assert all(s >= n for s, n in zip(enough.slots(SIZES), need, strict=True))


MODEL = {"base": "default", "tables": 2, "rows_per_table": 1000, "batch_size": 16, "dim": 16}
SYSTEMS = ["static_cache", "straw_man", "scratchpipe"]


def points(cache: dict[str, Any], systems: list[Any] = SYSTEMS, **sections: Any) -> Any:
    data = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": MODEL | {"lookups_per_table": 2},
        "trace": {"locality": "high"},
        "systems": systems,
        "cache": cache,
        "run": {"batches": 3, "warmup_batches": 6},
    }
    return expand(parse_experiment(data | sections))


def rows_and_hits(cache: dict[str, Any]) -> list[tuple[Any, ...]]:
    results = simulate_points(points(cache), threads=1)
    return [
        (r.metrics["cache_fraction"], r.metrics["cache_rows"], r.metrics["iteration_time_us"])
        for r in results
    ]


def test_a_share_and_as_many_rows_or_bytes_are_one_cache() -> None:
    share = rows_and_hits({"fraction": 0.4})
    assert [found[:2] for found in share] == [(0.4, 800)] * 3
    assert rows_and_hits({"rows": 800}) == rows_and_hits({"bytes": "51200 B"}) == share
    assert rows_and_hits({"bytes": "50 KiB"}) == share


def test_a_size_takes_the_place_of_the_one_above_it() -> None:
    entry = {"name": "scratchpipe", "cache": {"rows": 700}}
    (point,) = points({"fraction": 0.4}, [entry])
    assert (point.cache.fraction, point.cache.rows) == (None, 700)
    swept = points({"fraction": 0.4}, ["scratchpipe"], sweep={"cache.bytes": ["40 KiB", "64 KiB"]})
    assert [(p.cache.fraction, p.cache.bytes) for p in swept] == [(None, 40960), (None, 65536)]
    (point,) = points({}, ["scratchpipe"])
    assert (point.cache.fraction, point.cache.rows, point.cache.bytes) == (0.1, None, None)


@pytest.mark.parametrize(
    "sections",
    [
        {"cache": {"fraction": 0.4, "rows": 700}},
        {"cache": {}, "systems": [{"name": "scratchpipe", "cache": {"rows": 7, "bytes": "4 KiB"}}]},
        {"cache": {}, "sweep": {"cache.rows": [700], "cache.fraction": [0.4]}},
    ],
)
def test_two_sizes_are_refused(sections: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"both (given|set)"):
        points(**sections)


def test_more_rows_than_there_are_are_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match=r"cache.rows 2,001 is more than the 2,000 rows"):
        check_points(points({"rows": 2001}))


def test_a_window_that_does_not_fit_is_refused_in_the_unit_that_was_used() -> None:
    for cache, advice in (({"rows": 20}, "cache.rows to at least"), ({"bytes": "2 KiB"}, " B,")):
        with pytest.raises(CapacityError, match=advice):
            simulate_points(points(cache, ["scratchpipe"]), threads=1)
