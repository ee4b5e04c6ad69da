"""Each rule of the trainer against NumPy, and programs that it refuses before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from training import experiment, inputs_of, trainer_of

from simulator.config.expand import expand
from simulator.errors import InvariantError, UsageError
from simulator.hardware.program import (
    Add,
    Buffer,
    Dense,
    Exchange,
    Flow,
    Gather,
    Interaction,
    Move,
    Operation,
    Plan,
    Pool,
    Scatter,
    Sort,
    Split,
    Stage,
    Update,
    Wait,
)
from simulator.observe.accelerator import CpuTensors
from simulator.observe.dataflow import Dataflow
from simulator.observe.inputs import of_rank
from simulator.observe.items import (
    COLD,
    DENSE,
    GRADIENTS,
    IDS,
    LISTS,
    SLOTS,
    Item,
    Position,
    words_of,
)
from simulator.observe.lists import OwnLists
from simulator.observe.lru import LruLists
from simulator.observe.mlp import RATE
from simulator.observe.rules import TRAINER, bind, require_rules
from simulator.observe.rules_tagged import TAGGED
from simulator.observe.run import observe
from simulator.observe.steps import Await, Step
from simulator.observe.trainer import Trainer, kinds_of, with_sums
from simulator.observe.workspace import Place

pytestmark = pytest.mark.usefixtures("torch_there")

BATCH = 3
"""The mini-batch whose words are bound."""
Floats = npt.NDArray[np.float32]
KINDS = ("cpu", "gpu")
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def trainers() -> dict[str, Trainer]:
    """Systems that are ready to run, none of which has."""
    cache = {"fraction": 0.3}
    return {p.system.label: trainer_of(p) for p in expand(experiment(cache=cache))}


def word_of(
    trainer: Trainer, kind: type[Operation], device: str, name: str = ""
) -> tuple[Position, Any]:
    """The first word of a kind at a kind of device."""
    flow = trainer.work.flow
    for at, word in words_of(flow.programs[BATCH]):
        if isinstance(word, kind) and flow.kind_of(word.at) == device and name in word.name:
            return at, word
    raise AssertionError(f"no {kind.__name__} at {device}")


def run(trainer: Trainer, *positions: Position) -> None:
    """Bind words of one mini-batch, and do what they do."""
    pairs: dict[tuple[Position, int], Any] = {}
    steps: list[Step] = []
    for at in positions:
        steps += bind(trainer.work, at, BATCH, pairs)
    for step in steps:
        assert not isinstance(step, Await)
        step.work()


def fill(target: Any) -> Floats:
    """Random values into a tensor or an array; a copy of them."""
    values = RNG.random(tuple(target.shape), dtype=np.float32)
    (target if isinstance(target, np.ndarray) else target.numpy())[...] = values
    return values


def buffer(trainer: Trainer, item: Item, kind: str) -> Any:
    return trainer.work.buffer(item, kind, BATCH)


def sums(rows: Floats, where: Any, bags: Any, count: int) -> npt.NDArray[np.float64]:
    total = np.zeros((count, rows.shape[1]))
    np.add.at(total, bags, rows[where].astype(np.float64))
    return total


def split_lookups(trainer: Trainer) -> tuple[Any, Any, Any]:
    """Ids, bags and slots (-1: cold) of a mini-batch of the static cache."""
    batch, preload = trainer.inputs.batches[BATCH], trainer.inputs.preload
    slot_of = np.full(trainer.inputs.rows, -1, np.int64)
    slot_of[preload.rows] = preload.slots
    return batch.ids, batch.bag_of, slot_of[batch.ids]


def put_cold(trainer: Trainer) -> None:
    """The lists that a split leaves."""
    ids, bags, slots = split_lookups(trainer)
    cold, count = buffer(trainer, COLD, "cpu"), int((slots < 0).sum())
    cold.host_ids[:count], cold.host_bags[:count] = ids[slots < 0], bags[slots < 0]
    offsets = trainer.inputs.batches[BATCH].offsets
    cold.host_offsets[:] = np.concatenate([[0], np.cumsum(slots < 0)])[offsets]


def pool_of_ids_on_host(trainers: dict[str, Trainer]) -> None:
    trainer = trainers["hybrid"]
    at, word = word_of(trainer, Pool, "cpu")
    batch, rows = trainer.inputs.batches[BATCH], fill(trainer.work.store(word.reads))
    run(trainer, at)
    out = trainer.work.flat(buffer(trainer, trainer.work.flow.gives[at][0], "cpu"))
    assert np.allclose(out, sums(rows, batch.ids, batch.bag_of, len(out)), atol=1e-5)


def pool_of_cold_lookups_on_host(trainers: dict[str, Trainer]) -> None:
    trainer = trainers["static_cache"]
    at, word = word_of(trainer, Pool, "cpu")
    ids, bags, slots = split_lookups(trainer)
    put_cold(trainer)
    rows = fill(trainer.work.store(word.reads))
    run(trainer, at)
    out = trainer.work.flat(buffer(trainer, trainer.work.flow.gives[at][0], "cpu"))
    assert np.allclose(out, sums(rows, ids[slots < 0], bags[slots < 0], len(out)), atol=1e-5)


def pool_on_gpu(trainers: dict[str, Trainer]) -> None:
    trainer = trainers["static_cache"]
    at, word = word_of(trainer, Pool, "gpu")
    _, bags, slots = split_lookups(trainer)
    buffer(trainer, SLOTS, "gpu").numpy()[: len(slots)] = slots
    rows = fill(trainer.work.store(word.reads))
    run(trainer, at)
    out = trainer.work.flat(trainer.work.step.pooled)
    assert np.allclose(out, sums(rows, slots[slots >= 0], bags[slots >= 0], len(out)), atol=1e-5)


def plan(trainer: Trainer) -> LruLists:
    """All mini-batches up to the one that is looked at, once; the lists of that."""
    work, at = trainer.work, word_of(trainer, Plan, "gpu")[0]
    cache = work.lru
    assert cache is not None
    while (number := int(cache.clock[0])) <= BATCH:
        ids = trainer.inputs.batches[number].ids
        work.buffer(IDS, "gpu", number).numpy()[: len(ids)] = ids
        for step in bind(work, at, number, {}):
            assert not isinstance(step, Await)
            step.work()
    lists = work.lists[BATCH]
    assert isinstance(lists, OwnLists)
    return lists.lists


def moved_rows_come_from_the_lists(trainers: dict[str, Trainer]) -> None:
    """Lists go to the host, and gathers and scatters at both places follow them."""
    trainer = trainers["straw_man"]
    flow, work = trainer.work.flow, trainer.work
    lists, counted = plan(trainer), work.lists[BATCH].count
    missed, victims = counted("miss"), counted("write_back")
    assert missed > 0
    run(trainer, word_of(trainer, Move, "gpu", "lists")[0])
    missed_rows = lists.missed_rows.numpy()[:missed]
    write_rows = lists.write_rows.numpy()[:victims]
    assert np.array_equal(buffer(trainer, LISTS, "cpu")["miss"].numpy()[:missed], missed_rows)
    assert np.array_equal(buffer(trainer, LISTS, "cpu")["write_back"].numpy()[:victims], write_rows)
    for kind, pieces in (("cpu", missed_rows), ("gpu", lists.write_slots.numpy()[:victims])):
        at, gather = word_of(trainer, Gather, kind)
        rows = fill(work.store(gather.reads))
        run(trainer, at)
        staged = buffer(trainer, flow.gives[at][0], kind).numpy()[: len(pieces)]
        assert np.array_equal(staged, rows[pieces])
    for kind, pieces in (("cpu", write_rows), ("gpu", lists.missed_slots.numpy()[:missed])):
        at, scatter = word_of(trainer, Scatter, kind)
        values = fill(buffer(trainer, Item("rows", scatter.source.name), kind))
        run(trainer, at)
        store = work.store(scatter.writes)
        rows = store if isinstance(store, np.ndarray) else store.numpy()
        assert np.array_equal(rows[pieces], values[: len(pieces)])


def staged_rows_cross_both_ways(trainers: dict[str, Trainer]) -> None:
    trainer = trainers["straw_man"]
    plan(trainer)
    for source, target, name in (("cpu", "gpu", "missed_rows"), ("gpu", "cpu", "victim_rows")):
        at, _ = word_of(trainer, Move, source, name)
        values = fill(buffer(trainer, Item("rows", name), source))
        count = trainer.work.flow.gathers(Item("rows", name))[BATCH].rows.rows
        run(trainer, at)
        there = buffer(trainer, Item("rows", name), target).numpy()
        assert np.array_equal(there[:count], values[:count])


def a_plan_finds_what_was_planned(trainers: dict[str, Trainer]) -> None:
    """The same rows as the simulator's planner, in slots that may be others."""
    trainer = trainers["straw_man"]
    facts, batch = trainer.inputs.facts[BATCH], trainer.inputs.batches[BATCH]
    lists, cache = plan(trainer), trainer.work.lru
    assert cache is not None
    found = [cache.counted(BATCH, name) for name in ("unique_rows", "misses", "victims")]
    assert found == [facts[name].rows for name in ("unique", "miss", "victim")]
    missed = lists.missed_rows.numpy()[: found[1]]
    assert np.array_equal(np.sort(missed), np.sort(facts["miss"].ids))
    slots = buffer(trainer, SLOTS, "gpu").numpy()[: len(batch.ids)]
    assert cache.row_of.numpy()[slots].tolist() == batch.ids.tolist()
    table_of = np.arange(len(batch.ids)) // 3 % 2  # two tables, three lookups each
    assert np.array_equal(np.searchsorted(cache.bounds.numpy(), slots, side="right") - 1, table_of)


