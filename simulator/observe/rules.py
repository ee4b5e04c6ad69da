"""How each word is trained: `TRAINER`, a rule for each word and kind of device.

A rule binds one word of one mini-batch to its memory and gives the steps that do it, ready to run:
nothing is looked up or allocated while training is timed. A word without a rule is an error before
the run that names the word and its place.

Lookups come from where the program has them: the ids of the mini-batch, the slots that `Plan` or
`Split` gave them, or the list of those without a slot. `Plan` works on the GPU's own Hit-Map
(dense, row to slot): it finds unique and missed ids, chooses victims by their stamps, writes the
map. With LRU and a pool for each table that is a planner of its own (`lru`), and what it counts can
be compared with the simulator's. With any other policy the slots that give way are those of the
simulator's planner, and nothing is said about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from simulator.config.operators import OperatorProfile
from simulator.errors import UsageError
from simulator.hardware.program import (
    Add,
    Dense,
    Exchange,
    Gather,
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
from simulator.observe import rows as host
from simulator.observe.accelerator import Accelerator
from simulator.observe.binding import (
    Binding,
    Rule,
    pairs_key,
    pieces_of,
    rows_on_host,
    store_of,
)
from simulator.observe.items import (
    BY_SAMPLE,
    COLD,
    DENSE,
    GRADIENTS,
    IDS,
    LISTS,
    SLOTS,
    Item,
    Position,
    word_at,
    words_of,
)
from simulator.observe.lists import LISTED, OwnLists
from simulator.observe.mlp import RATE
from simulator.observe.peers import Peers
from simulator.observe.rules_stock import STOCK, is_stock
from simulator.observe.rules_tagged import TAGGED, require_reachable, tier_of
from simulator.observe.steps import AWAIT, Launch, OnHost, RowCopy, Step
from simulator.observe.workspace import Workspace

__all__ = ["TRAINER", "bind", "require_rules", "rules_for"]


def _pool_on_host(b: Binding, word: Pool) -> Sequence[Step]:
    work, batch = b.work, b.work.inputs.batches[b.number]
    table, out = work.store(word.reads), work.flat(b.buffer(b.flow.gives[b.at][0], "cpu"))
    if b.takes == (IDS,):
        arguments = (table, batch.ids, batch.offsets, out, work.threads)
        return [OnHost(partial(host.pool_rows, *arguments))]
    cold, threads = b.buffer(COLD, "cpu"), work.threads

    def pool_cold() -> None:
        host.pool_rows(table, cold.host_ids[: cold.count], cold.host_offsets, out, threads)

    return [OnHost(pool_cold)]


def _pool_on_gpu(b: Binding, word: Pool) -> Sequence[Step]:
    offsets, _ = b.work.bags(b.number)
    out = b.buffer(b.flow.gives[b.at][0], "gpu")
    arguments = (b.work.reached(word.reads), b.lookups(), offsets, out, tier_of(b, word))
    return [Launch(partial(b.work.gpu.pool, *arguments), fixed=True)]


def _rows_on_gpu(b: Binding, word: Gather | Scatter) -> Callable[[], Any]:
    store = store_of(word)
    listed = b.flow.moved_list(word.rows, b.number)
    if listed is not None:
        return partial(b.work.lists[b.number].here, listed, slots=store.slotted)
    pieces = b.work.gpu.upload(pieces_of(word))
    return lambda: pieces


def _gather_on_host(b: Binding, word: Gather) -> Sequence[Step]:
    out = b.buffer(Item("rows", word.into.name), "cpu").numpy()
    table, rows = b.work.store(word.reads), rows_on_host(b, word)
    return [RowCopy(table, rows, out, b.work.threads, to=False)]


def _scatter_on_host(b: Binding, word: Scatter) -> Sequence[Step]:
    values = b.buffer(Item("rows", word.source.name), "cpu").numpy()
    table, rows = b.work.store(word.writes), rows_on_host(b, word)
    return [RowCopy(table, rows, values, b.work.threads, to=True)]


def _gather_on_gpu(b: Binding, word: Gather) -> Sequence[Step]:
    out = b.buffer(Item("rows", word.into.name), "gpu")
    gpu, store, rows = b.work.gpu, b.work.store(word.reads), _rows_on_gpu(b, word)
    return [Launch(lambda: gpu.gather(store, rows(), out))]


def _scatter_on_gpu(b: Binding, word: Scatter) -> Sequence[Step]:
    values = b.buffer(Item("rows", word.source.name), "gpu")
    gpu, store, rows = b.work.gpu, b.work.store(word.writes), _rows_on_gpu(b, word)
    return [Launch(lambda: gpu.scatter(store, rows(), values))]


def _plan_on_gpu(b: Binding, _word: Plan) -> Sequence[Step]:
    work, number = b.work, b.number
    ids, slots = b.buffer(IDS, "gpu")[: b.count], b.buffer(SLOTS, "gpu")
    lists = work.lists[number]
    if isinstance(lists, OwnLists):
        _, bag_of = work.bags(number)
        own = (lists.cache, ids, bag_of, slots, lists.lists)
        return [Launch(partial(work.gpu.plan, *own), fixed=True)]
    arguments = (ids, lists, slots, work.hit_map_counts[number], number)
    return [Launch(partial(work.hit_map.plan, *arguments))]


def _split_on_gpu(b: Binding, _word: Split) -> Sequence[Step]:
    """The GPU writes the lists of cold lookups straight into staging memory."""
    work, (offsets, _) = b.work, b.work.bags(b.number)
    ids, slots = b.buffer(IDS, "gpu")[: b.count], b.buffer(SLOTS, "gpu")[: b.count]
    arguments = (ids, work.slot_of, offsets, slots, b.buffer(COLD, "cpu"))
    return [Launch(partial(work.gpu.split, *arguments), fixed=True)]


def _sort_on_host(b: Binding, _word: Sort) -> Sequence[Step]:
    work, batch = b.work, b.work.inputs.batches[b.number]
    key = pairs_key(b, b.flow.update_of(b.at))
    if key not in b.pairs:
        b.pairs[key] = host.SortedPairs(work.lookups)
    pairs, rows, threads = b.pairs[key], work.inputs.rows, work.threads
    if b.takes == (IDS,):
        return [OnHost(partial(pairs.sort, batch.ids, rows, threads))]
    cold = b.buffer(COLD, "cpu")
    return [OnHost(lambda: pairs.sort(cold.host_ids[: cold.count], rows, threads))]


def _sort_on_gpu(b: Binding, _word: Sort) -> Sequence[Step]:
    update = b.flow.update_of(b.at)
    key, work, lookups = pairs_key(b, update), b.work, b.lookups()
    rows = work.inputs.rows if b.takes == (IDS,) else max(1, work.inputs.slots)

    def sort() -> None:
        b.pairs[key] = work.gpu.sort(lookups, rows)

    return [Launch(sort, fixed=update == _next(b.at))]


def _next(at: Position) -> Position:
    return at[0], at[1], at[2] + 1


def _require_fused(word: Update) -> None:
    if word.expanded or not word.coalesce:
        raise UsageError(f"observe trains with fused operators: {word.name} at {word.at} is not")


def _update_on_host(b: Binding, word: Update) -> Sequence[Step]:
    _require_fused(word)
    work, batch = b.work, b.work.inputs.batches[b.number]
    pairs = b.pairs[pairs_key(b, b.at)]
    table, gradients = work.store(word.writes), work.flat(b.buffer(GRADIENTS, "cpu"))
    threads, optimizer = work.threads, b.optimizer
    if b.takes[0] == IDS:
        arguments = (table, pairs, batch.bag_of, gradients, RATE, threads, optimizer)
        return [OnHost(partial(host.coalesced_update, *arguments))]
    cold = b.buffer(COLD, "cpu")

    def update_cold() -> None:
        bags = cold.host_bags[: cold.count]
        host.coalesced_update(table, pairs, bags, gradients, RATE, threads, optimizer)

    return [OnHost(update_cold)]


def _update_on_gpu(b: Binding, word: Update) -> Sequence[Step]:
    _require_fused(word)
    key, work, (_, bag_of) = pairs_key(b, b.at), b.work, b.work.bags(b.number)
    rows, gradients = work.reached(word.writes), b.buffer(GRADIENTS, "gpu")
    tier = tier_of(b, word)

    def update() -> None:
        work.gpu.update(rows, b.pairs[key], bag_of, gradients, RATE, b.optimizer, tier)

    sort = b.flow.sort_of(b.at)
    return [Launch(update, fixed=sort is not None and _next(sort) == b.at)]


def _add_on_gpu(b: Binding, _word: Add) -> Sequence[Step]:
    own = b.flow.root(b.flow.gives[b.at][0])
    target = b.buffer(own, "gpu")
    others = [b.buffer(item, "gpu") for item in b.takes if b.flow.root(item) != own]
    return [Launch(partial(b.work.gpu.add, target, other)) for other in others]


def _dense_on_gpu(b: Binding, _word: Dense) -> Sequence[Step]:
    """In a pipeline, inputs and gradients go through rings of buffers."""
    step, gpu = b.work.step, b.work.gpu
    pooled = b.flow.root(b.takes[0])
    before, after = [], []
    if b.work.crosses(pooled, "gpu"):
        before.append((step.pooled.detach(), b.buffer(pooled, "gpu")))
    if b.work.crosses(DENSE, "gpu"):
        dense, labels = b.buffer(DENSE, "gpu")
        before += [(step.dense, dense), (step.labels, labels)]
    if b.work.crosses(GRADIENTS, "gpu"):
        after.append((b.buffer(GRADIENTS, "gpu"), step.gradient))
    return [
        *(Launch(partial(gpu.copy, *pair), fixed=True) for pair in before),
        Launch(step.run),
        *(Launch(partial(gpu.copy, *pair), fixed=True) for pair in after),
    ]


def _move_to_gpu(b: Binding, _word: Move) -> Sequence[Step]:
    loaded, gpu = b.work.loaded[b.number], b.work.gpu
    steps: list[Step] = []
    for item in b.flow.carried[b.at]:
        if item == IDS:
            steps.append(_copied(gpu, b.buffer(item, "gpu")[: b.count], loaded.ids))
        elif item == DENSE:
            dense, labels = b.buffer(item, "gpu")
            steps += [_copied(gpu, dense, loaded.dense), _copied(gpu, labels, loaded.labels)]
        else:
            steps.append(_vectors(b, item, "gpu", "cpu"))
    return steps


def _move_to_host(b: Binding, _word: Move) -> Sequence[Step]:
    steps: list[Step] = []
    for item in b.flow.carried[b.at]:
        if item == LISTS:
            lists, there = b.work.lists[b.number], b.buffer(item, "cpu")
            own = isinstance(lists, OwnLists)
            for name in LISTED:
                send = partial(lists.send, b.work.gpu, name, there[name])
                steps.append(Launch(send, fixed=own))
        elif item != COLD:  # lies in staging memory since the split
            steps.append(_vectors(b, item, "cpu", "gpu"))
    return steps


def _exchange(b: Binding, word: Exchange) -> Sequence[Step]:
    """An all-to-all of vectors; of an all-reduce its begin, its wait and the step that follows."""
    peers, share = b.work.place.peers, b.work.share
    if peers is None or word.pattern not in ("all_to_all", "all_reduce"):
        raise UsageError(f"observe has no {word.pattern} for {word.name!r} at {word.at}")
    if word.pattern == "all_reduce":
        return _summed(b, peers)
    out, source = (
        b.buffer(item, "gpu").detach().view(-1) for item in (b.flow.gives[b.at][0], b.takes[0])
    )
    width = share.samples * share.whole.width
    by_rank = [width * len(features) for features in share.features]
    equal = [by_rank[share.rank]] * share.ranks
    pieces = (equal, by_rank) if b.takes[0] == BY_SAMPLE else (by_rank, equal)
    return [Launch(partial(peers.all_to_all, out, source, *pieces))]


def _summed(b: Binding, peers: Peers) -> Sequence[Step]:
    """Gradients of the weights over all ranks, and the step of the weights."""
    begun: list[Callable[[], Any]] = []
    flat, step = b.work.step.flat, b.work.step
    return [
        Launch(lambda: begun.append(peers.all_reduce(flat))),
        Launch(lambda: begun.pop()()),
        Launch(step.apply, fixed=True),
    ]


def _copied(gpu: Accelerator, target: Any, source: Any) -> Step:
    return Launch(partial(gpu.copy, target, source))


def _vectors(b: Binding, item: Item, target: str, source: str) -> Step:
    """A copy of vectors, or of as many staged rows as there are."""
    there, here, gpu = b.buffer(item, target), b.buffer(item, source), b.work.gpu
    if item.kind != "rows":
        parts = zip((there, here), (target, source), strict=True)
        return _copied(gpu, *(b.work.of_samples(tensor, kind) for tensor, kind in parts))
    rows = b.flow.gathers(item)[b.number].rows
    listed, count = b.flow.moved_list(rows, b.number), rows.rows
    if listed is None:
        return _copied(gpu, there[:count], here[:count])
    lists = b.work.lists[b.number]

    def copy() -> None:
        count = lists.count(listed)
        gpu.copy(there[:count], here[:count])

    return Launch(copy)


def _move(b: Binding, word: Move) -> Sequence[Step]:
    source, target = b.flow.kind_of(word.what.memory), b.flow.kind_of(word.into)
    if (source, target) == ("cpu", "gpu"):
        return _move_to_gpu(b, word)
    if (source, target) == ("gpu", "cpu"):
        return _move_to_host(b, word)
    raise UsageError(f"observe moves between host and GPU alone, not from {source} to {target}")


def _wait(_b: Binding, _word: Wait) -> Sequence[Step]:
    return [AWAIT]


Rules = Mapping[tuple[type[Operation], str], Rule]

TRAINER: Rules = {
    (Pool, "cpu"): _pool_on_host,
    (Pool, "gpu"): _pool_on_gpu,
    (Gather, "cpu"): _gather_on_host,
    (Gather, "gpu"): _gather_on_gpu,
    (Scatter, "cpu"): _scatter_on_host,
    (Scatter, "gpu"): _scatter_on_gpu,
    (Sort, "cpu"): _sort_on_host,
    (Sort, "gpu"): _sort_on_gpu,
    (Update, "cpu"): _update_on_host,
    (Update, "gpu"): _update_on_gpu,
    (Plan, "gpu"): _plan_on_gpu,
    (Split, "gpu"): _split_on_gpu,
    (Add, "gpu"): _add_on_gpu,
    (Dense, "gpu"): _dense_on_gpu,
    (Exchange, "gpu"): _exchange,
    (Move, "cpu"): _move,
    (Move, "gpu"): _move,
    (Wait, "gpu"): _wait,
    **TAGGED,
}
"""(word, kind of the device at its place) -> what binds it."""


def rules_for(software: OperatorProfile) -> Rules:
    """The fused operators, or PyTorch's own where the profile is theirs."""
    return {**TRAINER, **STOCK} if is_stock(software) else TRAINER


