"""What tiers refuse, each with its place, number and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from tiered import HOST, MODEL, points

from simulator.engine.hazards import HazardCase, run_case
from simulator.engine.sharing import build
from simulator.errors import CapacityError, ConfigError, UsageError


def built(*entries: Any, **changes: Any) -> None:
    for point in points(*(entries or ("hybrid",)), **changes):
        build(point)


def refused(*entries: Any, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        built(*entries, **changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"tier": {"dram": "60 %", "cxl": "30 %"}}, ("60 % + 30 % = 90 %", "add up to 100 %")),
        ({"tier": {"dram": "sixty"}}, ("'sixty' is no share", "60 % or 0.6")),
        ({"tier": {"dram": "-1 %", "cxl": "101 %"}}, ("'-1 %' is no share", "0 to 100 %")),
        ({"tier": "cxl", "cache": "-1%"}, ("'-1%' is no share of anything: 0 to 100 %",)),
        ({"tier": "cxl", "cache": "150 %"}, ("'150 %' is no share of anything: 0 to 100 %",)),
        ({"tier": {"dram": 1.5}}, ("is 1.5: must be at most 1",)),
        ({"tier": {"cxk": 1.0}}, ("tables.tier.cxk", "is no memory of the host", "'cxl'")),
        ({"tier": "nothing"}, ("tables.tier.nothing", "it has: dram, cpu, cxl, pmem, ssd")),
        ({"tier": "gpu"}, ("tables.tier.gpu", "is no memory of the host of tiers")),
        ({"tier": {"dram": 0.5, "cpu": 0.5}}, ("names a memory twice: cpu.dram, cpu.dram",)),
        ({"tier": {f"m{k}": 1 / 20 for k in range(20)}}, ("names 20 memories: 16 at most",)),
        ({"tier": "cxl", "by": "page"}, ("tables.by",)),
    ],
)
def test_what_is_no_tier(tables: dict[str, Any], words: tuple[str, ...]) -> None:
    text = refused(tables=tables)
    for word in words:
        assert word in text


def test_a_link_that_is_no_memory() -> None:
    assert "is no memory of the host of tiers" in refused(tables={"tier": "cxl_link"})


def test_a_tier_behind_a_link_without_loads() -> None:
    host = {"cxl_link": {"part": "pcie4_x4", "join": ["cpu", "cxl"]}}
    text = refused(host=host, tables={"tier": "cxl"})
    for word in ("cpu cannot load from cxl.dram", "cxl_link", "load_latency"):
        assert word in text


def test_a_share_beyond_its_tier_has_the_arithmetic() -> None:
    """40 % of 204.8 GB are 81.92 GB; a quarter of the tables would fit."""
    host = {"cxl": {**HOST["cxl"], "memory": {"capacity": "51.2 GB"}}}
    model = {**MODEL, "rows_per_table": 100_000_000}
    tables = {"tier": {"dram": 0.6, "cxl": 0.4}}
    with pytest.raises(CapacityError) as caught:
        built("scratchpipe", host=host, model=model, tables=tables)
    text = str(caught.value)
    for word in ("tables.tier.cxl", "40 %", "160,000,000 rows", "81.92 GB", "51.2 GB", "25 %"):
        assert word in text
    assert "smaller share" in text


def test_tables_that_no_memory_holds_alone_fit_in_two() -> None:
    model = {**MODEL, "rows_per_table": 200_000_000}
    tables = {"tier": {"dram": 0.5, "cxl": 0.5}}
    (point,) = points("hybrid", model=model, tables=tables)
    assert build(point)[0].replay.tiers is not None
    assert "409.6 GB" in refused(model=model)


@pytest.mark.parametrize("name", ["gpu_only", "fbgemm_uvm", "hugectr_etc", "cdlrm"])
def test_systems_without_tiers_of_the_host_say_so(name: str) -> None:
    assert f"{name} has no tables that tiers of the host hold" in refused(
        name, tables={"tier": {"dram": 0.5, "cxl": 0.5}}
    )
    entry = {"name": name, "tables": {"tier": "cxl"}}
    assert f"is not used by {name}" in refused(entry)


def test_an_entry_has_tiers_of_its_own() -> None:
    entries = [{"name": "hybrid", "label": "far", "tables": {"tier": "cxl"}}, "gpu_only"]
    far, gpu = points(*entries)
    assert (far.tables.tier, gpu.tables.tier) == ({"cxl": 1.0}, {})
    assert far.key() != points("hybrid")[0].key()


def test_tables_cut_into_parts_are_refused() -> None:
    host = {
        "gpu": {"part": "v100_sxm2_32gb", "count": 2},
        "nvlink": {"part": "nvlink2_v100", "join": ["gpu"], "by": "switch"},
    }
    text = refused(
        {"name": "straw_man", "gpus": 2},
        host=host,
        model={"sharding": "column"},
        tables={"tier": {"dram": 0.5, "cxl": 0.5}},
    )
    assert "cut into parts; set model.sharding: table" in text


def test_the_order_of_tiers_tells_points_apart() -> None:
    shares = {"dram": 0.5, "cxl": 0.5}
    (one,) = points("hybrid", tables={"tier": shares})
    (other,) = points("hybrid", tables={"tier": dict(reversed(shares.items()))})
    assert one.key() != other.key()


def test_tiers_are_swept() -> None:
    tiers = ["cxl", {"dram": "60 %", "cxl": "40 %"}]
    swept = points("hybrid", sweep={"tables.tier": tiers, "tables.order": ["hottest", "hash"]})
    assert [(p.tables.shares, p.tables.order) for p in swept] == [
        ({"cxl": 1.0}, "hottest"),
        ({"cxl": 1.0}, "hash"),
        ({"dram": 0.6, "cxl": 0.4}, "hottest"),
        ({"dram": 0.6, "cxl": 0.4}, "hash"),
    ]
    assert len({p.key() for p in swept}) == 4


def test_a_check_on_a_machine_without_the_tier_says_what_to_type() -> None:
    with pytest.raises(UsageError, match=r"--tier ssd: .* with --platform, such as ssd_v100"):
        run_case(HazardCase(tier="ssd", batches=5))
