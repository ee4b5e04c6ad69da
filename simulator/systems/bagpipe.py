"""Bagpipe: an oracle reads mini-batches ahead and tells trainers what to fetch from an embedding
server, how long to keep it, and what to synchronise at once (Agarwal et al., SOSP 2023).

Code: https://github.com/uw-mad-dash/bagpipe at 2b50967 (oraclecacher.py, bagcache.py). Verified
there: the rule by time to live, with a look-ahead of 200 mini-batches; every quarter of it a thread
of its own evicts rows whose time is over (a trainer writes its share of them, and all that it has
alone), waits until all trainers have, and fetches for the coming mini-batches in one request; the
clean-up of an iteration is queued two iterations later; gradients of rows that the next mini-batch
uses are summed before it (blocking), those of others while it runs, and rows that occur once and do
not come back within the look-ahead are not summed; SGD; tables in an embedding server, NCCL among
trainers. Ids of the look-ahead are read on a host of their own.

Reconstructed: the oracle's CPU time (it makes the ids of a mini-batch unique). Ours: rows that are
not summed are trained by the trainer that has them (in the code they seem to be trained by nobody);
rows that the next mini-batch does not use are updated once their gradients are summed, not with
those of the next one; with a look-ahead of less than three clean-ups wait for nothing but the rows
that they evict. Gradients of the MLPs are summed beside the coalescing of those of the rows. Left
out: memory of the trainers for rows that others have alone, the first fetch in four chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.replays.oracle import OracleReplay
from simulator.caches.replays.oracle_facts import ALONE, FETCHED, LATER, LEAVING, LISTED, NOW
from simulator.caches.replays.samples import of_trainer
from simulator.config.parameters import Given, Parameters
from simulator.config.sections import SIZE_KEYS
from simulator.config.types import Picoseconds
from simulator.errors import ConfigError
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Buffer,
    Exchange,
    Gather,
    Move,
    Operation,
    Scatter,
    Sort,
    Stage,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Consistency,
    Job,
    System,
    SystemGroup,
    cache_in,
    move,
    require_look_ahead,
    synchronize,
)
from simulator.systems.mlp import dense_bytes, mlp_step, mlp_weight_bytes
from simulator.systems.operators import pooled_bytes, pooled_vectors
from simulator.systems.remote import Cluster, Trainer
from simulator.systems.schedule import After, Schedule, Streams

__all__ = ["Bagpipe", "BagpipeParameters"]

Lanes = tuple[tuple[Operation, ...], ...]


class BagpipeParameters(Parameters):
    """Of Bagpipe."""

    look_ahead: Annotated[int, Field(ge=1, le=10**6), Given("verified", "launcher: 200")] = 200
    """Mini-batches that the oracle reads ahead."""
    chunk: Annotated[float, Field(gt=0, le=1), Given("verified", "bagcache.py: 0.25")] = 0.25
    """Share of the look-ahead that is evicted and fetched at once."""
    rpc_latency: Annotated[
        Picoseconds,
        Given("assumed", "a call of torch.distributed.rpc: 100 to 200 us of Python and threads"),
    ] = "150 us"  # type: ignore[assignment]
    """What a remote procedure call takes beside its bytes."""


class Bagpipe(System):
    """Rows of the coming mini-batches on every trainer, fetched ahead from an embedding server."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = (
        "Agarwal et al., Bagpipe, SOSP 2023; code uw-mad-dash/bagpipe at 2b50967"
    )
    no_inference: ClassVar[str] = (
        "it reads mini-batches ahead, and queries that come later are not known"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "A row leaves when its time to live is over; all write-backs reach the server before the "
        "next rows are fetched; rows of the next mini-batch are synchronised before it starts, the "
        "others before the one after it.",
        sums="gradients of rows, trainer by trainer",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Iteration times of the paper.",
        "How its cache is physically partitioned, beyond rows that one trainer has alone.",
        "What a remote procedure call costs the CPU, beyond the kernel's TCP.",
    )
    parameters: ClassVar[type[Parameters]] = BagpipeParameters
    uses: ClassVar[frozenset[str]] = frozenset(
        {"gpus", *(f"cache.{key}" for key in SIZE_KEYS), "cache.prefill", "cache.if_too_small"}
    )
    shown_on: ClassVar[str] = "bagpipe_p3"
    replay: OracleReplay

    def __init__(self, job: Job, machine: Topology) -> None:
        own = job.parameters_as(BagpipeParameters)
        self._job, self._machine = job, machine
        self._cluster = Cluster.of(job, machine, "bagpipe", own.rpc_latency, shown_on=self.shown_on)
        require_look_ahead(job, "bagpipe", "look_ahead", own.look_ahead)
        trainers = self._cluster.trainers
        self.replay = _replay(job, own, tuple(trainer.samples for trainer in trainers))
        self._trainers = tuple(
            _Trainer(job, machine, self._cluster, each, sum(self.replay.slots)) for each in trainers
        )
        self.schedule = _schedule(own.look_ahead, self.replay.chunk)

    @property
    def gpus(self) -> int:
        return len(self._trainers)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        trainers, begins = self._trainers, self.replay.begins_chunk(facts.index)
        model, oracle = self._job.model, self._cluster.planner
        largest = max(model.rows_per_table)
        unique = Sort("unique", oracle, facts[LOOKUP], model.tables, largest, largest)
        return (
            Stage("oracle", ((unique,),)),
            Stage("hand_out", tuple((t.handed_out(facts),) for t in trainers)),
            _stage("evict", [lane for t in trainers if begins for lane in t.evicted(facts)]),
            _stage("write_back", [lane for t in trainers if begins for lane in t.written(facts)]),
            _stage("fetch", [lane for t in trainers if begins for lane in t.fetched(facts)]),
            _stage("train", [lane for t in trainers for lane in t.trained(facts)]),
            _stage("sync", [t.summed(facts, NOW) for t in trainers]),
            _stage("update", [t.updated_now(facts) for t in trainers]),
            _stage("sync_later", [t.updated_later(facts) for t in trainers]),
        )


