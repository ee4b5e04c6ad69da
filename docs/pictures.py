"""Draws the pictures of design.md from what they show: `python docs/pictures.py [FOLDER]`.

`machine.svg` is a `Topology`: devices as boxes, their resources inside, links between them.
`program.svg` is the program of ScratchPipe for one mini-batch: an operation where it happens, stage
by stage, and the window that its schedule derives from the roles of the stages.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from simulator.caches import LOOKUP, MISS, UNIQUE, VICTIM, WRITE_BACK, BatchFacts, Flow
from simulator.config.catalogue import load_named
from simulator.figures.style import styled
from simulator.hardware import Move, Operation, Topology, Wait, build_topology
from simulator.hardware.catalogue import load_machine
from simulator.systems import Job, System, create

COLUMN, ROW = 1.42, 0.3
"""Inches of a stage and of an operation."""
PART, LINK, TEXT = "#DCEBF5", "#F4E3C1", "#222222"
WORDS = {
    "Gather": "#F0E442",
    "Scatter": "#F0E442",
    "Plan": "#CC79A7",
    "Move": "#E3E3E3",
}
"""Colours of words; the others train."""
TRAINING = "#8FD1B8"
FACTS = BatchFacts(
    0,
    2048,
    {
        LOOKUP: (Flow(327_680, 300_000),),
        UNIQUE: (Flow(327_680, 300_000),),
        MISS: (Flow(40_000, 30_000),),
        VICTIM: (Flow(0, 30_000),),
        WRITE_BACK: (Flow(0, 30_000),),
    },
)
"""A mini-batch: how much it moves has no part in the picture."""


def box(ax: Axes, middle: tuple[float, float], size: tuple[float, float], color: str) -> None:
    """A rounded box."""
    corner = (middle[0] - size[0] / 2, middle[1] - size[1] / 2)
    style = "round,pad=0,rounding_size=0.05"
    patch = FancyBboxPatch(corner, *size, boxstyle=style, facecolor=color, edgecolor=TEXT, lw=0.6)
    ax.add_patch(patch)


def lines(ax: Axes, middle: tuple[float, float], *texts: str) -> None:
    """Lines of text around `middle`, the first one bold."""
    x, y = middle
    top = y + (len(texts) - 1) * 0.19 / 2
    for k, text in enumerate(texts):
        look = {"weight": "bold", "fontsize": 7.5} if k == 0 else {"fontsize": 6.5}
        ax.text(x, top - 0.19 * k, text, ha="center", va="center", color=TEXT, **look)


def floors(machine: Topology) -> list[list[str]]:
    """Devices by their distance from the first one, over the links that join them."""
    joined: dict[str, list[str]] = {name: [] for name in machine.devices}
    for name, device in machine.devices.items():
        for member in device.members:
            joined[name].append(member)
            joined[member].append(name)
    first = next(iter(machine.devices))
    distance, waiting = {first: 0}, deque([first])
    while waiting:
        device = waiting.popleft()
        for other in joined[device]:
            if other not in distance:
                distance[other] = distance[device] + 1
                waiting.append(other)
    deepest = max(distance.values())
    return [[n for n in machine.devices if distance.get(n) == k] for k in range(deepest + 1)]


def draw_machine(machine: Topology, path: Path) -> None:
    """Every device of `machine` with its resources, and what its links join."""
    rows = floors(machine)
    widest = max(len(row) for row in rows)
    figure, ax = plt.subplots(figsize=(1.75 * widest + 0.4, 1.15 * len(rows) + 0.1))
    places = {
        name: ((k + 0.5) * widest / len(row) * 1.75, 1.15 * floor)
        for floor, row in enumerate(rows)
        for k, name in enumerate(row)
    }
    for name, device in machine.devices.items():
        for member in device.members:
            ends = zip(places[name], places[member], strict=True)
            ax.plot(*ends, color=TEXT, linewidth=0.9, zorder=0)
    for name, middle in places.items():
        device = machine.devices[name]
        inside = [r.name.removeprefix(f"{name}.") for r in device.resources]
        box(ax, middle, (1.6, 0.86), LINK if device.members else PART)
        lines(ax, middle, name, device.part.name, *_two_lines(inside))
    ax.set_xlim(0, 1.75 * widest)
    ax.set_ylim(-0.5, 1.15 * (len(rows) - 1) + 0.5)
    _save(figure, ax, path)


def _two_lines(names: list[str]) -> list[str]:
    half = len(names) if len(names) < 4 else -(-len(names) // 2)
    return [", ".join(part) for part in (names[:half], names[half:]) if part]


def place_of(word: Operation, machine: Topology) -> str:
    """The row of an operation: the device that does it, or the link that it passes."""
    if isinstance(word, Move):
        return machine.route(word.what.memory, word.into)[0].link.name
    return word.at


def draw_program(system: System, machine: Topology, path: Path) -> None:
    """The operations of one mini-batch by place and stage, and the window of the schedule."""
    shown = [
        [word for word in stage.operations if not isinstance(word, Wait)]
        for stage in system.stages(FACTS)
    ]
    first, *others = (name for name, device in machine.devices.items() if not device.members)
    links = [name for name, device in machine.devices.items() if device.members]
    rows = {
        place: [[w for w in words if place_of(w, machine) == place] for words in shown]
        for place in (first, *links, *others)
    }
    total = sum(max(map(len, cells)) for cells in rows.values())
    figure, ax = plt.subplots(figsize=(COLUMN * len(shown) + 0.7, ROW * total + 1.7))
    for column, spec in enumerate(system.schedule.stages):
        ax.text(_x(column), 0.32, spec.name, ha="center", weight="bold", fontsize=8)
        ax.text(_x(column), 0.13, f"role: {spec.role}", ha="center", fontsize=6.5)
    y = 0.0
    for place, cells in rows.items():
        y = _draw_row(ax, place, cells, machine, y)
    y = _draw_window(ax, system, y - 0.22)
    ax.set_xlim(-0.6, COLUMN * len(shown))
    ax.set_ylim(y, 0.5)
    _save(figure, ax, path)


def _x(column: int) -> float:
    """The middle of a column."""
    return COLUMN * (column + 0.5)


def _draw_row(
    ax: Axes, place: str, cells: list[list[Operation]], machine: Topology, y: float
) -> float:
    """The operations at one place, stage by stage; returns where the next row begins."""
    high = ROW * max(map(len, cells))
    ax.text(-0.1, y - high / 2, place, ha="right", va="center", weight="bold")
    for column, words in enumerate(cells):
        for k, word in enumerate(words):
            middle = (_x(column), y - (k + 0.5) * ROW)
            box(ax, middle, (COLUMN - 0.1, ROW - 0.06), WORDS.get(type(word).__name__, TRAINING))
            text = f"{type(word).__name__}: {word.name}{_arrow(word, machine)}".replace("_", " ")
            ax.text(*middle, text, ha="center", va="center", fontsize=5.6)
    y -= high + 0.08
    ax.plot([0, COLUMN * len(cells)], [y + 0.04, y + 0.04], color="#BBBBBB", linewidth=0.5)
    return y


def _draw_window(ax: Axes, system: System, y: float) -> float:
    """Arrows from the stage that reads to those that train and write."""
    schedule = system.schedule
    roles = [spec.role for spec in schedule.stages]
    read = roles.index("read")
    window = schedule.window
    for name, role, count in (("past", "train", window.past), ("future", "write", window.future)):
        start, end = _x(read), _x(roles.index(role))
        arrow = FancyArrowPatch((start, y), (end, y), arrowstyle="|-|,widthA=3,widthB=3", lw=0.8)
        ax.add_patch(arrow)
        text = f"{name} = distance(read, {role}) = {count}"
        ax.text((start + end) / 2, y + 0.07, text, ha="center", fontsize=6.5)
        y -= 0.27
    return y


def _arrow(word: Operation, machine: Topology) -> str:
    if not isinstance(word, Move):
        return ""
    down = machine.route(word.what.memory, word.into)[0].link.members[0] in word.what.memory
    return " ↓" if down else " ↑"


def _save(figure: Figure, ax: Axes, path: Path) -> None:
    ax.axis("off")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def main(folder: Path) -> None:
    """Write both pictures to `folder`."""
    model = load_named("models", "default")
    two = load_machine("p3_16xlarge", ["host.gpu.count=2", "name=p3 with two GPUs"])
    readable = {"svg.fonttype": "none", "font.family": ["DejaVu Sans", "sans-serif"]}
    with styled(), matplotlib.rc_context(readable):
        draw_machine(build_topology(two, model.row_bytes), folder / "machine.svg")
        machine = build_topology(load_machine("v100_p3"), model.row_bytes)
        system = create("scratchpipe", Job(model, load_named("operators", "paper")), machine)
        draw_program(system, machine, folder / "program.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
