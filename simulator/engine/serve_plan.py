"""How many containers, how much memory and which price a rate of queries takes: model-wise and
sharded serving.

*Model-wise*: a replica is a node with the whole model, run by the system of a point. *Sharded*
(ElasticRec, ISCA 2024): a container for the dense part, and for each table one to a few for ranges
of its rows, sorted by how often they are looked up; each kind is replicated by itself, so that hot
rows have many copies and cold ones few. Where to cut a table follows from the trace: a shard's
memory is its replicas times its bytes, and the cuts of least memory are found by dynamic
programming (`cuts`) over steps of the distribution of accesses; rows of a table behind the hottest
four million count as alike.

Replicas are ceil(rate / what one answers). With a latency to keep no container is busier than lets
its queue: a service time S at utilization u is S (1 + u / (2 (1 - u))) with its wait (M/D/1).
Nodes are filled first fit, the largest containers first. Ignored: queries that need not call every
shard, autoscaling in time, failures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.config.experiment import PointConfig
from simulator.engine.containers import Container, Containers, Setting, model_bytes
from simulator.engine.cuts import cheapest_cuts
from simulator.engine.first_fit import nodes_for
from simulator.engine.points import simulate_points
from simulator.engine.prepare import open_for
from simulator.engine.sharing import trace_key
from simulator.errors import CapacityError, UsageError
from simulator.traces import bags_of
from simulator.traces.coverage import Coverage, coverages
from simulator.units import PS_PER_S, PS_PER_US, format_bytes

__all__ = ["Deployment", "ServePlan", "TableShard", "Target", "most_busy", "serve_plans"]

STEPS, TAIL_STEPS = 24, 8
"""Steps between places where a table may be cut: of its hottest rows, and of all others."""
RANKED = 1 << 22
"""Hottest rows of a table that are told apart."""
MOST_CONTAINERS = 1_000_000
_ROUNDING = 9
"""Digits of a number of replicas that count before it is rounded up."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted."""

    qps: float
    shards: int
    """Of a table, at most."""
    setting: Setting
    latency_ps: int | None = None
    """That a query may take, its waits included; None: any."""


@dataclass(frozen=True, slots=True)
class TableShard:
    """Rows `first` to `first + rows` of a table, by how often they are looked up."""

    table: int
    first: int
    rows: int
    share: float
    """Of the lookups in its table."""
    container: Container
    replicas: int

    @property
    def bytes(self) -> int:
        return self.replicas * self.container.bytes


@dataclass(frozen=True)
class Deployment:
    """Containers on nodes."""

    containers: int
    bytes: int
    nodes: int
    latency_us: float
    """Of a query on idle nodes."""
    answers: float
    """Queries a second that one replica answers: of the dense part where there are parts."""
    busy: float
    """Share of that which it is given at most."""
    usd_per_hour: float | None
    """None: nobody says what a node costs."""
    dense: int = 0
    """Containers of the dense part; 0: there are no parts."""
    shards: tuple[TableShard, ...] = ()


@dataclass(frozen=True)
class ServePlan:
    """Both ways to serve the model of a point."""

    point: PointConfig
    target: Target
    whole: Deployment | None
    """None: a node does not hold the model."""
    sharded: Deployment
    refused: str = ""
    """Why a node does not."""

    @property
    def memory_saved(self) -> float | None:
        """Memory of model-wise serving over that of sharded."""
        return None if self.whole is None else self.whole.bytes / self.sharded.bytes

    @property
    def cost_saved(self) -> float | None:
        """The same of nodes, and so of their price."""
        return None if self.whole is None else self.whole.nodes / self.sharded.nodes


def serve_plans(points: Sequence[PointConfig], target: Target) -> Iterator[ServePlan]:
    """A plan for each of `points`, which are in inference.

    Raises `UsageError` for no queries, `CapacityError` where a container does not fit a node or
    nothing keeps the latency; what simulating a point raises.
    """
    if not target.qps > 0:
        raise UsageError(f"--qps {target.qps:g}: without queries there is nothing to plan for")
    sharded: dict[str, Deployment] = {}
    for each in points:
        run = each.run.model_copy(update={"arrivals": None})  # queues follow from the target
        point = each.model_copy(update={"run": run})
        whole, refused = _whole(point, target)
        key = f"{trace_key(point)} {point.platform!r} {point.operators!r} {point.model!r} "
        key += f"{point.cache.profile_share}"
        if key not in sharded:
            sharded[key] = _Sharding(point, target).deployed()
        yield ServePlan(point, target, whole, sharded[key], refused)


def most_busy(alone_ps: float, target: Target) -> float:
    """The utilization at which a query that takes `alone_ps` just keeps the latency; 1 where there
    is none to keep.

    Raises `CapacityError` where it takes longer without any wait.
    """
    if target.latency_ps is None:
        return 1.0
    if alone_ps >= target.latency_ps:
        raise CapacityError(
            f"a query takes {alone_ps / PS_PER_US:,.1f} us on idle nodes, which leaves nothing of "
            f"--sla {target.latency_ps / PS_PER_US:,.1f} us: give more time, a smaller "
            "model.batch_size, or a faster platform"
        )
    waits = target.latency_ps / alone_ps - 1
    return 2 * waits / (1 + 2 * waits)


def _replicas(qps: float, service_ps: float, busy: float) -> int:
    """Containers that serve `qps` queries a second, one at a time each, `busy` of the time."""
    return max(1, math.ceil(round(qps * service_ps / PS_PER_S / busy, _ROUNDING)))