def _stage(name: str, lanes: list[tuple[Operation, ...]]) -> Stage:
    return Stage(name, tuple(filter(None, lanes)))


def _replay(job: Job, own: BagpipeParameters, samples: tuple[int, ...]) -> OracleReplay:
    """The cache that was asked for, or, where it may grow, one for all rows of a look-ahead.

    Raises `ConfigError` where it is to start with the hottest rows.
    """
    if job.cache.prefill == "hot":
        raise ConfigError(
            "bagpipe holds rows of coming mini-batches, whatever was hot: cache.prefill hot would "
            "do nothing; set cache.prefill: steady, or empty"
        )
    (slots,) = job.cache_size.slots([job.model.rows])
    chunk = max(1, int(own.chunk * own.look_ahead))
    grows = False
    if job.cache.if_too_small == "grow":
        held = own.look_ahead + 2 * chunk + 2
        most = sum(
            min(rows, held * lookups)
            for rows, lookups in zip(job.model.rows_per_table, job.most_lookups, strict=True)
        )
        slots, grows = max(slots, most), most > slots
    return OracleReplay(
        slots,
        own.look_ahead,
        chunk,
        samples,
        job.cache.prefill,
        job.keep,
        grows,
        job.lookups_alone,
    )


def _schedule(look_ahead: int, chunk: int) -> Schedule:
    """Clean-up c is told with mini-batch c + `ahead`; it begins two iterations later, or as many as
    there are before what it fetches is needed."""
    ahead = look_ahead - chunk
    lag = min(2, ahead)
    evicts = After("evict", "update", lag - 1 - ahead)
    if not lag:
        evicts = After("evict", "sync_later", -1)
    return Streams.of(
        ("oracle", "plan"),
        ("hand_out", "load"),
        ("evict", "read"),
        ("write_back", "write"),
        ("fetch", "write"),
        ("train", "train"),
        ("sync", "move"),
        ("update", "train"),
        ("sync_later", "train"),
        after=(
            After("oracle", "update", -look_ahead - 1),
            evicts,
            After("train", "update", -1),
            After("sync", "sync_later", -1),
        ),
        in_flight=look_ahead + 1,
    )


