"""Sweeps as a user runs them: several processes, Dask, kills, interrupts, full disks."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

POINTS = 8


def wait_until(condition, process=None, timeout=180):
    end = time.monotonic() + timeout
    while not condition():
        if process is not None and process.poll() is not None:
            return False
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return True


def told(out):
    """What a run printed, without what twice as fast parts change: told where one process has made
    all replays."""
    lines = out.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("time of its iteration with"))


def test_two_processes_give_the_same_bytes(shell, undisturbed):
    code, out, err = shell.run(
        "run", "sweep.yaml", "--out", "two", "--jobs", "2", PYTHONHASHSEED="2"
    )
    assert code == 0, err
    assert shell.results("two") == undisturbed[0]
    assert told(out.replace("two/", "run/")) == told(undisturbed[1])
    assert len(shell.points("two")) == POINTS


def machines(shell, count):
    """An experiment of so many points of one replay."""
    text = (shell.folder / "sweep.yaml").read_text(encoding="utf-8")
    text = text[: text.index("sweep:")].replace("[hybrid, scratchpipe]", "[scratchpipe]")
    latencies = ", ".join(f"{60 + n} ns" for n in range(count))
    text += f"sweep:\n  platform.host.cpu.memory_latency: [{latencies}]\n"
    (shell.folder / "machines.yaml").write_text(text, encoding="utf-8")
    return "machines.yaml"


def test_workers_that_part_a_replay_give_the_same_bytes(shell):
    file = machines(shell, 5)
    for jobs in (1, 2, 3):
        code, _, err = shell.run("run", file, "--out", f"jobs{jobs}", "--jobs", jobs, "--json")
        assert code == 0, err
        assert shell.results(f"jobs{jobs}") == shell.results("jobs1")
        assert len(os.listdir(shell.folder / f"jobs{jobs}" / "points")) == 5 + 1, "and the lock"


def test_a_worker_that_is_killed_in_mid_sweep_costs_nothing_but_time(shell):
    file = machines(shell, 40)
    assert shell.run("run", file, "--out", "alone")[0] == 0
    process = shell.start("run", file, "--out", "run", "--jobs", 2)
    assert wait_until(lambda: shell.points("run"), process)
    for pid in _workers(f"/proc/{process.pid}/task/{process.pid}/children")[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert shell.results("run") == shell.results("alone")
    assert len(shell.points("run")) == 40


def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_bytes(shell, undisturbed):
    kills = 0
    while True:
        before = len(shell.points("run"))
        process = shell.start(
            "run", "sweep.yaml", "--out", "run", "--jobs", 1 + kills % 2, PYTHONHASHSEED=str(kills)
        )
        if wait_until(lambda: len(shell.points("run")) > before + 1, process):  # noqa: B023
            process.kill()
            kills += 1
        process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        assert not (shell.folder / "run" / "manifest.json").exists()
        code, _, err = shell.run("results", "show", "run")
        assert code == 2
        assert "is unfinished" in err
        assert kills <= POINTS
    assert kills >= 2
    assert shell.results("run") == undisturbed[0]
    assert sorted(os.listdir(shell.folder / "run" / "points"))[0] == ".lock"
    assert len(os.listdir(shell.folder / "run" / "points")) == POINTS + 1
    assert not (shell.folder / "run" / "unfinished.json").exists()


def test_workers_die_with_a_killed_parent(shell):
    process = shell.start(
        "run", "sweep.yaml", "--out", "run", "--jobs", "2", "--set", "run.batches=9999"
    )
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    wait_until(lambda: len(_workers(children)) == 2, process)
    workers = _workers(children)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(_alive(pid) for pid in workers), timeout=20)


def _workers(children):
    with contextlib.suppress(OSError), open(children) as stream:
        pids = stream.read().split()
        return [pid for pid in pids if "spawn_main" in _command(pid)]
    return []


def _command(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as stream:
        return stream.read()
    return ""


def _alive(pid):
    return "spawn_main" in _command(pid)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_leaves_a_directory_that_goes_on(shell, jobs, sent):
    file = machines(shell, 300)
    process = shell.start("run", file, "--out", "run", "--jobs", jobs)
    assert wait_until(lambda: shell.points("run"), process)
    os.killpg(process.pid, sent)  # as a terminal and batch systems do: to the workers too
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + sent, "the sweep was done before the interrupt came"
    assert ("terminated" if sent == signal.SIGTERM else "interrupted") in err
    assert "finished points are kept in run: the same command goes on there" in err
    assert "Traceback" not in err
    code, _, err = shell.run("run", file, "--out", "run")
    assert code == 0
    assert "of them taken from an earlier run" in err
    assert shell.run("run", file, "--out", "alone")[0] == 0
    assert shell.results("run") == shell.results("alone")


def test_a_kill_while_the_results_are_written_costs_nothing(shell, undisturbed):
    code = (
        "import os; from pathlib import Path; real = Path.replace\n"
        "def replace(self, to):\n"
        "    os._exit(9) if self.name == 'stages.parquet' else None\n"
        "    return real(self, to)\n"
        "Path.replace = replace\n"
        "from simulator.cli import main; main()"
    )
    assert shell.run("run", "sweep.yaml", "--out", "run", code=code)[0] == 9
    assert not (shell.folder / "run" / "manifest.json").exists()
    status, _, err = shell.run("run", "sweep.yaml", "--out", "run")
    assert status == 0
    assert f"{POINTS} of them taken from an earlier run" in err
    assert sorted(os.listdir(shell.folder)) == ["run", "sweep.yaml"], "nothing is left beside it"
    assert shell.results("run") == undisturbed[0]


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two worker processes; the address of the scheduler."""
    file = tmp_path / "scheduler.json"
    place = ["--scheduler-file", file, "--no-dashboard"]
    own = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--local-directory", tmp_path]
    with contextlib.ExitStack() as running:

        def start(name, *arguments):
            log = running.enter_context((tmp_path / name).open("w"))
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                stdout=log,
                stderr=log,
                cwd=tmp_path,
            )
            running.callback(process.wait, timeout=30)
            running.callback(process.terminate)
            return tmp_path / name

        start("scheduler", "distributed.cli.dask_scheduler", *place, "--port", "0")
        logs = [start(f"worker{n}", "distributed.cli.dask_worker", *place, *own) for n in "12"]
        wait_until(lambda: all("Registered to" in log.read_text() for log in logs))
        yield json.loads(file.read_text())["address"]


