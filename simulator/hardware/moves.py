"""What a copy between two memories costs on a machine.

Modelled: the sum of the latencies along its route, then the slowest of all resources that it uses:
both memories, every link, every device that it passes, and the hosts' threads where the transport
is the kernel's. Approximated: bytes that pass several links are cut through, not stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from simulator.columns import most
from simulator.config.operators import OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.collectives.places import Places
from simulator.hardware.demand import Demand, Service
from simulator.hardware.devices.base import Carried, Hop, add_services
from simulator.hardware.devices.switch import SwitchDevice
from simulator.hardware.program import Move, Record
from simulator.hardware.transport import transported

__all__ = ["price_move", "price_record"]


def price_move(machine: Places, move: Move, software: OperatorProfile) -> Demand:
    """Time on resources of the copy `move`; raises `ConfigError` where no links lead."""
    source, target = machine.memory(move.what.memory), machine.memory(move.into)
    hops, size = machine.route(source.place, target.place), move.bytes
    passed = list(_carried(machine, hops, size))
    services: dict[str, Service] = {}
    for carried in passed:
        add_services(services, carried.services or {})
    read = source.service([Access(source.place, 1, size, random=False)])
    write = target.service([Access(target.place, 1, size, random=False, write=True)])
    slack = passed[0].read_slack if passed else None
    latency_ps = move.call + sum(carried.latency_ps for carried in passed)
    services[source.place] = read
    services[target.place] = write + read if source is target else write
    if hops:
        for memory, stored in ((source, False), (target, True)):
            services |= machine.devices[memory.device].entered(memory, size, write=stored)
    busiest = 0.0
    for carried in transported(machine, hops, size):
        busiest = most(busiest, carried.slowest_ps)
        add_services(services, carried.services or {})
    host, submit_ps = machine.submission((source.device, target.device), software)
    return Demand(
        name=move.name,
        services=services,
        latency_ps=latency_ps,
        minimum_ps=round(busiest),
        host=host,
        submit_ps=submit_ps,
        loaded={} if slack is None else {source.place: slack},
    )


def price_record(machine: Places, record: Record, software: OperatorProfile) -> Demand:
    """As a copy that no thread of training submits, its rows read where they lie."""
    demand = price_move(machine, record, software)
    services = dict(demand.services)
    source, target = machine.memory(record.what.memory), machine.memory(record.into)
    if record.pieces:
        size = record.bytes // record.pieces
        streams = [Access(source.place, record.pieces, size)]
        if source is target:
            streams.append(Access(target.place, 1, record.bytes, random=False, write=True))
        services[source.place] = source.service(streams)
    return replace(demand, services=services, host="", submit_ps=0, loaded={}, background=True)


def _carried(machine: Places, hops: Sequence[Hop], size: int) -> Iterator[Carried]:
    """What each link of a way asks for, and each device between two of them."""
    for number, hop in enumerate(hops):
        carried = hop.link.carry(hop.source, hop.target, size)
        if number:
            between = machine.devices[hop.source]
            yield between.passing(hops[number - 1].link, hop.link, size)
            if isinstance(between, SwitchDevice):
                carried = replace(carried, latency_ps=0)
        yield carried