def a_plan_of_another_policy_follows_the_simulators(_: dict[str, Trainer]) -> None:
    cache = {"fraction": 0.3, "policy": "lfu"}
    trainer = trainer_of(expand(experiment(systems=["straw_man"], cache=cache))[0])
    facts, batch, work = trainer.inputs.facts, trainer.inputs.batches, trainer.work
    for number in range(BATCH + 1):
        work.buffer(IDS, "gpu", number).numpy()[: len(batch[number].ids)] = batch[number].ids
        for step in bind(work, word_of(trainer, Plan, "gpu")[0], number, {}):
            assert not isinstance(step, Await)
            step.work()
        found = [batch[number].unique_rows, facts[number]["miss"].rows]
        assert work.hit_map_counts.numpy()[number].tolist() == found
    slots = buffer(trainer, SLOTS, "gpu").numpy()[: len(batch[BATCH].ids)]
    unique = facts[BATCH]["unique"]
    assert unique.ids is not None
    assert unique.slots is not None
    slot_of = dict(zip(unique.ids.tolist(), unique.slots.tolist(), strict=True))
    assert slots.tolist() == [slot_of[row] for row in batch[BATCH].ids.tolist()]


def a_split_lists_cold_lookups(trainers: dict[str, Trainer]) -> None:
    trainer = trainers["static_cache"]
    ids, bags, slots = split_lookups(trainer)
    buffer(trainer, IDS, "gpu").numpy()[: len(ids)] = ids
    run(trainer, word_of(trainer, Split, "gpu")[0], word_of(trainer, Move, "gpu", "cold")[0])
    cold = buffer(trainer, COLD, "cpu")
    assert cold.count == (slots < 0).sum()
    assert np.array_equal(cold.host_ids[: cold.count], ids[slots < 0])
    assert np.array_equal(cold.host_bags[: cold.count], bags[slots < 0])
    assert np.array_equal(buffer(trainer, SLOTS, "gpu").numpy()[: len(ids)], slots)


