"""Operations start when their host thread has submitted them: closed forms on paper."""

from __future__ import annotations

from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.pipeline import Mode, Span, run_pipeline
from simulator.hardware.demand import Demand, Resource, Service, StageDemand
from simulator.hardware.machine import Machine

NAMES = ("gpu", "gpu1", "cpu", "link", "host", "host1")
MODES: tuple[Mode, ...] = ("serial", "async", "lockstep")


def machine() -> Machine:
    resources = {name: Resource(name, name, "other") for name in NAMES}
    return Machine(simpy.Environment(), resources, check=True)


def kernel(ps: int, submit: int = 10, more: int = 0, **changes: Any) -> Demand:
    keys: dict[str, Any] = {"host": "host", "submit_ps": submit, "submit_more_ps": more}
    return Demand("kernel", {"gpu": Service(ps)}, **(keys | changes))


def on_cpu(ps: int) -> Demand:
    """An operator on the cores: the host thread does nothing else meanwhile."""
    return Demand("cpu", {"cpu": Service(ps)}, blocks=True)


def wait(ps: int = 7) -> Demand:
    return Demand("wait", host="host", host_ps=ps, blocks=True)


def stage(*lanes: tuple[Demand, ...]) -> StageDemand:
    return StageDemand("x", lanes)


def spans(
    *batches: tuple[StageDemand, ...], mode: Mode = "serial", clock: Machine | None = None
) -> dict[tuple[int, int], Span]:
    ran = run_pipeline(clock or machine(), batches, mode)
    return {(span.batch, span.stage): span for span in ran}


def end(*lanes: tuple[Demand, ...], mode: Mode = "serial") -> int:
    """End of one stage of one mini-batch."""
    return spans((stage(*lanes),), mode=mode)[0, 0].end_ps


# one stage


@pytest.mark.parametrize("mode", MODES)
def test_a_kernel_starts_when_it_was_submitted(mode: Mode) -> None:
    assert end((kernel(50),), mode=mode) == 60
    assert end((kernel(50, latency_ps=5),), mode=mode) == 65
    assert end((kernel(50, submit=0),), mode=mode) == 50
    assert end((kernel(50, host=""),), mode=mode) == 50, "nobody has to"


@pytest.mark.parametrize("mode", MODES)
def test_later_kernels_are_submitted_while_the_first_one_runs(mode: Mode) -> None:
    assert end((kernel(50), kernel(30)), mode=mode) == 90


@pytest.mark.parametrize("mode", MODES)
def test_short_kernels_wait_for_their_submissions(mode: Mode) -> None:
    """At 10, 20 and 30; each runs for 4."""
    assert end((kernel(4), kernel(4), kernel(4)), mode=mode) == 34


@pytest.mark.parametrize(("ps", "done"), [(5, 50), (39, 50), (40, 50), (41, 51)])
def test_an_operation_ends_no_earlier_than_its_last_kernel_was_submitted(
    ps: int, done: int
) -> None:
    """The first at 10, four more until 50."""
    assert end((kernel(ps, more=40),)) == done


def test_the_next_operation_is_submitted_after_all_kernels_of_the_one_before() -> None:
    """At 60; the first ends at 50."""
    assert end((kernel(5, more=40), kernel(5))) == 65


def test_lanes_are_submitted_one_after_the_other() -> None:
    """Two kernels of the first at 10 and 20, that of the second at 30: 1 and 2 end at 12, 22."""
    other = kernel(2, submit=10)
    assert end((kernel(2), kernel(2)), (other,)) == 32


def test_each_host_thread_submits_on_its_own() -> None:
    beside = Demand("kernel", {"gpu1": Service(50)}, host="host1", submit_ps=10)
    assert end((kernel(50),), (beside,)) == 60
    assert end((kernel(50),), (kernel(50, submit=10),)) == 110, "10, then twice 50 of one GPU"


def test_a_lane_with_only_work_of_the_cpu_submits_nothing() -> None:
    assert end((on_cpu(30), on_cpu(30))) == 60


def test_the_cores_begin_when_the_stage_was_submitted() -> None:
    """One thread calls both: kernels until 30, the operator from 30 to 70."""
    assert end((kernel(5, more=20),), (on_cpu(40),)) == 70
    assert end((on_cpu(40),), (kernel(5, more=20),)) == 70


