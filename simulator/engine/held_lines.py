"""Copies into buffers whose lines the cores of a CPU still hold.

A copy that a device writes has to take the lines of its target away from the cores that hold them,
which is slower than the link (`Cpu.held_line_writes`, `Cpu.shared_line_writes`). Cores hold what
they have read of a buffer since it was last written, until as much has passed their caches as those
hold. Buffers are taken in turn (`OperatorProfile.staging_buffers`): a copy meets what was left
so many mini-batches ago.

Approximated: operations follow each other in the order of the program, also where stages overlap;
what passes drives out the oldest lines.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from simulator.config.operators import OperatorProfile
from simulator.hardware.devices.base import Processor
from simulator.hardware.devices.core_lines import CoreLines
from simulator.hardware.program import Move, Operation, Stage
from simulator.hardware.topology import Topology

__all__ = ["HeldLines"]


@dataclass
class HeldLines:
    """Follows programs, mini-batch by mini-batch."""

    machine: Topology
    software: OperatorProfile
    _passed: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """By processor: bytes that came into the cores' own caches, and into the last level."""
    _read: dict[tuple[str, str, int], tuple[str, CoreLines, int]] = field(default_factory=dict)
    """By memory, buffer and turn: who read it, what that left, and what had passed by then."""

    def follow(self, stages: tuple[Stage, ...], number: int) -> tuple[Stage, ...]:
        """`stages` of mini-batch `number` whose copies know what lines cores hold."""
        turn = number % self.software.staging_buffers

        def followed(word: Operation) -> Operation:
            return self._moved(word, turn) if isinstance(word, Move) else self._done(word, turn)

        return tuple(
            Stage(stage.name, tuple(tuple(map(followed, lane)) for lane in stage.lanes))
            for stage in stages
        )

    def _done(self, word: Operation, turn: int) -> Operation:
        processor = self.machine.devices.get(word.at)
        lines = None
        if isinstance(processor, Processor):
            lines = processor.core_lines(word, self.software)
        if lines is not None:
            self._passed[word.at, False] += lines.passed
            self._passed[word.at, True] += lines.missed
            if lines.buffer is not None:
                key = (lines.buffer.memory, lines.buffer.name, turn)
                self._read[key] = (word.at, lines, self._passed[word.at, lines.shared])
        return word

    def _moved(self, word: Move, turn: int) -> Move:
        """`word` with what cores hold of its target; afterwards they hold nothing of it."""
        at, lines, passed = self._read.pop((word.into, word.what.name, turn), ("", None, 0))
        if lines is None:
            return word
        left = max(0, lines.room - (self._passed[at, lines.shared] - passed))
        held = min(word.bytes, lines.size, left)
        return replace(word, held=0 if lines.shared else held, shared=held * lines.shared)
