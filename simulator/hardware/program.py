"""The words of a program: what a system does with rows, and where. Data, without time.

A system says a stage of a training iteration as a `Stage`: lanes that run side by side (the CPU
gathers while the GPU gathers), each a sequence of operations. An operation names the place that
does it (`at`, a processor), the stores and buffers that it reads and writes, and the rows; bytes
are derived from rows, so that the readers of a program cannot disagree: the timer prices it on a
machine, the checker executes it on values, a trainer runs it on hardware.

Places are names of a machine's parts: a processor (`cpu`, `gpu3`) or a memory (`cpu.dram`,
`gpu3.hbm`). `reads` and `writes` of an operation are the stores of rows that it touches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import Flow
from simulator.config.collectives import Algorithm, Pattern

__all__ = [
    "GRADIENT_BYTES",
    "POSITION_BYTES",
    "RADIX_BITS",
    "Accumulate",
    "Add",
    "Algorithm",
    "Buffer",
    "Dense",
    "Elsewhere",
    "Exchange",
    "Expand",
    "Flow",
    "FusedLayers",
    "Gather",
    "Interaction",
    "KeyValue",
    "Move",
    "Operation",
    "Pattern",
    "Plan",
    "Pool",
    "Probe",
    "Record",
    "Scatter",
    "Sort",
    "Split",
    "Stage",
    "Store",
    "Update",
    "Wait",
    "ZeroCopy",
    "key_bits",
]

POSITION_BYTES = 4
GRADIENT_BYTES = 4
"""An element of a gradient or a pooled vector (fp32)."""
RADIX_BITS = 8
"""Bits of a radix pass (CUB and most CPU radix sorts)."""

Int64s = npt.NDArray[np.int64]


def key_bits(rows: int) -> int:
    """Bits of a sort key that can name `rows` rows."""
    return max(1, math.ceil(math.log2(max(2, rows))))


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A log-structured key-value store: the software that rows are read and written through.

    What is put waits in a table in the processor's own memory and is appended to the log in whole
    pages, so that no page is read before it is written.
    """

    shards: int
    """Each with a thread of its own."""
    get_ps: int
    """Time of a shard's thread for a row that it gets, beside its request and its copy."""
    put_ps: int
    """The same for a row that it puts."""
    appended: float = 1.0
    """Times that each byte is written in the end."""


@dataclass(frozen=True, slots=True)
class Store:
    """Embedding rows in a memory: tables, or the slots of a cache."""

    name: str
    memory: str
    """The place whose memory holds them."""
    row_bytes: int
    """Weights of a row."""
    state_bytes: int = 0
    """Optimizer state of a row."""
    tables: int = 1
    """Tables whose rows it holds."""
    slotted: bool = False
    """Rows lie in slots (`Flow.slots`), not at their own number."""
    bytes: int = 0
    """Of all its rows: what addresses are spread over. 0: of no account."""
    state_memory: str = ""
    """The place whose memory holds the optimizer state; empty: it lies beside the rows."""
    tiers: tuple[str, ...] = ()
    """Memories that its rows are spread over, in the order of `Flow.tiers`; empty: `memory`."""
    chunk_bytes: int = 0
    """Rows lie packed in chunks of that size, which are read and written whole (`Flow.chunks`); 0:
    each lies by itself."""
    keyed: KeyValue | None = None
    """What a CPU gets and puts rows through; None: it reads and writes them where they lie."""

    @property
    def entry_bytes(self) -> int:
        """A row with the optimizer state beside it: what moves when the row does."""
        return self.row_bytes + (0 if self.state_memory else self.state_bytes)

    def pieces(self, rows: Flow) -> Int64s | None:
        """Where `rows` lie, int64, where that was kept."""
        return rows.slots if self.slotted else rows.ids


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes in a memory that live within a mini-batch: staged rows, pooled vectors, ids."""

    name: str
    memory: str
    bytes: int
    held: float | None = None
    """Share that the last cache of the processor beside the memory holds when it reads it; None:
    what a copy has left there."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `at`: the processor that does it.

    `after`: an operation of the same processor in another lane of its stage that ends before this
    one may begin (an event that another stream waits for); empty: none. `durable`: it begins only
    when what its mini-batch writes for a check-point is durable. `sibling`: which of the two
    hardware threads of each core it runs on, beside an operation on the other; None: cores are its
    own. `leaves`, `evicts`: bytes that it leaves changed in the processor's last cache, and bytes
    that the operation before it left there and that it drives out; the timer fills both in.
    """

    name: str
    at: str
    after: str = field(default="", kw_only=True)
    durable: bool = field(default=False, kw_only=True)
    sibling: int | None = field(default=None, kw_only=True)
    leaves: int = field(default=0, kw_only=True)
    evicts: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Rows that an operation touches in a second store, in the same pass."""

    store: Store
    rows: Flow
    hit_share: float = 0.0
    """Share of the lookups that the processor's last cache holds; the timer fills it in."""