def partial_sums_and_inputs_cross_and_are_added(trainers: dict[str, Trainer]) -> None:
    trainer = trainers["static_cache"]
    move, _ = word_of(trainer, Move, "cpu", "partial")
    add, _ = word_of(trainer, Add, "gpu")
    cold = next(i for i in trainer.work.flow.carried[move] if i.kind == "pooled")
    partial, own = fill(buffer(trainer, cold, "cpu")), fill(trainer.work.step.pooled.detach())
    run(trainer, move, add)
    assert np.array_equal(trainer.work.step.pooled.detach().numpy(), own + partial)
    batch = trainer.inputs.batches[BATCH]
    assert np.array_equal(trainer.work.step.dense.numpy(), batch.dense)
    assert np.array_equal(trainer.work.step.labels.numpy(), batch.labels)


def ids_and_inputs_cross(trainers: dict[str, Trainer]) -> None:
    """In a pipeline inputs wait in a ring until the dense step takes them."""
    trainer = trainers["scratchpipe"]
    batch = trainer.inputs.batches[BATCH]
    run(trainer, word_of(trainer, Move, "cpu", "ids")[0])
    assert np.array_equal(buffer(trainer, IDS, "gpu").numpy()[: len(batch.ids)], batch.ids)
    dense, labels = buffer(trainer, DENSE, "gpu")
    assert dense is not trainer.work.step.dense
    assert np.array_equal(dense.numpy(), batch.dense)
    assert np.array_equal(labels.numpy(), batch.labels)
    run(trainer, word_of(trainer, Dense, "gpu")[0])
    assert np.array_equal(trainer.work.step.dense.numpy(), batch.dense)


