"""Plain data as a tree whose every value knows where it stands: what overlays are made of.

`Document` keeps data and places apart, which suits reading and checking; laying one file over
another is easier where each value carries its own place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulator.config.reader import KeyPath, Mark, Marks

__all__ = ["Node", "different"]


@dataclass(frozen=True, slots=True)
class Node:
    """A value, its place, and the folder that relative paths in it start from."""

    value: Any
    """Text, number, boolean or None; a dictionary or a tuple of nodes."""
    mark: Mark
    folder: Path = Path()
    entry: str = ""
    """The catalogue's file that a mapping started from; empty where it was written out."""
    named_at: Mark | None = None
    """Where a mapping that comes from another file was referred to."""

    @classmethod
    def of(cls, data: Any, marks: Marks, folder: Path, path: KeyPath = ()) -> Node:
        """The tree of plain `data`. What the command line says is relative to the shell."""
        mark = marks.mark(path)
        here = Path() if mark.value.startswith("--set") else folder
        if isinstance(data, dict):
            inner = {str(k): cls.of(v, marks, folder, (*path, k)) for k, v in data.items()}
            return cls(inner, mark, here)
        if isinstance(data, list | tuple):
            items = enumerate(data)
            return cls(tuple(cls.of(v, marks, folder, (*path, i)) for i, v in items), mark, here)
        return cls(data, mark, here)

    @property
    def reference(self) -> Mark:
        """Where it was referred to, or else where it stands."""
        return self.named_at or self.mark

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    def __contains__(self, key: object) -> bool:
        """Whether it is a mapping with that key."""
        return self.is_mapping and key in self.value

    def keys(self) -> Collection[Any]:
        """The keys of a mapping; none of anything else."""
        return self.value.keys() if self.is_mapping else ()

    def items(self) -> Iterator[tuple[Any, Node]]:
        """Keys and values of a mapping; none of anything else."""
        return iter(self.value.items()) if self.is_mapping else iter(())

    def get(self, key: str | int) -> Node | None:
        """The value of a key; None where there is none."""
        inner: Node | None = self.value.get(key) if self.is_mapping else None
        return inner

    def text(self, key: str) -> str:
        """The text of a key; empty where it has none."""
        inner = self.get(key)
        return inner.value if inner is not None and isinstance(inner.value, str) else ""

    def with_keys(self, changes: Mapping[Any, Node]) -> Node:
        """The mapping with some keys set."""
        return replace(self, value={**self.value, **changes})

    def without(self, keys: Collection[Any]) -> Node:
        """The mapping without some keys."""
        return replace(self, value={k: v for k, v in self.items() if k not in keys})

    def only(self, keys: Collection[Any]) -> Node:
        """The mapping with some keys alone."""
        return replace(self, value={k: v for k, v in self.items() if k in keys})

    def plain(self) -> Any:
        """The data itself."""
        value = self.value
        if isinstance(value, dict):
            return {key: inner.plain() for key, inner in value.items()}
        return [inner.plain() for inner in value] if isinstance(value, tuple) else value

    def outline(self, levels: int) -> Any:
        """The data itself, mappings and lists more than `levels` deep left empty."""
        value, deeper = self.value, levels - 1
        if isinstance(value, dict):
            return {key: inner.outline(deeper) for key, inner in value.items()} if levels else {}
        if isinstance(value, tuple):
            return [inner.outline(deeper) for inner in value] if levels else []
        return value

    def marks(self) -> Marks:
        """Where each value stands."""
        return Marks(dict(self._marks_below(())))

    def _marks_below(self, path: KeyPath) -> Iterator[tuple[KeyPath, Mark]]:
        yield path, self.mark
        inner = self.items() if self.is_mapping else self._indexed()
        for key, node in inner:
            yield from node._marks_below((*path, key))

    def _indexed(self) -> Iterator[tuple[int, Node]]:
        return enumerate(self.value) if isinstance(self.value, tuple) else iter(())


def different(old: Node | None, new: Node | None, path: str) -> Iterator[str]:
    """Dotted paths of the values that differ; where another entry was chosen, its own path."""
    if old is new and old is not None:
        return
    if old is None or new is None or old.entry != new.entry:
        yield path
    elif old.is_mapping and new.is_mapping:
        for key in dict.fromkeys((*old.keys(), *new.keys())):
            if key != "sources":
                yield from different(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old.plain() != new.plain():
        yield path
