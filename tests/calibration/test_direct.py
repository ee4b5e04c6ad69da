"""Numbers that a measurement gives without a fit: what a launch and a wait take of the host."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.calibration.direct import direct_values

LAUNCH, WAIT = "platform.host.gpu.launch", "platform.host.gpu.synchronize"
CTYPES = "empty kernel via ctypes, back to back (per launch)"
COPY = "copy of 4096 B, h2d, page-locked (per launch)"
SYNC = "empty kernel + stream sync"
GRAPH = "cuda graph of 100 tiny kernels (per replay)"


def direct(folder: Path, *measured: tuple[str, float]) -> dict[str, float]:
    """What the file says, in picoseconds; `measured`: microseconds."""
    with (folder / "micro_launch.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("what", "us"), *measured])
    return {path: one.value for path, one in direct_values(folder).items()}


def test_a_launch_is_what_was_measured(tmp_path: Path) -> None:
    assert direct(tmp_path, (CTYPES, 3.5)) == {LAUNCH: pytest.approx(3.5e6)}


def test_a_wait_is_what_is_left_of_launching_one_and_waiting_for_it(tmp_path: Path) -> None:
    """9 us less a launch of 4 us and a kernel of 80 us / 100."""
    found = direct(tmp_path, (CTYPES, 4.0), (SYNC, 9.0), (GRAPH, 80.0))
    assert found == {LAUNCH: pytest.approx(4e6), WAIT: pytest.approx(4.2e6)}


def test_a_wait_is_never_negative(tmp_path: Path) -> None:
    found = direct(tmp_path, (CTYPES, 4.0), (SYNC, 4.5), (GRAPH, 80.0))
    assert found[WAIT] == 0.0


@pytest.mark.parametrize("missing", [SYNC, GRAPH])
def test_half_of_a_wait_says_nothing(tmp_path: Path, missing: str) -> None:
    measured = [(CTYPES, 4.0), (SYNC, 9.0), (GRAPH, 80.0)]
    assert WAIT not in direct(tmp_path, *(row for row in measured if row[0] != missing))


def test_a_launch_of_other_software_tells_no_wait(tmp_path: Path) -> None:
    """The wait was measured with launches through ctypes."""
    found = direct(tmp_path, (COPY, 6.0), (SYNC, 9.0), (GRAPH, 80.0))
    assert found == {LAUNCH: pytest.approx(6e6)}


def test_a_kernel_counts_before_a_copy(tmp_path: Path) -> None:
    assert direct(tmp_path, (COPY, 6.0), (CTYPES, 4.0)) == {LAUNCH: pytest.approx(4e6)}


def test_work_of_another_thread_costs_what_was_measured(tmp_path: Path) -> None:
    handed = ("work handed to a thread of its own (per call)", 100.5)
    found = direct(tmp_path, (COPY, 6.0), handed)
    assert found == {
        LAUNCH: pytest.approx(6e6),
        "operators.gpu.worker_call": pytest.approx(100.5e6),
    }


def test_hosts_are_pooled(tmp_path: Path) -> None:
    """By the geometric mean: 2 us and 8 us are 4 us."""
    assert direct(tmp_path, (CTYPES, 2.0), (CTYPES, 8.0)) == {LAUNCH: pytest.approx(4e6)}


@pytest.mark.parametrize("measured", [(), ((SYNC, 9.0), (GRAPH, 80.0)), (("event record", 1.6),)])
def test_a_file_without_a_launch_gives_nothing(
    tmp_path: Path, measured: tuple[tuple[str, float], ...]
) -> None:
    assert direct(tmp_path, *measured) == {}


def test_a_folder_without_the_file_gives_nothing(tmp_path: Path) -> None:
    assert direct_values(tmp_path) == {}


def test_each_number_says_where_it_comes_from(tmp_path: Path) -> None:
    direct(tmp_path, (CTYPES, 4.0), (SYNC, 9.0), (GRAPH, 80.0))
    found = direct_values(tmp_path)
    sources = {path: one.source for path, one in found.items()}
    assert CTYPES in sources[LAUNCH]
    assert "less the launch" in sources[WAIT]
    assert {one.file for one in found.values()} == {"micro_launch.csv"}


SUBMISSION, COLLECTIVE = "operators.gpu.submission", "operators.gpu.collective"
TRITON = "Triton kernel, back to back (per launch)"
STREAM = "enter and leave a stream"


def collectives(folder: Path, *calls: tuple[int, float]) -> None:
    """Bytes, and microseconds to submit."""
    header = ["op", "impl", "bytes", "ms_event", "ms_backtoback", "us_submit"]
    with (folder / "micro_nccl.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        rows = [["alltoall", "torch", size, 0.1, 0.1, us] for size, us in calls]
        writer.writerows([header, *rows])


def test_a_collective_is_its_call_less_what_every_submission_costs(tmp_path: Path) -> None:
    """16 + 9 - 5 = 20 us a submission; small calls of 30, 40 and 45 us: 40 - 5 - 20."""
    collectives(tmp_path, (4096, 30.0), (16384, 45.0), (65536, 40.0), (1 << 28, 90.0))
    found = direct(tmp_path, (COPY, 5.0), (TRITON, 16.0), (STREAM, 9.0))
    assert found == {
        LAUNCH: pytest.approx(5e6),
        SUBMISSION: pytest.approx(20e6),
        COLLECTIVE: pytest.approx(15e6),
    }


def test_a_collective_that_costs_no_more_than_a_kernel_adds_nothing(tmp_path: Path) -> None:
    collectives(tmp_path, (4096, 20.0))
    assert direct(tmp_path, (COPY, 5.0), (TRITON, 16.0), (STREAM, 9.0))[COLLECTIVE] == 0.0


@pytest.mark.parametrize("missing", [TRITON, STREAM, "calls"])
def test_without_one_of_the_three_the_profile_stays(tmp_path: Path, missing: str) -> None:
    if missing != "calls":
        collectives(tmp_path, (4096, 30.0))
    measured = [(COPY, 5.0), (TRITON, 16.0), (STREAM, 9.0)]
    found = direct(tmp_path, *(row for row in measured if row[0] != missing))
    assert found == {LAUNCH: pytest.approx(5e6)}