def gradients_cross(trainers: dict[str, Trainer]) -> None:
    trainer = trainers["hybrid"]
    values = fill(trainer.work.step.gradient)
    run(trainer, word_of(trainer, Move, "gpu", "gradients")[0])
    assert np.array_equal(buffer(trainer, GRADIENTS, "cpu").numpy(), values)


def updates(trainers: dict[str, Trainer]) -> None:
    """w - rate * sum of gradients, at each place and for each list of lookups."""
    hybrid, static, single = (trainers[n] for n in ("hybrid", "static_cache", "gpu_only"))
    put_cold(static)
    ids, bags, slots = split_lookups(static)
    buffer(static, SLOTS, "gpu").numpy()[: len(slots)] = slots
    cold, hot = slots < 0, slots >= 0
    batch = hybrid.inputs.batches[BATCH]
    buffer(single, IDS, "gpu").numpy()[: len(batch.ids)] = batch.ids
    for trainer, kind, where, of in (
        (hybrid, "cpu", batch.ids, batch.bag_of),
        (static, "cpu", ids[cold], bags[cold]),
        (static, "gpu", slots[hot], bags[hot]),
        (single, "gpu", batch.ids, batch.bag_of),
    ):
        at, update = word_of(trainer, Update, kind)
        store = trainer.work.store(update.writes)
        rows, gradient = fill(store), fill(buffer(trainer, GRADIENTS, kind))
        run(trainer, word_of(trainer, Sort, kind)[0], at)
        flat = gradient.reshape(-1, rows.shape[1])
        expected = rows - RATE * sums(flat, of, where, len(rows))
        assert np.allclose(store, expected, atol=1e-5)


RULES: Sequence[tuple[Callable[[dict[str, Trainer]], None], Sequence[tuple[type, str]]]] = (
    (pool_of_ids_on_host, [(Pool, "cpu")]),
    (pool_of_cold_lookups_on_host, [(Pool, "cpu")]),
    (pool_on_gpu, [(Pool, "gpu")]),
    (moved_rows_come_from_the_lists, [(w, k) for w in (Gather, Scatter) for k in KINDS]),
    (staged_rows_cross_both_ways, [(Move, "cpu"), (Move, "gpu")]),
    (a_plan_finds_what_was_planned, [(Plan, "gpu")]),
    (a_plan_of_another_policy_follows_the_simulators, [(Plan, "gpu")]),
    (a_split_lists_cold_lookups, [(Split, "gpu")]),
    (partial_sums_and_inputs_cross_and_are_added, [(Add, "gpu")]),
    (ids_and_inputs_cross, [(Dense, "gpu")]),
    (gradients_cross, [(Move, "gpu")]),
    (updates, [(w, k) for w in (Sort, Update) for k in KINDS]),
)