@dataclass(frozen=True, slots=True)
class Pool(Operation):
    """Gather-reduce: read a row a lookup, sum the rows of a sample, write the pooled vectors.

    `elsewhere`: lookups that `rows` does not count, whose rows it reads in another store.
    """

    reads: Store
    rows: Flow
    into: Buffer
    pooling: int
    """Most lookups of a sample by a feature."""
    skipped: int = 0
    """Ids in its list that are marked as not to be looked up."""
    features: int = 0
    """Pooled vectors of a sample, which software may make one after the other; 0: one a table."""
    hit_share: float = 0.0
    """Share of the lookups that the processor's last cache holds; the timer fills it in."""
    tier_hits: tuple[float, ...] = ()
    """The same of those of each tier, where its store is spread over some."""
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True, slots=True)
class Gather(Operation):
    """Copy rows, with their optimizer state, from a store to a staging buffer.

    `changes`: not the rows but what was added to them since they came there or were gathered so
    last; the store begins anew to add it up.
    """

    reads: Store
    rows: Flow
    into: Buffer
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Scatter(Operation):
    """Copy rows, with their optimizer state, from a staging buffer into a store.

    `how`: `replace` what is there; `add` the changes in the buffer to it; `renew` it, so that its
    own changes come on top of the rows in the buffer.
    """

    source: Buffer
    writes: Store
    rows: Flow
    how: Literal["replace", "add", "renew"] = "replace"


@dataclass(frozen=True, slots=True)
class ZeroCopy(Operation):
    """Copy rows from one store to another without staging: each row is read and written where it
    lies, over the links on the way, by one kernel."""

    reads: Store
    writes: Store
    rows: Flow
    share: float = 1.0
    """Share of the processor's cores that it may take."""
    parts: int = 1
    """Equal operations of which it is one: what all of them read is asked for at once, so that they
    wait together for the first pages of a memory that has some."""


@dataclass(frozen=True, slots=True)
class Expand(Operation):
    """Copy the gradient of a sample once per lookup."""

    source: Buffer
    """Gradients of the pooled vectors."""
    rows: Flow
    gradient_bytes: int
    """Of one vector."""
    features: int
    """Gradients of a sample, which software may expand one after the other."""
    skipped: int = 0
    """Ids in its list that are marked as not to be trained."""


@dataclass(frozen=True, slots=True)
class Sort(Operation):
    """Order (id, position) pairs by id, for all tables at once or table by table."""

    rows: Flow
    tables: int
    table_rows: int
    """Rows of the largest table."""
    key_rows: int
    """Rows (or slots) that an id can name: the width of a key over all tables."""
    skipped: int = 0
    """Ids in its list that are marked as not to be sorted."""
    held: float = 0.0
    """Share of its lists that the processor's last cache holds; in training what comes between
    two of them has driven them out."""


@dataclass(frozen=True, slots=True)
class Accumulate(Operation):
    """Sum the gradients of equal ids into one gradient a unique row."""

    source: Buffer
    """Gradients of the pooled vectors; the expanded ones where an `Expand` came before."""
    rows: Flow
    gradient_bytes: int
    expanded: bool
    tables: int


@dataclass(frozen=True, slots=True)
class Update(Operation):
    """Optimizer step: read and write each unique row and its state.

    `coalesce`: sums the gradients of equal ids on the way (fused with `Accumulate`).
    `elsewhere`: lookups and rows that `rows` does not count, which it updates in another store.
    `part`: its gradients are of some samples alone: a row of which several copies are trained has
    the sum of their changes coming.
    """

    writes: Store
    rows: Flow
    source: Buffer
    """Gradients of the pooled vectors."""
    gradient_bytes: int
    coalesce: bool
    expanded: bool
    """An `Expand` came before: a gradient a lookup lies in memory."""
    optimizer: str = "sgd"
    elsewhere: Elsewhere | None = None
    part: bool = False


@dataclass(frozen=True, slots=True)
class Plan(Operation):
    """Look ids up in the Hit-Map, choose victims by age, update Hit-Map and Hold mask."""

    lookups: int
    unique: int
    missed: int
    slots: int
    lists: Buffer | None = None
    """Where it writes the lists of missed and victim rows beside its own memory."""
    ahead: int = 0
    """Mini-batches behind its own in the hold window."""
    side_by_side: bool = False
    """Rows lie side by side in the maps, and the same ones again and again: as a micro-benchmark
    has them."""


