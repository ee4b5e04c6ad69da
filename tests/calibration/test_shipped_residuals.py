"""`residuals.csv` beside measurements that ship is of the points and the machine that ship."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.calibration.calibrate import points_in
from simulator.calibration.points import Residual, residuals
from simulator.calibration.rig import Rig
from simulator.calibration.write import by_operator, residuals_csv
from simulator.config.catalogue import load_named
from simulator.hardware.catalogue import load_machine

TRUTH = Path(__file__).parents[2] / "experiments" / "validation"


@dataclass(frozen=True)
class Fitted:
    """The machine and the profile that a fit gave; `residuals.csv` lies beside its measurements."""

    machine: str
    profile: str


FITTED = {
    "microbenchmarks": Fitted("h200", "tuned"),
    "h200_micro": Fitted(f"{TRUTH}/h200_own.yaml", f"{TRUTH}/h200_own_operators.yaml"),
    "h200_second_micro": Fitted(
        f"{TRUTH}/h200_second_own.yaml", f"{TRUTH}/h200_second_own_operators.yaml"
    ),
    "h200_third_micro": Fitted(
        f"{TRUTH}/h200_third_own.yaml", f"{TRUTH}/h200_third_own_operators.yaml"
    ),
    "h100_micro": Fitted(f"{TRUTH}/h100_own.yaml", f"{TRUTH}/h100_own_operators.yaml"),
    "h100_second_micro": Fitted(
        f"{TRUTH}/h100_second_own.yaml", f"{TRUTH}/h100_second_own_operators.yaml"
    ),
    "h200_x2_second_micro": Fitted(
        f"{TRUTH}/h200_x2_second_own.yaml", f"{TRUTH}/h200_x2_second_own_operators.yaml"
    ),
    "h200_x2_micro": Fitted(f"{TRUTH}/h200_x2_own.yaml", f"{TRUTH}/h200_x2_own_operators.yaml"),
    "h200_x4_micro": Fitted(f"{TRUTH}/h200_x4_own.yaml", f"{TRUTH}/h200_x4_own_operators.yaml"),
}


def beside(folder: str) -> list[Residual]:
    """Every point beside the numbers that ship, without a fit."""
    machine, model = load_machine(FITTED[folder].machine), load_named("models", "default")
    rig = Rig(machine, load_named("operators", FITTED[folder].profile), model)
    return residuals(points_in(TRUTH / folder, machine, model), rig)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_folder_with_residuals_is_looked_at() -> None:
    assert {file.parent.name for file in TRUTH.glob("*/residuals.csv")} == set(FITTED)


@pytest.mark.parametrize("folder", FITTED)
def test_residuals_that_ship_are_of_what_ships(folder: str) -> None:
    shipped = rows((TRUTH / folder / "residuals.csv").read_text(encoding="utf-8"))
    now = rows(residuals_csv(beside(folder)))
    point = ("operator", "file", "condition", "unit", "measured", "spread", "fitted")
    assert [[r[k] for k in point] for r in shipped] == [[r[k] for k in point] for r in now]
    for row, anew in zip(shipped, now, strict=True):
        modelled = float(anew["modelled"])
        assert float(row["modelled"]) == pytest.approx(modelled, rel=2e-3), row["condition"]


def test_the_table_of_the_readme_is_that_of_the_residuals() -> None:
    """Of each operator: points, median and worst error."""
    told = [
        f"| {row['operator']} | {row['points']} | {row['median_error']:.0%} | "
        f"{row['worst_error']:.0%} |"
        for row in by_operator(beside("microbenchmarks"))
    ]
    readme = (TRUTH / "microbenchmarks" / "README.md").read_text(encoding="utf-8")
    assert "\n".join(told) in readme, "\n".join(told)