@pytest.mark.parametrize("check", [check for check, _ in RULES], ids=lambda c: c.__name__)
def test_a_rule_does_what_numpy_does(
    check: Callable[[dict[str, Trainer]], None], trainers: dict[str, Trainer]
) -> None:
    check(trainers)


def test_every_rule_is_compared_with_numpy() -> None:
    """But for those of collectives, which take several processes (`test_several_gpus`), and of
    set-associative caches (`test_tagged_caches`)."""
    rules = set(TRAINER) - {(Wait, "gpu"), (Exchange, "gpu"), *TAGGED}
    assert {pair for _, pairs in RULES for pair in pairs} == rules


def test_lists_are_not_read_before_their_plan() -> None:
    trainer = trainer_of(expand(experiment(systems=["straw_man"], cache={"fraction": 0.3}))[0])
    with pytest.raises(InvariantError, match="mini-batch 3: short asked for before its Plan"):
        trainer.work.lists[BATCH].count("miss")


def changed(program: tuple[Stage, ...], change: Callable[[Operation], Operation]) -> Any:
    return tuple(
        Stage(s.name, tuple(tuple(change(w) for w in lane) for lane in s.lanes)) for s in program
    )


def flow_of(system: str, change: Callable[[Operation], Operation]) -> Dataflow:
    """The data flow of a system whose words are changed."""
    inputs = inputs_of(expand(experiment(systems=[system], cache={"fraction": 0.3}))[0])
    programs = [changed(inputs.system.stages(facts), change) for facts in inputs.facts]
    return Dataflow(programs, inputs.facts, inputs.share, kinds_of(inputs.machine))


def test_moves_carry_what_their_target_needs() -> None:
    """By bytes and need, whatever moves are called."""

    def unnamed(word: Operation) -> Operation:
        if isinstance(word, Move) and word.name not in ("missed_rows", "victim_rows"):
            return replace(word, name="m", what=replace(word.what, name="m"))
        return word

    carried = {
        "hybrid": [{"pooled", "dense"}, {"gradients"}],
        "static_cache": [{"ids"}, {"cold"}, {"pooled", "dense"}, {"gradients"}],
        "straw_man": [{"ids", "dense"}, {"lists"}, {"rows"}, {"rows"}],
        "gpu_only": [{"ids", "dense"}],
    }
    for system, expected in carried.items():
        flow = flow_of(system, unnamed)
        assert [{item.kind for item in items} for items in flow.carried.values()] == expected


def test_a_move_of_other_bytes_is_refused() -> None:
    def longer(word: Operation) -> Operation:
        if isinstance(word, Move):
            return replace(word, what=replace(word.what, bytes=word.what.bytes + 1))
        return word

    with pytest.raises(UsageError, match=r"cannot tell what Move \('pooled_to_gpu'\).*pooled"):
        flow_of("hybrid", longer)


def test_what_nothing_brings_is_missed() -> None:
    def unsent(word: Operation) -> Operation:
        if isinstance(word, Move) and word.name == "gradients_to_cpu":
            return Wait("wait", "gpu")
        return word

    with pytest.raises(UsageError, match=r"needs gradients there, but nothing brings it"):
        flow_of("hybrid", unsent)


