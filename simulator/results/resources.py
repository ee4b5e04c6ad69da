"""Resources of a machine for people: their kinds, their titles, and what folds into one.

A resource is named by the parts of the machine that lead to it, a part with its number where there
are several: `cpu.dram`, `gpu5.hbm`, `pcie.down`, `host3.nvlink.gpu5.out`. Only here is such a name
taken apart; everything else goes by the kind of a resource.

Resources whose names differ only in numbers are one family. Tables and figures give a family one
column, however many GPUs there are.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = [
    "KINDS",
    "LATENCY",
    "Fold",
    "Kind",
    "KindFacts",
    "family_of",
    "fold",
    "headings",
    "spread",
    "title_of",
    "title_of_all",
]

Kind = Literal[
    "dram", "hbm", "cpu", "path", "gpu", "l2", "host", "link", "gpu_link", "network", "drive",
    "pool", "other",
]  # fmt: skip
"""What a resource is; `pool`: threads that operations take, busy or waiting."""

LATENCY = "latency"
"""In the place of a bottleneck: no resource holds the iteration up."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What holds for all resources of a kind."""

    name: Kind
    title: str
    meaning: str
    moves_bytes: bool = True
    """False where bytes are counted at the memories instead."""
    summarized: bool = True
    """Whether the metrics have a column for the busiest resource of this kind."""


KINDS: Mapping[Kind, KindFacts] = {
    facts.name: facts
    for facts in (
        KindFacts("dram", "CPU DRAM", "memories of the CPUs"),
        KindFacts("hbm", "HBM", "memories of the GPUs"),
        KindFacts("cpu", "CPU", "cores of the CPUs", moves_bytes=False),
        KindFacts("path", "CPU memory path", "ways between cores and DRAM", moves_bytes=False),
        KindFacts("gpu", "GPU", "streaming multiprocessors of the GPUs", moves_bytes=False),
        KindFacts("l2", "GPU L2", "L2 caches of the GPUs", moves_bytes=False),
        KindFacts(
            "host", "Host thread", "host threads that submit work to GPUs", moves_bytes=False
        ),
        KindFacts("link", "Host link", "links between CPU and GPU (PCIe or NVLink-C2C)"),
        KindFacts("gpu_link", "GPU link", "links between the GPUs of a host"),
        KindFacts("network", "Network", "network between hosts"),
        KindFacts("drive", "Drives", "drives"),
        KindFacts("pool", "Pools", "pools of threads", moves_bytes=False, summarized=False),
        KindFacts("other", "Other", "other resources", moves_bytes=False, summarized=False),
    )
}
"""Every kind, in the order of columns."""

assert tuple(KINDS) == get_args(Kind)

_SPELLED = {
    "cpu": "CPU",
    "cxl": "CXL",
    "dram": "DRAM",
    "gpu": "GPU",
    "hbm": "HBM",
    "cache": "L2",
    "nic": "NIC",
    "nvlink": "NVLink",
    "pcie": "PCIe",
    "sm": "SMs",
    "ssd": "SSD",
}
"""Parts of names whose spelling is not that of a plain word."""

_DIRECTIONS = frozenset(("down", "up", "in", "out", "rx", "tx", "read", "write"))
"""Last parts of a name that say nothing without the part before them."""

_NUMBERED = re.compile(r"(.*?)(\d*)", re.DOTALL)


def title_of(resource: str) -> str:
    """A resource for people: `cpu.dram` is CPU DRAM, `gpu5.hbm` is HBM of gpu5.

    `latency` stays as it is.
    """
    if resource == LATENCY:
        return resource
    what, where = _what(resource), [stem + number for stem, number in _parts(resource) if number]
    return f"{what} of {'.'.join(where)}" if where else what


def title_of_all(resources: Iterable[str]) -> str:
    """Resources of one family for people: gpu0..gpu15 HBM.

    Where numbers are left out, the count follows: gpu0..gpu3 HBM (2).
    """
    names = list(dict.fromkeys(resources))
    if len(names) == 1:
        return title_of(names[0])
    columns = list(zip(*map(_parts, names), strict=True))
    ranges, whole = [], 1
    for column in columns:
        numbers = sorted({int(number) for _, number in column if number})
        if numbers:
            first, last = (f"{column[0][0]}{n}" for n in (numbers[0], numbers[-1]))
            ranges.append(first if first == last else f"{first}..{last}")
            whole *= numbers[-1] - numbers[0] + 1
    words = [stem for stem, number in _parts(names[0]) if not number]
    title = " ".join([*ranges, *map(_spelled, words)])
    return title if whole == len(names) else f"{title} ({len(names)})"


def family_of(resource: str) -> str:
    """The name without its numbers: `gpu5.hbm` and `gpu.hbm` are of the family `gpu.hbm`."""
    return ".".join(stem for stem, _ in _parts(resource))


def _parts(resource: str) -> list[tuple[str, str]]:
    """Stem and number of each part; a part that is all digits is a stem."""
    pairs = []
    for part in resource.split("."):
        match = _NUMBERED.fullmatch(part)
        stem, number = match.groups() if match else (part, "")
        pairs.append((stem, number) if stem else (part, ""))
    return pairs


def _what(resource: str) -> str:
    """What a resource is, wherever it is."""
    parts = _parts(resource)
    words = [stem for stem, number in parts if not number]
    if _DIRECTIONS.issuperset(words):
        numbered = [stem for stem, number in parts if number]
        words = [*numbered[-1:], *words]
    text = " ".join(map(_spelled, words))
    return text[:1].upper() + text[1:]


def _spelled(word: str) -> str:
    return " ".join(_SPELLED.get(part, part) for part in word.split("_"))


@dataclass(frozen=True, slots=True)
class Fold:
    """The rows of one family in one point, columns as in `devices.parquet`."""

    rows: tuple[Row, ...]

    @property
    def family(self) -> str:
        return family_of(self.rows[0]["resource"])

    @property
    def kind(self) -> str:
        return str(self.rows[0]["kind"])

    @property
    def used(self) -> bool:
        """Whether anything went through any of them."""
        return any(row["utilization"] or row["bytes"] for row in self.rows)

    def values(self, column: str) -> list[float]:
        """What is known of `column`, a value a resource."""
        return [float(row[column]) for row in self.rows if row[column] is not None]


def fold(rows: Iterable[Row]) -> dict[str, Fold]:
    """The resources of one point by family, in the order in which families first appear."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(family_of(row["resource"]), []).append(row)
    return {family: Fold(tuple(members)) for family, members in families.items()}


def headings(points: Sequence[Mapping[str, Fold]]) -> dict[str, str]:
    """A title for each family that any of the points uses, pools of threads left out: what they
    hold up shows in the resource that they wait for.

    It names the resources where all points that have the family have the same ones, else what
    they are: GPU HBM.
    """
    members: dict[str, set[tuple[str, ...]]] = {}
    used = set()
    for point in points:
        for family, folded in point.items():
            members.setdefault(family, set()).add(tuple(row["resource"] for row in folded.rows))
            if folded.used and folded.kind != "pool":
                used.add(family)
    return {
        family: title_of_all(next(iter(names))) if len(names) == 1 else title_of(family)
        for family, names in members.items()
        if family in used
    }


def spread(values: Sequence[float], show: Callable[[float], str], unit: str = "") -> str:
    """One text where all values read the same, else least/mean/most; a dash for none."""
    if not values:
        return "-"
    mean = math.fsum(values) / len(values)
    texts = [show(value) for value in (min(values), mean, max(values))]
    if all(a == b for a, b in itertools.pairwise(texts)):
        texts = texts[:1]
    return "/".join(texts) + unit