def test_what_follows_an_operator_of_the_cores_is_submitted_after_it() -> None:
    """30 on the cores, 10 of the host, 20 of the copy; then 10 and 5 of the next."""
    assert end((on_cpu(30), kernel(20))) == 60
    assert end((on_cpu(30), kernel(20), kernel(5))) == 75
    assert end((on_cpu(30), kernel(20, more=40))) == 80, "40 of the host are longer than 20"


def test_a_wait_returns_after_its_own_time() -> None:
    assert end((kernel(50), wait())) == 67
    assert end((wait(),)) == 7
    assert end((kernel(50), wait(), kernel(50))) == 67 + 60, "nothing was submitted meanwhile"


def test_one_thread_serves_what_follows_waits_of_two_lanes() -> None:
    """Both waits begin at 10 (kernels end there) and take 7 in turn: 17 and 24."""
    lane = (kernel(0), wait())
    free = (Demand("none"), wait())
    assert end(lane, free) == 24


def test_a_stage_without_operations_is_submitted_at_once() -> None:
    for mode in MODES:
        both = (stage(), stage((kernel(50),)), stage(()))
        ran = spans(both, both, mode=mode)
        assert [ran[0, k].end_ps for k in range(3)] == [0, 60, 60]


# stages and mini-batches


def test_a_host_without_waits_runs_ahead_of_the_gpu() -> None:
    """It pays for the first submission alone: 10, then 50 each."""
    ran = spans(*[(stage((kernel(50),)),)] * 3)
    assert [ran[k, 0].end_ps for k in range(3)] == [60, 110, 160]


def test_a_host_that_is_slower_than_the_gpu_sets_the_pace() -> None:
    ran = spans(*[(stage((kernel(5),)), stage((kernel(5),)))] * 3)
    assert [ran[k, 1].end_ps for k in range(3)] == [25, 45, 65]


def test_a_host_that_waits_submits_each_mini_batch_anew() -> None:
    """10 + 50 + 7 each."""
    ran = spans(*[(stage((kernel(50), wait())),)] * 3)
    assert [ran[k, 0].end_ps for k in range(3)] == [67, 134, 201]


def test_it_runs_ahead_up_to_the_stage_that_it_waits_in() -> None:
    """Both kernels were submitted at 20: 10 + 50 + 50 + 7; then the next mini-batch."""
    ran = spans(*[(stage((kernel(50),)), stage((kernel(50), wait())))] * 2)
    assert [ran[k, 1].end_ps for k in range(2)] == [117, 234]


def test_an_operator_of_the_cores_holds_the_next_stage_back() -> None:
    """Kernel until 60, the cores from 10 to 110: the next stage is submitted from there."""
    first = stage((kernel(50),), (on_cpu(100),))
    ran = spans((first, stage((kernel(50),))))
    assert ran[0, 0].end_ps == 110
    assert ran[0, 1].end_ps == 170


def test_the_host_is_free_when_the_last_that_blocks_it_is_done() -> None:
    """Cores until 40 of 100 in which the GPU works: the next kernel was submitted at 50."""
    first = stage((kernel(100),), (on_cpu(30),))
    ran = spans((first, stage((kernel(50),))))
    assert (ran[0, 0].end_ps, ran[0, 1].end_ps) == (110, 160)


def test_stages_that_overlap_share_the_thread() -> None:
    """Stage 1 of mini-batch 0 and stage 0 of mini-batch 1 begin at 40: the older one is submitted
    until 60, the younger until 70; each runs for 30 on a GPU of its own."""
    second = Demand("b", {"gpu1": Service(30)}, host="host", submit_ps=20)
    stages = (stage((kernel(30),)), stage((second,)))
    ran = spans(stages, stages, mode="async")
    assert [ran[key].end_ps for key in ((0, 0), (0, 1), (1, 0))] == [40, 90, 100]


@pytest.mark.parametrize("mode", ["async", "lockstep"])
def test_the_thread_is_shared_kernel_by_kernel(mode: Mode) -> None:
    """A hundred kernels of one operation until 1050, from 40 on: another stage, which begins at 40,
    is submitted behind the first of them, until 60, and not behind the last."""
    many = Demand("a", {"gpu1": Service(5)}, host="host", submit_ps=10, submit_more_ps=990)
    stages = (stage((kernel(30),)), stage((many,)))
    ran = spans(stages, stages, mode=mode)
    assert ran[0, 0].end_ps == 40
    assert ran[1, 0].end_ps == 60 + 30
    assert ran[0, 1].end_ps == 40 + 1000 + 10, "the thread does no more than before"


