"""How a process of a local pool begins: nothing here takes long to import, so that one whose parent
is gone already ends before it has begun."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock

__all__ = ["begin_worker"]


def begin_worker(lifeline: Connection, events: Connection, turn: Lock) -> None:
    """Leave Ctrl-C to the parent, die with it, and send it `events`, one process in its `turn`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(lifeline,), daemon=True).start()
    from simulator.sweep import work  # takes a second

    def tell(event: work.Event) -> None:
        with turn:
            events.send(event)

    work.report_to(tell)
    work.begin_process()


def _follow(lifeline: Connection) -> None:
    """End this process when the other end of `lifeline` is closed."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
