"""How words around a set-associative cache of the GPU are trained whose misses go over the link.

Its kernels reach the host's table by themselves: rows are swapped by one kernel that writes what
leaves and reads what comes, and what has no slot is pooled and updated where it lies. PyTorch's own
operators have none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from simulator.errors import UsageError
from simulator.hardware.program import Operation, Pool, Probe, Store, Update, ZeroCopy
from simulator.observe.binding import Binding, Rule, pairs_key
from simulator.observe.items import SLOTS, Program, words_of
from simulator.observe.steps import Launch, Step
from simulator.observe.tagged import Tier

__all__ = ["TAGGED", "require_reachable", "tier_of"]


def tier_of(b: Binding, word: Pool | Update) -> Tier | None:
    """What rows without a slot need, where a word has some."""
    if word.elsewhere is None:
        return None
    slots = b.buffer(SLOTS, "gpu")[: b.count]
    return Tier(b.lookups(), slots, b.work.reached(word.elsewhere.store))


def _probe_on_gpu(b: Binding, _word: Probe) -> Sequence[Step]:
    """What comes in is in the tags when lookups are located; the swap then moves its rows."""
    cache, swapped, ops = b.work.tagged, b.work.swapped[b.number], b.work.gpu.tagging
    ids, slots = b.lookups(), b.buffer(SLOTS, "gpu")[: b.count]
    key = pairs_key(b, b.flow.update_of(b.at))
    return [
        Launch(lambda: ops.probe(cache, ids, b.pairs[key], b.number)),
        Launch(partial(ops.insert, cache, swapped, b.number)),
        Launch(partial(ops.locate, cache, ids, slots)),
    ]


def _swap_on_gpu(b: Binding, word: ZeroCopy) -> Sequence[Step]:
    """One kernel for both ways, launched with the rows that come."""
    if not word.writes.slotted:
        return []
    rows, table = b.work.store(word.writes), b.work.reached(word.reads)
    return [Launch(partial(b.work.gpu.tagging.swap, b.work.swapped[b.number], rows, table))]


TAGGED: Mapping[tuple[type[Operation], str], Rule] = {
    (Probe, "gpu"): _probe_on_gpu,
    (ZeroCopy, "gpu"): _swap_on_gpu,
}


def require_reachable(program: Program, kind_of: Callable[[str], str], *, fused: bool) -> None:
    """Rows lie where they are used, or in the host's memory under a GPU with `fused` operators,
    which knows from a `Probe` which of them do. Raises `UsageError`."""
    probed = any(isinstance(word, Probe) for _, word in words_of(program))
    for at, word in words_of(program):
        if isinstance(word, ZeroCopy):
            _require_swap(program, at[0])
        if not isinstance(word, Pool | Update):
            continue
        own = word.reads if isinstance(word, Pool) else word.writes
        stores = (own,) if word.elsewhere is None else (own, word.elsewhere.store)
        for store in stores:
            _require_state(store)
            here, there = kind_of(word.at), kind_of(store.memory)
            if here != there and not (fused and (here, there) == ("gpu", "cpu")):
                raise UsageError(
                    "observe has rows where they are used, or in the host's memory under a GPU "
                    f"with fused operators, but {word.name!r} at {word.at} reaches those of "
                    f"{store.name} in {store.memory}"
                )
        if len(stores) > 1 and not (fused and probed):
            raise UsageError(
                f"observe learns which rows lie elsewhere from the probe of a cache, with fused "
                f"operators, but {word.name!r} at {word.at} has none before it"
            )


def _require_state(store: Store) -> None:
    if store.state_memory and store.state_bytes:
        raise UsageError(
            f"observe keeps optimizer state beside its row, not that of {store.name} in "
            f"{store.state_memory}: --set model.optimizer=sgd"
        )


def _require_swap(program: Program, stage: int) -> None:
    """Both ways are one kernel, so they belong into one stage."""
    words = [word for lane in program[stage].lanes for word in lane]
    slotted = sorted(word.writes.slotted for word in words if isinstance(word, ZeroCopy))
    if slotted != [False, True]:
        raise UsageError(
            f"observe swaps rows of one cache both ways in one kernel; stage "
            f"{program[stage].name!r} does something else over the link"
        )
