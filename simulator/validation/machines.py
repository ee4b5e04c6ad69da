"""Which machine observed what: run directories of one machine make one page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.validation.reasons import read_notes

__all__ = ["by_machine", "machine_name", "with_stage_repeats"]

Run = tuple[Path, dict[str, Any]]
"""A run directory, and its `observed.json`."""


def by_machine(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each machine under its name, in their order.

    A machine is a kind of machine: GPU, number of GPUs, CPU and its cores; hosts of a kind are
    sessions of one, unless their notes name them. Two that would have one name get a number each.
    """
    machines: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        facts, host = run[1]["machine"], read_notes([run[0]]).host
        key = (facts.get("gpu"), facts.get("gpus") or 1, facts["cpu"], facts.get("cores"), host)
        machines.setdefault(key, []).append(run)
    named: dict[str, list[Run]] = {}
    for key, members in machines.items():
        host = f"_{key[-1]}" if key[-1] else ""
        name = first = machine_name(members[0][1]["machine"]) + host
        number = 2
        while name in named:
            name, number = f"{first}_{number}", number + 1
        named[name] = members
    return named


def machine_name(facts: dict[str, Any]) -> str:
    """`h200`, `h100_x2`: the GPU's model and how many; of a machine without one its cores."""
    gpu = facts.get("gpu")
    if not gpu:
        return f"cpu_{facts.get('cores', 'any')}"
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", gpu)]
    models = [word for word in words if word not in ("", "nvidia")]
    count = facts.get("gpus") or 1
    return (models or ["gpu"])[0] + (f"_x{count}" if count > 1 else "")


def with_stage_repeats(
    observed: dict[str, Any], stage_rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """`observed.json` with the mean of each stage in each repeat, `stages_repeats_us` of a point,
    out of the rows of the table beside it."""
    times: dict[tuple[str, str], dict[str, dict[int, list[float]]]] = {}
    for row in stage_rows:
        stage = times.setdefault((row["label"], row["sweep"]), {}).setdefault(row["stage"], {})
        stage.setdefault(row["repeat"], []).append(row["busy_us"])
    points = [
        point
        | {
            "stages_repeats_us": {
                stage: [float(np.mean(each)) for each in repeats.values()]
                for stage, repeats in times.get((point["label"], point["sweep"]), {}).items()
            }
        }
        for point in observed["points"]
    ]
    return observed | {"points": points}