@pytest.mark.parametrize("system", ["hybrid", "static_cache", "straw_man"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [(Pool, "pools .* lookups: observe knows all"), (Update, "trains other rows than those")],
)
def test_a_part_of_the_lookups_is_refused(system: str, kind: type[Operation], message: str) -> None:
    def fewer(word: Operation) -> Operation:
        if isinstance(word, kind):
            rows = word.rows  # type: ignore[attr-defined]
            return replace(word, rows=Flow(rows.lookups - 1, rows.rows - 1, rows.ids, rows.slots))
        return word

    with pytest.raises(UsageError, match=message):
        flow_of(system, fewer)


def test_mini_batches_with_other_words_are_refused() -> None:
    inputs = inputs_of(expand(experiment(systems=["hybrid"]))[0])
    programs = [inputs.system.stages(facts) for facts in inputs.facts]
    programs[5] = programs[5][:-1]
    with pytest.raises(UsageError, match="mini-batch 5 has other words"):
        Dataflow(programs, inputs.facts, inputs.share, kinds_of(inputs.machine))


def test_two_buffers_of_one_name_are_refused() -> None:
    def named(word: Operation) -> Operation:
        if isinstance(word, Gather):
            return replace(word, into=replace(word.into, name="rows"))
        return word

    with pytest.raises(UsageError, match="two gathers fill a buffer called 'rows'"):
        flow_of("straw_man", named)


def test_a_word_without_a_rule_is_refused_before_the_run() -> None:
    point = expand(experiment(systems=["hybrid"]))[0]
    inputs = inputs_of(point)
    machine = inputs.machine
    exchange = Exchange("all_to_all", "cpu", ("cpu",), "all_to_all", 8)
    dense = Dense("mlp", "cpu", 1, "fp32", 1, 1, 1, Interaction(1, 1, 1))
    for word, message in (
        (exchange, r"no rule for Exchange \('all_to_all'\) at cpu, a cpu"),
        (dense, r"no rule for Dense \('mlp'\) at cpu, a cpu"),
    ):
        with pytest.raises(UsageError, match=message):
            require_rules((Stage("s", ((word,),)),), kinds_of(machine))


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("recshard", "from the probe of a cache, .* 'gather_reduce' at gpu has none before it"),
        ("torchrec_semi_sync", "in turn or in lock-step cycles; those of torchrec_semi_sync wait"),
    ],
)
def test_rows_that_nothing_finds_and_schedules_with_waits_are_refused(
    system: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        observe(experiment(systems=[system], cache={"fraction": 0.3}), device="cpu")


def test_collectives_take_other_processes() -> None:
    point = expand(experiment(systems=[{"name": "gpu_only", "gpus": 2}], platform="p3_16xlarge"))[0]
    inputs = of_rank(inputs_of(point), 0)
    with pytest.raises(UsageError, match="no all_to_all for 'all_to_all' at gpu0"):
        Trainer(inputs, Place(CpuTensors(1), None, 1))


def test_a_sum_over_gpus_begins_behind_the_exchanges_of_its_lane_and_ends_with_it() -> None:
    """Collectives of a GPU run in the order of their launches; what comes after the wait is the
    step of the weights."""
    group = ("gpu0", "gpu1")
    forth, back = (Exchange(name, "gpu0", group, "all_to_all", 8) for name in ("forth", "back"))
    dense = Dense("mlp", "gpu0", 1, 0, "fp32", 1, 1, 1)
    reduce = Exchange("all_reduce", "gpu0", group, "all_reduce", 8, after="mlp")
    stage = Stage("train", ((forth, dense, back, dense, Wait("done", "gpu0")), (reduce,)))
    named: list[list[list[Any]]] = [[["forth"], ["mlp"], ["back"], ["update"], ["done"]]]
    named.append([["begin", "wait", "step"]])
    lane, empty = with_sums(stage, named)
    assert lane == ["forth", "mlp", "back", "begin", "update", "wait", "step", "done"]
    assert empty == []


def test_work_of_a_second_gpu_is_refused() -> None:
    buffers = Buffer("pooled", "gpu0.hbm", 8)
    words = tuple(Add(f"add{k}", f"gpu{k}", (buffers,), buffers) for k in range(2))
    with pytest.raises(UsageError, match="one GPU, but 'add1' is done at gpu1 and 'add0' at gpu0"):
        require_rules((Stage("s", (words,)),), lambda _: "gpu")