def require_rules(
    program: Sequence[Stage], kind_of: Callable[[str], str], rules: Rules | None = None
) -> None:
    """Every word has a rule, and one GPU does all of the GPU's work. Raises `UsageError`."""
    rules = TRAINER if rules is None else rules
    fused = rules.get((Pool, "gpu")) is _pool_on_gpu
    require_reachable(tuple(program), kind_of, fused=fused)
    gpus: dict[str, Operation] = {}
    for _, word in words_of(tuple(program)):
        kind = kind_of(word.at)
        if (type(word), kind) not in rules:
            raise UsageError(
                f"observe has no rule for {type(word).__name__} ({word.name!r}) at {word.at}, "
                f"a {kind}"
            )
        if kind == "gpu" and not isinstance(word, Move):
            gpus.setdefault(word.at, word)
    if len(gpus) > 1:
        first, second = list(gpus)[:2]
        raise UsageError(
            f"observe trains on one GPU, but {gpus[second].name!r} is done at {second} and "
            f"{gpus[first].name!r} at {first}"
        )


def bind(
    work: Workspace,
    at: Position,
    number: int,
    pairs: dict[tuple[Position, int], Any],
    rules: Rules | None = None,
) -> Sequence[Step]:
    """The steps of one word of one mini-batch."""
    word = word_at(work.flow.programs[number], at)
    rule = (rules or TRAINER)[type(word), work.flow.kind_of(word.at)]
    steps = rule(Binding(work, at, number, pairs), word)
    peers = work.place.peers
    if peers is None or not work.share.together:
        return steps
    return [OnHost(peers.by_first(s.work)) if isinstance(s, OnHost) else s for s in steps]
