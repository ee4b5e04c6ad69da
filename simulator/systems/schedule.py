"""How the stages of consecutive mini-batches follow each other, and what that asks of a cache.

A stage has a role: `read` takes rows from where they are kept, `write` puts rows back, `train`
changes them; `load`, `plan` and `move` touch no rows. The hold window, the depth of a pipeline
and the mini-batches that must follow the timed ones are derived from the roles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.caches import Window

__all__ = [
    "After",
    "Ahead",
    "Beside",
    "Order",
    "Pipeline",
    "Role",
    "Schedule",
    "Serial",
    "StageSpec",
    "Streams",
]

Role = Literal["load", "plan", "read", "move", "write", "train"]

Order = Literal["serial", "ahead", "async", "lockstep", "streams"]
"""How stages wait for each other (`engine.pipeline`)."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage: its name in results, and what it does with rows."""

    name: str
    role: Role = "train"


@dataclass(frozen=True, slots=True)
class After:
    """`stage` of a mini-batch starts when `other` of the one `ahead` mini-batches later (below 0:
    earlier) is done."""

    stage: str
    other: str
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Beside:
    """Stages before those of the schedule's order, which run beside all of them.

    `fed`: one makes mini-batches for the others. `logged`: the number of the last stage that
    updates rows, where the first stage writes what must be durable before they are; 0: none does.
    """

    fed: bool = False
    logged: int = 0

    @property
    def count(self) -> int:
        """How many there are; the next stage is the first of the order."""
        return int(self.fed) + bool(self.logged)

    @property
    def feeder(self) -> int:
        """The number of the stage that makes mini-batches; -1: none does."""
        return int(bool(self.logged)) if self.fed else -1

    def without(self, stage: int) -> Beside:
        """What is left without one of them."""
        if stage == self.feeder:
            return Beside(logged=max(0, self.logged - 1))
        return Beside(fed=self.fed)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The stages of a mini-batch in order."""

    stages: tuple[StageSpec, ...]
    after: tuple[After, ...] = ()
    """What stages wait for beside the stage before them, and themselves of the mini-batch before.
    """
    in_flight: int = 1
    """Mini-batches that it works on at once, where it does not follow from the stages."""
    fed: bool = False
    """The first stage makes mini-batches for the others, and runs beside all of them: it waits for
    room alone, they wait for what it makes."""
    logged: str = ""
    """The last stage that updates rows, where the first one writes what must be durable before they
    are: that begins when this stage of the mini-batch before is done, and updates alone wait for
    it. A stage that feeds the others comes second then."""

    def order(self, asked: Order) -> Order:
        """How its stages wait for each other where a pipeline is `asked` to be of a kind."""
        return asked if self.overlaps else "serial"

    @property
    def waits(self) -> tuple[tuple[int, int, int], ...]:
        """`after` as numbers: (stage, other stage, mini-batches ahead)."""
        number = {name: k for k, name in enumerate(self.names)}
        return tuple((number[a.stage], number[a.other], a.ahead) for a in self.after)

    @property
    def beside(self) -> Beside:
        """The stages that run beside all others."""
        return Beside(self.fed, self.names.index(self.logged) if self.logged else 0)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    @property
    def overlaps(self) -> bool:
        """Whether stages of consecutive mini-batches run at once."""
        return False

    @property
    def depth(self) -> int:
        """Mini-batches in flight."""
        return 1

    @property
    def window(self) -> Window:
        """Mini-batches whose rows may not be victims: none where nothing overlaps."""
        return Window(0, 0)

    def distance(self, stage: str, role: Role) -> int:
        """Mini-batches that are between the last stage with `role` and one that is in `stage`: none
        where nothing overlaps."""
        del stage, role
        return 0

    @classmethod
    def of(
        cls, *stages: str | tuple[str, Role], after: tuple[After, ...] = (), in_flight: int = 1
    ) -> Schedule:
        """From names, or pairs of name and role; the others as they are called."""
        specs = [StageSpec(*((s,) if isinstance(s, str) else s)) for s in stages]
        return cls(tuple(specs), after, in_flight)


class Serial(Schedule):
    """A mini-batch is done before the next one starts."""

    __slots__ = ()


class Ahead(Schedule):
    """The first stage of a mini-batch runs beside the other stages of the one before it."""

    __slots__ = ()

    @property
    def depth(self) -> int:
        return 2

    def order(self, asked: Order) -> Order:
        del asked
        return "ahead"


class Pipeline(Schedule):
    """Stages of consecutive mini-batches overlap, one mini-batch in each stage."""

    __slots__ = ()

    @property
    def overlaps(self) -> bool:
        return True

    @property
    def depth(self) -> int:
        return len(self.stages)

    def distance(self, stage: str, role: Role) -> int:
        first = self.names.index(stage)
        return max(0, _last([s.role for s in self.stages], role, first) - first)

    @property
    def window(self) -> Window:
        """What the stages need.

        A victim is read by the first `read` stage, so any mini-batch that trains it must have done
        so: past = distance(read -> last train). It lands in its table in the last `write` stage and
        may be read there: future = distance(read -> write). A pipeline that never reads keeps its
        rows where they are and needs no window.
        """
        roles = [stage.role for stage in self.stages]
        if "read" not in roles:
            return Window(0, 0)
        read = roles.index("read")
        train = _last(roles, "train", read)
        write = _last(roles, "write", read)
        return Window(max(0, train - read), max(0, write - read))


class Streams(Schedule):
    """Stages on streams of their own: each starts when what it waits for is done (`after`), be it a
    stage of an earlier or of a later mini-batch. Rows are kept apart by those waits, not by a
    window."""

    __slots__ = ()

    @property
    def overlaps(self) -> bool:
        return True

    @property
    def depth(self) -> int:
        return self.in_flight

    def order(self, asked: Order) -> Order:
        del asked
        return "streams"


def _last(roles: list[Role], role: Role, default: int) -> int:
    """The last stage with `role`."""
    return max((k for k, other in enumerate(roles) if other == role), default=default)
