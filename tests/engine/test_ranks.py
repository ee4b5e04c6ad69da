"""`gpu_only` on many GPUs: ranks that do the same folded as unfolded, stragglers, many hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.config.catalogue import load_named
from simulator.engine.timer import Timed, Timing, time_system
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import Exchange, Pool, Update
from simulator.hardware.topology import build_topology
from simulator.systems import Job, create
from simulator.systems.gpu_only import GpuOnly
from simulator.systems.ranks import equal_groups, folded

SMALL = {"bottom_mlp": (64,), "top_mlp": (64, 1), "interaction": "cat"}
BOXES = {"hgx_h100": 8, "dgx_a100": 8, "dgx2_v100": 16}


def facts_of(lookups: Sequence[int], samples: int, index: int = 0) -> BatchFacts:
    flows = tuple(Flow(count, max(1, count * 9 // 10)) for count in lookups)
    return BatchFacts(index, samples, {LOOKUP: flows, UNIQUE: flows})


def timed(
    lookups: Sequence[int],
    *,
    platform: str = "hgx_h100",
    hosts: int = 1,
    samples: int = 256,
    rows: Sequence[int] | None = None,
    operators: Any = "tuned",
    batches: int = 2,
) -> tuple[GpuOnly, Timed]:
    """`gpu_only` with a table for each number of lookups, all in a few mini-batches."""
    model = load_named("models", "default").changed(
        tables=len(lookups),
        rows_per_table=tuple(rows or [10_000] * len(lookups)),
        lookups_per_table=tuple(max(1, count // samples) for count in lookups),
        batch_size=samples,
        **SMALL,
    )
    software = load_named("operators", operators)
    machine = build_topology(load_machine(platform, [f"hosts={hosts}"]), 512)
    system = create("gpu_only", Job(model, software), machine)
    assert isinstance(system, GpuOnly)
    facts = [facts_of(lookups, samples, index) for index in range(batches)]
    timing = Timing(software, "async", 0, batches - 1, check=True)
    return system, time_system(system, machine, facts, timing)


def ends(run: Timed) -> list[int]:
    return [span.end_ps for span in run.spans]


def used(run: Timed) -> dict[str, float]:
    """Busy time of every resource, ranks that were folded included."""
    return {
        image: use.busy_ps
        for name, use in run.meter.devices.items()
        for image in run.fold.images.get(name, (name,))
        if use.busy_ps
    }


# which ranks do the same


def test_ranks_without_tables_are_folded_host_by_host() -> None:
    """Four hosts of two GPUs with three tables: the first host has two, the second one and a GPU
    that waits, the others do nothing but their samples."""
    ranks = [f"host{h}.gpu{g}" for h in range(4) for g in range(2)]
    works = ["a", "b", "c", 0, 0, 0, 0, 0]
    assert equal_groups(ranks, works) == ((0,), (1,), (2,), (3,), (4, 5, 6, 7))


def test_hosts_that_do_the_same_rank_by_rank_are_folded() -> None:
    ranks = [f"host{h}.gpu{g}" for h in range(3) for g in range(2)]
    assert equal_groups(ranks, [1, 2] * 3) == ((0, 2, 4), (1, 3, 5))


def test_ranks_alike_stand_for_each_other_only_where_there_are_many() -> None:
    ranks = [f"host{h}.gpu{g}" for h in range(4) for g in range(2)]
    assert len(folded(ranks, range(8), [0] * 8, most=8)) == 8
    assert folded(ranks, range(8), [0] * 8, most=7) == (tuple(range(8)),)


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=2), min_size=1, max_size=6))
def test_every_rank_is_in_one_group_of_ranks_that_do_the_same(works: list[list[int]]) -> None:
    ranks = [f"host{h}.gpu{g}" for h in range(len(works)) for g in range(2)]
    flat = [work for host in works for work in host]
    groups = equal_groups(ranks, flat)
    assert sorted(k for group in groups for k in group) == list(range(len(ranks)))
    assert all(len({flat[k] for k in group}) == 1 for group in groups)


# folded as unfolded


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(sorted(BOXES)),
    st.integers(1, 3),
    st.integers(0, 12),
    st.sampled_from(["one", "one_per_gpu"]),
    st.sampled_from([256, 250]),
)
def test_ranks_that_do_the_same_are_folded_as_they_are_unfolded(
    box: str, hosts: int, tables: int, processes: str, samples: int
) -> None:
    """Some GPUs have a table, the others none: at the same picosecond, and as much on every
    resource. One process that submits for all: those that are folded begin with the last."""
    work = [4000 + 500 * k for k in range(tables + 1)]
    software = {"base": "tuned", "gpu": {"host_processes": processes}}
    how: dict[str, Any] = {"platform": box, "hosts": hosts, "samples": samples}
    how["operators"] = software
    with pytest.MonkeyPatch.context() as patch:
        _, once = timed(work, **how)
        patch.setattr("simulator.systems.gpu_only.folded", lambda ranks, *_: one_by_one(ranks))
        unfolded, every = timed(work, **how)
    assert len(unfolded.equal_ranks) == unfolded.gpus == hosts * BOXES[box]
    exact = 1e-6 if processes == "one_per_gpu" else 1e-3
    assert ends(once) == pytest.approx(ends(every), rel=exact)
    if processes == "one_per_gpu":
        assert used(once) == pytest.approx(used(every), rel=exact)


def one_by_one(ranks: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    return tuple((k,) for k in range(len(ranks)))


@pytest.mark.parametrize("hosts", [1, 2])
def test_equal_shards_folded_are_equal_shards_unfolded(
    monkeypatch: pytest.MonkeyPatch, hosts: int
) -> None:
    """All ranks with as many lookups of equal tables: one rank stands for them."""
    every, unfolded = timed([4000] * 8 * hosts, hosts=hosts)
    assert len(every.equal_ranks) == 8 * hosts
    monkeypatch.setattr(GpuOnly, "most", 1)
    one, once = timed([4000] * 8 * hosts, hosts=hosts)
    assert [len(group) for group in one.equal_ranks] == [8 * hosts]
    assert ends(once) == pytest.approx(ends(unfolded), rel=1e-6)
    assert used(once) == pytest.approx(used(unfolded), rel=1e-6)


def test_of_ranks_alike_the_one_with_the_most_lookups_stands_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    light, heavy = 40_000, 400_000
    _, each = timed([light] * 7 + [heavy])
    monkeypatch.setattr(GpuOnly, "most", 1)
    _, once = timed([light] * 7 + [heavy], rows=[10_000] * 8)
    monkeypatch.setattr(GpuOnly, "most", 64)
    _, lighter = timed([light] * 8)
    assert ends(lighter)[-1] < 0.8 * ends(each)[-1]
    assert len(ends(once)) == len(ends(each))


def test_the_others_wait_for_the_straggler() -> None:
    """One heavy table of eight: as long as if all were, where GPUs share next to nothing."""
    light, heavy = 40_000, 1_000_000
    _, straggler = timed([light] * 7 + [heavy])
    _, equal = timed([heavy] * 8)
    assert ends(straggler)[-1] == pytest.approx(ends(equal)[-1], rel=0.02)
    assert ends(straggler)[-1] <= ends(equal)[-1]


# what ranks do together


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=8, max_size=20), st.integers(1, 2))
def test_ranks_together_look_up_and_train_all_rows(lookups: list[int], hosts: int) -> None:
    system, _ = timed(lookups, hosts=hosts, batches=1)
    facts = facts_of(lookups, 256)
    words = [word for stage in system.stages(facts) for word in stage.operations]
    pooled = sum(word.rows.lookups for word in words if isinstance(word, Pool))
    trained = sum(word.rows.rows for word in words if isinstance(word, Update))
    assert (pooled, trained) == (facts[LOOKUP].lookups, facts[UNIQUE].rows)
    (held,) = {w.held or (w.bytes,) * 8 * hosts for w in words if w.name == "all_to_all"}  # type: ignore[attr-defined]
    assert sum(held) == 256 * 128 * 4 * len(lookups)


def test_a_rank_without_tables_sends_no_vectors_and_gets_its_share() -> None:
    """Two hosts, eight tables: the second host's GPUs receive what the first one's send."""
    system, run = timed([4000] * 8, hosts=2)
    sent = [
        word
        for stage in system.stages(facts_of([4000] * 8, 256))
        for word in stage.operations
        if isinstance(word, Exchange) and word.name == "all_to_all"
    ]
    assert {word.held for word in sent} == {(256 * 512,) * 8 + (0,) * 8}
    ports = {name: use.bytes for name, use in run.meter.devices.items()}
    assert ports["network.host0.nic0.out"] > 2 * ports["network.host1.nic0.out"]
    assert ports["network.host1.nic0.in"] > 2 * ports["network.host0.nic0.in"]