@pytest.mark.parametrize(("submit", "more"), [(10, 25), (0, 25), (10, 0)])
def test_the_last_kernel_may_take_less(submit: int, more: int) -> None:
    """Whatever the pieces are, they add up."""
    clock = machine()
    ran = spans((stage((kernel(1, submit=submit, more=more),)),), clock=clock)
    assert ran[0, 0].end_ps == max(submit + more, submit + 1)
    assert clock.use["host"].busy_ps == submit + more


def test_a_stage_of_a_pipeline_begins_to_submit_when_it_may_start() -> None:
    """No running ahead: 60 each."""
    for mode in ("async", "lockstep"):
        ran = spans(*[(stage((kernel(50),)),)] * 3, mode=mode)  # type: ignore[arg-type]
        assert [ran[k, 0].end_ps for k in range(3)] == [60, 120, 180]


# what the link holds up, and what is told


def test_what_was_submitted_is_fetched_behind_copies() -> None:
    """A copy fills the link until 1000: 40 more; one that needs a quarter of it: 10 more."""
    fetched = {"link": 40}
    for share, more in ((1.0, 40), (0.25, 10)):
        copy = Demand("copy", {"link": Service(share * 1000)}, minimum_ps=1000)
        clock = machine()
        clock.env.process(clock.execute(copy))
        ran = spans((stage((kernel(50, fetched=fetched),)),), clock=clock)
        assert ran[0, 0].end_ps == 10 + more + 50
    assert end((kernel(50, fetched=fetched),)) == 60, "an idle link"


def test_the_host_goes_on_while_the_gpu_fetches() -> None:
    """Fetched at 50 and 60, where the host submitted at 10 and 20."""
    copy = Demand("copy", {"link": Service(1000)})
    clock = machine()
    clock.env.process(clock.execute(copy))
    words = (kernel(5, fetched={"link": 40}), kernel(5, fetched={"link": 40}))
    assert spans((stage(words),), clock=clock)[0, 0].end_ps == 65


def test_after_a_wait_a_kernel_is_fetched_as_well() -> None:
    copy = Demand("copy", {"link": Service(1000)})
    clock = machine()
    clock.env.process(clock.execute(copy))
    words = (wait(), kernel(5, fetched={"link": 40}))
    assert spans((stage(words),), clock=clock)[0, 0].end_ps == 7 + 10 + 40 + 5


def test_time_of_the_host_is_told() -> None:
    clock = machine()
    spans(*[(stage((kernel(50, more=20), wait())),)] * 3, clock=clock)
    assert clock.use["host"].busy_ps == 3 * (10 + 20 + 7)


def test_a_thread_serves_in_the_order_that_it_is_asked() -> None:
    clock = machine()
    done: list[tuple[str, int]] = []

    def ask(name: str, at: int, ps: int) -> Any:
        yield clock.env.timeout(at)
        yield from clock.on_host("host", ps)
        done.append((name, int(clock.env.now)))

    for name, at, ps in (("a", 0, 30), ("b", 10, 5), ("c", 5, 20), ("d", 100, 1), ("e", 2, 0)):
        clock.env.process(ask(name, at, ps))
    clock.env.run()
    assert done == [("e", 2), ("a", 30), ("c", 50), ("b", 55), ("d", 101)]
    assert clock.use["host"].busy_ps == 56


operations = st.builds(
    kernel, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)
) | st.sampled_from([on_cpu(20), wait(3), Demand("none")])
lanes = st.lists(operations, max_size=4).map(tuple)
programs = st.lists(st.lists(lanes, max_size=2).map(lambda ls: stage(*ls)), min_size=2, max_size=2)


@given(st.lists(programs.map(tuple), min_size=1, max_size=4), st.sampled_from(MODES))
def test_every_program_ends_within_the_sum_of_its_parts(
    batches: list[tuple[StageDemand, ...]], mode: Mode
) -> None:
    """No deadlock; no resource and no host thread does two things at a time."""
    clock = machine()
    ran = spans(*batches, mode=mode, clock=clock)
    assert len(ran) == 2 * len(batches)
    demands = [d for batch in batches for s in batch for lane in s.lanes for d in lane]
    host = sum(d.submit_ps + d.submit_more_ps + d.host_ps for d in demands)
    used = {
        name: sum(d.services[name].ps for d in demands if name in d.services)
        for name in ("gpu", "cpu")
    }
    last = max(span.end_ps for span in ran.values())
    assert last >= max(host, *used.values())
    assert last <= host + sum(used.values()) + 2 * len(demands)
    assert host == (clock.use["host"].busy_ps if "host" in clock.use else 0)
