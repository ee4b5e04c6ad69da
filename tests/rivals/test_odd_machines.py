"""Odd numbers of GPUs, one GPU a host, few interfaces: nothing is lost, nobody is left out."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import points, simulated

from simulator.errors import ConfigError
from simulator.results.record import PointResult

ODD = {"batch_size": 250, "tables": 7}
HOST: dict[str, Any] = {"base": "dgx_a100", "host": {"count": 4, "gpu": {"count": 1}}}
ALONE = {**HOST, "host": {**HOST["host"], "nic": {"count": 1}}}
"""Four hosts of a GPU and an interface each."""


def entry(name: str, gpus: int | None = None) -> dict[str, Any]:
    return {"name": name} if gpus is None else {"name": name, "gpus": gpus}


def moved(result: PointResult, link: str, way: str = "") -> list[float]:
    """Bytes of each resource of a link."""
    names = [row["resource"] for row in result.devices if row["bytes"]]
    chosen = {name for name in names if link in name and name.endswith(way)}
    return [row["bytes"] for row in result.devices if row["resource"] in chosen]


@pytest.mark.parametrize("gpus", [3, 5, 7])
@pytest.mark.parametrize("name", ["scratchpipe", "static_cache", "straw_man", "hybrid", "gpu_only"])
def test_odd_numbers_of_gpus_look_up_what_one_does(name: str, gpus: int) -> None:
    """Mini-batches that they do not divide; checks of a run are on."""
    cache = {"fraction": 0.6}
    one, many = (
        simulated(entry(name, n), platform="p3_16xlarge", model=ODD, cache=cache)[name]
        for n in (1, gpus)
    )
    for column in ("lookups_per_batch", "unique_rows_per_batch", "misses_per_batch"):
        assert one.metrics[column] == many.metrics[column], column
    assert many.metrics["gpus"] == gpus


@pytest.mark.parametrize("sharding", ["row", "column"])
@pytest.mark.parametrize("name", ["scratchpipe", "gpu_only"])
def test_more_gpus_than_tables_share_parts(name: str, sharding: str) -> None:
    model = {"batch_size": 250, "tables": 2, "sharding": sharding}
    sections = {"platform": "p3_16xlarge", "model": model, "cache": {"fraction": 0.6}}
    result = simulated(entry(name, 7), **sections)[name]
    assert result.metrics["gpus"] == 7
    assert result.metrics["lookups_per_batch"] == 2 * 250 * 20


@pytest.mark.parametrize("name", ["gpu_only", "hugectr_hybrid", "recshard", "flexshard"])
def test_one_gpu_a_host_exchanges_over_the_network_alone(name: str) -> None:
    result = simulated(entry(name), platform=ALONE)[name]
    assert result.metrics["gpus"] == 4
    assert not moved(result, "nvlink")
    out, into = (moved(result, "network.", way) for way in (".out", ".in"))
    assert sum(out) == pytest.approx(sum(into))
    assert sum(out) > 0


@pytest.mark.parametrize("name", ["gpu_only", "hugectr_hybrid"])
def test_two_interfaces_for_eight_gpus_carry_what_eight_do_and_never_faster(name: str) -> None:
    """(`flexshard` has other tiers where the network is slower.)"""

    def with_nics(count: int) -> PointResult:
        platform = {"base": "hgx_h100", "host": {"count": 3, "nic": {"count": count}}}
        model = {"sharding": "row", "batch_size": 250}
        return simulated(entry(name), platform=platform, model=model)[name]

    few, many = with_nics(2), with_nics(8)
    assert few.metrics["gpus"] == many.metrics["gpus"] == 24
    assert few.metrics["iteration_time_us"] >= many.metrics["iteration_time_us"]
    assert sum(moved(few, "network.")) == pytest.approx(sum(moved(many, "network.")))


@pytest.mark.parametrize("name", ["scratchpipe", "hybrid", "static_cache", "straw_man"])
def test_tables_of_one_host_say_what_runs_on_several(name: str) -> None:
    with pytest.raises(ConfigError, match=r"set platform\.hosts=1, or name gpu_only, which runs"):
        simulated(entry(name), platform={"base": "hgx_h100", "host": {"count": 2}})


def test_hosts_are_counted_by_whoever_says_it_last() -> None:
    """`hosts` is the count of `host`, in a file and in what is laid over it."""
    for platform, count in (
        ({"base": {"base": "hgx_h100", "hosts": 4}, "host": {"count": 2}}, 2),
        ({"base": {"base": "hgx_h100", "host": {"count": 2}}, "hosts": 4}, 4),
    ):
        (point,) = points(entry("gpu_only"), platform=platform, model={"sharding": "row"})
        assert point.platform.hosts[0].count == count