def test_a_dask_cluster_gives_the_same_bytes(shell, undisturbed, cluster):
    dask = ["--executor", "dask", "--scheduler", cluster]
    code, out, err = shell.run("run", "sweep.yaml", "--out", "dask", *dask)
    assert code == 0, err
    assert shell.results("dask") == undisturbed[0]
    assert told(out.replace("dask/", "run/")) == told(undisturbed[1])
    assert len(shell.points("dask")) == POINTS
    code, out, err = shell.run("run", "sweep.yaml", "--out", "more", "--dry-run", *dask)
    assert code == 0, err
    assert "on 2 worker(s)" in out


def test_a_failing_point_is_told_and_its_command_repeats_it(shell):
    code, _, err = shell.run(
        *("run", "sweep.yaml", "--out", "run", "--jobs", "2", "--set", "cache.if_too_small=error"),
        *("--set", "trace.locality=low", "--set", "sweep={cache.fraction: [0.01, 0.9]}"),
    )
    assert code == 1
    assert "error: 1 of 4 points failed, the others are kept" in err
    (failure,) = json.loads((shell.folder / "run" / "failures.json").read_text())
    assert failure["label"] == "scratchpipe"
    assert failure["error"] == "CapacityError"
    assert failure["sweep"] == "cache.fraction=0.01"
    assert failure["command"] in err
    rows = json.loads(shell.run("results", "show", "run", "--json")[1])
    assert len(rows) == 3
    verb, *arguments = shlex.split(failure["command"])
    assert verb == "scratchpipe"
    code, _, again = shell.run(*arguments, "--out", "again")
    assert code == 2
    place, message = failure["message"].split(": systems.scratchpipe: ")
    assert re.fullmatch(r"sweep\.yaml:\d+:\d+", place)
    assert message in again
    assert not (shell.folder / "again").exists()


def test_a_bad_configuration_owns_nothing(shell):
    code, out, err = shell.run("run", "sweep.yaml", "--out", "run", "--set", "trace={path: no.npy}")
    assert (code, out) == (2, "")
    assert "no.npy" in err
    assert [file.name for file in shell.folder.iterdir()] == ["sweep.yaml"]
    small = ["--set", "cache.fraction=0.001", "--set", "cache.if_too_small=error"]
    code, out, err = shell.run("run", "sweep.yaml", "--out", "run", *small)
    assert (code, out) == (2, "")
    wanted = (
        r"error: sweep\.yaml:\d+:\d+: systems\.scratchpipe: cache\.fraction 0\.001 gives 5 slots"
    )
    assert re.match(wanted, err)
    kept = shell.points("run")
    assert kept, "those of the other system are not thrown away"
    mended = ["--set", "cache.if_too_small=error", "--set", "sweep={cache.fraction: [0.9]}"]
    code, out, err = shell.run("run", "sweep.yaml", "--out", "run", *mended)
    assert code == 0, err
    assert set(kept) < set(shell.points("run"))
