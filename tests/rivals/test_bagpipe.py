"""Bagpipe: bytes between hosts, what one trainer loses, hazards executed, refusals."""

from __future__ import annotations

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import LOOKUP, MISS
from simulator.caches.replays.oracle_facts import FETCHED, LATER, LEAVING, NOW
from simulator.caches.replays.samples import of_trainer
from simulator.config.catalogue import load_named
from simulator.engine.points import simulate_points
from simulator.errors import ConfigError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import Buffer, Exchange, Gather, Move
from simulator.hardware.topology import build_topology

HERE = {"platform": "bagpipe_p3", "cache": {"fraction": 1.0}}
SHORT = {"name": "bagpipe", "look_ahead": 4}


@pytest.mark.parametrize("gpus", [1, 3])
@pytest.mark.parametrize("look_ahead", [1, 2, 5, 40])
def test_it_trains_like_one_batch_at_a_time(look_ahead: int, gpus: int) -> None:
    outcome = executed("bagpipe", f"look_ahead={look_ahead}", tables=2, gpus=gpus)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_bytes_are_those_of_the_rows_of_each_trainer() -> None:
    system, facts = replayed({**SHORT, "gpus": 3}, 10, **HERE)
    for batch in facts:
        done = words(system, batch)
        for name, flow in (("old_rows", LEAVING), ("new_rows", FETCHED)):
            sent = [w for w in done if isinstance(w, Move) and w.name == name]
            rows = [batch[of_trainer(t, flow)].rows for t in range(3)]
            assert sum(w.bytes for w in sent) == 2 * 512 * sum(rows)  # the network, and PCIe
        sums = {w.name: w.bytes for w in done if isinstance(w, Exchange)}
        assert sums["all_reduce_now"] == 512 * batch[NOW].rows
        assert sums["all_reduce_later"] == 512 * batch[LATER].rows
        pooled = [batch[of_trainer(t, LOOKUP)].lookups for t in range(3)]
        assert sum(pooled) == batch[LOOKUP].lookups


def test_one_trainer_synchronises_nothing_and_fetches_each_missed_row_once() -> None:
    system, facts = replayed({**SHORT, "gpus": 1}, 12, **HERE)
    assert not [w for batch in facts for w in words(system, batch) if isinstance(w, Exchange)]
    fetched = sum(batch[of_trainer(0, FETCHED)].rows for batch in facts)
    assert fetched == sum(batch[MISS].rows for batch in facts)


def test_a_longer_look_ahead_fetches_less_and_one_trainer_waits_for_no_sum() -> None:
    entries = [
        {"name": "bagpipe", "label": f"{a} {gpus}", "look_ahead": a, "gpus": gpus}
        for a, gpus in ((1, 2), (8, 2), (8, 1))
    ]
    results = simulated(*entries, run={"batches": 8, "warmup_batches": 8}, **HERE)
    misses = {label: r.metrics["misses_per_batch"] for label, r in results.items()}
    assert misses["1 2"] == results["1 2"].metrics["unique_rows_per_batch"]
    assert misses["8 2"] == misses["8 1"] < misses["1 2"]
    assert stage_times(results["8 1"]).get("sync", 0.0) == 0.0
    assert stage_times(results["8 2"])["sync"] > 0.0
    assert results["8 2"].metrics["iteration_time_us"] < results["1 2"].metrics["iteration_time_us"]


def test_bytes_to_another_host_take_interfaces_threads_and_the_call() -> None:
    """A trainer's interface of 1.25 GB/s is the slowest on the way; 0.1 and 0.19 ns a byte of
    threads; a call adds its latency and nothing else."""
    machine = build_topology(load_machine("bagpipe_p3"), 512)
    software, size = load_named("operators", "tuned"), 10**8
    what = Buffer("rows", "server.cpu.dram", size)
    plain, call = (
        machine.price(Move("rows", what.memory, what, "trainer3.cpu.dram", late), software)
        for late in (0, 150_000_000)
    )
    assert plain.alone_ps(machine.resources) == pytest.approx(size / 1.25e9 * 1e12, rel=1e-6)
    assert call.latency_ps - plain.latency_ps == 150_000_000
    cores = {"server.cpu.cores": (100, 36), "trainer3.cpu.cores": (190, 4)}
    for name, (each, count) in cores.items():
        assert plain.services[name].ps == pytest.approx(size * each / count)


@pytest.mark.parametrize(
    ("entry", "changes", "message"),
    [
        (SHORT, {"platform": "v100_p3"}, "a single host: name a platform .* platform: bagpipe_p3}"),
        (SHORT, {"platform": {"base": "hgx_h100", "hosts": 2}}, "none of the 2 hosts of hgx_h100"),
        ("bagpipe", {"platform": "v100_p3"}, "v100_p3 is a single host: name a platform"),
        ("bagpipe", {}, r"look_ahead of bagpipe is 200, but the run has 12 .*lower look_ahead"),
        (SHORT, {"cache": {"prefill": "hot"}}, "cache.prefill hot would do nothing"),
        (SHORT, {"model": {"sharding": "row"}}, "model.sharding row would do nothing"),
        (
            SHORT,
            {"model": {"dim": [128, 64, 128, 64], "interaction": "cat"}},
            "rows have 256 to 512 B",
        ),
        ({**SHORT, "gpus": 8}, {"model": {"batch_size": 5}}, "spreads 5 samples .* over 8 GPUs"),
    ],
)
def test_what_cannot_be_is_named_with_number_and_remedy(
    entry: object, changes: dict[str, object], message: str
) -> None:
    sections = {**HERE, **changes}
    sections["cache"] = {"fraction": 1.0, **sections["cache"]}  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=message):
        simulate_points(points(entry, **sections), threads=1)


def test_several_servers_share_the_tables() -> None:
    """Twice the servers, each with half of the tables: each gathers the rows of its own."""
    two = {"base": "bagpipe_p3", "hosts": {"server": {"count": 2}}}
    gathered = []
    for platform in ("bagpipe_p3", two):
        system, facts = replayed({**SHORT, "gpus": 2}, 8, **{**HERE, "platform": platform})
        rows: dict[str, int] = {}
        for batch in facts:
            for word in words(system, batch):
                if isinstance(word, Gather) and word.at.endswith("cpu"):
                    rows[word.at] = rows.get(word.at, 0) + word.rows.rows
        gathered.append(rows)
    one, halves = gathered
    assert set(halves) == {"server0.cpu", "server1.cpu"}
    assert sum(halves.values()) == one["server.cpu"]
    assert min(halves.values()) > 0.45 * one["server.cpu"]
