"""What holds points up, in a sentence."""

from __future__ import annotations

from simulator.results.limits import limits


def row(label: str, bottleneck: str | None, busy: float | None) -> dict[str, object]:
    return {"label": label, "bottleneck": bottleneck, "bottleneck_utilization": busy}


def test_labels_of_one_bottleneck_stand_together() -> None:
    rows = [
        row("hybrid", "cpu.dram", 0.504),
        row("scratchpipe", "cpu.dram", 0.712),
        row("scratchpipe", "cpu.dram", 0.6),
        row("straw_man", "latency", 0.3),
    ]
    assert limits(rows) == (
        "held up by CPU DRAM, 50% to 71% busy (hybrid, scratchpipe); no single resource: stages or "
        "operations that wait for each other (straw_man)"
    )


def test_nothing_is_held_up_by_nothing() -> None:
    assert limits([]) == limits([row("a", None, None)]) == ""
    assert limits([row("a", "latency", None)]).endswith("(a)")
