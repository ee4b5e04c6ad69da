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
Nodes are filled first fit, the largest containers first; sparse shards may have nodes of their own,
such as need no GPU. Ignored: queries that need not call every
shard, autoscaling in time, failures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simulator.config.machine import MachineConfig
from simulator.config.point import PointConfig
from simulator.engine.containers import Container, Containers, Setting, model_bytes
from simulator.engine.cuts import cheapest_cuts, cutting_places
from simulator.engine.first_fit import Room, nodes_for
from simulator.engine.points import simulate_points
from simulator.engine.prepare import open_for
from simulator.engine.sharing import trace_key
from simulator.errors import CapacityError, UsageError
from simulator.traces import bags_of
from simulator.traces.coverage import Coverage, coverages
from simulator.units import PS_PER_S, PS_PER_US, format_bytes, format_quantity

__all__ = ["Deployment", "ServePlan", "TableShard", "Target", "most_busy", "serve_plans"]

RANKED = 1 << 22
"""Hottest rows of a table that are told apart."""
MOST_CONTAINERS = 1_000_000
_ROUNDING = 9
"""Digits of a number of replicas that count before it is rounded up."""
_Kind = tuple[Container, int, str]
"""A container, how many of it, and what it is called."""
_Nodes = tuple[tuple[MachineConfig, int], ...]
"""Nodes of each platform."""


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
            f"--sla {format_quantity(f'{target.latency_ps} ps')}: give more time, a smaller "
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
    price = _price((point.platform, replicas))
    return Deployment(replicas, size, replicas, alone_us, answers, busy, price), ""


def _price(*nodes: tuple[MachineConfig, int]) -> float | None:
    """Of so many nodes of each platform; None where nobody says what one costs."""
    prices = [(platform.price_usd_per_hour, count) for platform, count in nodes if count]
    told = [price * count for price, count in prices if price is not None]
    return sum(told) if len(told) == len(prices) else None


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
        rest, parts = (dense, copies, "the dense part"), [*map(_kind, shards)]
        kinds = [rest, *parts]
        self._require_room(kinds)
        latency = dense.service_ps + 2 * self._target.setting.call_ps
        latency += max(shard.container.service_ps for shard in shards)
        nodes = self._nodes(rest, parts)
        return Deployment(
            sum(count for _, count, _ in kinds),
            sum(count * kind.bytes for kind, count, _ in kinds),
            sum(count for _, count in nodes),
            latency / PS_PER_US,
            PS_PER_S / dense.service_ps,
            self._busy,
            _price(*nodes),
            copies,
            shards,
        )

    def _nodes(self, dense: _Kind, shards: Sequence[_Kind]) -> _Nodes:
        """Nodes of each platform; where it is one, containers of both kinds share them."""
        own, other = self._point.platform, self._target.setting.shard_platform
        node, shard_node = self._containers.node, self._containers.shard_node
        if other is None:
            return ((own, nodes_for(node, _needs([dense, *shards]))),)
        below = nodes_for(shard_node, _needs(shards))
        return (own, nodes_for(node, _needs([dense]))), (other, below)

    def _replicas_of(self, container: Container) -> int:
        return _replicas(self._target.qps, container.service_ps, self._busy)

    def _cut(self, table: int) -> list[TableShard]:
        """The shards of a table."""
        covered = cutting_places(self._covered[table])
        last = len(covered.rows) - 1
        made: dict[tuple[int, int], TableShard] = {}

        def cost(first: int, end: int) -> float:
            made[first, end] = shard = self._shard(table, covered, first, end)
            fits = shard.container.bytes <= self._containers.shard_node.bytes
            return shard.bytes if fits else math.inf

        borders = cheapest_cuts(last, self._target.shards, cost)
        return [made[pair] for pair in itertools.pairwise(borders)]

    def _shard(self, table: int, covered: Coverage, first: int, end: int) -> TableShard:
        rows = int(covered.rows[end] - covered.rows[first])
        share = float(covered.share[end] - covered.share[first])
        container = self._containers.sparse(table, rows, share)
        start = int(covered.rows[first])
        return TableShard(table, start, rows, share, container, self._replicas_of(container))

    def _require_room(self, kinds: Sequence[_Kind]) -> None:
        """Of `kinds` the dense part comes first."""
        own = self._point.platform
        other = self._target.setting.shard_platform or own
        for number, (container, _, what) in enumerate(kinds):
            dense = not number
            memory = (self._containers.node if dense else self._containers.shard_node).bytes
            name = (own if dense else other).name
            if container.bytes > memory:
                more = "" if dense else "more --shards, "
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


def _needs(kinds: Sequence[_Kind]) -> list[tuple[Room, int]]:
    return [(container.needs, count) for container, count, _ in kinds]


def _kind(shard: TableShard) -> _Kind:
    return shard.container, shard.replicas, f"{shard.rows:,} rows of table {shard.table}"