@dataclass(frozen=True, slots=True)
class Probe(Operation):
    """Look unique rows up in the sets of a set-associative cache: read the tags of a set for each,
    and, where it is missed, the marks of its slots."""

    rows: int
    missed: int
    ways: int


@dataclass(frozen=True, slots=True)
class Split(Operation):
    """Sort the ids of a mini-batch into those of some rows (pinned ones, those of one GPU) and all
    others."""

    lookups: int
    lists: Buffer | None = None
    """Where it writes the list of the others beside its own memory."""
    ids: Buffer | None = None
    """The ids, where they lie in another memory than its own."""
    distinct: int | None = None
    """Ids that differ: its map is in L2 for the others. None: nobody counted, and none is."""


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """Add vectors up: read every source, write one of them."""

    sources: tuple[Buffer, ...]
    into: Buffer


@dataclass(frozen=True, slots=True)
class Interaction:
    """How the vectors of each sample meet, forward and backward, one kernel after the other."""

    kernels: int
    bytes_read: int
    bytes_written: int
    """What kernels beside the products read and write, and the vectors in the products."""
    tile_flops: int = 0
    """Batched products, one a sample, in the tiles that they are computed in."""
    pairs: int = 0
    """Products that are picked for the top MLP, and whose gradients are put back."""
    vector_bytes: int = 0
    """The vectors, once, in the precision of the layers."""
    backward: bool = True
    """False: forward alone."""


@dataclass(frozen=True, slots=True)
class FusedLayers:
    """What is left of a `Dense` beside its interaction where the products' kernels have all of a
    layer, and one kernel updates all weights."""

    kernels: int
    chain: int
    """Of those, kernels that others wait for; the gradients of weights are the rest."""
    bytes_read: int = 0
    bytes_written: int = 0
    """What the update reads and writes."""


@dataclass(frozen=True, slots=True)
class Dense(Operation):
    """One training step of the MLPs and the interaction, as a framework launches its kernels."""

    flops: int
    """Products of the layers."""
    precision: Literal["fp32", "tf32", "fp16", "bf16"]
    kernels: int
    """Of layers, loss and update."""
    bytes_read: int
    bytes_written: int
    """What kernels beside the products read and write: activations, weights, their gradients."""
    interaction: Interaction
    samples: int = 0
    """Samples that it is for; 0: nobody asks."""
    fused: FusedLayers | None = None
    """Its layers where the software fuses them; None: it cannot."""


@dataclass(frozen=True, slots=True)
class Move(Operation):
    """Send bytes from one memory to another over the route between them.

    `at`: the source. `what`: the buffer as it lies there, `into`: the memory that it goes to.
    `call`: picoseconds that the software of both ends takes where it goes to another host as (part
    of) a remote procedure call, beside its bytes.
    """

    what: Buffer
    into: str
    call: int = 0

    @property
    def bytes(self) -> int:
        return self.what.bytes


@dataclass(frozen=True, slots=True)
class Record(Move):
    """Write bytes to a durable memory whenever nothing else asks for what is on the way.

    `pieces`: embedding rows that they are made of, each read where it lies; 0: read in order.
    """

    pieces: int = 0


@dataclass(frozen=True, slots=True)
class Exchange(Operation):
    """A collective among `group`, of which `at` is one rank, over whole buffers.

    `bytes`: the whole buffer of `at`, what stays with it included: what it sends to all ranks (an
    all-to-all), what is summed (all-reduce, reduce-scatter: as it goes in), what every rank has in
    the end (all-gather, broadcast). What crosses which link follows from pattern and algorithm.

    Where a stage has lanes of several ranks, those of one name begin when the last is there.
    """

    group: tuple[str, ...]
    pattern: Pattern
    bytes: int
    held: tuple[int, ...] = ()
    """Of an uneven all-to-all: the buffer of each rank of `group`, each divided evenly among all;
    empty: all are like that of `at`."""
    algorithm: Algorithm | None = None
    """None: as the software's profile says, and where it says nothing the fastest."""


@dataclass(frozen=True, slots=True)
class Wait(Operation):
    """The host notices that `at` is done before it goes on."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of one mini-batch: lanes side by side; it ends when the last lane ends."""

    name: str
    lanes: tuple[tuple[Operation, ...], ...]

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations, lane by lane."""
        return tuple(operation for lane in self.lanes for operation in lane)

    def works_at(self, processors: Mapping[str, object] | frozenset[str]) -> bool:
        """Whether any operation is done by one of `processors`; moves need none."""
        return any(
            operation.at in processors and not isinstance(operation, Move | Wait)
            for operation in self.operations
        )
