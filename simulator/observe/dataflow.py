"""The flow of data through a program.

A program says how many bytes a move carries and which rows a pass works on; a trainer must know
which ones. They follow from the program: a buffer that a word filled is carried under its name;
any other move carries what lies at its source, is needed where it goes and is not there yet, and
has together as many bytes as the move says, in every mini-batch. So what is measured moves what is
simulated, or it is an error before anything runs.

Memories count by the kind of device that they belong to: `cpu` or `gpu`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, WRITE_BACK, BatchFacts, Flow
from simulator.errors import UsageError
from simulator.hardware.program import (
    POSITION_BYTES,
    Accumulate,
    Add,
    Dense,
    Exchange,
    Expand,
    Gather,
    Move,
    Operation,
    Plan,
    Pool,
    Probe,
    Scatter,
    Sort,
    Split,
    Store,
    Update,
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
    Kind,
    Position,
    Program,
    word_at,
    words_of,
)
from simulator.observe.shares import Share

__all__ = ["Dataflow", "shape_of"]

ORDER: tuple[Kind, ...] = (
    "pooled",
    "gradients",
    "ids",
    "slots",
    "cold",
    "lists",
    "rows",
    "dense",
)
"""In which a move carries what it carries."""

Located = tuple[Item, str]
"""An item in the memory of a kind of device."""


ID_BYTES = 8
"""An id as PyTorch keeps it (int64)."""


@dataclass(frozen=True)
class Dataflow:
    """What each word of a program takes, and what each move carries.

    `programs`: of every mini-batch, alike but for their numbers; `kind_of`: the kind of device
    that a place belongs to. Raises `UsageError` where a word lacks what it needs.
    """

    programs: Sequence[Program]
    facts: Sequence[BatchFacts]
    share: Share
    kind_of: Callable[[str], str]
    carried: dict[Position, tuple[Item, ...]] = field(default_factory=dict)
    """What each move carries."""
    takes: dict[Position, tuple[Item, ...]] = field(default_factory=dict)
    """What each word reads beside its store."""
    gives: dict[Position, tuple[Item, ...]] = field(default_factory=dict)
    """What each word makes."""
    same: dict[Item, Item] = field(default_factory=dict)
    """Sums that are made in place: into which item."""
    stages_of: dict[Located, set[int]] = field(default_factory=dict)
    """Stages that touch an item where it lies."""
    _bytes: dict[Item, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._require_alike()
        self._require_names()
        self._read_words()
        self._follow()

    @cached_property
    def words(self) -> list[tuple[Position, Operation]]:
        """Words of the first mini-batch."""
        return list(words_of(self.programs[0]))

    @cached_property
    def plans(self) -> bool:
        """Whether a `Plan` says which rows move."""
        return any(isinstance(word, Plan) for _, word in self.words)

    @cached_property
    def splits(self) -> bool:
        """Whether a `Split` tells lookups with a slot from all others."""
        return any(isinstance(word, Split) for _, word in self.words)

    @cached_property
    def probes(self) -> bool:
        """Whether a `Probe` says which rows have a slot."""
        return any(isinstance(word, Probe) for _, word in self.words)

    @cached_property
    def exchanges(self) -> bool:
        """Whether vectors by table are exchanged for vectors by sample, and gradients back."""
        return any(_is_all_to_all(word) for _, word in self.words)

    @cached_property
    def of_dense(self) -> Item:
        """The gradients that a dense step gives."""
        return BY_SAMPLE if self.exchanges else GRADIENTS

    @cached_property
    def dense_takes(self) -> tuple[Item, ...]:
        """What the dense steps take."""
        dense = [at for at, word in self.words if isinstance(word, Dense)]
        return tuple(item for at in dense for item in self.takes[at])

    @cached_property
    def _filled(self) -> dict[str, list[Gather]]:
        filled: dict[str, list[Gather]] = {}
        for program in self.programs:
            for _, word in words_of(program):
                if isinstance(word, Gather):
                    filled.setdefault(word.into.name, []).append(word)
        return filled

    def gathers(self, item: Item) -> list[Gather]:
        """The gathers that fill a buffer of rows, one a mini-batch."""
        return self._filled[item.name]

    def root(self, item: Item) -> Item:
        """Where a sum that is made in place lies."""
        return self.root(self.same[item]) if item in self.same else item

    def update_of(self, at: Position) -> Position | None:
        """The `Update` that a `Sort` orders lookups for: the next one at its place."""
        place = word_at(self.programs[0], at).at
        later = [p for p, w in self.words if p > at and isinstance(w, Update) and w.at == place]
        return later[0] if later else None

    def is_update(self, at: Position) -> bool:
        """Whether the word at a position is an `Update`."""
        return isinstance(word_at(self.programs[0], at), Update)

    def sort_of(self, at: Position) -> Position | None:
        """The `Sort` whose pairs an `Update` takes."""
        sorts = [p for p, w in self.words if isinstance(w, Sort) and self.update_of(p) == at]
        return sorts[-1] if sorts else None

    def moved_list(self, rows: Flow, number: int) -> str | None:
        """Which list of the plan of a mini-batch `rows` are: `miss`, `write_back`, or none."""
        if not self.plans or rows.ids is None:
            return None
        for name in (MISS, WRITE_BACK):
            listed = self.facts[number][name].ids
            if listed is not None and np.array_equal(rows.ids, listed):
                return name
        return None

    def _require_alike(self) -> None:
        """Every mini-batch has the same words at the same places."""
        first = shape_of(self.programs[0])
        for number, program in enumerate(self.programs):
            if shape_of(program) != first:
                raise UsageError(
                    f"the program of mini-batch {number} has other words than that of the first"
                )

    def _require_names(self) -> None:
        """No two buffers of rows share a name."""
        names = [word.into.name for _, word in self.words if isinstance(word, Gather)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"two gathers fill a buffer called {twice[0]!r}: give them two names")

    def _read_words(self) -> None:
        """What every word but the moves takes and gives."""
        sums: dict[Item, str] = {}
        lookups: dict[tuple[str, str], Item] = {}
        for at, word in self.words:
            takes: tuple[Item, ...] = ()
            gives: tuple[Item, ...] = ()
            if isinstance(word, Pool):
                takes = self._lookups(at, word)
                lookups[_key(word.reads)] = takes[0]
                gives = (Item("pooled", f"of {word.reads.name} at {word.at}"),)
            elif isinstance(word, Add):
                takes, gives = self._added(word, sums)
            elif isinstance(word, Dense):
                takes, gives = (*_only(word, sums), DENSE), (self.of_dense,)
            elif _is_all_to_all(word):
                takes, gives = self._exchanged(word, sums)
            elif isinstance(word, Update):
                takes = (lookups.get(_key(word.writes), IDS), GRADIENTS)
                self._require_rows(at, word, takes[0])
            else:
                takes, gives = self._moved(at, word)
            for item in gives:
                if item.kind == "pooled":
                    sums[item] = word.at
            self.takes[at], self.gives[at] = takes, gives
        for at, word in self.words:
            if isinstance(word, Expand | Sort | Accumulate):
                update = self.update_of(at)
                if update is None:
                    raise UsageError(f"{_name(word)} orders lookups that no update takes")
                self.takes[at] = self.takes[update][: 2 if isinstance(word, Expand) else 1]

    def _moved(self, at: Position, word: Operation) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
        """What the words around a cache take and give; nothing for all others."""
        if isinstance(word, Plan | Split):
            return (IDS,), (SLOTS, LISTS if isinstance(word, Plan) else COLD)
        if isinstance(word, Probe):
            return (IDS,), (SLOTS,)
        if isinstance(word, Gather):
            return self._listed(at), (Item("rows", word.into.name),)
        if isinstance(word, Scatter):
            return (*self._listed(at), Item("rows", word.source.name)), ()
        return (), ()

    def _added(self, word: Add, sums: dict[Item, str]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
        """All sums so far, and their sum: made in place of one that lies there already."""
        takes, total = tuple(sums), Item("pooled", f"of all at {word.at}")
        if len(word.sources) != len(takes):
            raise UsageError(
                f"{_name(word)} adds {len(word.sources)} buffers, but there are {len(takes)} sums"
            )
        self.same[total] = next((i for i, made_at in sums.items() if made_at == word.at), takes[0])
        sums.clear()
        return takes, (total,)

    def _exchanged(
        self, word: Operation, sums: dict[Item, str]
    ) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
        """Before the dense step the sum of its rows for those of its samples, then gradients."""
        if any(BY_SAMPLE in given for given in self.gives.values()):
            return (BY_SAMPLE,), (GRADIENTS,)
        takes = _only(word, sums)
        sums.clear()
        return takes, (Item("pooled", f"by sample at {word.at}"),)

    def _flows(self, at: Position) -> list[tuple[Flow, ...]]:
        """The rows of a word in every mini-batch, with those that lie elsewhere."""
        words = (word_at(program, at) for program in self.programs)
        return [
            (word.rows,)
            if isinstance(word, Gather | Scatter) or word.elsewhere is None
            else (word.rows, word.elsewhere.rows)
            for word in words
            if isinstance(word, Pool | Update | Gather | Scatter)
        ]

    def _of(self, item: Item) -> str:
        """The flow of the lookups that a list of them serves a store with."""
        if item == SLOTS and self.splits:
            return HIT
        return MISS if item == COLD else UNIQUE

    def _lookups(self, at: Position, word: Pool) -> tuple[Item, ...]:
        """Which list of lookups a gather-reduce reads, and their slots where some have none."""
        counts = [sum(rows.lookups for rows in own) for own in self._flows(at)]
        if word.elsewhere is not None and counts == [f[LOOKUP].lookups for f in self.facts]:
            return IDS, SLOTS
        items = [SLOTS] if word.reads.slotted else [COLD, IDS] if self.splits else [IDS]
        for item in items:
            flow = self._of(item).replace(UNIQUE, LOOKUP)
            if counts == [facts[flow].lookups for facts in self.facts]:
                return (item,)
        raise UsageError(
            f"{_name(word)} pools {counts[0]} lookups: observe knows all of a mini-batch, those "
            "with a slot, and those that a split finds without one"
        )

    def _require_rows(self, at: Position, word: Update, lookups: Item) -> None:
        """An update trains the rows of the lookups that were pooled."""
        flow = self._of(lookups)
        rows = [sum(each.rows for each in own) for own in self._flows(at)]
        if rows != [facts[flow].rows for facts in self.facts]:
            raise UsageError(f"{_name(word)} trains other rows than those that were pooled")

    def _listed(self, at: Position) -> tuple[Item, ...]:
        """The lists of a plan, where the rows are on one in every mini-batch."""
        flows = enumerate(self._flows(at))
        return (LISTS,) if all(self.moved_list(own[0], k) is not None for k, own in flows) else ()

    def _follow(self) -> None:
        """Resolve the moves, stage by stage; every word must find what it takes."""
        needed = {
            (item, self.kind_of(word.at))
            for at, word in self.words
            for item in map(self.root, self.takes[at])
        }
        there: set[Located] = {(IDS, "cpu"), (DENSE, "cpu")}
        for s, stage in enumerate(self.programs[0]):
            made: set[Located] = set()
            for k, lane in enumerate(stage.lanes):
                own = set(there)
                for n, word in enumerate(lane):
                    own |= self._do((s, k, n), word, own, needed)
                made |= own
            there = made | there

    def _do(
        self, at: Position, word: Operation, there: set[Located], needed: set[Located]
    ) -> set[Located]:
        """What a word adds to what is there."""
        if isinstance(word, Move):
            source, target = self.kind_of(word.what.memory), self.kind_of(word.into)
            items = self._carried(at, word, there, needed)
            self.carried[at] = items
            self._touch(at, items, source)
            self._touch(at, items, target)
            return {(item, target) for item in items}
        kind = self.kind_of(word.at)
        for item in self.takes[at]:
            if (self.root(item), kind) not in there:
                raise UsageError(f"{_name(word)} needs {item} there, but nothing brings it")
        gives = [self.root(item) for item in self.gives[at]]
        self._touch(at, [*map(self.root, self.takes[at]), *gives], kind)
        return {(item, kind) for item in gives}

    def _touch(self, at: Position, items: Sequence[Item], kind: str) -> None:
        for item in items:
            self.stages_of.setdefault((item, kind), set()).add(at[0])

    def _carried(
        self, at: Position, word: Move, there: set[Located], needed: set[Located]
    ) -> tuple[Item, ...]:
        """What a move carries: the buffer of its name, or what its target needs."""
        source, target = self.kind_of(word.what.memory), self.kind_of(word.into)
        named = Item("rows", word.what.name)
        if (named, source) in there:
            return (named,)
        items = sorted(
            (i for i, k in there if k == source and (i, target) in needed - there),
            key=lambda item: (ORDER.index(item.kind), item.name),
        )
        moved = self._sizes(at)
        for count in range(len(items), -1, -1):
            for some in combinations(items, count):
                sizes = zip(*(self._item_bytes(item) for item in some), strict=True)
                if (list(map(sum, sizes)) or [0] * len(moved)) == moved:
                    return some
        offers = ", ".join(f"{item} ({self._item_bytes(item)[0]:,} B)" for item in items)
        raise UsageError(
            f"observe cannot tell what {_name(word)} carries to {word.into}: {moved[0]:,} B, but "
            f"needed there {'are ' + offers if offers else 'is nothing that lies here'}"
        )

    def _sizes(self, at: Position) -> list[int]:
        """Bytes of a move in every mini-batch."""
        moves = (word_at(program, at) for program in self.programs)
        return [move.bytes for move in moves if isinstance(move, Move)]

    def _item_bytes(self, item: Item) -> list[int]:
        """Bytes of an item in every mini-batch, as the simulator counts them."""
        if item not in self._bytes:
            self._bytes[item] = self._item_sizes(item)
        return self._bytes[item]

    def _item_sizes(self, item: Item) -> list[int]:
        if item.kind == "rows":
            return [gather.into.bytes for gather in self.gathers(item)]
        vectors = self.share.pooled_bytes
        sizes: Mapping[str, Callable[[BatchFacts], int]] = {
            "pooled": lambda _: vectors,
            "gradients": lambda _: vectors,
            "ids": lambda facts: facts[LOOKUP].lookups * ID_BYTES,
            "slots": lambda facts: facts[LOOKUP].lookups * POSITION_BYTES,
            "cold": lambda facts: facts[MISS].lookups * ID_BYTES,
            "lists": lambda facts: (facts[MISS].rows + facts[WRITE_BACK].rows) * ID_BYTES,
            "dense": lambda _: self.share.dense_bytes,
        }
        return [sizes[item.kind](facts) for facts in self.facts]


def shape_of(program: Program) -> list[tuple[str, Position, type[Operation], str, str]]:
    """What the words of a program are and where they stand: equal for programs that differ in
    numbers alone."""
    return [(program[at[0]].name, at, type(w), w.name, w.at) for at, w in words_of(program)]


def _key(store: Store) -> tuple[str, str]:
    return store.name, store.memory


def _is_all_to_all(word: Operation) -> bool:
    return isinstance(word, Exchange) and word.pattern == "all_to_all"


def _only(word: Operation, sums: Mapping[Item, str]) -> tuple[Item, ...]:
    """The one sum that a dense step or an exchange takes."""
    if len(sums) != 1:
        raise UsageError(f"{_name(word)} takes one sum of rows, not {len(sums)}")
    return tuple(sums)


def _name(word: Operation) -> str:
    return f"{type(word).__name__} ({word.name!r}) at {word.at}"
