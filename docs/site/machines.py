"""A page a system, from `explain`, and a data sheet a platform, from `list platforms NAME`."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator

from simulator import systems
from simulator.cli import main
from simulator.engine.explanation import explain_system
from simulator.hardware.catalogue import machine_names


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    for name in systems.names():
        lines = "\n".join(explain_system(name).lines())
        yield f"systems/{name}", _page(name, systems.summary(name), f"explain {name}", lines)
    for name in machine_names():
        sheet = _printed("list", "platforms", name)
        yield f"platforms/{name}", _page(name, "", f"list platforms {name}", sheet)


def _page(title: str, summary: str, command: str, text: str) -> str:
    return f"# {title}\n\n{summary}\n\n```text\n$ scratchpipe {command}\n{text}\n```\n"


def _printed(*words: str) -> str:
    """What a command prints, 140 characters wide."""
    os.environ |= {"COLUMNS": "140", "NO_COLOR": "1"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(words)
    return printed.getvalue()
