"""A pool of processes that loses one: whatever it was at, the next pool works and is heard."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import BrokenExecutor
from typing import Any

import pytest

from simulator.sweep import work
from simulator.sweep.executors import LocalPool


def say(event: Any) -> int:
    """Send an event; the number of the process."""
    assert work._send is not None
    work._send(event)
    return os.getpid()


def die_while_it_sends() -> None:
    """Send more than a pipe holds, to a parent that does not listen, and be killed meanwhile."""
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    say(bytes(1 << 20))


def test_a_process_that_dies_while_it_sends_holds_nobody_up() -> None:
    heard: list[Any] = []
    listens = threading.Event()

    def hear(event: Any) -> None:
        heard.append(event)
        listens.wait(60)

    with LocalPool(2) as pool:
        pool.listen(hear)
        pool.submit(say, "before").result(timeout=60)
        with pytest.raises(BrokenExecutor):
            pool.submit(die_while_it_sends).result(timeout=60)
        listens.set()
        pids = {pool.submit(say, "after").result(timeout=60) for _ in range(4)}
    assert os.getpid() not in pids
    assert heard == ["before"] + ["after"] * 4
