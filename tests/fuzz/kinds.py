"""The kinds of input: each makes one trial, files and the commands that read them, of a number.

What a trial is made of follows from its kind and number alone, so that both name it for good.
"""

from __future__ import annotations

from machine_kinds import MACHINE_KINDS
from option_kinds import OPTION_KINDS
from run_kinds import RUN_KINDS
from trace_kinds import TRACE_KINDS
from trial import Bench, Kind, Trial

__all__ = ["KINDS", "Bench", "Trial"]

KINDS: dict[str, Kind] = TRACE_KINDS | MACHINE_KINDS | OPTION_KINDS | RUN_KINDS
"""Every kind of input by name."""