class _Trainer:
    """What one trainer does with a mini-batch."""

    def __init__(
        self, job: Job, machine: Topology, cluster: Cluster, place: Trainer, slots: int
    ) -> None:
        self._machine, self._cluster, self._place = machine, cluster, place
        self._whole = job
        self._model = job.model.changed(batch_size=place.samples)
        self._cache = cache_in(job, machine, place.gpu, slots)
        self._slots, self._entry = slots, job.entry_bytes
        self._vector = self._model.width * GRADIENT_BYTES
        self._oracle = machine.memory(cluster.planner).place

    def _own(self, facts: BatchFacts, name: str) -> Flow:
        return facts[of_trainer(self._place.number, name)]

    def handed_out(self, facts: BatchFacts) -> Operation:
        """Ids and dense features of its samples, and the lists of all rows, from the oracle."""
        ids = self._own(facts, LOOKUP).lookups + facts[LISTED].rows
        size = ids * self._cluster.id_bytes + dense_bytes(self._model)
        what = Buffer(self._place.named("mini_batch"), self._oracle, size)
        return Move("mini_batch", self._oracle, what, self._place.dram, self._cluster.call)

    def evicted(self, facts: BatchFacts) -> Iterator[tuple[Operation, ...]]:
        """Rows leave the cache for the server."""
        place, name = self._place, of_trainer(self._place.number, LEAVING)
        calls = self._cluster.sent(facts, place, name, "old_rows", self._entry)
        for server, below, words in calls:
            rows = server.of(facts, name)
            above = Buffer(below.name, place.hbm, below.bytes)
            gather = Gather("gather_old_rows", place.gpu, self._cache, rows, above)
            yield (gather, Move("old_rows", place.hbm, above, place.dram), *words)

    def written(self, facts: BatchFacts) -> Iterator[tuple[Operation, ...]]:
        """The server writes them."""
        name = of_trainer(self._place.number, LEAVING)
        return self._cluster.written(facts, self._place, name, "old_rows", self._entry)

    def fetched(self, facts: BatchFacts) -> Iterator[tuple[Operation, ...]]:
        """Rows of the mini-batches of a chunk come into free slots."""
        place, name = self._place, of_trainer(self._place.number, FETCHED)
        calls = self._cluster.fetched(facts, place, name, "new_rows", self._entry)
        for server, below, words in calls:
            rows = server.of(facts, name)
            above = Buffer(below.name, place.hbm, below.bytes)
            scatter = Scatter("scatter_new_rows", place.gpu, above, self._cache, rows)
            yield (*words, Move("new_rows", place.dram, below, place.hbm), scatter)

    def trained(self, facts: BatchFacts) -> Lanes:
        """Forward and backward of its samples, one gradient for each of their rows; the gradients
        of the MLPs are summed beside the last part."""
        place, model, own = self._place, self._model, self._own(facts, UNIQUE)
        size = self._own(facts, LOOKUP).lookups * self._cluster.id_bytes + dense_bytes(model)
        gradients = Buffer("gradients", place.hbm, pooled_bytes(model))
        largest = max(model.rows_per_table)
        lane = (
            move("ids_to_gpu", place.dram, place.hbm, size),
            pooled_vectors(model, self._machine, place.gpu, self._cache, self._own(facts, LOOKUP)),
            mlp_step(model, place.gpu),
            Sort("sort", place.gpu, own, model.tables, largest, self._slots),
            Accumulate("coalesce", place.gpu, gradients, own, self._vector, False, model.tables),
            synchronize(place.gpu),
        )
        if len(place.group) == 1:
            return (lane,)
        weights = mlp_weight_bytes(model)
        reduce = Exchange("all_reduce", place.gpu, place.group, "all_reduce", weights, after="mlp")
        return (lane, (reduce,))

    def summed(self, facts: BatchFacts, name: str) -> tuple[Operation, ...]:
        """The gradients of rows summed over all trainers; nothing for a trainer alone."""
        place, size = self._place, facts[name].rows * self._vector
        if len(place.group) == 1:
            return ()
        exchange = Exchange(f"all_reduce_{name}", place.gpu, place.group, "all_reduce", size)
        return (exchange, synchronize(place.gpu))

    def updated_now(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Rows that the next mini-batch uses, and those that it has alone."""
        words = (self._update("update", facts[NOW]),
                 self._update("update_alone", self._own(facts, ALONE)))  # fmt: skip
        return (*words, synchronize(self._place.gpu))

    def updated_later(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """The other rows, beside the next mini-batch."""
        update = self._update("update_later", facts[LATER])
        return (*self.summed(facts, LATER), update, synchronize(self._place.gpu))

    def _update(self, name: str, rows: Flow) -> Update:
        """From a gradient for each row."""
        each = Flow(rows.rows, rows.rows, rows.ids, rows.slots)
        source = Buffer("row_gradients", self._place.hbm, rows.rows * self._vector)
        optimizer = self._model.optimizer
        return Update(
            name, self._place.gpu, self._cache, each, source, self._vector, False, True, optimizer
        )
