"""Compiled code trusts no policy from outside: what it names as victims is checked first."""

from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest

from simulator.caches import Policy, PoolPlanner, Window, build_planners, policy_names
from simulator.caches.policies.base import GROUP, CompiledPolicy
from simulator.caches.policies.lru import LRU
from simulator.errors import PolicyError

CAPACITY = 4
WINDOW = Window(1, 0)
BATCHES = ((0, 1, 2), (3,), (10, 11))
"""The pool is full after batch 1; batch 2 needs two victims and may not have slot 3."""


class Scripted(Policy):
    """A policy from outside that names as victims whatever it was told to."""

    name = "scripted"
    answer: object = None

    def __init__(self, setup):
        self.named = slots()

    def used(self, pool, use):
        if isinstance(self.named, np.ndarray):
            self.named[:] = 1  # an array of the policy's own, used again

    def victims(self, pool, count):
        self.named = self.answer
        return self.named


@pytest.fixture
def scripted(monkeypatch):
    outside = {"scripted": EntryPoint("scripted", f"{__name__}:Scripted", GROUP)}
    monkeypatch.setattr("simulator.caches.policies.base._outside", lambda: outside)

    def plan(answer, window=WINDOW, batches=BATCHES, policy="scripted", **options):
        """The plan of the last batch, the only one that needs victims."""
        monkeypatch.setattr(Scripted, "answer", answer)
        planner = PoolPlanner(policy, 20, CAPACITY, window, **options)
        for ids in batches:
            planner.load(np.array(ids))
            last = planner.plan()
        return last

    return plan


def slots(*numbers):
    return np.array(numbers, dtype=np.int64)


def test_victims_that_keep_the_contract_are_taken(scripted):
    plan = scripted(slots(2, 0))
    assert plan.victim_rows.tolist() == [2, 0]
    assert plan.missed_slots.tolist() == [2, 0]


BROKEN = {
    "too few": (slots(0), "1 victim, but 2 are needed"),
    "none": (slots(), "0 victims, but 2 are needed"),
    "too many": (slots(0, 1, 2), "3 victims, but 2 are needed"),
    "doubled": (slots(1, 1), "slot 1 twice"),
    "below the slots": (slots(0, -1), r"slot -1, but the pool has slots 0\.\.3"),
    "beyond the slots": (slots(4, 0), r"slot 4, but the pool has slots 0\.\.3"),
    "far beyond": (slots(0, 2**62), r"slot 4611686018427387904, but the pool has slots 0\.\.3"),
    "held": (slots(0, 3), "slot 3, whose row 3 the window holds"),
    "floats": (np.array([0.0, 1.0]), "an array of float64"),
    "narrow": (np.array([0, 1], dtype=np.int32), "an array of int32"),
    "a mask": (np.array([True, True]), "an array of bool"),
    "two dimensions": (np.zeros((2, 1), dtype=np.int64), r"shape \(2, 1\)"),
    "a list": ([0, 1], "a list"),
    "nothing": (None, "a NoneType"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_named_with_policy_and_batch(scripted, case):
    answer, message = BROKEN[case]
    with pytest.raises(PolicyError, match=rf"policy scripted, mini-batch 2: .*{message}"):
        scripted(answer)


def test_a_free_slot_is_no_victim(scripted):
    with pytest.raises(PolicyError, match=r"slot 3, which is free: slots 0\.\.2 are taken"):
        scripted(slots(3), Window(0, 0), ((0, 1), (3,), (10, 11)))


@pytest.mark.parametrize("hit_map", ["dense", "hash"])
def test_a_row_of_the_planned_batch_is_held_whatever_the_window(scripted, hit_map):
    with pytest.raises(PolicyError, match=r"mini-batch 1: .*slot 0, whose row 10 the window holds"):
        scripted(slots(0), Window(0, 0), ((10, 1, 2, 4), (10, 11)), hit_map=hit_map)


def test_a_plan_does_not_change_when_the_policy_reuses_its_array(scripted):
    answer = slots(2, 0)
    assert scripted(answer).victim_slots.tolist() == [2, 0]
    assert answer.tolist() == [1, 1]


def test_built_in_policies_are_checked_where_that_is_asked_for(scripted, monkeypatch):
    monkeypatch.setattr(LRU, "victims", lambda self, pool, count: slots(1, 1))
    with pytest.raises(PolicyError, match=r"policy lru, mini-batch 2: .*slot 1 twice"):
        scripted(None, policy="lru", check=True)


def test_planners_of_all_pools_pass_the_check_on(monkeypatch):
    monkeypatch.setattr(LRU, "victims", lambda self, pool, count: slots(0))
    (planner,) = build_planners("lru", [20], [CAPACITY], Window(0, 0), check=True)
    planner.load(np.array([0, 1, 2, 3]))
    planner.plan()
    planner.load(np.array([4, 5]))
    with pytest.raises(PolicyError, match=r"mini-batch 1: .*1 victim, but 2 are needed"):
        planner.plan()


@pytest.mark.parametrize("policy", policy_names())
def test_every_built_in_policy_keeps_the_contract(policy):
    rng = np.random.default_rng(1)
    planner = PoolPlanner(policy, 60, 26, Window(2, 1), hottest=np.arange(60), check=True)
    evicted = 0
    for number in range(200):
        planner.load(rng.integers(0, 60, 6))
        if number:
            evicted += len(planner.plan().victim_slots)
    assert evicted > 200


class Compiled(CompiledPolicy):
    """A policy from outside that builds on that of compiled ones, and notes what it is given."""

    name = "compiled"
    seen: ClassVar[list[np.dtype]] = []

    def __init__(self, setup):
        pass

    def used(self, pool, use):
        self.seen += [each.dtype for each in (use.keys, use.slots, use.missed, pool.keys)]

    def choose(self, pool, chosen):
        free = np.flatnonzero(~pool.held(np.arange(pool.used)))[: len(chosen)]
        chosen[: len(free)] = free
        return len(free)


@pytest.mark.parametrize("preload", [None, np.arange(3)])
def test_policies_from_outside_are_given_numbers_of_64_bits(monkeypatch, preload):
    outside = {"compiled": EntryPoint("compiled", f"{__name__}:Compiled", GROUP)}
    monkeypatch.setattr("simulator.caches.policies.base._outside", lambda: outside)
    monkeypatch.setattr(Compiled, "seen", [])
    planner = PoolPlanner("compiled", 20, CAPACITY, WINDOW, preload=preload)
    for ids in BATCHES:
        planner.load(np.array(ids))
        planner.plan()
    assert set(Compiled.seen) == {np.dtype(np.int64)}
