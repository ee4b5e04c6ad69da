"""How a collective goes: bytes that a rank sends within its host and between hosts, and steps.

Symbols: H hosts with G ranks each, n = H G; bytes as shares of the whole buffer of a rank. As many
bytes as a rank sends it receives. Sources: patterns and steps of NCCL's algorithms (src/graph/
tuning.cc, src/device/); bytes are counted. All ranks together send

    all-to-all                 n - 1        (each n-th part of a buffer to each other rank)
    all-reduce                 2 (n - 1)    (ring, tree: every sum is made and handed out once)
    reduce-scatter, all-gather, broadcast
                               n - 1

at least; algorithms differ in which of it crosses the network, and in the number of steps.

pairwise      all-to-all: each rank to each, over the network from rank to rank
ring          rings through all ranks, each leaving a host over another interface
tree          all-reduce: chains in a host, a double binary tree of hosts (each is inner in one)
hierarchical  all-to-all: in the host to the rank with the number of the target, then between ranks
              of one number; others: reduce-scatter in the host, rings of hosts, all-gather in it
switch        all-reduce: the switch sums in the host, a double binary tree of hosts

Approximated: every rank sends the mean; where one has more (an inner host of a tree, the first of a
broadcast) its links take as long as with that (`busiest`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from simulator.config.collectives import Algorithm, Pattern
from simulator.hardware.devices.base import Traffic

__all__ = ["Shape", "Way", "ways"]

NONE = Fraction(0)


@dataclass(frozen=True, slots=True)
class Shape:
    """Ranks by host: `hosts` of them with `per_host` ranks each."""

    hosts: int
    per_host: int

    @property
    def ranks(self) -> int:
        return self.hosts * self.per_host


@dataclass(frozen=True, slots=True)
class Steps:
    """What follows one after the other: steps, and peers of an all-to-all."""

    inside: int = 0
    across: int = 0
    peers: int = 0
    network_peers: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """One algorithm for one pattern: shares of the buffer that a rank sends (mean)."""

    algorithm: Algorithm
    traffic: Traffic
    inside: Fraction
    across: Fraction
    steps: Steps
    busiest: Fraction = Fraction(1)
    """Bytes between hosts of the busiest rank over the mean."""


def ways(pattern: Pattern, shape: Shape) -> tuple[Way, ...]:
    """Every algorithm for `pattern` among ranks of that shape; none for a single rank."""
    if shape.ranks == 1:
        return ()
    return tuple(_WAYS[pattern](shape))


def _all_to_all(shape: Shape) -> Iterator[Way]:
    hosts, per_host, ranks = shape.hosts, shape.per_host, shape.ranks
    across = Fraction(hosts - 1, hosts)
    steps = Steps(peers=per_host - 1, network_peers=ranks - per_host)
    yield Way("pairwise", "pairwise", Fraction(per_host - 1, ranks), across, steps)
    if hosts > 1 and per_host > 1:
        steps = Steps(peers=per_host - 1, network_peers=hosts - 1)
        inside = Fraction(per_host - 1, per_host)
        yield Way("hierarchical", "pairwise", inside, across, steps)


def _all_reduce(shape: Shape) -> Iterator[Way]:
    yield from _rings(shape, 2)
    hosts, per_host = shape.hosts, shape.per_host
    inside = Fraction(2 * (per_host - 1), per_host)
    across = Fraction(2 * (hosts - 1), shape.ranks)
    depth = 2 * math.ceil(math.log2(hosts))
    busiest = Fraction(hosts, hosts - 1) if hosts > 2 else Fraction(1)
    steps = Steps(inside=2 * (per_host - 1), across=depth)
    yield Way("tree", "ring", inside, across, steps, busiest)
    if per_host > 1:
        inside = 1 + Fraction(1, per_host)
        yield Way("switch", "switch", inside, across, Steps(across=depth), busiest)


def _one_round(shape: Shape) -> Iterator[Way]:
    yield from _rings(shape, 1)


def _broadcast(shape: Shape) -> Iterator[Way]:
    ring, *_ = _rings(shape, 1)
    busiest = Fraction(shape.ranks, shape.ranks - 1)
    yield Way("ring", "ring", ring.inside * busiest, ring.across * busiest, ring.steps)


def _rings(shape: Shape, rounds: int) -> Iterator[Way]:
    """One ring through all ranks, and rings in the hosts with rings of hosts."""
    hosts, per_host, ranks = shape.hosts, shape.per_host, shape.ranks
    sent = Fraction(rounds * (ranks - 1), ranks)
    leaving = Fraction(1, per_host) if hosts > 1 else NONE
    across = rounds * (hosts - 1)
    steps = Steps(inside=rounds * (ranks - 1) - across, across=across)
    yield Way("ring", "ring", sent * (1 - leaving), sent * leaving, steps)
    if hosts > 1 and per_host > 1:
        inside = Fraction(rounds * (per_host - 1), per_host)
        steps = Steps(inside=rounds * (per_host - 1), across=across)
        between = Fraction(rounds * (hosts - 1), ranks)
        yield Way("hierarchical", "ring", inside, between, steps)


_WAYS: dict[Pattern, Callable[[Shape], Iterator[Way]]] = {
    "all_to_all": _all_to_all,
    "all_reduce": _all_reduce,
    "reduce_scatter": _one_round,
    "all_gather": _one_round,
    "broadcast": _broadcast,
}
