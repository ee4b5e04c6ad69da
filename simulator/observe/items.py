"""What words hand to each other while a program is trained, and where words stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from simulator.config.model import ModelConfig
from simulator.hardware.program import GRADIENT_BYTES, Operation, Stage, Store

__all__ = ["BY_SAMPLE", "COLD", "DENSE", "GRADIENTS", "IDS", "LISTS", "SLOTS", "Item", "Kind"]
__all__ += ["Position", "Program", "entry_width", "stores_of", "word_at", "words_of"]

Kind = Literal["pooled", "gradients", "ids", "slots", "cold", "lists", "rows", "dense"]


@dataclass(frozen=True, slots=True)
class Item:
    """Data that words hand on; `name` tells pooled vectors and staged rows apart."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


IDS = Item("ids")
"""Row numbers of all lookups."""
DENSE = Item("dense")
"""Dense features and labels."""
SLOTS = Item("slots")
"""The slot of every lookup (-1: not cached), from a `Plan` or a `Split`."""
COLD = Item("cold")
"""Lookups without a slot, and the bag of each, from a `Split`."""
LISTS = Item("lists")
"""Rows that a `Plan` fetches and writes back."""
GRADIENTS = Item("gradients")
"""Gradients of the pooled vectors, from a `Dense`."""

BY_SAMPLE = Item("gradients", "by sample")
"""Those of the samples of one GPU and of all tables, where an exchange turns them into those of its
tables and of all samples."""

_STORES = ("reads", "writes")

Position = tuple[int, int, int]
"""Stage, lane, and number in the lane of a word."""
Program = tuple[Stage, ...]


def entry_width(model: ModelConfig) -> int:
    """Elements (fp32) of a row with its optimizer state, which follows the weights."""
    return (model.row_bytes + model.state_bytes) // GRADIENT_BYTES


def words_of(program: Program) -> Iterator[tuple[Position, Operation]]:
    """Every word with its position, in order."""
    for s, stage in enumerate(program):
        for k, lane in enumerate(stage.lanes):
            for n, word in enumerate(lane):
                yield (s, k, n), word


def stores_of(program: Program) -> set[str]:
    """Memories of the stores that the words of a program read and write."""
    stores = (getattr(word, name, None) for _, word in words_of(program) for name in _STORES)
    return {store.memory for store in stores if isinstance(store, Store)}


def word_at(program: Program, at: Position) -> Operation:
    """The word at a position."""
    return program[at[0]].lanes[at[1]][at[2]]
