"""What every part of a machine must keep to: run `conformance(part)` over a part of your own.

    from kit import conformance
    conformance(load_part("my_part.yaml"))                        # or a part made in Python
    conformance(part, faster=("adders",), sources=False)

Checked, on memories of one flat rate, each with the part in the message:

- it reads back what it writes; resources and memories have names of their own that begin with the
  device's, a kind that results know, and a positive peak where they move bytes;
- each number has a source (`sources=False` leaves that out, for a first try);
- nothing to do asks nothing of any resource, and takes no longer than the least work;
- twice the rows or bytes is never faster, and asks no less of any resource;
- a memory twice as fast, a rate twice as high (fields whose unit is a quantity a second, and those
  named in `faster`) and a latency half as long are never slower;
- a link carries the bytes that it is given, no more and no less, both ways between all its pairs;
- the host thread that submits is its own, its times are never negative, and outstanding reads let
  an operation go as fast as it runs alone; what it leaves changed in a cache grows from nothing;
- what it uses is its own, or the memory it was told to use; energy is never negative, grows with
  what was done, and standing power grows with time.

Words that the kit does not know (of a plug-in) are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from machines import FLAT_RATE, Flat, catalogue_part
from pydantic import BaseModel
from words import NAME, WORDS

from simulator.config.catalogue import load_named
from simulator.config.machine import Part
from simulator.hardware.demand import Demand, ResourceUse, Service
from simulator.hardware.devices.base import (
    Carried,
    Device,
    Link,
    Path,
    Processor,
    Sent,
    Setup,
    Traffic,
)
from simulator.hardware.memory import Memory
from simulator.hardware.program import Accumulate, Update
from simulator.results.resources import KINDS

PROFILES = ("paper", "stock", "tuned")
COUNTS = (0, 1, 2, 1_000, 2_000, 300_000)
"""Rows or bytes of the work that is priced, each at least what the one before is."""
SECOND_PS = 10**12
ROUNDING = 1.0 + 1e-9
_NO_NUMBERS = (
    *("kind", "name", "sources"),
    *("standard", "simulated_channels"),  # what a memory is, and how much of it is simulated
    *("reported_as", "calibrated"),  # what its driver calls it, what it was fitted to
)

NO_DEMAND = Demand("")
ELSEWHERE = Memory("elsewhere", "elsewhere", "dram", 10**12, Flat())
"""What a processor works on that brings no memory."""


@dataclass(frozen=True)
class _Price:
    """What work asks of resources, and how long it takes alone."""

    services: Mapping[str, Service]
    ps: float
    demand: Demand = NO_DEMAND
    left: int | None = None
    slack: float | None = None


def conformance(part: Part, *, faster: Iterable[str] = (), sources: bool = True) -> None:
    """Raise `AssertionError` naming the part and the rule that it breaks.

    `faster`: dotted keys of further numbers of which twice as much is never slower. `sources`:
    whether each number must have one.
    """
    _reads_back(part)
    if sources:
        missing = [key for key in numbers(part) if not _has_source(key, part.sources)]
        _require(part, not missing, f"numbers without a source: {', '.join(missing)}")
    device = _device(part)
    _named(part, device)
    _energetic(part, device)
    for what, price in _work(device).items():
        _priced(part, device, what, [price(count) for count in COUNTS])
    for change, changed in _improved(part, faster):
        better = _work(_device(changed))
        for what, price in _work(device).items():
            _never_slower(part, f"{what} with {change}", better[what], price)
    swift = _work(_device(part, Flat(2 * FLAT_RATE)))
    for what, price in _work(device).items():
        _never_slower(part, f"{what} with a memory twice as fast", swift[what], price)


def numbers(model: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted keys of the numbers that a part gives, those of parts within it left out."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Part) or value is None or (not prefix and name in _NO_NUMBERS):
            continue
        if isinstance(value, BaseModel):
            yield from numbers(value, f"{prefix}{name}.")
        elif name in model.model_fields_set:
            yield f"{prefix}{name}"


def _has_source(key: str, sources: Mapping[str, str]) -> bool:
    words = key.split(".")
    return any(".".join(words[: n + 1]) in sources for n in range(len(words)))


def _require(part: Part, holds: object, rule: str) -> None:
    assert holds, f"{part.kind} {part.name!r}: {rule}"


def _reads_back(part: Part) -> None:
    again = type(part).model_validate_json(part.model_dump_json())
    _require(part, again == part, "does not read back what it writes")
    _require(part, hash(again) == hash(part), "equal parts have different hashes")


# devices


def _device(part: Part, memory: Flat | None = None) -> Device:
    """The part in a socket; a link joins two others."""
    timing = memory or Flat()
    setup = Setup(lambda _: timing)
    members = ("one", "two") if _is_link(part, setup) else ()
    build: Callable[..., Device] = part.device
    return build(NAME, setup, members)


def _is_link(part: Part, setup: Setup) -> bool:
    build: Callable[..., Device] = part.device
    return isinstance(build(NAME, setup, ()), Link)


def _named(part: Part, device: Device) -> None:
    """Names, kinds and peaks of resources."""
    names = [resource.name for resource in device.resources]
    _require(part, len(names) == len(set(names)), f"resources called alike: {names}")
    _require(part, device.name == NAME, "the device does not bear the name of its socket")
    for resource in device.resources:
        of_it = resource.name.startswith(f"{NAME}.") and resource.device == NAME
        _require(part, of_it, f"{resource.name} does not begin with the name of its device")
        _require(part, resource.kind in KINDS, f"{resource.name} is of kind {resource.kind!r}")
        peak = resource.peak_bytes_per_s
        _require(part, peak is None or peak > 0, f"{resource.name} has a peak of {peak}")
    for memory in device.memories:
        _require(part, memory.place in names, f"{memory.place} is not among its resources")
        _require(part, memory.capacity > 0, f"{memory.place} holds nothing")


def _energetic(part: Part, device: Device) -> None:
    """Energy of a second and of two, idle and after work."""
    own = {resource.name for resource in device.resources}
    busy = {name: ResourceUse(SECOND_PS / 2, 10**9, 10**12) for name in own}
    idle, longer = (device.energy({}, seconds * SECOND_PS) for seconds in (1, 2))
    worked = device.energy(busy, SECOND_PS)
    _require(part, set(idle) == set(worked) <= own, "energy of resources that are not its own")
    for joules in (idle, longer, worked):
        _require(part, min(joules.values(), default=0.0) >= 0.0, f"negative energy: {joules}")
    for name, joules in idle.items():
        twice = abs(longer[name] - 2.0 * joules) <= 1e-9 * longer[name]
        _require(part, twice, f"standing power of {name} does not grow with time")
    done = sum(worked.values()) >= sum(idle.values())
    _require(part, done, "work takes less energy than idling")


# work


def _work(device: Device) -> dict[str, Callable[[int], _Price]]:
    """What can be asked of a device -> its price for a number of rows or bytes."""
    if isinstance(device, Processor):
        return dict(_operations(device))
    if isinstance(device, Link):
        return dict(_copies(device))
    return dict(_passing(device))


def _operations(device: Processor) -> Iterator[tuple[str, Callable[[int], _Price]]]:
    memories = device.memories or (ELSEWHERE,)
    place, paths = memories[0].place, {memory.place: Path(memory) for memory in memories}
    for profile in PROFILES:
        software = load_named("operators", profile)
        passes = frozenset(word for word, _ in device.training_passes(software))
        for what, (word, build) in WORDS.items():
            name = word.__name__.lower()
            optional = name in ("expand", "accumulate")
            if word not in device.rules or (optional and name not in passes):
                continue

            def price(
                count: int,
                build: Any = build,
                software: Any = software,
                passes: frozenset[str] = passes,
            ) -> _Price:
                word = build(place, count)
                if isinstance(word, Accumulate | Update):
                    word = replace(word, expanded="expand" in passes)
                if isinstance(word, Update):
                    word = replace(word, coalesce="accumulate" not in passes)
                demand = device.price(word, software, paths.__getitem__)
                return _alone(device, demand, device.left_changed(word, software))

            yield f"{what} ({profile})", price


def _alone(device: Device, demand: Demand, left: int | None) -> _Price:
    resources = {r.name: r for r in (*device.resources, ELSEWHERE.resource)}
    ps = demand.latency_ps + demand.alone_ps(resources)
    return _Price(demand.services, ps, demand, left, min(demand.loaded.values(), default=None))


def _copies(link: Link) -> Iterator[tuple[str, Callable[[int], _Price]]]:
    for first, second in link.pairs():
        for source, target in ((first, second), (second, first)):
            ways: dict[str | None, str] = {None: "a copy", source: "stores"}
            if link.load_latency() is not None:
                ways[target] = "loads"
            for by, how in ways.items():

                def price(
                    size: int, source: str = source, target: str = target, by: str | None = by
                ) -> _Price:
                    return _carried(link.carry(source, target, size, by=by))

                yield f"{how} from {source} to {target}", price
    member, group = link.members[0], link.members
    traffics: tuple[Traffic, ...] = ("pairwise", "ring", "switch")
    for traffic in traffics:
        if link.exchange(member, group, traffic, Sent(0, 0, 0)) is not None:

            def exchanged(size: int, traffic: Traffic = traffic) -> _Price:
                carried = link.exchange(member, group, traffic, Sent(size, size, size))
                assert carried is not None
                return _carried(carried)

            yield f"{traffic} exchange", exchanged


def _passing(device: Device) -> Iterator[tuple[str, Callable[[int], _Price]]]:
    """Bytes on their way through a device that is no link."""
    setup = Setup(lambda _: Flat())
    pcie, network = (
        catalogue_part(name).device(name, setup, (NAME, "other"))
        for name in ("pcie5_x16", "infiniband_ndr")
    )
    for what, arriving, leaving in (("sending", pcie, network), ("receiving", network, pcie)):

        def price(size: int, arriving: Link = arriving, leaving: Link = leaving) -> _Price:
            return _carried(device.passing(arriving, leaving, size))

        yield what, price


def _carried(carried: Carried) -> _Price:
    services = carried.services or {}
    ps = carried.latency_ps + max((s.ps for s in services.values()), default=0)
    return _Price(services, ps, slack=carried.read_slack)


def _priced(part: Part, device: Device, what: str, prices: list[_Price]) -> None:
    """Rules of the prices of one kind of work, from none to much."""
    own = {resource.name for resource in device.resources}
    nothing = prices[0]
    for name, service in nothing.services.items():
        idle = service.ps == 0.0 and service.bytes == 0 and service.energy_pj == 0.0
        _require(part, idle, f"{what} of nothing uses {name}: {service}")
    for count, price in zip(COUNTS, prices, strict=True):
        foreign = set(price.services) - own - ({ELSEWHERE.place} if not device.memories else set())
        _require(part, not foreign, f"{what} uses {', '.join(sorted(foreign))}: not its own")
        asked = [min(s.read_ps, s.write_ps, s.energy_pj) for s in price.services.values()]
        least = min(asked, default=0.0)
        _require(part, least >= 0.0 and price.ps >= 0.0, f"{what} of {count} is negative")
        _submitted(part, device, what, price)
        if isinstance(device, Link):
            carried = {s.bytes for s in price.services.values()} - {0}
            _require(part, carried <= {count}, f"{what} of {count} B carries {carried}")
            _require(part, bool(carried) == bool(count), f"{what} of {count} B loses them")

    _require(part, not nothing.left, f"{what} of nothing leaves {nothing.left} B changed")
    for less, more, fewer, greater in zip(prices, prices[1:], COUNTS, COUNTS[1:], strict=False):
        shrinks = (less.left or 0) > (more.left or 0)
        _require(part, not shrinks, f"{what}: {greater} leave less changed than {fewer}")
        _require(part, more.ps * ROUNDING >= less.ps, f"{what}: {greater} end before {fewer}")
        for name, service in less.services.items():
            grows = name in more.services and (
                more.services[name].ps * ROUNDING >= service.ps
                and more.services[name].bytes >= service.bytes
            )
            _require(part, grows, f"{what}: {greater} ask less of {name} than {fewer}")


def _submitted(part: Part, device: Device, what: str, price: _Price) -> None:
    """Rules of what a host thread does for work, and of its outstanding reads."""
    demand = price.demand
    own = {"", *(resource.name for resource in device.resources)}
    _require(part, demand.host in own, f"{what} is submitted by {demand.host}: not its own")
    times = (demand.submit_ps, demand.submit_more_ps, demand.host_ps)
    _require(part, min(times) >= 0, f"{what} takes {min(times)} ps of its host")
    _require(part, demand.host or not max(times), f"{what} takes time of no host")
    there = {*price.services, *own}
    _require(part, set(demand.loaded) <= there, f"{what} waits for what is not its own nor used")
    slack = 1.0 if price.slack is None else price.slack
    _require(part, slack >= 1.0, f"{what}: outstanding reads allow {slack} of its speed alone")


def _never_slower(
    part: Part, what: str, better: Callable[[int], _Price], before: Callable[[int], _Price]
) -> None:
    for count in COUNTS:
        fast, slow = better(count).ps, before(count).ps
        _require(part, fast <= slow * ROUNDING + 1, f"{what}: {count} take {fast} ps, not {slow}")


def _improved(part: Part, faster: Iterable[str]) -> Iterator[tuple[str, Part]]:
    """The part with each rate doubled and each latency halved, one at a time."""
    for key, value in _quantities(part.model_dump(mode="json")):
        amount, _, unit = str(value).partition(" ")
        if unit.endswith("/s"):
            yield f"twice its {key}", _with(part, key, f"{2 * int(amount)} {unit}")
        elif unit == "ps":
            yield f"half its {key}", _with(part, key, f"{int(amount) // 2} {unit}")
    for key in faster:
        value = part.model_dump(mode="json")
        for word in key.split("."):
            value = value[word]
        yield f"twice its {key}", _with(part, key, 2 * value)


def _quantities(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys and values, those of parts within left out."""
    for name, value in data.items():
        if isinstance(value, dict) and "kind" not in value and name != "sources":
            yield from _quantities(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value


def _with(part: Part, key: str, value: object) -> Part:
    data = inner = part.model_dump(mode="json")
    *path, last = key.split(".")
    for word in path:
        inner = inner[word]
    inner[last] = value
    return type(part).model_validate_json(json.dumps(data))
