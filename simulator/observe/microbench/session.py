"""Measures subject after subject and keeps what there is: a failure costs its own rows alone.

A file is written anew after each subject that adds to it, so that an end by force leaves all that
was measured. Seconds of each subject go to `tell`, as does what failed.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simulator.observe.microbench.tables import Row, Subject, write_rows

__all__ = ["Session"]


@dataclass
class Session:
    """Measurements into the folder `out_dir`; `until`: moment of the monotonic clock after which
    no subject begins; `only`: subjects to measure, by a part of their name or file."""

    out_dir: Path
    tell: Callable[[str], None]
    until: float = float("inf")
    only: Sequence[str] = ()
    failed: dict[str, str] = field(default_factory=dict)
    """What went wrong, by subject."""
    done: list[str] = field(default_factory=list)
    _rows: dict[str, list[Row]] = field(default_factory=dict)

    def wants(self, subject: Subject) -> bool:
        """Whether `only` leaves it in."""
        return not self.only or any(part in subject.text for part in self.only)

    def run(self, make: Callable[[], Sequence[Subject]], group: str) -> None:
        """Measure the subjects that `make` lists; where it fails itself, `group` has failed."""
        try:
            subjects = make()
        except Exception as error:  # one group must not cost the others
            self.fail(group, error)
            return
        for subject in subjects:
            if self.wants(subject):
                self._measure(subject)

    def _measure(self, subject: Subject) -> None:
        if time.monotonic() > self.until:
            self.failed[subject.name] = "not begun: the time was up"
            self.tell(f"{subject.name}: {self.failed[subject.name]}")
            return
        self.tell(f"{subject.file}: {subject.name}")
        rows, begin = self._rows.setdefault(subject.file, []), time.monotonic()
        before = len(rows)
        try:
            for row in subject.rows():
                rows.append(row)
        except Exception as error:  # whatever a driver, a compiler or a library raises
            self.fail(subject.name, error)
        finally:
            if rows:
                write_rows(self.out_dir, subject.file, rows)
        self.done.append(subject.name)
        self.tell(f"  {len(rows) - before} rows in {time.monotonic() - begin:.1f} s")
        _release()

    def fail(self, name: str, error: Exception) -> None:
        """Note that `name` failed, and say so."""
        said = str(error).strip().splitlines()
        self.failed[name] = f"{type(error).__name__}: {said[0] if said else ''}"
        self.tell(f"{name} failed: {self.failed[name]}")


def _release() -> None:
    """Memory of the last subject, before the next one takes its own."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
        except RuntimeError:
            return  # an error of the device shows in every subject after it
