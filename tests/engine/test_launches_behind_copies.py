"""What the host submits reaches a GPU behind the copies under way, and never after them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy

from simulator.hardware.demand import Demand, Resource, Service
from simulator.hardware.machine import Machine

DOWN = "pcie.down"
RESOURCES = {name: Resource(name, "x", "link", 10**9) for name in (DOWN, "pcie.up", "dram")}
QUEUE_PS = 1000


def arrives_ps(at: int, *copies: dict[str, float], queue_ps: int = QUEUE_PS) -> int:
    """When a launch that is submitted at `at` arrives; `copies`: time on each resource, from 0."""
    env = simpy.Environment()
    machine = Machine(env, RESOURCES)
    launch = Demand("launch", fetched={DOWN: queue_ps})
    for copy in copies:
        services = {name: Service(ps) for name, ps in copy.items()}
        env.process(machine.execute(Demand("copy", services)))

    def submitted() -> Generator[simpy.Event, Any, int]:
        yield env.timeout(at)
        yield from machine.fetch(launch)
        return int(env.now)

    arrival: int = env.run(env.process(submitted()))
    return arrival


def test_nothing_under_way_holds_nothing_up() -> None:
    assert arrives_ps(5) == 5
    assert arrives_ps(5, {"pcie.up": 10_000.0}) == 5


def test_a_long_copy_holds_a_launch_up_for_its_queue() -> None:
    assert arrives_ps(5, {DOWN: 10_000.0}) == 5 + QUEUE_PS


@pytest.mark.parametrize(("at", "arrival"), [(9000, 10_000), (9400, 10_000), (9999, 10_000)])
def test_a_copy_that_is_about_to_end_holds_a_launch_up_until_then(at: int, arrival: int) -> None:
    assert arrives_ps(at, {DOWN: 10_000.0}) == arrival


def test_a_copy_that_ended_is_not_in_the_way() -> None:
    assert arrives_ps(10_001, {DOWN: 10_000.0}) == 10_001


def test_a_direction_that_is_half_busy_holds_up_half_as_long() -> None:
    """The memory is the limit: the copy takes 10,000, the link has 5,000 of it to do."""
    assert arrives_ps(5, {DOWN: 5000.0, "dram": 10_000.0}) == 5 + QUEUE_PS // 2


def test_two_copies_share_the_queue_and_the_longer_one_ends_it() -> None:
    """They take turns: of 500 and 2000 the longer one ends at 2500; at 1700 800 are left."""
    assert arrives_ps(5, {DOWN: 500.0}, {DOWN: 2000.0}) == 5 + QUEUE_PS
    assert arrives_ps(1700, {DOWN: 500.0}, {DOWN: 2000.0}) == 2500


def test_links_without_a_queue_hold_nothing_up() -> None:
    assert arrives_ps(5, {DOWN: 10_000.0}, queue_ps=0) == 5
