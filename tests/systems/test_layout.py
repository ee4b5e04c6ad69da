"""Tables cut by rows and by columns, copies: what each GPU holds, and what crosses the links."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jobs import job, machine

from simulator.caches.facts import LOOKUP, BatchFacts, Flow
from simulator.errors import ConfigError
from simulator.hardware.program import Add, Exchange, Operation, Pool, Stage, Store, Update
from simulator.systems import Job, System, create, placement
from simulator.systems.placement import base

BOX = "p3_16xlarge"
B, D = 2048, 128
SMALL = {"rows_per_table": (1_000_000,) * 8}
FEW = {"tables": 2, "rows_per_table": (1_000_000,) * 2, "lookups_per_table": (10, 30)}
SHARDED = ("static_cache", "straw_man", "scratchpipe")
PARTED = ("gpu_only", *SHARDED)
FLOWS = ("lookup", "unique", "hit", "miss", "victim", "write_back", "hit_lookup", "miss_lookup")


def made(
    name: str, sharding: str, gpus: int, exchange: str = "reduce_scatter", **keys: Any
) -> System:
    work = job("tuned", gpus=gpus, sharding=sharding, **(SMALL | keys))
    return create(name, exchanging(work, exchange), machine(BOX))


def exchanging(work: Job, way: str) -> Job:
    gpu = work.software.gpu.model_copy(update={"row_exchange": way})
    return replace(work, software=work.software.model_copy(update={"gpu": gpu}))


def program(system: System, tables: int = 8) -> tuple[Stage, ...]:
    """Of a mini-batch with as many lookups in each table (or part)."""
    count = len(system.replay.parts) or tables
    return system.stages(BatchFacts(0, B, {n: (Flow(800, 400),) * count for n in FLOWS}))


def words(stages: tuple[Stage, ...], kind: type[Operation]) -> list[Any]:
    return [w for stage in stages for w in stage.operations if isinstance(w, kind)]


def exchanged(system: System) -> dict[str, list[Exchange]]:
    by_name: dict[str, list[Exchange]] = {}
    for word in words(program(system), Exchange):
        by_name.setdefault(word.name, []).append(word)
    return by_name


# who holds what


@pytest.mark.parametrize("name", PARTED)
@pytest.mark.parametrize("sharding", ["row", "column"])
@pytest.mark.parametrize("gpus", [2, 8])
def test_every_gpu_has_a_part_of_every_table(name: str, sharding: str, gpus: int) -> None:
    system = made(name, sharding, gpus, **FEW)
    parts = system.replay.parts
    assert [(p.table, p.index) for p in parts] == [(t, k) for t in range(2) for k in range(gpus)]
    assert {(p.cut, p.parts) for p in parts} == {(sharding, gpus)}
    stores = [word.writes for word in words(program(system), Update) if word.at != "cpu"]
    assert [store.tables for store in stores] == [2] * gpus
    width = D * 4 if sharding == "row" else D * 4 // gpus
    assert {store.row_bytes for store in stores} == {width}


@pytest.mark.parametrize("name", PARTED)
@pytest.mark.parametrize("sharding", ["row", "column", "auto"])
def test_one_gpu_is_not_cut(name: str, sharding: str) -> None:
    keys = {"rows_per_table": (10_000,) * 8}
    one, plain = (made(name, s, 1, **keys) for s in (sharding, "table"))
    assert one.replay.parts == ()
    assert one.replay == plain.replay
    assert program(one) == program(plain)


@pytest.mark.parametrize("name", SHARDED)
def test_slots_of_row_parts_are_shares_and_of_column_parts_all(name: str) -> None:
    """A tenth of the rows of each table, wherever they lie."""
    row, column, plain = (made(name, s, 4) for s in ("row", "column", "table"))
    assert row.replay.slots == (25_000,) * 32
    assert column.replay.slots == (100_000,) * 32
    assert {s.replay.whole_slots for s in (row, column, plain)} == {800_000}


def test_rows_that_a_cache_is_asked_for_are_whole_rows() -> None:
    for sharding, slots in (("table", 1000), ("row", 250), ("column", 1000)):
        cache = {"rows": 8000}
        replay = made("straw_man", sharding, 4, cache=cache).replay
        assert set(replay.slots) == {slots}
        assert replay.whole_slots == 8000


# what crosses the links


@pytest.mark.parametrize("name", PARTED)
@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_partial_sums_of_rows_are_summed_on_their_way(name: str, gpus: int) -> None:
    """Whole buffers: every GPU has sums of all tables for all samples, and gets all gradients."""
    sent = exchanged(made(name, "row", gpus))
    assert set(sent) == {"reduce_scatter", "all_gather", "all_reduce"}
    for name_of in ("reduce_scatter", "all_gather"):
        assert [word.bytes for word in sent[name_of]] == [8 * B * D * 4] * gpus
        assert {word.pattern for word in sent[name_of]} == {name_of}


@pytest.mark.parametrize("name", PARTED)
def test_partial_sums_may_go_to_their_samples_and_be_added_there(name: str) -> None:
    system = made(name, "row", 4, "all_to_all")
    sent = exchanged(system)
    assert set(sent) == {"all_to_all", "all_to_all_back", "all_reduce"}
    assert {word.bytes for word in sent["all_to_all"]} == {8 * B * D * 4}
    added = [w for w in words(program(system), Add) if w.sources[0].name == "partial_sums"]
    samples = B // 4
    assert [w.at for w in added] == [f"gpu{k}" for k in range(4)]
    assert {w.sources[0].bytes for w in added} == {4 * 8 * samples * D * 4}
    assert {w.into.bytes for w in added} == {8 * samples * D * 4}


@pytest.mark.parametrize("name", PARTED)
@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_pieces_of_columns_go_as_whole_vectors_do(name: str, gpus: int) -> None:
    """As many bytes as of whole tables: n pieces of D / n elements."""
    column, table = (exchanged(made(name, s, gpus)) for s in ("column", "table"))
    for name_of in ("all_to_all", "all_to_all_back"):
        sizes = [sum(w.bytes for w in sent[name_of]) for sent in (column, table)]
        assert sizes[0] == sizes[1] == 8 * B * D * 4


def test_only_tables_that_are_cut_over_all_gpus_are_summed_on_their_way() -> None:
    """Tables of 4, 1, 1 and 1 shares over 4 GPUs by size: the first is cut in three."""
    keys = {
        "tables": 4,
        "rows_per_table": (4_000_000, 1_000_000, 1_000_000, 1_000_000),
        "lookups_per_table": (1,) * 4,
    }
    system = made("gpu_only", "auto", 4, **keys)
    cuts = [(p.table, p.cut, p.index, p.parts) for p in system.replay.parts]
    assert cuts[:3] == [(0, "row", k, 3) for k in range(3)]
    sent = exchanged(system)
    assert "reduce_scatter" not in sent
    held = sent["all_to_all"][0].held or (sent["all_to_all"][0].bytes,) * 4
    assert sum(held) == 6 * B * D * 4, "three parts and three tables"
    added = words(program(system), Add)[0]
    assert (added.sources[0].bytes, added.into.bytes) == (3 * B // 4 * D * 4, B // 4 * D * 4)


def test_copies_serve_their_samples_and_sum_their_gradients() -> None:
    """HugeCTR copies tables below 8 MB: 1,000 rows of 1,024 bytes with Adagrad state."""
    keys = {
        "tables": 3,
        "rows_per_table": (1_000_000, 1000, 500_000),
        "lookups_per_table": (20, 2, 10),
        "optimizer": "adagrad",
        "placement": "hugectr",
    }
    system = made("gpu_only", "auto", 2, **keys)
    copies = [p for p in system.replay.parts if p.cut == "replica"]
    assert [(p.table, p.index) for p in copies] == [(1, 0), (1, 1)]
    sent = exchanged(system)
    assert [w.bytes for w in sent["all_reduce_copies"]] == [1000 * D * 4] * 2
    vectors = [w for name in ("all_to_all", "reduce_scatter") for w in sent.get(name, [])]
    parts = [p for p in system.replay.parts if p.cut != "replica"]
    assert sum(w.bytes for w in vectors) == len(parts) * B * D * 4, "none of the copies"


# bounds


@pytest.mark.parametrize("name", PARTED)
@pytest.mark.parametrize("sharding", ["row", "column"])
def test_more_gpus_than_tables_are_allowed(name: str, sharding: str) -> None:
    assert made(name, sharding, 8, **FEW).gpus == 8


@pytest.mark.parametrize("name", SHARDED)
def test_copies_of_tables_on_the_host_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="1 tables with a copy on each GPU are for gpu_only"):
        made(name, "auto", 2, placement="hugectr", **(FEW | {"rows_per_table": (10_000_000, 100)}))


def test_what_would_do_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.sharding row would do nothing"):
        made("hybrid", "row", 2)
    assert made("hybrid", "row", 1).gpus == 1


def test_a_plan_that_leaves_a_gpu_without_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def halves_on_the_first(task: base.Task) -> base.Plan:
        parts = [p for t in range(8) for p in base.cut_table(task, t, "row", 2, 1.0)]
        return base.Plan("halves", "B", task, tuple(replace(p, gpu=p.index) for p in parts))

    monkeypatch.setattr(placement, "PLANNERS", {"size": halves_on_the_first})
    with pytest.raises(ConfigError, match="placement halves leaves gpu2 without"):
        made("scratchpipe", "row", 3)
    assert made("gpu_only", "row", 3).gpus == 3


@pytest.mark.parametrize("sharding", ["table", "row", "column"])
def test_parts_together_hold_and_look_up_all(sharding: str) -> None:
    system = made("gpu_only", sharding, 4)
    pools = words(program(system), Pool)
    counts = len(system.replay.parts) or 8
    assert sum(pool.rows.lookups for pool in pools) == 800 * counts
    stores: list[Store] = [pool.reads for pool in pools]
    per_row = sum(store.row_bytes * store.tables for store in stores)
    assert per_row == 8 * D * 4 * (4 if sharding == "row" else 1)
    assert LOOKUP in FLOWS
