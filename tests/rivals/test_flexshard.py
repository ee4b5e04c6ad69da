"""FlexShard: one tier over all GPUs is GPU-only with a vector a lookup, all copied is
data-parallel, and a tier within the only host is one over all GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.caches.replays.tiered_rows import TRAINED
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Add, Exchange, Expand, Pool, Stage, Update
from simulator.results.record import PointResult
from simulator.systems import system_class
from simulator.systems.flexshard import thresholds

BOX: dict[str, Any] = {"platform": "p3_16xlarge"}
HOSTS: dict[str, Any] = {
    "platform": {"base": "hgx_h100", "hosts": 2, "host": {"gpu": {"count": 2}}}
}
NEVER = 10**9
ROW = 512
ONE_HOT = {"lookups_per_table": 1}
BY_ROW = {"sharding": "row"}


def flex(gpus: int, copied: float | None, on_host: float | None = NEVER) -> dict[str, Any]:
    tiers = {"copied_from": copied, "on_host_from": on_host}
    return {"name": "flexshard", "gpus": gpus, **tiers}


def one(entry: dict[str, Any], **changes: Any) -> PointResult:
    (result,) = simulated(entry, **changes).values()
    return result


def same(one: PointResult, other: PointResult) -> bool:
    """To the picosecond and the microjoule."""
    columns = ("iteration_time_us", "energy_mj", "unique_rows_per_batch")
    return stage_times(one) == stage_times(other) and all(
        one.metrics[column] == other.metrics[column] for column in columns
    )


def exchanged(entry: dict[str, Any], **changes: Any) -> dict[str, list[int]]:
    """Bytes of the exchanges of all GPUs, by name."""
    system, (facts,) = replayed(entry, 1, **changes)
    sizes: dict[str, list[int]] = {}
    for word in words(system, facts):
        if isinstance(word, Exchange):
            sizes.setdefault(word.name, []).append(word.bytes)
    return sizes


@pytest.mark.parametrize("profile", ["tuned", "torchrec_serial", "hugectr_2021"])
@pytest.mark.parametrize("gpus", [3, 4])
def test_one_tier_over_all_gpus_of_one_lookup_a_bag_is_gpu_only(gpus: int, profile: str) -> None:
    """Whole tables: a vector a lookup is a pooled vector."""
    software = {"operators": profile, "model": ONE_HOT}
    mine = one(flex(gpus, NEVER), **BOX, **software)
    assert same(mine, one({"name": "gpu_only", "gpus": gpus}, **BOX, **software))


def test_without_fused_operators_it_spares_the_expansion() -> None:
    """The gradients of one lookup a bag are those of its vector."""
    software = {"operators": "stock", "model": ONE_HOT}
    mine, other = (
        one(e, **BOX, **software) for e in (flex(4, NEVER), {"name": "gpu_only", "gpus": 4})
    )
    less = {
        stage: busy - stage_times(mine)[stage]
        for stage, busy in stage_times(other).items()
        if busy != stage_times(mine)[stage]
    }
    system, (facts,) = replayed({"name": "gpu_only", "gpus": 4}, 1, **BOX, **software)
    assert [w for w in words(system, facts) if isinstance(w, Expand)]
    assert list(less) == ["sort_update"]
    assert less["sort_update"] > 0


@pytest.mark.parametrize("lookups", [1, 4, 20])
def test_against_tables_by_rows_a_vector_a_lookup_crosses_not_a_partial_sum_a_gpu(
    lookups: int,
) -> None:
    """N D over all GPUs in place of W B T D: L / W of the bytes of partial sums that are not summed
    on their way."""
    model = {**BY_ROW, "lookups_per_table": lookups}
    profile = {"operators": {"base": "tuned", "gpu": {"row_exchange": "all_to_all"}}}
    mine = exchanged(flex(4, NEVER), model=model, **BOX, **profile)
    other = exchanged({"name": "gpu_only", "gpus": 4}, model=model, **BOX, **profile)
    batch = 256 * 4 * ROW
    for name in ("all_to_all", "all_to_all_back"):
        assert sum(mine[name]) == lookups * batch
        assert sum(other[name]) == 4 * batch
    assert mine["all_reduce"] == other["all_reduce"]


@pytest.mark.parametrize("sharding", ["table", "row"])
def test_with_all_rows_copied_there_is_no_all_to_all(sharding: str) -> None:
    """And it is the hybrid embedding with all rows frequent, but for names."""
    model = {"sharding": sharding}
    sizes = exchanged(flex(4, 0), model=model, **BOX)
    assert set(sizes) == {"all_reduce", "all_reduce_copied"}
    assert sizes["all_reduce_copied"] == [4 * 20_000 * ROW] * 4
    hybrid = {"name": "hugectr_hybrid", "gpus": 4, "threshold": 0}
    mine, other = (one(entry, model=model, **BOX) for entry in (flex(4, 0), hybrid))
    assert same(mine, other)
    assert stage_times(mine)["all_to_all"] == stage_times(mine)["all_to_all_back"] == 0


@pytest.mark.parametrize("lookups", [1, 20])
@pytest.mark.parametrize("gpus", [3, 4])
def test_on_one_host_a_tier_within_it_is_one_over_all_gpus(gpus: int, lookups: int) -> None:
    model = {**BY_ROW, "lookups_per_table": lookups}
    within, over = (one(flex(gpus, NEVER, k), model=model, **BOX) for k in (0, NEVER))
    assert same(within, over)


@pytest.mark.parametrize(("copied", "on_host"), [(0, 0), (None, None), (5, 2), (NEVER, 0)])
def test_one_gpu_exchanges_nothing(copied: float | None, on_host: float | None) -> None:
    assert exchanged(flex(1, copied, on_host), **BOX) == {}
    assert same(one(flex(1, copied, on_host)), one({"name": "gpu_only", "gpus": 1}))


def test_bytes_on_links_by_closed_form() -> None:
    """Two hosts of two GPUs: N3 D over all, N2 D within hosts, F1 D and F2 D / 2 summed a GPU."""
    system, (facts,) = replayed(flex(4, 20, 4), 1, model=BY_ROW, **HOSTS)
    copied, on_host = (sum(tier.rows) for tier in system.replay.upper)
    assert 0 < copied < on_host < 80_000 - copied
    first, tables = system.replay.first, 4 * 4
    assert facts.shards == first + 2 * tables
    middle = facts.of_shards(range(first + tables, facts.shards))[HIT].lookups
    program = [w for w in words(system, facts) if isinstance(w, Exchange)]

    def sent(*names: str) -> int:
        return sum(word.bytes for word in program if word.name in names)

    assert sent("all_to_all") == sent("all_to_all_back") == facts[MISS].lookups * ROW > 0
    assert sent("all_to_all_on_host", "all_to_all_on_host_2") == middle * ROW > 0
    assert sent("all_to_all_on_host_back", "all_to_all_on_host_back_2") == middle * ROW
    assert {w.bytes for w in program if w.name == "all_reduce_copied"} == {copied * ROW}
    halves = sum(-(-rows // 2) for rows in system.replay.upper[1].rows)
    reduced = [w for w in program if w.name.startswith("all_reduce_on_host")]
    assert {w.bytes for w in reduced} == {halves * ROW}
    assert {w.group for w in reduced} == {
        ("host0.gpu0", "host1.gpu0"),
        ("host0.gpu1", "host1.gpu1"),
    }
    inside = {w.group for w in program if w.name.startswith("all_to_all_on_host")}
    assert inside == {("host0.gpu0", "host0.gpu1"), ("host1.gpu0", "host1.gpu1")}


def network_bytes(entry: dict[str, Any]) -> float:
    """That the hosts send in a mini-batch."""
    devices = one(entry, model=BY_ROW, run={"batches": 2, "warmup_batches": 2}, **HOSTS).devices
    return sum(row["bytes"] for row in devices if row["resource"].endswith(".tx"))


def test_within_hosts_nothing_but_gradients_of_its_rows_is_on_the_network() -> None:
    """All rows on each host: only sums cross, 2 (H - 1) / H of the rows of each GPU, beside those
    of the MLPs, and as many where all are copied, summed within hosts first; over all GPUs half of
    the vectors go to the other host, there and back."""
    within, over, copied = (
        network_bytes(flex(4, *tiers)) for tiers in ((NEVER, 0), (NEVER,), (0,))
    )
    gradients = 80_000 * ROW
    _, (facts,) = replayed(flex(4, NEVER), 1, model=BY_ROW, **HOSTS)
    vectors = facts[LOOKUP].lookups * ROW
    assert within - over == pytest.approx(2 * gradients - vectors, rel=0.02)
    assert copied == pytest.approx(within, rel=0.01)


def test_lookups_are_served_once_and_all_copies_trained() -> None:
    system, (facts,) = replayed(
        flex(4, 20, 4), 1, run={"memory_fidelity": "exact"}, model=BY_ROW, **HOSTS
    )
    _, (whole,) = replayed({"name": "gpu_only", "gpus": 4}, 1, model=BY_ROW, **HOSTS)
    facts.check()
    program = words(system, facts)
    pools = [w for w in program if isinstance(w, Pool)]
    assert len(pools) == 3 * 4
    assert sum(pool.rows.lookups for pool in pools) == whole[LOOKUP].lookups
    assert facts[TRAINED].rows + facts[MISS].rows == whole[UNIQUE].rows
    updates = [w for w in program if isinstance(w, Update) and w.writes.slotted]
    trained = {
        at: np.sort(np.concatenate([w.rows.ids for w in updates if w.at == at]))
        for at in ("host0.gpu0", "host0.gpu1", "host1.gpu0", "host1.gpu1")
    }
    for k in range(2):
        assert np.array_equal(trained[f"host0.gpu{k}"], trained[f"host1.gpu{k}"])
    both = np.concatenate([trained["host0.gpu0"], trained["host0.gpu1"]])
    assert np.array_equal(np.unique(both), np.sort(facts[TRAINED].ids))


def test_vectors_are_summed_and_gradients_expanded_at_their_samples() -> None:
    """A gradient goes back for each vector that came."""
    system, (facts,) = replayed(flex(4, 20, 4), 1, model=BY_ROW, **HOSTS)
    program = words(system, facts)
    copied = facts.of_shards(range(system.replay.first, system.replay.first + 16))[HIT].lookups
    came = facts[LOOKUP].lookups - copied
    expanded = [w for w in program if isinstance(w, Expand)]
    assert sum(word.rows.lookups for word in expanded) == came
    added = [w for w in program if isinstance(w, Add)]
    assert sum(word.sources[0].bytes for word in added) == came * ROW
    assert {word.into.bytes for word in added} == {256 // 4 * 4 * ROW}


CASES = [(NEVER, NEVER), (0, NEVER), (NEVER, 0), (0.2, 0.1)]


def parameters(copied: float | None, on_host: float | None) -> list[str]:
    keys = {"copied_from": copied, "on_host_from": on_host}
    return [f"{key}={'null' if n is None else n}" for key, n in keys.items()]


@pytest.mark.parametrize("sharding", ["table", "row"])
@pytest.mark.parametrize("tiers", CASES)
def test_it_trains_like_one_batch_at_a_time(
    tiers: tuple[float | None, float | None], sharding: str, tmp_path: Path
) -> None:
    """On a host of four GPUs, and on two hosts of two: bit for bit."""
    two = tmp_path / "two.yaml"
    two.write_text("base: hgx_h100\nname: two\nhosts: 2\nhost: {gpu: {count: 2}}\n")
    for platform in (BOX["platform"], str(two)):
        outcome = executed.__wrapped__(
            "flexshard",
            *parameters(*tiers),
            platform=platform,
            gpus=4,
            sharding=sharding,
            tables=4,
            batches=12,
        )
        assert outcome.tables_equal
        assert outcome.stale == outcome.lost == 0


def test_a_host_that_misses_the_sums_is_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two = tmp_path / "two.yaml"
    two.write_text("base: hgx_h100\nname: two\nhosts: 2\nhost: {gpu: {count: 2}}\n")
    kind = system_class("flexshard")
    build = kind.stages

    def without(self: Any, facts: BatchFacts) -> tuple[Stage, ...]:
        def kept(word: object) -> bool:
            return not (isinstance(word, Update) and word.at == "host1.gpu1")

        return tuple(
            Stage(s.name, tuple(tuple(filter(kept, lane)) for lane in s.lanes))
            for s in build(self, facts)
        )

    monkeypatch.setattr(kind, "stages", without)
    outcome = executed.__wrapped__(
        "flexshard", *parameters(NEVER, 0), platform=str(two), gpus=4, tables=4, batches=12
    )
    assert outcome.stale > 0


def test_rows_go_where_their_bytes_take_least_time() -> None:
    """Against bytes over rates, summed over all GPUs, of a row of c lookups."""
    for gpus, hosts, ratio in ((16, 2, 0.1), (16, 2, 0.9), (64, 8, 0.25), (8, 2, 0.5)):
        g = gpus // hosts
        copied, on_host = thresholds(gpus, hosts, ratio)
        assert on_host is not None
        for c in np.geomspace(0.5, 2 * copied, 60):
            slow = 2 * c * ((g - 1) / gpus + (gpus - g) / gpus / ratio)
            near = 2 * c * (g - 1) / g + 2 * (hosts - 1) / ratio
            here = 2 * (gpus - hosts) + 2 * (hosts - 1) / ratio
            tier = 0 if c >= copied else 1 if c >= on_host else 2
            assert (here, near, slow)[tier] == pytest.approx(min(here, near, slow), rel=1e-9)
    assert thresholds(8, 1, 0.1) == thresholds(8, 8, 0.1) == thresholds(8, 2, 1.5) == (8, None)


def test_tiers_follow_the_thresholds() -> None:
    """On one host a row is copied from as many lookups a mini-batch as there are GPUs."""
    derived, asked = (replayed(flex(4, n, None), 1, **BOX)[0].replay.upper for n in (None, 4))
    assert derived == asked
    assert sum(derived[0].rows) > 0 == sum(derived[1].rows)
    copied = [sum(replayed(flex(4, n), 1, **BOX)[0].replay.upper[0].rows) for n in (2, 4, 20)]
    assert copied == sorted(copied, reverse=True)
    tiers = replayed(flex(4, None, None), 1, model=BY_ROW, **HOSTS)[0].replay.upper
    assert [tier.gpus for tier in tiers] == [1, 2]
    assert sum(tiers[0].rows) > 0 < sum(tiers[1].rows)


def test_what_does_not_fit_or_does_not_go_is_refused() -> None:
    (point,) = points(flex(4, 0), model={"rows_per_table": 20_000_000}, **BOX)
    with pytest.raises(CapacityError, match=r"flexshard: .*copies of rows 40\.96 GB"):
        simulate_points([point], threads=1)
    (point,) = points(flex(4, 5), model={"sharding": "column"}, **BOX)
    with pytest.raises(ConfigError, match=r"4 tables parts by columns or copies"):
        simulate_points([point], threads=1)
    with pytest.raises(ConfigError, match=r"gpus: is 16: p3_16xlarge has 8"):
        points(flex(16, 5), **BOX)
    with pytest.raises(ConfigError, match=r"copied_from: is -1: must be at least 0"):
        points(flex(4, -1), **BOX)
    with pytest.raises(ConfigError, match=r"is not used by flexshard"):
        points({"name": "flexshard", "cache": {"fraction": 0.1}}, **BOX)
