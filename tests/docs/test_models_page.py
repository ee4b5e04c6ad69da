"""The table of `docs/models.md` is what the catalogue holds."""

from __future__ import annotations

from pathlib import Path

from simulator.config.catalogue import load_named, names
from simulator.systems.mlp import mlp_flops
from simulator.systems.placement import PLANNERS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def line(name: str) -> str:
    """The row of one model."""
    model = load_named("models", name)
    least, most = min(model.dim), max(model.dim)
    cells = (
        f"`{name}`",
        f"{model.tables:,}",
        f"{model.features:,}",
        f"{model.rows:,}",
        str(least) if least == most else f"{least} to {most}",
        f"{sum(model.table_bytes) / 1e9:.4g}",
        f"{sum(model.table_lookups):,}",
        f"{mlp_flops(model, 1) / 1e6:.1f}",
        model.interaction,
        model.optimizer,
        f"{model.batch_size:,}",
    )
    return f"| {' | '.join(cells)} |"


def test_every_model_has_its_row() -> None:
    """Where this fails, the rows to paste are in the message."""
    rows = [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| `")]
    wanted = [line(name) for name in names("models")]
    assert rows[: len(wanted)] == wanted


def test_every_planner_has_its_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` | " in text for name in PLANNERS)
