"""How a process of a local pool begins: nothing here takes long to import, so that one whose parent
is gone already ends before it has begun."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["begin_worker"]


def begin_worker(lifeline: Connection, events: Any) -> None:
    """Leave Ctrl-C to the parent, die with it, and send `events` to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(lifeline,), daemon=True).start()
    from simulator._garbage import collect_seldom
    from simulator.sweep import work  # takes a second

    collect_seldom()
    work.report_to(events.put)
    work.begin_process()


def _follow(lifeline: Connection) -> None:
    """End this process when the other end of `lifeline` is closed."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
