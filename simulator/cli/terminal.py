"""The terminal that results are printed on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console"]

_WIDTH_OF_A_FILE = 120
"""Columns where there is no terminal and COLUMNS says nothing."""


def console(stderr: bool = False) -> Console:
    """A console that honours NO_COLOR, COLUMNS and a stream that is not a terminal.

    It shows text as it is: names of the user are no markup, no emoji and nothing to highlight.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() or os.environ.get("COLUMNS") else _WIDTH_OF_A_FILE
    return Console(
        stderr=stderr, width=wide, soft_wrap=False, markup=False, emoji=False, highlight=False
    )