def _whole(point: PointConfig, target: Target) -> tuple[Deployment | None, str]:
    """Model-wise serving, or why a node does not hold the model."""
    try:
        metrics = simulate_points([point])[0].metrics
    except CapacityError as error:
        return None, str(error).splitlines()[0]
    answers, alone_us = metrics["answered_per_s"], metrics["latency_alone_us"]
    busy = most_busy(alone_us * PS_PER_US, target)
    replicas = _replicas(target.qps, PS_PER_S / answers, busy)
    size = replicas * (model_bytes(point.stored) + target.setting.overhead)
    price = _price(point, replicas)
    return Deployment(replicas, size, replicas, alone_us, answers, busy, price), ""


def _price(point: PointConfig, nodes: int) -> float | None:
    price = point.platform.price_usd_per_hour
    return None if price is None else nodes * price


class _Sharding:
    """Sharded serving of the model of a point."""

    def __init__(self, point: PointConfig, target: Target) -> None:
        self._point, self._target = point, target
        rows, trace = point.stored.rows_per_table, open_for(point, 1)
        bags = bags_of(trace)
        each = point.model.table_lookups if bags is None else bags.mean
        lookups = tuple(point.model.batch_size * count for count in each)
        self._containers = Containers(point, target.setting, lookups)
        ranked = [min(count, RANKED) for count in rows]
        self._covered = coverages(trace, ranked, point.cache.profile_share)
        slowest = [self._containers.sparse(table, n, 1.0) for table, n in enumerate(rows)]
        dense = self._containers.dense((target.shards,) * len(rows))
        calls = 2 * target.setting.call_ps
        alone = dense.service_ps + calls + max(one.service_ps for one in slowest)
        self._busy = most_busy(alone, target)
        """Of all containers: by tables that are not cut, which take longest."""

    def deployed(self) -> Deployment:
        """The deployment of least memory."""
        shards = tuple(shard for table in range(len(self._covered)) for shard in self._cut(table))
        counts = [0] * len(self._covered)
        for shard in shards:
            counts[shard.table] += 1
        dense = self._containers.dense(counts)
        copies = self._replicas_of(dense)
        kinds = [(dense, copies, "the dense part"), *map(_kind, shards)]
        self._require_room(kinds)
        latency = dense.service_ps + 2 * self._target.setting.call_ps
        latency += max(shard.container.service_ps for shard in shards)
        node = self._containers.node
        nodes = nodes_for(node, [(kind.needs, count) for kind, count, _ in kinds])
        return Deployment(
            sum(count for _, count, _ in kinds),
            sum(count * kind.bytes for kind, count, _ in kinds),
            nodes,
            latency / PS_PER_US,
            PS_PER_S / dense.service_ps,
            self._busy,
            _price(self._point, nodes),
            copies,
            shards,
        )

    def _replicas_of(self, container: Container) -> int:
        return _replicas(self._target.qps, container.service_ps, self._busy)

    def _cut(self, table: int) -> list[TableShard]:
        """The shards of a table."""
        covered = _steps(self._covered[table])
        last = len(covered.rows) - 1
        made: dict[tuple[int, int], TableShard] = {}

        def cost(first: int, end: int) -> float:
            made[first, end] = shard = self._shard(table, covered, first, end)
            fits = shard.container.bytes <= self._containers.node.bytes
            return shard.bytes if fits else math.inf

        borders = cheapest_cuts(last, self._target.shards, cost)
        return [made[pair] for pair in itertools.pairwise(borders)]

    def _shard(self, table: int, covered: Coverage, first: int, end: int) -> TableShard:
        rows = int(covered.rows[end] - covered.rows[first])
        share = float(covered.share[end] - covered.share[first])
        container = self._containers.sparse(table, rows, share)
        start = int(covered.rows[first])
        return TableShard(table, start, rows, share, container, self._replicas_of(container))

    def _require_room(self, kinds: Sequence[tuple[Container, int, str]]) -> None:
        memory, name = self._containers.node.bytes, self._point.platform.name
        for container, _, what in kinds:
            if container.bytes > memory:
                more = "" if container.needs.gpus else "more --shards, "
                raise CapacityError(
                    f"a container of {what} takes {format_bytes(container.bytes)}, but a node of "
                    f"{name} holds {format_bytes(memory)}: give {more}a smaller --overhead, or a "
                    "platform with more memory"
                )
        count = sum(count for _, count, _ in kinds)
        if count > MOST_CONTAINERS:
            raise UsageError(
                f"--qps {self._target.qps:g} takes {count:,} containers, more than the "
                f"{MOST_CONTAINERS:,} that are laid on nodes: give less"
            )


def _kind(shard: TableShard) -> tuple[Container, int, str]:
    return shard.container, shard.replicas, f"{shard.rows:,} rows of table {shard.table}"


def _steps(covered: Coverage) -> Coverage:
    """Where a table may be cut: `STEPS` steps of its distribution and `TAIL_STEPS` equal ones of
    the rows that were not told apart; its ends are among them."""
    known = covered.rows[:-1]
    chosen = np.linspace(0, len(known) - 1, min(STEPS, len(known))).round().astype(np.int64)
    tail = np.linspace(known[-1], covered.rows[-1], TAIL_STEPS + 1).round().astype(np.int64)
    rows = np.unique(np.r_[known[chosen], tail])
    return Coverage(rows, np.interp(rows, covered.rows, covered.share))
