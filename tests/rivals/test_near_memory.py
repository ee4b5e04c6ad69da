"""TensorDIMM, RecNMP and FAFNIR: identities and limits of training in a near-memory pool."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import MODEL, executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.engine import simulate_points
from simulator.errors import ConfigError, ScratchPipeError
from simulator.hardware.program import Add, Move, Pool, Sort
from simulator.results.record import PointResult
from simulator.systems import System

SYSTEMS = {"tensordimm": "tensordimm_v100", "recnmp": "recnmp_v100", "fafnir": "fafnir_v100"}
ROW = 512
FREE: dict[str, Any] = {
    "channel_bandwidth": "100 TB/s",
    "instructions": {"bits": 1, "bits_per_clock": 1e6},
    "latency": "0 ns",
}
"""A pool whose memory alone takes time."""
FREE_LINK = {
    "part": "cxl2_x16",
    "raw_bandwidth": "1000 TB/s",
    "load_latency": "0 ns",
    "join": ["cpu", "near_memory"],
}
FAST_CORES: dict[str, Any] = {
    "cores": 4000,
    "core_cache": "1 KiB",
    "last_level_cache": "1 KiB",
    "device_cache": "0 B",
    "page": "1 GiB",
    "thread_start": "0 ns",
    "memory_path": {
        "random_read": "100 TB/s",
        "random_piece": "0 ps",
        "sequential_read": "100 TB/s",
        "write": "100 TB/s",
        "write_back": "100 TB/s",
        "duplex": 1.0,
        "sharpness": 1000,
    },
}
"""Cores that wait for memory alone, and keep nothing."""
NODE = {"part": "ddr4_2400", "mapping": {"order": "row"}, "controller": "server"}


def machine(name: str, pool: dict[str, Any] | None = None, **sockets: Any) -> dict[str, Any]:
    """The machine of a system; `pool`: keys of its pool that differ."""
    changed = {"near_memory": {"part": parts()[name], **(pool or {})}}
    return {"base": SYSTEMS[name], "name": "pool", "host": {**changed, **sockets}}


def parts() -> dict[str, str]:
    return {name: f"{name}_ddr4" for name in SYSTEMS}


def entry(name: str, pool: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """An entry of `systems` on such a machine; keys of the machine are sockets, others its own."""
    sockets = {key: keys.pop(key) for key in ("cpu", "gpu", "near_link") if key in keys}
    return {"name": name, "platform": machine(name, pool, **sockets), **keys}


def ran(name: str, pool: dict[str, Any] | None = None, **changes: Any) -> PointResult:
    own = {key: changes.pop(key) for key in tuple(changes) if key not in SECTIONS}
    return simulated(entry(name, pool, **own), **changes)[name]


SECTIONS = ("model", "trace", "run", "operators")


def device(result: PointResult, resource: str) -> dict[str, Any]:
    return next(row for row in result.devices if row["resource"] == resource)


def facts_of(
    name: str, pool: dict[str, Any] | None = None, **changes: Any
) -> tuple[System, BatchFacts]:
    own = {key: changes.pop(key) for key in tuple(changes) if key not in SECTIONS}
    system, (facts,) = replayed(entry(name, pool, **own), 1, **changes)
    return system, facts


# the memory of hybrid, and a pool that takes no time


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_rank_a_channel_is_busy_as_long_as_the_memory_of_hybrid(name: str) -> None:
    """Four nodes behind nothing against four channels of one rank: rows read, gradients read for
    every lookup, rows read and written. Ids, vectors and what copies of them move are 3 % of it."""
    change = {
        "operators": "tuned",
        "trace": {"kind": "uniform"},
        "model": {"lookups_per_table": 80, "batch_size": 512, "rows_per_table": 100_000},
    }
    shape = {"channels": 4, "modules": 1, "ranks": 1, "memory": NODE, "cache": "0 B"}
    keys: dict[str, Any] = {"update": "fused"}
    if name == "fafnir":
        keys["hardware_batch"] = 1
    link = {"near_link": FREE_LINK} if name != "tensordimm" else {}
    mine = ran(name, {**FREE, **shape}, **keys, **link, **change)
    dram = {
        **NODE, "organization": {"channels": 4, "ranks": 1}, "capacity": "32 GiB",
        "mapping": {"order": "row", "interleave": "64 B" if name == "tensordimm" else "512 B"},
    }  # fmt: skip
    hybrid = {
        "name": "hybrid",
        "platform": {
            "base": "v100_p3", "name": "plain", "host": {"cpu": {**FAST_CORES, "memory": dram}},
        },
    }  # fmt: skip
    other = simulated(hybrid, **change)["hybrid"]
    near, plain = (
        device(r, d)["busy_us"] for r, d in ((mine, "near_memory.dram"), (other, "cpu.dram"))
    )
    assert near == pytest.approx(plain, rel=0.06)


def test_an_infinitely_fast_pool_is_gpu_only_with_vectors_over_the_link_twice() -> None:
    """Vectors of 2 KiB over a link of 6 GB/s; what the pool takes is below 3 %."""
    model = {"dim": 512, "lookups_per_table": 4, "batch_size": 1024, "bottom_mlp": [64]}
    quick = {**NODE, "clock": "60 GHz"}
    link = {"part": "nvlink2_v100", "bandwidth": "6 GB/s", "join": ["gpu", "near_memory"]}
    pool = {**FREE, "memory": quick, "cache": "0 B"}
    near = ran("tensordimm", pool, near_link=link, model=model)
    gpu = simulated("gpu_only", model=model)["gpu_only"]
    mine, other = stage_times(near), stage_times(gpu)
    assert mine["mlp"] == other["mlp"]
    assert mine["ids"] == pytest.approx(other["ids"], abs=6.0)  # of the host's submission
    vectors = 1024 * 4 * 2048 / (0.8 * 6e3)
    assert mine["gather_reduce"] == pytest.approx(vectors, rel=0.03)
    assert mine["gradients_to_pool"] == pytest.approx(vectors, rel=0.03)
    total = mine["ids"] + other["mlp"] + 2 * vectors
    assert near.metrics["iteration_time_us"] == pytest.approx(total, rel=0.03)


# bytes


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("update", ["fused", "in_two_passes"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad"])
def test_bytes_in_the_pool_are_those_of_its_operations(
    name: str, update: str, optimizer: str
) -> None:
    """What is read of rows, a gradient a lookup, rows (and state) read and written; in two passes
    sums written and read; gradients wherever a row of their vector lies."""
    change: dict[str, Any] = {"model": {"optimizer": optimizer}}
    run = {"batches": 1, "warmup_batches": 0, "check": True}
    _, facts = facts_of(name, update=update, run=run, **change)
    result = ran(name, update=update, run=run, **change)
    rows, unique = facts[LOOKUP], facts[UNIQUE]
    spread = rows.nodes
    assert spread is not None
    state = {"sgd": 0, "adagrad": ROW, "rowwise_adagrad": 4}[optimizer]
    wanted = sum(spread.read) * ROW + rows.lookups * ROW + 2 * unique.rows * (ROW + state)
    wanted += 2 * unique.rows * ROW * (update == "in_two_passes")
    wanted += spread.homes * ROW
    assert device(result, "near_memory.dram")["bytes"] == pytest.approx(wanted, rel=1e-9)


def test_vectors_alone_cross_the_link_of_a_pool_that_adds_up() -> None:
    for name in ("tensordimm", "fafnir"):
        system, facts = facts_of(name)
        sizes = {w.name: w.bytes for w in words(system, facts) if isinstance(w, Move)}
        vectors = 256 * 4 * ROW
        assert sizes["pooled_to_gpu"] == sizes["gradients_to_pool"] == vectors
        assert sizes["list_to_pool"] == facts[LOOKUP].lookups * (8 + 4)
        assert not any(isinstance(word, Add) for word in words(system, facts))


def test_the_host_of_recnmp_gets_a_sum_of_every_module_and_sends_to_every_channel() -> None:
    """Uniform rows: of 16 modules a vector of 20 touches 11.6, of 4 channels 3.99."""
    system, facts = facts_of("recnmp", trace={"kind": "uniform"}, model={"lookups_per_table": 20})
    own = words(system, facts)
    sizes = {w.name: w.bytes for w in own if isinstance(w, Move)}
    vectors = 256 * 4 * ROW
    (added,) = (w for w in own if isinstance(w, Add))
    assert {source.memory for source in added.sources} == {"near_memory.buffers"}
    assert sum(source.bytes for source in added.sources) / vectors == pytest.approx(11.6, rel=0.01)
    assert sizes["gradients_to_pool"] / vectors == pytest.approx(3.99, rel=0.01)
    assert sizes["pooled_to_gpu"] == sizes["gradients_to_cpu"] == vectors


def test_the_host_loads_sums_past_its_own_memory() -> None:
    """They cross the channels, and are added up while nodes read: the host's DRAM has vectors,
    gradients and ids, each a few times."""
    change: dict[str, Any] = {"trace": {"kind": "uniform"}, "model": {"lookups_per_table": 20}}
    result = ran("recnmp", **change)
    vectors = 256 * 4 * ROW
    assert device(result, "near_link.up")["bytes"] == pytest.approx(11.6 * vectors, rel=0.01)
    assert device(result, "cpu.dram")["bytes"] < 10 * vectors
    slow = ran("recnmp", {"channel_bandwidth": "100 MB/s"}, **change)
    wait_us = 11.6 * vectors / 400e6 * 1e6
    assert stage_times(slow)["gather_reduce"] == pytest.approx(wait_us, rel=0.02)


def test_tables_in_channels_let_fewer_sums_out() -> None:
    """Of the 4 modules of a channel a vector of 20 uniform rows touches all: 3.99 sums in place of
    the 11.6 of 16 modules; gradients go to one channel in place of 3.99."""
    change: dict[str, Any] = {"trace": {"kind": "uniform"}, "model": {"lookups_per_table": 20}}
    spreads, sums = {}, {}
    for spread in ("pool", "channel"):
        pool = {"spread": spread, "cache": "0 B"}
        spreads[spread] = facts_of("recnmp", pool, **change)[1][LOOKUP].nodes
        sums[spread] = device(ran("recnmp", pool, **change), "near_link.up")["bytes"]
    whole, channel = spreads["pool"], spreads["channel"]
    assert whole is not None
    assert channel is not None
    assert whole.modules / whole.vectors == pytest.approx(11.6, rel=0.01)
    assert channel.modules / channel.vectors == pytest.approx(3.99, rel=0.01)
    assert channel.channels == channel.vectors
    assert sum(channel.lookups) == sum(whole.lookups)
    assert max(channel.lookups) == pytest.approx(max(whole.lookups), rel=0.1)
    assert sums["channel"] / sums["pool"] == pytest.approx(3.99 / 11.6, rel=0.02)


def test_tables_of_one_channel_are_spread_as_those_of_a_pool() -> None:
    one, other = (
        ran("recnmp", {"channels": 1, "spread": spread}) for spread in ("pool", "channel")
    )
    assert one.metrics["iteration_time_us"] == other.metrics["iteration_time_us"]


def test_the_gpu_sorts_beside_the_gather() -> None:
    for name in SYSTEMS:
        system, facts = facts_of(name)
        (stage,) = (s for s in system.stages(facts) if s.name == "gather_reduce")
        kinds = [{type(word) for word in lane} for lane in stage.lanes]
        assert {Pool} in kinds
        assert any(Sort in kind for kind in kinds)


# limits


@pytest.mark.parametrize("name", ["tensordimm", "fafnir"])
def test_twice_the_nodes_take_half_the_time(name: str) -> None:
    """Whole rows in ranks lose a little to uneven ones, and to gradients in more places."""
    change = {"trace": {"kind": "uniform"}, "model": {"batch_size": 1024}}
    free = {**FREE, "cache": "0 B"}
    busy = []
    for channels in (2, 4):
        shape = {**free, "channels": channels, "modules": 1, "ranks": 4}
        busy.append(device(ran(name, shape, **change), "near_memory.dram")["busy_us"])
    assert busy[0] / busy[1] == pytest.approx(2.0, rel=0.05 if name == "tensordimm" else 0.1)


def test_more_modules_than_pieces_help_as_far_as_there_are_tables() -> None:
    """A row of 512 B lies in 8 of 64 modules: 4 tables keep 32 of them busy."""
    change = {"trace": {"kind": "uniform"}}
    times = [
        device(ran("tensordimm", {**FREE, "channels": n}, **change), "near_memory.dram")["busy_us"]
        for n in (2, 4, 8, 16)
    ]
    assert times[0] / times[2] > 3.5
    rows = [
        replayed(entry("tensordimm", {**FREE, "channels": n}), 1)[1][0][LOOKUP].nodes
        for n in (8, 16)
    ]
    assert [max(spread.lookups) for spread in rows if spread] == [256 * 20] * 2


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(
    "worse",
    [
        {"channel_bandwidth": "100 MB/s"},
        {"instructions": {"bits": 790, "bits_per_clock": 1.0}},
        {"latency": "300 us"},
        {"additions": 1e8},
        {"instructions": None, "memory": {**NODE, "command_length": {"column": 60}}},
    ],
)
def test_a_worse_pool_is_never_faster(name: str, worse: dict[str, Any]) -> None:
    good = ran(name, {"memory": NODE}).metrics["iteration_time_us"]
    bad = ran(name, {"memory": NODE, **worse}).metrics["iteration_time_us"]
    assert bad >= good
    if name != "tensordimm" or "additions" not in worse:
        assert bad > 1.02 * good


def test_caches_read_what_they_do_not_hold() -> None:
    """One that holds all rows reads each once; an emptied one each once a mini-batch; marks keep
    rows out that are looked up less often."""
    change: dict[str, Any] = {"run": {"batches": 1, "warmup_batches": 0}}
    reads = {}
    for label, pool, keys in (
        ("none", {"cache": "0 B"}, {}),
        ("small", {"cache": "4 KiB"}, {}),
        ("all", {"cache": "1 GB"}, {}),
        ("marked", {"cache": "1 GB"}, {"hot_lookups": 3}),
    ):
        _, facts = facts_of("recnmp", pool, **keys, **change)
        spread = facts[LOOKUP].nodes
        assert spread is not None
        reads[label] = sum(spread.read)
        lookups, unique = facts[LOOKUP].lookups, facts[UNIQUE].rows
    assert reads["none"] == lookups
    assert reads["all"] == unique
    assert unique < reads["small"] < lookups
    assert unique < reads["marked"] < lookups


def test_emptied_caches_keep_nothing_from_one_mini_batch_to_the_next() -> None:
    for caches, again in (("written_through", True), ("emptied", False)):
        keys = entry("recnmp", {"cache": "1 GB"}, caches=caches)
        _, facts = replayed(keys, 3)
        for own in facts[1:]:
            spread = own[LOOKUP].nodes
            assert spread is not None
            assert (sum(spread.read) < own[UNIQUE].rows) == again
            assert sum(spread.read) <= own[UNIQUE].rows


def test_fafnir_reads_distinct_rows() -> None:
    """Of a whole mini-batch its unique rows; of single samples nearly every lookup: RecNMP without
    caches, whose sums meet in the pool."""
    for samples, wanted in ((256, "unique"), (1, "sample"), (32, "between")):
        _, facts = facts_of("fafnir", hardware_batch=samples)
        spread = facts[LOOKUP].nodes
        assert spread is not None
        read, lookups, unique = sum(spread.read), facts[LOOKUP].lookups, facts[UNIQUE].rows
        if wanted == "unique":
            assert read == unique
        else:
            assert unique < read <= lookups


def test_fafnir_without_duplicates_is_recnmp_without_caches() -> None:
    change = {"trace": {"kind": "uniform"}, "model": {"rows_per_table": 2_000_000}}
    plain = {"cache": "0 B", "sums_meet": "pool", "node_power": "0.1 W"}
    one = ran("recnmp", plain, **change)
    other = ran("fafnir", hardware_batch=1, **change)
    for resource in ("near_memory.dram", "near_memory.channels", "near_memory.instructions"):
        busy = [device(result, resource)["busy_us"] for result in (one, other)]
        assert busy[0] == pytest.approx(busy[1], rel=1e-3)


def test_a_hot_row_makes_its_rank_the_fullest() -> None:
    """Zipf 1.2: the node of the hottest row has several times the mean; uniform rows are even."""
    shares = {}
    traces = {"zipf": {"kind": "zipf", "alpha": 1.2}, "uniform": {"kind": "uniform"}}
    for label, trace in traces.items():
        pool = {"cache": "0 B"}
        _, facts = facts_of("recnmp", pool, trace=trace)
        spread = facts[LOOKUP].nodes
        assert spread is not None
        shares[label] = max(spread.lookups) * 32 / sum(spread.lookups)
        busy = device(ran("recnmp", pool, trace=trace), "near_memory.dram")["busy_us"]
        shares[f"{label} busy"] = busy
    assert shares["uniform"] < 1.2
    assert shares["zipf"] > 2.5
    assert shares["zipf busy"] > 1.25 * shares["uniform busy"]


@pytest.mark.parametrize(
    ("memory", "even"), [("ddr4_2400", 1.64), ("ddr4_3200", 2.16), ("ddr5_4800", 1.0)]
)
@pytest.mark.parametrize("alpha", [0.0, 0.9, 1.2])
def test_whole_rows_lose_once_the_fullest_node_has_more_than_they_gain(
    memory: str, even: float, alpha: float
) -> None:
    """Rows of 512 B over 8 nodes, gathers alone: whole ones are as many times as fast as cut ones
    as is known of even nodes, over how full the fullest one is."""
    node = {"part": memory, "mapping": {"order": "row"}, "controller": "server"}
    shape = {**FREE, "channels": 8, "modules": 1, "ranks": 1, "memory": node, "cache": "0 B"}
    change: dict[str, Any] = {
        "trace": {"kind": "zipf", "alpha": alpha} if alpha else {"kind": "uniform"},
        "model": {"tables": 1, "rows_per_table": 500_000, "batch_size": 1024},
        "run": {"mode": "inference", "batches": 1, "warmup_batches": 1},
    }
    cut, whole = (
        device(ran(name, shape, **change), "near_memory.dram")["busy_us"]
        for name in ("tensordimm", "recnmp")
    )
    _, (_, facts) = replayed(entry("recnmp", shape), 2, **change)
    spread = facts[LOOKUP].nodes
    assert spread is not None
    fullest = max(spread.lookups) * 8 / sum(spread.lookups)
    assert cut / whole == pytest.approx(even / fullest, rel=0.03)
    assert (cut > whole) == (fullest < even) or fullest == pytest.approx(even, rel=0.03)


def test_every_row_replayed_is_near_the_table_of_bandwidths() -> None:
    change: dict[str, Any] = {"model": {"batch_size": 512}, "trace": {"kind": "uniform"}}
    run = {"batches": 2, "warmup_batches": 1}
    for name in SYSTEMS:
        results = [
            ran(name, {"cache": "0 B"}, run={**run, "memory_fidelity": kind}, **change)
            for kind in ("table", "exact", "sampled")
        ]
        busy = [device(result, "near_memory.dram")["busy_us"] for result in results]
        assert busy[1:] == [pytest.approx(busy[0], rel=0.35)] * 2


# what a user meets


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("tables", [1, 3])
@pytest.mark.parametrize("update", ["fused", "in_two_passes"])
def test_they_train_like_one_batch_at_a_time(name: str, tables: int, update: str) -> None:
    outcome = executed(name, f"update={update}", tables=tables)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_rows_of_unlike_dim_are_trained_one_dim_after_the_other(name: str) -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    result = ran(name, model=model)
    assert device(result, "near_memory.dram")["busy_us"] > 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_machine_without_a_pool_is_refused_with_what_to_type(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        simulate_points(points(name))
    text = str(caught.value)
    assert f"{name} needs a near-memory pool, but v100_p3 has none" in text
    assert f"{{name: {name}, platform: {SYSTEMS[name]}}}" in text
    assert "near_link" in text


@pytest.mark.parametrize(
    ("name", "pool", "remedy"),
    [
        ("tensordimm", {"cut": "horizontal"}, "platform.host.near_memory.cut=vertical"),
        ("recnmp", {"cut": "vertical"}, "platform.host.near_memory.cut=horizontal"),
        ("fafnir", {"sums_meet": "host"}, "platform.host.near_memory.sums_meet=pool"),
        ("fafnir", {"cache": "1 KiB"}, "platform.host.near_memory.cache"),
    ],
)
def test_another_pool_is_refused_with_what_to_type(
    name: str, pool: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ConfigError, match=remedy):
        simulate_points(points(entry(name, pool)))


def test_tables_that_do_not_fit_and_other_keys_are_refused() -> None:
    one = entry("recnmp", {"channels": 1, "modules": 1, "ranks": 1})
    with pytest.raises(ScratchPipeError, match=r"near_memory\.dram of pool holds"):
        simulate_points(points(one, model={"rows_per_table": 10**7}))
    with pytest.raises(ConfigError, match="gpus: is not used by recnmp: its pool answers one GPU"):
        points({**entry("recnmp"), "gpus": 2})
    with pytest.raises(ConfigError, match="is not used by fafnir"):
        points({**entry("fafnir"), "cache": {"fraction": 0.1}})
    with pytest.raises(ConfigError, match="hardware_batch"):
        points({**entry("fafnir"), "hardware_batch": 0})
    with pytest.raises(ConfigError, match="hot_lookups"):
        points({**entry("recnmp"), "hot_lookups": 0})
    assert MODEL["tables"] == 4
