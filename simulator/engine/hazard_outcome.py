"""What checking a system for hazards showed, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simulator.caches import Window
from simulator.engine.hazard_case import HazardCase, Order
from simulator.engine.hazard_report import HazardReport, StaleRead
from simulator.results.extension import extension_mark, extension_note
from simulator.systems import system_class

__all__ = ["HazardOutcome"]

SHOWN = 5
"""Stale reads listed one by one."""


@dataclass(frozen=True, slots=True)
class HazardOutcome:
    """A case and what its run showed."""

    case: HazardCase
    window: Window
    policy: str | None
    mode: str
    reports: Mapping[Order, HazardReport]
    """What each order showed."""
    mlps_behind: int | None = None
    """Of a system with a log of its own: mini-batches by which the MLPs in it are older than its
    rows, at most, at the machine's times; None: it has none, or nobody timed it."""

    @property
    def report(self) -> HazardReport:
        """That of the first order."""
        return next(iter(self.reports.values()))

    @property
    def stale(self) -> int:
        """Stale reads of all orders."""
        return sum(len(report.stale) for report in self.reports.values())

    @property
    def behind(self) -> int:
        """Most mini-batches that a stale read of any order is behind."""
        return max(report.behind for report in self.reports.values())

    @property
    def lacking(self) -> int:
        """Most updates that a stale read of any order lacks, where they were counted."""
        return max(report.lacking for report in self.reports.values())

    @property
    def lost(self) -> int:
        """Lost updates of all orders."""
        return sum(report.lost for report in self.reports.values())

    @property
    def tables_equal(self) -> bool:
        """Whether every order ends with the tables of sequential training."""
        return all(report.tables_equal for report in self.reports.values())

    @property
    def training_is_ours(self) -> bool:
        """Whether the source of the system is about inference alone."""
        return system_class(self.case.system).training_is_ours

    def note(self) -> str:
        """A line on training that is ours; empty where it is not."""
        row = {"system": self.case.system, "training_is_ours": self.training_is_ours}
        return extension_note([row])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the case, counts, and the first stale reads."""
        return asdict(self.case) | {
            "training_is_ours": self.training_is_ours,
            "policy": self.policy,
            "mode": self.mode,
            "window_past": self.window.past,
            "window_future": self.window.future,
            "trained_rows": self.report.trained_rows,
            "stale_reads": self.stale,
            "stale_reads_by_order": {
                order: len(report.stale) for order, report in self.reports.items()
            },
            "stale_by_at_most_batches": self.behind,
            "stale_by_at_most_updates": self.lacking,
            "lost_updates": self.lost,
            "tables_equal": self.tables_equal,
            "logged_mlps_behind": self.mlps_behind,
            "first_stale_reads": [asdict(read) for read in self._first()],
        }

    def _first(self) -> Sequence[StaleRead]:
        """The first stale reads of the first order that has some."""
        found = (report.stale for report in self.reports.values() if report.stale)
        return next(found, ())[:SHOWN]

    def _amount(self) -> str:
        """How stale reads are, and what is lost."""
        if self.lacking:
            return f"each lacks at most {_counted(self.lacking, 'update', 'updates')} of its row"
        behind = _counted(self.behind, "mini-batch", "mini-batches")
        return f"at most {behind} behind, {_counted(self.lost, 'update', 'updates')} lost"

    def _exactly(self) -> str:
        """How equal tables are, for people: values of the check are whole numbers."""
        claim = system_class(self.case.system).consistency
        if claim is not None and claim.result == "reordered":
            return "in exact arithmetic (floating-point sums are in another order)"
        if claim is not None and claim.sums:
            return f"bit for bit, but for the order of floating-point sums ({claim.sums})"
        return "bit for bit"

    def _logged(self) -> str:
        """How old the MLPs of a log are."""
        if self.mlps_behind is None:
            return ""
        behind = _counted(self.mlps_behind, "mini-batch", "mini-batches")
        return f"; the MLPs in its log are at most {behind} older than the rows"

    def sentence(self) -> str:
        """The outcome for people."""
        window, report = self.window, self.report
        orders = " and ".join(_ORDER_TEXTS[order] for order in self.reports)
        counts = " and ".join(f"{len(each.stale)}" for each in self.reports.values())
        counts = counts if self.stale else "0"
        how = [f"{self.case.system}{extension_mark(self.training_is_ours)}"]
        how += [f"window (past {window.past}, future {window.future})"]
        how += [self.policy] if self.policy is not None else []
        how += [f"{self.case.gpus} GPUs"] if (self.case.gpus or 1) > 1 else []
        how += [f"tables cut by {self.case.sharding}"] if self.case.sharding != "table" else []
        head = (
            f"{', '.join([*how, self.mode])}: "
            f"{counts} stale reads in {report.trained_rows:,} row reads of {report.batches} "
            f"mini-batches {orders}"
        )
        if not self.stale and self.tables_equal:
            return f"{head}; the tables equal sequential training {self._exactly()}{self._logged()}"
        head += f" ({self._amount()})" if self.stale or self.lost else ""
        lines = [
            f"  mini-batch {read.batch} trained row {read.row} without {_missing(read)}"
            for read in self._first()
        ]
        return "\n".join([f"{head}; the tables differ from sequential training", *lines])


def _missing(read: StaleRead) -> str:
    if read.lacks is None:
        return f"the update of mini-batch {read.missing}"
    return _counted(read.lacks, "update", "updates")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


_ORDER_TEXTS: dict[Order, str] = {"timed": "at the machine's times", "random": "in random order"}
